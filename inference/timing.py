"""What `inference.benchmark` runs in a process of its own for every case, so that no engine's memory or threads weigh
on another's, and what it measures with: networks made of one file of weights without training, and this machine."""

from __future__ import annotations

import os
import platform
import re
import resource
import sys
import time
import timeit
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from configs.schema import PredictConfig
from inference.engines.choice import open_backend
from inference.engines.exported import Graph
from inference.engines.runtimes import Backend
from inference.folder import FAILED, Outcome, restore_folder
from inference.restorer import Restored, Restorer
from inference.sources import list_pictures
from models.weights import Weights, load_weights
from utils.machine import available_cores, start_paddle

STEPS = ("decode", "locate", "restore", "compose", "encode")
# The write-up's prediction: the full-size photo in four equal tiles, TLC's window 2.5 x 256 = 640.
RECIPE = {
    "rows": 2, "columns": 2, "overlap": 0, "tlc_train_size": 256, "tlc_ratio": 2.5, "downscale": 1, "long_side": 0,
}  # fmt: skip
_PACKAGES = ("paddlepaddle", "paddlepaddle-gpu", "onnxruntime", "onnxruntime-gpu", "openvino", "numpy")


class Counted:
    """A `Backend` that remembers its tiles, [height, width], and its seconds."""

    def __init__(self, backend: Backend) -> None:
        self._backend, self.tiles, self.seconds = backend, [], 0.0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)

    def __call__(self, tile: np.ndarray) -> np.ndarray:
        start = time.perf_counter()
        output = self._backend(tile)
        self.seconds += time.perf_counter() - start
        self.tiles.append(tile.shape[2:])
        return output


def open_case(case: Mapping[str, Any]) -> tuple[Backend, Weights, PredictConfig]:
    """The engine of a case, and the weights and settings that it runs."""
    weights = load_weights(case["weights"])
    settings = PredictConfig.from_dict({**weights.predict, **case["settings"]})
    graph = Graph.nafnet(weights, settings)
    return open_backend(graph, case["backend"], case["precision"], case["device"]), weights, settings


def device_of(case: Mapping[str, Any]) -> str:
    """Where the engine of a case runs; its exported network lies in the cache from then on."""
    return open_case(case)[0].device


def measure(case: Mapping[str, Any]) -> dict[str, Any]:
    """Times photos with the engine of a case, in the pipeline and one after the other; the first only warms up.

    Args:
        case: fields of `inference.benchmark.Case` with `weights`, a file, and `folder`, which holds `pictures` and
            gets `results` and, from the first case that is `compared`, the pixels of `reference`.

    Returns:
        engine: what ran; start: seconds until it was ready, imports of its package included.
        `STEPS`, total: median seconds of a photo, nothing else running; "encode" with writing.
        batch: seconds per photo in the middle of the pipeline; not of the recipe.
        memory: peak of the process in 10^9 bytes.
        network: seconds per photo inside the engine; gmac: 10^9 multiply-adds of convolutions that it did in them.
        gflops, matmul_gflops: of the engine, and of dense matrix products on this machine.
        largest, mean: difference from the reference in grey levels of 255, where either may have changed the photo.
    """
    begin = time.perf_counter()
    backend, weights, settings = open_case(case)
    engine = f"{backend.name} {backend.precision}" + f" {backend.device}".removesuffix(" cpu")
    answer = {"engine": engine, "start": time.perf_counter() - begin}
    backend = Counted(backend)
    restorer = Restorer.from_backend(backend, settings, mode=case["mode"])
    pictures, results, reference = (Path(case["folder"], name) for name in ("pictures", "results", "reference"))
    came_back = []

    def restored(pixels: np.ndarray) -> Restored:
        came_back.append(restorer(pixels))
        return came_back[-1]

    def through_pipeline(source: Path, function: Callable[[np.ndarray], Restored]) -> list[Outcome]:
        outcomes = list(restore_folder(function, list_pictures(source, results), results, overwrite=True))
        for outcome in outcomes:
            if outcome.status == FAILED:
                raise RuntimeError(f"{outcome}")
        return outcomes

    photos = sorted(pictures.iterdir())[1:]
    if case["recipe"]:
        # One photo takes minutes: a tile warms up, and nothing is said of a batch.
        backend(np.zeros((1, 3, 256, 256), np.float32))
        photos = photos[-1:]
    else:
        through_pipeline(pictures, restorer)
        # When an outcome is told says less: it waits for the network to be through with the next photo.
        ended = [path.stat().st_mtime for path in results.iterdir()]
        answer["batch"] = (max(ended) - min(ended)) / len(photos)
    backend.tiles, backend.seconds = [], 0.0
    outcomes = [outcome for path in photos for outcome in through_pipeline(path, restored)]
    # Before anything of this program's own, such as the reference's pixels, is read.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    answer |= {step: median(outcome.steps.get(step, 0.0) for outcome in outcomes) for step in STEPS}
    answer |= {"total": median(outcome.seconds for outcome in outcomes), "memory": peak / 1e9,
               "network": backend.seconds / len(photos), "matmul_gflops": matrix_rate()}  # fmt: skip
    places = [reference / f"{path.name}.npz" for path in photos]
    if case["compared"] and reference.is_dir():
        apart = map(difference, came_back, places)
        answer["largest"], answer["mean"] = (max(values) for values in zip(*apart, strict=True))
    elif case["compared"]:
        reference.mkdir()
        for place, result in zip(places, came_back, strict=True):
            np.savez(place, image=result.image, mask=result.mask)
    answer["gmac"] = _multiply_adds(weights, settings, backend.tiles) / len(photos) / 1e9
    return answer | {"gflops": 2 * answer["gmac"] / answer["network"]}


def difference(restored: Restored, place: Path) -> tuple[float, float]:
    """The largest and the mean difference in grey levels of 255, where either result may have changed the photo."""
    with np.load(place) as reference:
        either = (reference["mask"] | restored.mask) > 0
        apart = np.abs(restored.image[either].astype(int) - reference["image"][either])
    return float(apart.max(initial=0)), float(apart.mean()) if apart.size else 0.0


def _multiply_adds(weights: Weights, settings: PredictConfig, tiles: list[tuple[int, int]]) -> int:
    """Imports Paddle, which many engines do without: to be called when everything is measured."""
    start_paddle()
    from models.nafnet import multiply_adds
    from models.tlc import convert_to_local
    from models.weights import network_of

    network = network_of(weights)
    if settings.tlc_ratio > 0:
        convert_to_local(network, settings.tlc_train_size, settings.tlc_ratio)
    return sum(multiply_adds(network, height, width) for height, width in tiles)


def matrix_rate(side: int = 2048) -> float:
    """Dense float32 matrix products in GFLOP/s (10^9 additions and multiplications), the best of six."""
    left, right = np.random.default_rng(0).random((2, side, side), dtype=np.float32)
    return 2 * side**3 / min(timeit.repeat(lambda: left @ right, number=1, repeat=6)) / 1e9


def describe(threads: int) -> str:
    """One line: processor, cores, what other programs make of them, memory, versions."""
    about = ""
    with suppress(OSError):
        about = Path("/proc/cpuinfo").read_text("utf-8")
    named = re.search(r"^model name\s*: *(.*)", about, re.MULTILINE)
    name = (named[1] if named else platform.machine()) + (", virtual machine" if "hypervisor" in about else "")
    versions = [f"Python {platform.python_version()}"]
    for package in _PACKAGES:
        with suppress(metadata.PackageNotFoundError):
            versions.append(f"{package} {metadata.version(package)}")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    cores = f"{available_cores()} cores (load {os.getloadavg()[0]:.1f} at the start), {threads} threads"
    return f"{name}; {cores}; {memory:.0f} GB; {', '.join(versions)}"


def doubled(weights: Weights) -> Weights:
    """The same function as a network of twice the width: every channel is there twice, and every convolution takes
    half of each.

    So a width that nobody has trained is timed on a network that finds the same occluders and hence does the same
    work per photo as one that was trained. LayerNorm's mean and variance over channels stay what they were.
    """
    params = {name: _doubled(name, np.asarray(array)) for name, array in weights.params.items()}
    return replace(weights, params=params, model={**weights.model, "width": 2 * weights.model["width"]}, file=None)


def _doubled(name: str, array: np.ndarray) -> np.ndarray:
    if array.ndim == 4 and name.endswith(("beta", "gamma")):
        return array.repeat(2, axis=1)
    if not name.startswith("ending."):
        # PixelShuffle makes one channel of four neighbours, which have to stay together.
        together = 4 if name.startswith("ups.") else 1
        groups = array.reshape(array.shape[0] // together, together, *array.shape[1:])
        array = groups.repeat(2, axis=0).reshape(-1, *array.shape[1:])
    depthwise = name.endswith("conv2.weight")
    if array.ndim == 4 and not name.startswith("intro.") and not depthwise:
        array = array.repeat(2, axis=1) / np.asarray(2, array.dtype)
    return array


def as_recipe(weights: Weights) -> Weights:
    """The write-up's kind of network, without a gate, with its way of prediction as `predict`."""
    params = {name: array[:3] if name.startswith("ending.") else array for name, array in weights.params.items()}
    model, predict = {**weights.model, "gate": False}, {**weights.predict, **RECIPE}
    return replace(weights, params=params, model=model, predict=predict, file=None)
