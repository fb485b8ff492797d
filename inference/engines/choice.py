"""Opening what runs a network: by name, or the fastest that works here, with the reason for every detour."""

from __future__ import annotations

import importlib
import logging

import numpy as np

from inference.engines.exported import Graph, find
from inference.engines.runtimes import ONNX_ENGINES, Backend, BackendError, Engine
from utils.machine import DeviceError, check_device, default_threads, gpu_named, gpu_shows, start_paddle

# By kind of device, in the order of their speed there; of the precisions, the first one is that of "auto".
PRECISIONS = {
    "gpu": {"paddle": ("fp32", "bf16", "fp16"), "onnxruntime": ("fp32",)},
    "cpu": {"openvino": ("fp32", "bf16"), "onnxruntime": ("fp32",), "paddle": ("fp32",)},
}
_log = logging.getLogger(__name__)


class CheckedBackend:
    """A `Backend` that never returns NaN or infinity: `engine` does the work, such values are a FloatingPointError."""

    def __init__(self, engine: Engine, gated: bool, tlc: str) -> None:
        self.name, self.device, self.precision = engine.name, engine.device, engine.precision
        self.gated, self.tlc, self._engine = gated, tlc, engine

    def __call__(self, tile: np.ndarray) -> np.ndarray:
        output = self._engine(tile)
        if not np.isfinite(output).all():
            finite = "" if np.isfinite(tile).all() else " (nor were those of the tile itself)"
            raise FloatingPointError(
                f"{self.name} in {self.precision} on {self.device}: the values for a tile of {tile.shape[2]} x "
                f"{tile.shape[3]} are not finite{finite}; precision fp32 reaches farthest"
            )
        return output


def open_backend(
    graph: Graph, backend: str = "auto", precision: str = "auto", device: str = "auto", threads: int | None = None
) -> Backend:
    """Opens an engine, proves it on a small tile against the eager network, and guards it (`CheckedBackend`).

    Args:
        backend, precision: as in `PRECISIONS`, or "auto": a GPU that works, otherwise the fastest on the CPU, in fp32.
        device: "cpu", "gpu", "gpu:INDEX" or "auto".
        threads: of the CPU; None takes OMP_NUM_THREADS, and where that is not set all cores that this process may use.
            Paddle reads the number when it is first imported.

    Raises:
        BackendError: there is no such combination, or an engine that was asked for by name is not installed, does not
            start or gives wrong numbers.
        DeviceError: a GPU was asked for by name and cannot be used.
        ValueError: weights that describe no network of this project, or do not fit it.
    """
    if graph.name == "restormer" and backend == "auto":
        backend = "paddle"  # the only one
    candidates = _candidates(backend, precision, device)
    failure = DeviceError if device.startswith("gpu") else BackendError
    problems = []
    for name, place, exactly in candidates:
        try:
            return _open_checked(graph, name, place, exactly, threads)
        except (ValueError, MemoryError):
            # Weights that do not fit, or a machine that is too small: no other engine will do better.
            raise
        except Exception as error:
            # Whatever an engine raises when it does not start, the answer is the same: not this one, for this reason.
            missing = isinstance(error, ModuleNotFoundError) and error.name == name
            reason = str(error) if isinstance(error, BackendError | DeviceError) else f"{type(error).__name__}: {error}"
            problem = f"{name} {exactly} on {place} is not used: {f'{name} is not installed' if missing else reason}"
            if len(candidates) == 1:
                raise failure(problem) from error
            problems.append(problem)
            # What was never installed is no surprise; what is there and does not work is.
            _log.log(logging.INFO if missing else logging.WARNING, "%s", problem)
    raise failure(f"nothing can run the network here. {'. '.join(problems)}")


def _candidates(backend: str, precision: str, device: str) -> list[tuple[str, str, str]]:
    """(engine, device, precision) of what to try, in order; it is an error when nothing is left."""
    check_device(device)
    known = [(kind, name, able) for kind, engines in PRECISIONS.items() for name, able in engines.items()]
    candidates = [
        (name, gpu_named(device) if kind == "gpu" else "cpu", able[0] if precision == "auto" else precision)
        for kind, name, able in known
        if backend in ("auto", name) and precision in ("auto", *able) and (device == "auto" or device.startswith(kind))
        and (kind == "cpu" or device != "auto" or gpu_shows())
    ]  # fmt: skip
    if not candidates:
        there = "; ".join(f"{name} on {kind}: {', '.join(able)}" for kind, name, able in known)
        wanted = f"backend {backend} with precision {precision} on device {device}"
        raise BackendError(f"{wanted}: there is no such combination; there is {there}")
    return candidates


def _open_checked(graph: Graph, name: str, device: str, precision: str, threads: int | None) -> CheckedBackend:
    if name == "paddle":
        start_paddle(threads)
        about = engine = graph.reference(device, precision)
    else:
        # Imported before the file is looked for: none is made for an engine that does not start.
        importlib.import_module(name)
        about = find(graph)
        engine = ONNX_ENGINES[name](about.content, device, precision, threads or default_threads())
        about.proof.check(engine)
    return CheckedBackend(engine, about.gated, about.tlc)
