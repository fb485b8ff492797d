"""Measures one case; runs in a process of its own, so that no engine's memory or threads weigh on another's."""

from __future__ import annotations

import resource
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from configs.schema import PredictConfig
from data.photos import encode_photo, read_photo
from inference.benchmark.cases import Case
from inference.engines.choice import open_backend
from inference.engines.exported import Graph
from inference.engines.runtimes import Backend
from inference.folder import RESTORED, UNTOUCHED, restore_folder
from inference.restorer import Restored, Restorer
from inference.sources import list_pictures
from models.weights import Weights, load_weights
from utils.files import write_bytes
from utils.machine import start_paddle


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


def measure(order: dict[str, Any]) -> dict[str, Any]:
    """Opens the engine of a case and times photos with it, in the pipeline and one after the other.

    Args:
        order: case, weights, threads; folders `pictures` (None only opens the engine, so that its exported network
            lies in the cache afterwards), `results` and `reference`.

    Returns:
        engine, device: what ran.
        start: seconds until the engine was ready, imports of its package included.
        batch: seconds per photo in the middle of `restore_folder`; not of the recipe.
        steps: seconds of every measured photo by step, nothing else running; encode with writing.
        network: seconds per photo inside the engine; gmac: 10^9 multiply-adds per photo that it did in them.
        memory: peak of the process in 10^9 bytes.
        difference: from the reference's pixels, for comparable cases.
    """
    case, weights = Case(**order["case"]), load_weights(order["weights"])
    settings = PredictConfig.from_dict({**weights.predict, **case.settings})
    begin = time.perf_counter()
    backend = CountedBackend(
        open_backend(Graph.nafnet(weights, settings), case.backend, case.precision, case.device, order["threads"])
    )
    device = "" if backend.device == "cpu" else f" {backend.device}"
    answer: dict[str, Any] = {"engine": f"{backend.name} {backend.precision}{device}", "device": backend.device}
    answer["start"] = time.perf_counter() - begin
    if order["pictures"] is None:
        return answer
    restorer = Restorer.from_backend(backend, settings, mode=case.mode)
    pictures, results, reference = (Path(order[name]) for name in ("pictures", "results", "reference"))
    # The first photo warms the engine up, and counts in no number.
    photos = sorted(pictures.iterdir())
    if case.recipe:
        backend(np.zeros((1, 3, 256, 256), np.float32))
        photos = photos[-1:]
    else:
        answer["batch"] = _through_pipeline(restorer, pictures, results)
        photos = photos[1:] or photos
    backend.tiles, backend.seconds = [], 0.0
    runs = [_one_by_one(restorer, path, results / path.name) for path in photos]
    answer.update(
        steps=[seconds for _, seconds in runs],
        network=backend.seconds / len(photos),
        # Before anything of this program's own, such as the reference's pixels, is read.
        memory=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e9,
        gmac=_gmac(weights, settings, backend.tiles) / len(photos),
        difference=None,
    )
    places = [reference / f"{path.name}.npz" for path in photos]
    if case.is_reference:
        for place, (restored, _) in zip(places, runs, strict=True):
            np.savez(place, image=restored.image, mask=restored.mask)
    elif case.is_comparable and places[0].is_file():
        apart = [
            compare(restored, place, read_photo(path).pixels)
            for (restored, _), place, path in zip(runs, places, photos, strict=True)
        ]
        answer["difference"] = {key: max(each[key] for each in apart) for key in apart[0]}
    return answer


def _through_pipeline(restorer: Restorer, pictures: Path, results: Path) -> float:
    """Seconds per photo in `restore_folder`, from the first finished file to the last."""
    for outcome in restore_folder(restorer, list_pictures(pictures, results), results, overwrite=True):
        if outcome.status not in (RESTORED, UNTOUCHED):
            raise RuntimeError(f"{outcome}")
        seconds = outcome.seconds
    # When an outcome is told says less: it waits for the network to be through with the next photo.
    ended = sorted((results / path.name).stat().st_mtime for path in pictures.iterdir())
    return (ended[-1] - ended[0]) / (len(ended) - 1) if len(ended) > 1 else seconds


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


def compare(restored: Restored, place: Path, source: np.ndarray) -> dict[str, float]:
    """Differences in grey levels of 255.

    Returns:
        largest, mean: from the reference, where either result may have changed the photo; mean over all channels.
        outside: largest change of the photo outside the result's own mask.
    """
    with np.load(place) as reference:
        image, mask = reference["image"], reference["mask"]
    either, kept = (mask | restored.mask) > 0, restored.mask == 0
    apart = np.abs(restored.image[either].astype(int) - image[either])
    return {
        "largest": float(apart.max(initial=0)),
        "mean": float(apart.mean()) if apart.size else 0.0,
        "outside": float(np.abs(restored.image[kept].astype(int) - source[kept]).max(initial=0)),
    }


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
