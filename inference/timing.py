"""What `inference.benchmark` runs in a process of its own for every case, so that no engine's memory or threads weigh
on another's; the machine in words; and the networks, made of one file of weights without training."""

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
from utils.machine import available_cores

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


def open_case(case: Mapping[str, Any]) -> tuple[Backend, Graph, PredictConfig]:
    """The engine of a case, what it runs, and how photos are restored with it."""
    weights = load_weights(case["weights"])
    settings = PredictConfig.from_dict({**weights.predict, **case["settings"]})
    graph = Graph.locator(weights) if weights.locator else Graph.nafnet(weights, settings)
    return open_backend(graph, case["backend"], case["precision"], case["device"]), graph, settings


def device_of(case: Mapping[str, Any]) -> str:
    """Where the engine of a case runs; its exported network lies in the cache from then on."""
    return open_case(case)[0].device


def measure(case: Mapping[str, Any]) -> dict[str, Any]:
    """Times photos with the engine of a case, in the pipeline and one after the other; the first only warms up.

    Args:
        case: fields of `inference.benchmark.Case` with `weights`, a file, and `folder`, which holds `pictures` and
            gets `results` and, from eager fp32 on the CPU, the `reference` that others are compared with.

    Returns:
        engine: what ran; `STEPS`, total: median seconds of a photo, nothing else running; "encode" with writing.
        batch: seconds per photo in the middle of the pipeline; not of the recipe.
        memory: peak of the process in 10^9 bytes.
        network: seconds per photo inside the engine; gmac: 10^9 multiply-adds of convolutions that it did in them.
        gflops, matmul_gflops: of the engine (not of a locator's), and of dense matrix products on this machine.
        largest, mean: difference from the reference in grey levels of 255, where either may have changed the photo.
    """
    backend, graph, settings = open_case(case)
    answer = {"engine": f"{backend.name} {backend.precision}" + f" {backend.device}".removesuffix(" cpu")}
    backend = Counted(backend)
    locates = graph.name == "locator"
    roles = {"locator": backend} if locates else {}
    restorer = Restorer.from_backend(None if locates else backend, settings, mode=case["mode"], **roles)
    pictures, results, reference = (Path(case["folder"], name) for name in ("pictures", "results", "reference"))
    came_back = []

    def restored(pixels: np.ndarray) -> Restored:
        came_back.append(restorer(pixels))
        return came_back[-1]

    photos = sorted(pictures.iterdir())[1:]
    if case["recipe"]:
        # One photo takes minutes: a tile warms up, and nothing is said of a batch.
        backend(np.zeros((1, 3, 256, 256), np.float32))
        photos = photos[-1:]
    else:
        _restore(restorer, pictures, results)
        # When an outcome is told says less: it waits for the network to be through with the next photo.
        ended = [path.stat().st_mtime for path in results.iterdir()]
        answer["batch"] = (max(ended) - min(ended)) / len(photos)
    backend.tiles, backend.seconds = [], 0.0
    outcomes = [outcome for path in photos for outcome in _restore(restored, path, results)]
    # Before anything of this program's own, such as the reference's pixels, is read.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    answer |= {step: median(outcome.steps.get(step, 0.0) for outcome in outcomes) for step in STEPS}
    answer |= {"total": median(outcome.seconds for outcome in outcomes), "memory": peak / 1e9,
               "network": backend.seconds / len(photos), "matmul_gflops": matrix_rate()}  # fmt: skip
    if case["mode"] == "auto" and not case["settings"] and not locates:
        places = [reference / f"{path.name}.npz" for path in photos]
        if reference.is_dir():
            apart = map(difference, came_back, places)
            answer["largest"], answer["mean"] = (max(values) for values in zip(*apart, strict=True))
        elif answer["engine"] == "paddle fp32":
            reference.mkdir()
            for place, result in zip(places, came_back, strict=True):
                np.savez(place, image=result.image, mask=result.mask)
    if locates:
        return answer
    # Imports Paddle, which many engines do without, now that everything is measured.
    network = graph.reference().network
    from models.nafnet import multiply_adds

    gmac = sum(multiply_adds(network, *tile) for tile in backend.tiles) / len(photos) / 1e9
    return answer | {"gmac": gmac, "gflops": 2 * gmac / answer["network"]}


def _restore(restorer: Callable[[np.ndarray], Restored], source: Path, results: Path) -> list[Outcome]:
    outcomes = list(restore_folder(restorer, list_pictures(source, results), results, overwrite=True))
    for outcome in outcomes:
        if outcome.status == FAILED:
            raise RuntimeError(f"{outcome}")
    return outcomes


def difference(restored: Restored, place: Path) -> tuple[float, float]:
    """The largest and the mean difference in grey levels of 255, where either result may have changed the photo."""
    with np.load(place) as reference:
        either = (reference["mask"] | restored.mask) > 0
        apart = np.abs(restored.image[either].astype(int) - reference["image"][either])
    return float(apart.max(initial=0)), float(apart.mean()) if apart.size else 0.0


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
    """The same function as a network of twice the width: every channel is there twice, every convolution halves each.

    So a width that nobody has trained is timed on a network that finds the same occluders, and does the same work per
    photo as one that was trained. LayerNorm's mean and variance over channels stay what they were.
    """
    params = {}
    for name, array in weights.params.items():
        scales = array.ndim == 4 and name.endswith(("beta", "gamma"))
        if not scales and not name.startswith("ending."):
            # PixelShuffle makes one channel of four neighbours, which have to stay together.
            groups = array.reshape(-1, 4 if name.startswith("ups.") else 1, *array.shape[1:])
            array = groups.repeat(2, axis=0).reshape(-1, *array.shape[1:])
        depthwise = name.endswith("conv2.weight")
        if array.ndim == 4 and not name.startswith("intro.") and not depthwise:
            array = array.repeat(2, axis=1) / np.asarray(1 if scales else 2, array.dtype)
        params[name] = array
    return replace(weights, params=params, model={**weights.model, "width": 2 * weights.model["width"]}, file=None)


def as_recipe(weights: Weights) -> Weights:
    """The write-up's kind of network, without a gate, with its way of prediction as `predict`."""
    params = {name: array[:3] if name.startswith("ending.") else array for name, array in weights.params.items()}
    model, predict = {**weights.model, "gate": False}, {**weights.predict, **RECIPE}
    return replace(weights, params=params, model=model, predict=predict, file=None)
