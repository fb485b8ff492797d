"""Opening what runs a network: by name, or the fastest that works here, with the reason for every detour."""

from __future__ import annotations

import importlib
import importlib.util
import logging
from collections.abc import Callable
from typing import NamedTuple

from configs.schema import PredictConfig
from inference.engines.base import Backend, BackendError, CheckedBackend, Engine
from inference.engines.cache import find
from inference.engines.graphs import Graph, NafnetGraph
from models.weights import Weights
from utils.machine import (
    DeviceError,
    check_device,
    default_threads,
    gpu_named,
    gpu_problem,
    gpu_shows,
    may_have_gpu,
    start_paddle,
)

# By kind of device, in the order of their speed there; of the precisions, the first one is that of "auto".
PRECISIONS = {
    "gpu": {"paddle": ("fp32", "bf16", "fp16"), "onnxruntime": ("fp32",)},
    "cpu": {"openvino": ("fp32", "bf16"), "onnxruntime": ("fp32",), "paddle": ("fp32",)},
}
BACKENDS = ("auto", "paddle", "onnxruntime", "openvino")

_log = logging.getLogger(__name__)


class _Candidate(NamedTuple):
    name: str
    device: str
    precision: str

    def __str__(self) -> str:
        return f"{self.name} {self.precision} on {self.device}"


class _NotInstalledError(BackendError):
    """The engine's package is missing."""


def open_backend(
    weights: Weights,
    settings: PredictConfig,
    backend: str = "auto",
    precision: str = "auto",
    device: str = "auto",
    threads: int | None = None,
) -> Backend:
    """`open_graph` for NAFNet with the windows of TLC that `settings` ask for."""
    return open_graph(NafnetGraph(weights, settings), backend, precision, device, threads)


def open_graph(
    graph: Graph, backend: str = "auto", precision: str = "auto", device: str = "auto", threads: int | None = None
) -> Backend:
    """Opens an engine, proves it on a small tile against the eager network, and guards it (`CheckedBackend`).

    Args:
        backend: "paddle" (eager, the reference), "onnxruntime", "openvino", or "auto": on a GPU that works, otherwise
            the fastest on the CPU; see `PRECISIONS`.
        precision: "fp32", "bf16", "fp16" or "auto".
        device: "cpu", "gpu", "gpu:INDEX" or "auto".
        threads: of the CPU; None takes OMP_NUM_THREADS, and where that is not set all cores that this process may use.
            Paddle reads the number when it is first imported.

    Raises:
        BackendError: an unknown name, a combination that does not exist, or an engine that was asked for by name and
            is not installed, does not start or gives wrong numbers.
        DeviceError: a GPU was asked for by name and cannot be used.
        ValueError: weights that describe no network of this project, or do not fit it.
    """
    candidates = _candidates(backend, precision, device)
    on_cpu_only = all(candidate.device == "cpu" for candidate in candidates)
    if device == "auto" and on_cpu_only and (backend == "auto" or backend in PRECISIONS["gpu"]) and gpu_shows():
        _log.warning(
            "the GPU of this machine is not used: what is installed here runs on the CPU only; install a GPU build "
            "(requirements.txt), or take device cpu"
        )
    failure = DeviceError if device.startswith("gpu") else BackendError
    problems = []
    for candidate in candidates:
        try:
            return _open_checked(candidate, graph, threads)
        except (ValueError, MemoryError):
            # Weights that do not fit, or a machine that is too small: no other engine will do better.
            raise
        except Exception as error:
            # Whatever an engine raises when it does not start, the answer is the same: not this one, for this reason.
            known = isinstance(error, BackendError | DeviceError)
            problem = f"{candidate} is not used: {error if known else f'{type(error).__name__}: {error}'}"
            if len(candidates) == 1:
                raise failure(problem) from error
            problems.append(problem)
            # What was never installed is no surprise; what is there and does not work is.
            level = logging.INFO if isinstance(error, _NotInstalledError) else logging.WARNING
            _log.log(level, "%s", problem)
    raise failure(f"nothing can run the network here. {'. '.join(problems)}")


def _candidates(backend: str, precision: str, device: str) -> list[_Candidate]:
    """What to try, in order; what exists nowhere is left out, and it is an error when nothing is left."""
    precisions = ("auto", "fp32", "bf16", "fp16")
    for what, value, known in (("backend", backend, BACKENDS), ("precision", precision, precisions)):
        if value not in known:
            raise BackendError(f"{what} {value!r}: unknown, expected one of {', '.join(known)}")
    check_device(device)
    asked = [
        (kind, name, known)
        for kind, engines in PRECISIONS.items()
        for name, known in engines.items()
        if backend in ("auto", name)
    ]
    candidates = [
        _Candidate(name, gpu_named(device) if kind == "gpu" else "cpu", known[0] if precision == "auto" else precision)
        for kind, name, known in asked
        if (device == "auto" or device.startswith(kind)) and precision in ("auto", *known)
        and _worth_asking(name, kind, device)
    ]  # fmt: skip
    if not candidates:
        there = "; ".join(f"{name} on {kind}: {', '.join(known)}" for kind, name, known in asked)
        raise BackendError(
            f"backend {backend} with precision {precision} on device {device}: there is no such combination; there is "
            f"{there}"
        )
    return candidates


def _worth_asking(name: str, kind: str, device: str) -> bool:
    """False for a GPU that nobody named, of a package without GPU support: installed so on purpose, and no detour."""
    if kind == "cpu" or device != "auto":
        return True
    if name == "paddle":
        return may_have_gpu()
    if importlib.util.find_spec("onnxruntime") is None:
        return False
    return "CUDAExecutionProvider" in importlib.import_module("onnxruntime").get_available_providers()


def _open_checked(candidate: _Candidate, graph: Graph, threads: int | None) -> CheckedBackend:
    if candidate.name == "paddle":
        engine = _open_paddle(candidate, graph, threads)
        gated, tlc = engine.gated, engine.tlc
    else:
        # Imported before the file is looked for: none is made for an engine that does not start.
        start = onnx_engine(candidate.name, candidate.device, candidate.precision, threads or default_threads())
        file = find(graph)
        engine, gated, tlc = start(file.content), file.gated, file.tlc
        file.proof.check(engine)
    exact = candidate._replace(precision="fp32")
    return CheckedBackend(
        engine, gated, tlc, None if candidate == exact else lambda: _open_checked(exact, graph, threads)
    )


def onnx_engine(name: str, device: str, precision: str, threads: int) -> Callable[[bytes], Engine]:
    """Imports "onnxruntime" or "openvino"; what comes back opens the content of an ONNX file.

    Raises:
        BackendError: the package is not installed.
    """
    if importlib.util.find_spec(name) is None:
        raise _NotInstalledError(f"the package {name} is not installed")
    if name == "onnxruntime":
        from inference.engines.onnx_runtime import OnnxRuntimeEngine

        return lambda content: OnnxRuntimeEngine(content, device, threads)
    from inference.engines.openvino_cpu import OpenVinoEngine

    return lambda content: OpenVinoEngine(content, precision, threads)


def _open_paddle(candidate: _Candidate, graph: Graph, threads: int | None) -> Backend:
    start_paddle(threads)
    if candidate.device != "cpu":
        problem = gpu_problem(candidate.device)
        if problem is not None:
            raise DeviceError(f"device {candidate.device}: {problem}; use --device cpu to run without it")
    return graph.reference(candidate.device, candidate.precision)
