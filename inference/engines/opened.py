"""A network of a file of weights, opened: exported once, proved, and run by the fastest engine that works here.

An ONNX file has a JSON file of notes beside it (`model.onnx.json`): what it was made from, its checksum, and a proof.
So whoever runs it can prove the engine without Paddle, and a file that is torn, foreign or of another version of this
project is never believed. Files are written whole or not at all, so that processes can share the cache.
"""

import functools
import hashlib
import json
import logging
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np

from configs.schema import PredictConfig
from inference.engines import ONNX_ENGINES, Backend, BackendError, EagerNetwork, Proof, load
from models.weights import Weights, network_of
from utils import machine
from utils.files import remove_leftovers, write_bytes, write_text
from utils.machine import DeviceError, check_device, default_threads, gpu_named, gpu_shows, resolve_device, start_paddle

# By kind of device, in the order of their speed there; of the precisions, the first one is that of "auto".
PRECISIONS = {
    "gpu": {"paddle": ("fp32", "bf16", "fp16")},
    "cpu": {"openvino": ("fp32", "bf16"), "onnxruntime": ("fp32",), "paddle": ("fp32",)},
}
FOLDER_VARIABLE = "UNCOVER_CACHE"
# In onnxruntime a map is as large as TLC's window while its means are taken: half a gigabyte at this side.
LARGEST_WINDOW = 2048
# Of an export and the engine opened after it: Paddle and a locator take 262 MB, the gated network of width 16 378.
_EXPORT_BYTES = 350e6

_ROOT = Path(__file__).resolve().parents[2]
_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Graph:
    """A network of a file of weights as something that can be exported: `nafnet` or `locator`; or `restormer`, which
    runs in eager Paddle only.
    """

    name: str
    weights: Weights
    settings: PredictConfig | None  # of prediction, of which TLC's windows count; None for a locator
    proof_size: tuple[int, int]  # of a tile that is cheap to run and meets every part of the network
    beside: Path | None  # where an exported file may lie that was handed over with the weights

    @classmethod
    def nafnet(cls, weights: Weights, settings: PredictConfig) -> Self:
        """Of the network that restores."""
        if "dim" in weights.model:
            return cls("restormer", weights, settings, (64, 64), None)
        # Odd, and still higher than TLC's window, so that its means are local ones.
        height = (min(int(settings.tlc_train_size * settings.tlc_ratio), 1024) + 17) | 1
        return cls("nafnet", weights, settings, (height, 41), weights.file and weights.file.with_name("model.onnx"))

    @classmethod
    def locator(cls, weights: Weights) -> Self:
        return cls("locator", weights.locator, None, (96, 64), weights.file and weights.file.with_name("locator.onnx"))

    @property
    def inputs(self) -> int:
        """How many channels a tile has."""
        return 4 if self.weights.model.get("mask_input") else 3

    @functools.cached_property
    def fingerprint(self) -> str:
        """SHA-256 of all that decides about the numbers: parameters, shape, windows, the code of this project."""
        tlc = self.settings
        windows = [tlc.tlc_train_size, tlc.tlc_ratio] if tlc and tlc.tlc_ratio > 0 else None
        digest = hashlib.sha256(json.dumps([self.weights.model, windows], sort_keys=True).encode())
        for name, array in sorted(self.weights.params.items()):
            digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
            digest.update(array.tobytes())
        # Proofs, and so the engines, are part of what is exported.
        engines = (f"inference/engines/{name}" for name in ("__init__", "onnx_graph", "opened"))
        for file in (f"models/{self.name}", *engines):
            digest.update((_ROOT / f"{file}.py").read_bytes())
        return digest.hexdigest()

    def reference(self, device: str = "cpu", precision: str = "fp32") -> EagerNetwork:
        """The network in eager Paddle, whose current device `device` becomes."""
        start_paddle()
        device = resolve_device(device)  # before the network is made there
        return EagerNetwork(network_of(self.weights), self.settings, device, precision)


class OnnxFile(NamedTuple):
    """An exported network with its notes."""

    content: bytes
    fingerprint: str  # `Graph.fingerprint` of what it was made from
    gated: bool  # as a `Backend` says it
    tlc: str
    proof: Proof

    def save(self, path: Path) -> None:
        """Writes both files. The notes first: who comes between finds nothing, instead of half of it."""
        notes = self._asdict() | {"proof": [*self.proof[:3], self.proof.samples.tolist()]}
        notes["sha256"] = hashlib.sha256(notes.pop("content")).hexdigest()
        write_text(notes_of(path), json.dumps(notes))
        write_bytes(path, self.content)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Reads both files; OSError without an ONNX file, ValueError with the reason where it cannot be believed."""
        content, notes_file = path.read_bytes(), notes_of(path)
        try:
            notes = json.loads(notes_file.read_text("utf-8"))
            checksum, (*tile, samples) = notes.pop("sha256"), notes.pop("proof")
            file = cls(content, proof=Proof(*tile, np.array(samples, np.float32)), **notes)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{notes_file.name} is not beside it, torn, or of another version of this project"
                             ) from error
        if checksum != hashlib.sha256(content).hexdigest():
            raise ValueError(f"torn, or not the file that {notes_file.name} is about")
        return file


def notes_of(path: Path) -> Path:
    """The JSON file of an ONNX file."""
    return path.with_name(f"{path.name}.json")


def make(graph: Graph) -> OnnxFile:
    """Exports a network for any size of tile, with Paddle and onnx; else `BackendError`, or MemoryError before that."""
    if graph.name == "restormer":
        raise BackendError("a Restormer is not exported; it runs with backend paddle")
    window = graph.settings and int(graph.settings.tlc_train_size * graph.settings.tlc_ratio)
    if window and window > LARGEST_WINDOW:
        raise BackendError(f"exported networks have TLC windows of {LARGEST_WINDOW} pixels at most, and {window} are "
                           "asked for; take tlc_ratio 0 (the mean over the whole tile), or backend paddle")
    if problem := machine.lack_of_memory(_EXPORT_BYTES):
        raise MemoryError(f"memory does not suffice to export the {graph.name}: {problem}. Close other programs, raise "
                          "the memory limit, or export it on a larger machine: python -m inference.export, and its "
                          ".onnx and .onnx.json beside the weights")
    try:
        reference = graph.reference()
        from inference.engines.onnx_graph import build_onnx
    except ImportError as error:
        raise BackendError(f"no exported network is at hand, and none can be made here ({error}); install the package "
                           "onnx, or put the .onnx and .onnx.json of `python -m inference.export` beside the weights"
                           ) from error
    proof = Proof.of(reference, *graph.proof_size, graph.inputs)
    return OnnxFile(build_onnx(reference.network), graph.fingerprint, reference.gated, reference.tlc, proof)


def find(graph: Graph) -> OnnxFile:
    """The network as ONNX for any size: the file beside the weights, the cache's, or a new one for there."""
    cached = cache_folder() / f"{graph.fingerprint[:24]}-{graph.name}.onnx"
    for place in filter(None, (graph.beside, cached)):
        try:
            found, problem = OnnxFile.load(place), "made from other weights, for other settings, or by another version"
            if found.fingerprint == graph.fingerprint:
                return found
        except OSError:
            continue
        except ValueError as error:
            problem = str(error)
        _log.warning("%s is not used: %s; it is made again (python -m inference.export)", place, problem)
    made = make(graph)
    with suppress(OSError):  # In a shared folder it may be another user's.
        remove_leftovers(cached.parent)
    try:
        made.save(cached)
    except OSError as error:
        _log.warning("the exported network is not kept: %s cannot be written (%s); set %s to a folder that can",
                     cached, error.strerror or error, FOLDER_VARIABLE)  # fmt: skip
    return made


def cache_folder() -> Path:
    """Where exports are kept: $UNCOVER_CACHE, else uncover/ in $XDG_CACHE_HOME or ~/.cache; it need not exist."""
    if named := os.environ.get(FOLDER_VARIABLE):
        return Path(named)
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    # A user without a home keeps nothing.
    return Path(os.devnull if base.startswith("~") else base, "uncover")


def open_backend(
    graph: Graph, backend: str = "auto", precision: str = "auto", device: str = "auto", threads: int | None = None
) -> Backend:
    """Opens an engine, and proves it on a small tile against the eager network.

    `backend` and `precision` are as in `PRECISIONS`, or "auto": a GPU that works, otherwise the fastest on the CPU, in
    fp32; `device` is "cpu", "gpu", "gpu:INDEX" or "auto". `threads` of the CPU: None takes OMP_NUM_THREADS, or all
    cores; Paddle reads the number when it is first imported.

    BackendError: no such combination, or what was asked for by name is not installed, does not start or gives wrong
    numbers; DeviceError: a GPU was asked for by name and cannot be used; ValueError: weights that are no network's.
    """
    if graph.name == "restormer" and backend == "auto":
        backend = "paddle"  # the only one
    candidates, problems = _candidates(backend, precision, device), []
    for name, place, exactly in candidates:
        try:
            return _open_checked(graph, name, place, exactly, threads)
        except (ValueError, MemoryError):
            # Weights that do not fit, or a machine that is too small: no other engine will do better.
            raise
        except Exception as error:
            missing = isinstance(error, ModuleNotFoundError) and error.name == name
            reason = str(error) if isinstance(error, BackendError | DeviceError) else f"{type(error).__name__}: {error}"
            reason = f"{name} is not installed" if missing else reason
            problems.append(f"{name} {exactly} on {place} is not used: {reason}")
            if len(problems) == len(candidates):
                raise (DeviceError if device.startswith("gpu") else BackendError)(". ".join(problems)) from error
            # What was never installed is no surprise; what is there and does not work is.
            _log.log(logging.INFO if missing else logging.WARNING, "%s", problems[-1])


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


def _open_checked(graph: Graph, name: str, device: str, precision: str, threads: int | None) -> Backend:
    if name == "paddle":
        start_paddle(threads)
        return graph.reference(device, precision)
    # Imported before the file is looked for: none is made for an engine that does not start.
    load(name)
    file = find(graph)
    engine = ONNX_ENGINES[name](file.content, precision, threads or default_threads())
    engine.gated, engine.tlc = file.gated, file.tlc
    file.proof.check(engine)
    return engine
