"""Opening what runs the network: by name, or the fastest that works here, with the reason for every detour."""

from __future__ import annotations

import importlib
import importlib.util
import logging
from collections.abc import Iterator
from dataclasses import dataclass

from configs.schema import PredictConfig
from inference.engines.base import Backend, BackendError, CheckedBackend
from inference.engines.trial import hush_tracer
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

# By kind of device, in the order of their speed there. "inference" is opened by name only: every size of tile is
# exported anew and tried out in a process of its own, which takes many seconds.
ORDER = {"gpu": ("paddle", "onnxruntime"), "cpu": ("openvino", "onnxruntime", "paddle")}
# The first precision is that of "auto".
PRECISIONS = {
    ("paddle", "cpu"): ("fp32",),
    ("paddle", "gpu"): ("fp32", "bf16", "fp16"),
    ("inference", "cpu"): ("fp32",),
    ("inference", "gpu"): ("fp32",),
    ("onnxruntime", "cpu"): ("fp32",),
    ("onnxruntime", "gpu"): ("fp32",),
    ("openvino", "cpu"): ("fp32", "bf16"),
}
BACKENDS = ("auto", *dict.fromkeys(name for name, _ in PRECISIONS))
ALL_PRECISIONS = ("auto", "fp32", "bf16", "fp16")

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Candidate:
    name: str
    device: str
    precision: str

    def __str__(self) -> str:
        return f"{self.name} {self.precision} on {self.device}"


def open_backend(
    weights: Weights,
    settings: PredictConfig,
    backend: str = "auto",
    precision: str = "auto",
    device: str = "auto",
    threads: int | None = None,
) -> Backend:
    """Opens an engine, proves it on a small tile against the eager network, and guards it (`CheckedBackend`).

    Args:
        backend: "paddle" (eager, the reference), "inference" (Paddle's static predictor), "onnxruntime", "openvino",
            or "auto": on a GPU that works, otherwise the fastest on the CPU; see `ORDER`.
        precision: "fp32", "bf16", "fp16" or "auto"; see `PRECISIONS`.
        device: "cpu", "gpu", "gpu:INDEX" or "auto".
        threads: of the CPU; None takes OMP_NUM_THREADS, and where that is not set all cores that this process may use.
            Paddle reads the number when it is first imported.

    Raises:
        BackendError: an unknown name, a combination that does not exist, or an engine that was asked for by name and
            is not installed, does not start or gives wrong numbers.
        DeviceError: a GPU was asked for by name and cannot be used.
        ValueError: weights that describe no network of this project, or do not fit it.
    """
    _check_names(backend, precision, device)
    candidates = list(_candidates(backend, precision, device))
    if not candidates:
        raise BackendError(_no_such_combination(backend, precision, device))
    failure = DeviceError if device.startswith("gpu") else BackendError
    problems = []
    could_use_gpu = backend == "auto" or (backend, "gpu") in PRECISIONS
    if device == "auto" and could_use_gpu and not any(item.device != "cpu" for item in candidates) and gpu_shows():
        _log.warning(
            "the GPU of this machine is not used: what is installed here runs on the CPU only; install a GPU build "
            "(requirements.txt), or take device cpu"
        )
    for candidate in candidates:
        try:
            return _open_checked(candidate, weights, settings, threads)
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


class _NotInstalledError(BackendError):
    """The engine's package is missing."""


def _check_names(backend: str, precision: str, device: str) -> None:
    for what, value, known in (("backend", backend, BACKENDS), ("precision", precision, ALL_PRECISIONS)):
        if value not in known:
            raise BackendError(f"{what} {value!r}: unknown, expected one of {', '.join(known)}")
    check_device(device)


def _candidates(backend: str, precision: str, device: str) -> Iterator[_Candidate]:
    """What to try, in order; what exists nowhere is left out."""
    for kind in ("gpu", "cpu"):
        if device != "auto" and not device.startswith(kind):
            continue
        for name in ORDER[kind] if backend == "auto" else (backend,):
            known = PRECISIONS.get((name, kind), ())
            if known and (precision == "auto" or precision in known) and _worth_asking(name, kind, device):
                place = gpu_named(device) if kind == "gpu" else "cpu"
                yield _Candidate(name, place, known[0] if precision == "auto" else precision)


def _worth_asking(name: str, kind: str, device: str) -> bool:
    """False for a GPU that nobody named, of a package without GPU support: installed so on purpose, and no detour."""
    if kind == "cpu" or device != "auto":
        return True
    if name != "onnxruntime":
        return may_have_gpu()
    if importlib.util.find_spec("onnxruntime") is None:
        return False
    return "CUDAExecutionProvider" in importlib.import_module("onnxruntime").get_available_providers()


def _no_such_combination(backend: str, precision: str, device: str) -> str:
    asked = f"backend {backend} with precision {precision} on device {device}: there is no such combination"
    known = [
        f"{name} on {kind}: {', '.join(precisions)}"
        for (name, kind), precisions in PRECISIONS.items()
        if backend in ("auto", name)
    ]
    return f"{asked}; there is {'; '.join(known)}"


def _open_checked(candidate: _Candidate, weights: Weights, settings: PredictConfig, threads: int | None) -> Backend:
    engine = _open(candidate, weights, settings, threads)
    if candidate.precision == "fp32":
        return CheckedBackend(engine)
    exact = _Candidate(candidate.name, candidate.device, "fp32")
    return CheckedBackend(engine, lambda: _open(exact, weights, settings, threads))


def _open(candidate: _Candidate, weights: Weights, settings: PredictConfig, threads: int | None) -> Backend:
    """The engine, proved.

    Raises:
        BackendError, DeviceError, or what the engine raises.
    """
    if candidate.name in ("paddle", "inference"):
        return _open_paddle(candidate, weights, settings, threads)
    if importlib.util.find_spec(candidate.name) is None:
        raise _NotInstalledError(f"the package {candidate.name} is not installed")
    from inference.engines import cache as onnx_files

    # Imported before the file is looked for: none is made for an engine that does not start.
    if candidate.name == "onnxruntime":
        from inference.engines.onnx_runtime import OnnxRuntimeBackend as Engine

        asked = candidate.device
    else:
        from inference.engines.openvino_cpu import OpenVinoBackend as Engine

        asked = candidate.precision
    file = onnx_files.find(weights, settings)
    engine = Engine(file.content, file.gated, file.tlc, asked, threads or default_threads())
    file.proof.check(engine)
    return engine


def _open_paddle(candidate: _Candidate, weights: Weights, settings: PredictConfig, threads: int | None) -> Backend:
    if candidate.name == "inference":
        hush_tracer()
    threads = start_paddle(threads)
    if candidate.device != "cpu":
        problem = gpu_problem(candidate.device)
        if problem is not None:
            raise DeviceError(f"device {candidate.device}: {problem}; use --device cpu to run without it")
    if candidate.name == "paddle":
        from inference.engines.eager import EagerNetwork

        return EagerNetwork.from_weights(weights, settings, candidate.device, candidate.precision)
    from inference.engines.static import StaticBackend

    return StaticBackend(weights, settings, candidate.device, threads)
