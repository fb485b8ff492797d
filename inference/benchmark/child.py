"""Measures one case, in a process of its own: `python -m inference.benchmark.child ORDER.json ANSWER.json`.

The order holds a `Case`, the weights, folders and the number of threads; the answer holds numbers only. What fails
ends the process with its traceback, whose last line `inference.benchmark` tells.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from configs.schema import PredictConfig
from data.photos.photo import encode_photo, read_photo
from inference.benchmark.cases import Case
from inference.benchmark.machine import matrix_rate
from inference.engines.base import Backend
from inference.engines.choice import open_backend
from inference.folder import RESTORED, UNTOUCHED, Orders, restore_folder
from inference.restorer import Restored, Restorer
from inference.sources import list_pictures
from models.weights import Weights, load_weights
from utils.files import write_bytes, write_text
from utils.machine import start_paddle

# A tile of other content than those that are timed, so that nothing is measured on a cold engine.
_WARM_SIDE = 256


class CountedBackend:
    """A `Backend` around another that remembers its tiles and its seconds."""

    def __init__(self, backend: Backend) -> None:
        self.name, self.device, self.precision = backend.name, backend.device, backend.precision
        self.gated, self.tlc = backend.gated, backend.tlc
        self.tiles: list[tuple[int, int]] = []
        self.seconds = 0.0
        self._backend = backend

    def __call__(self, tile: np.ndarray) -> np.ndarray:
        start = time.perf_counter()
        output = self._backend(tile)
        self.seconds += time.perf_counter() - start
        self.tiles.append(tile.shape[2:])
        return output

    def forget(self) -> None:
        self.tiles, self.seconds = [], 0.0


def main(arguments: Sequence[str] | None = None) -> None:
    source, target = (Path(name) for name in (arguments or sys.argv[1:]))
    order = json.loads(source.read_text("utf-8"))
    if order["action"] == "matrix":
        answer = {"gflops": matrix_rate()}
    elif order["action"] == "open":
        answer = _open(order)
    else:
        answer = measure(order)
    write_text(target, json.dumps(answer))


def _open(order: dict[str, Any]) -> dict[str, Any]:
    """Opens an engine and nothing else: afterwards its exported network lies in the cache."""
    weights = load_weights(order["weights"])
    case = Case(**order["case"])
    settings = PredictConfig.from_dict({**weights.predict, **case.settings})
    backend = open_backend(weights, settings, case.backend, case.precision, case.device, order["threads"])
    size = Restorer.from_backend(backend, settings).working_size(order["height"], order["width"])
    return {**_identity(backend, weights), "long_side": max(size)}


def measure(order: dict[str, Any]) -> dict[str, Any]:
    """Opens the engine of a case and times photos with it, in the pipeline and one after the other.

    Returns:
        start: seconds until the engine was ready, imports of its package included.
        batch: seconds per photo in the middle of `restore_folder`, and latency: of one photo on its way through it.
        steps: seconds of every measured photo by step, nothing else running; encode with writing.
        network: seconds per photo inside the engine; gmac: 10^9 multiply-adds per photo that it did in them.
        memory: peak of the process in 10^9 bytes.
        occluders: found in every measured photo.
        difference: from the reference's pixels, for comparable cases that have one.
    """
    case, weights = Case(**order["case"]), load_weights(order["weights"])
    settings = PredictConfig.from_dict({**weights.predict, **case.settings})
    begin = time.perf_counter()
    backend = CountedBackend(
        open_backend(weights, settings, case.backend, case.precision, case.device, order["threads"])
    )
    answer: dict[str, Any] = {**_identity(backend, weights), "start": time.perf_counter() - begin}
    restorer = Restorer.from_backend(backend, settings, mode=case.mode)
    photos, results = sorted(Path(order["pictures"]).iterdir()), Path(order["results"])
    if case.recipe:
        backend(np.zeros((1, 3, _WARM_SIDE, _WARM_SIDE), np.float32))
        photos = photos[-1:]
    else:
        answer.update(_through_pipeline(restorer, Path(order["pictures"]), results))
        photos = photos[1:] or photos
        # Before anything of this program's own, such as the reference's pixels, is held.
        answer["memory"] = _peak_gb()
    backend.forget()
    steps, differences, occluders = [], [], []
    for path in photos:
        restored, seconds = _one_by_one(restorer, path, results / path.name)
        steps.append(seconds)
        occluders.append(restored.occluders)
        answer.setdefault("memory", _peak_gb())
        if order["reference"]:
            reference = Path(order["reference"]) / path.stem
            if case.is_reference:
                keep_reference(reference, restored)
            elif case.comparable and reference.with_suffix(".image.npy").is_file():
                differences.append(compare(restored, reference, read_photo(path).pixels))
    answer.update(
        steps=steps,
        occluders=occluders,
        network=backend.seconds / len(photos),
        gmac=_gmac(weights, settings, backend.tiles) / len(photos),
        difference=_worst(differences),
    )
    return answer


def _identity(backend: Backend, weights: Weights) -> dict[str, Any]:
    engine = {"backend": backend.name, "precision": backend.precision, "device": backend.device, "tlc": backend.tlc}
    return {**engine, "width": weights.model["width"]}


def _through_pipeline(restorer: Restorer, pictures: Path, results: Path) -> dict[str, float]:
    """Seconds per photo in `restore_folder`; the first photo counts in neither number."""
    latencies = []
    for outcome in restore_folder(restorer, list_pictures(pictures, results), results, Orders(overwrite=True)):
        if outcome.status not in (RESTORED, UNTOUCHED):
            raise RuntimeError(f"{outcome}")
        latencies.append(outcome.seconds)
    # When an outcome is told says less: it waits for the network to be through with the next photo.
    ended = sorted((results / path.name).stat().st_mtime for path in pictures.iterdir())
    if len(ended) < 2:
        return {"batch": latencies[0], "latency": latencies[0]}
    return {"batch": (ended[-1] - ended[0]) / (len(ended) - 1), "latency": float(np.median(latencies[1:]))}


def _one_by_one(restorer: Restorer, path: Path, target: Path) -> tuple[Restored, dict[str, float]]:
    """One photo from file to file, with nothing beside it."""
    start = time.perf_counter()
    photo = read_photo(path)
    decoded = time.perf_counter()
    restored = restorer(photo.pixels)
    composed = time.perf_counter()
    content = encode_photo(photo, restored.image, restored.mask).content if restored.mask.any() else path.read_bytes()
    write_bytes(target, content)
    end = time.perf_counter()
    return restored, {"decode": decoded - start, **restored.seconds, "encode": end - composed, "total": end - start}


def keep_reference(place: Path, restored: Restored) -> None:
    """Keeps a result as PLACE.image.npy and PLACE.mask.npy."""
    np.save(place.with_suffix(".image.npy"), restored.image)
    np.save(place.with_suffix(".mask.npy"), restored.mask)


def compare(restored: Restored, place: Path, source: np.ndarray) -> dict[str, float]:
    """Differences in grey levels of 255.

    Returns:
        largest, mean: from the reference, where either result may have changed the photo; mean over all channels.
        outside: largest change of the photo outside the result's own mask.
        other_mask: fraction of the pixels under either mask that are under one only.
    """
    image, mask = (np.load(place.with_suffix(f".{kind}.npy")) for kind in ("image", "mask"))
    either = (mask | restored.mask) > 0
    apart = np.abs(restored.image[either].astype(int) - image[either])
    kept = restored.mask == 0
    return {
        "largest": float(apart.max(initial=0)),
        "mean": float(apart.mean()) if apart.size else 0.0,
        "outside": float(np.abs(restored.image[kept].astype(int) - source[kept]).max(initial=0)),
        "other_mask": float((mask != restored.mask).sum() / max(1, either.sum())),
    }


def _worst(differences: list[dict[str, float]]) -> dict[str, float] | None:
    if not differences:
        return None
    return {key: max(difference[key] for difference in differences) for key in differences[0]}


def _peak_gb() -> float:
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9


def _gmac(weights: Weights, settings: PredictConfig, tiles: list[tuple[int, int]]) -> float:
    """Imports Paddle, which many engines do without: to be called when everything is measured."""
    start_paddle()
    from models.nafnet import multiply_adds
    from models.tlc import convert_to_local
    from models.weights import network_of

    network = network_of(weights)
    if settings.tlc_ratio > 0:
        convert_to_local(network, settings.tlc_train_size, settings.tlc_ratio)
    return sum(multiply_adds(network, height, width) for height, width in tiles) / 1e9


if __name__ == "__main__":
    main()
