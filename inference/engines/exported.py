"""Exported networks on the disk, each made once: found beside the weights or in the cache, or written there.

An ONNX file has a JSON file of notes beside it (`model.onnx.json`): what it was made from, its checksum, and a proof,
what the eager network made of a small tile. So whoever runs it can prove the engine without Paddle, and a file that is
torn, foreign or of another version of this project is never believed. In the cache the name holds the fingerprint as
well; files are written whole or not at all, so that processes at work at the same time can share it, and the oldest go
first when it grows beyond `LIMIT_BYTES`.
"""

from __future__ import annotations

import functools
import hashlib
import json
import logging
import os
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from configs.schema import PredictConfig
from inference.engines.runtimes import BackendError, EagerNetwork, Engine
from models.weights import Weights, network_of
from utils.files import remove_leftovers, write_bytes, write_text
from utils.machine import resolve_device, start_paddle

FOLDER_VARIABLE = "UNCOVER_CACHE"
LIMIT_BYTES = 2 << 30
# Largest difference from the eager network, in units of white (or of the largest output, where that is more): an
# engine in fp32 is off by 1e-6, one in bf16 by 4e-3, and one that computes something else by a tenth.
LIMITS = {"fp32": 1e-3, "bf16": 2e-2, "fp16": 2e-2}
# In onnxruntime a map is as large as TLC's window while its means are taken: half a gigabyte at this side.
LARGEST_WINDOW = 2048

_ROOT = Path(__file__).resolve().parents[2]
# How many rows and columns of an output a proof keeps: enough to meet every part of the network, little to store.
_KEPT = (48, 9)
_ENTRY = re.compile(r"[0-9a-f]{24}-\w+\.onnx\.json")
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Proof:
    """What the eager network made of a random tile: the question that every other engine is asked before it is used.

    `samples`, float32 [channels, rows, columns], are the output at evenly spaced pixels, the corners among them.
    """

    height: int
    width: int
    samples: np.ndarray
    inputs: int = 3  # channels of the tile

    @classmethod
    def of(
        cls, reference: Engine, height: int, width: int, kept: tuple[int, int] = _KEPT, inputs: int = 3
    ) -> Proof:
        """Asks `reference`, and keeps at most so many rows and columns of its answer."""
        rows, columns = min(height, kept[0]), min(width, kept[1])
        return cls(height, width, _samples(reference(random_tile(height, width, inputs)), rows, columns), inputs)

    @classmethod
    def from_json(cls, value: Sequence[Any]) -> Proof:
        """Reads what `to_json` wrote; ValueError or TypeError for something else."""
        height, width, samples, inputs = value
        return cls(int(height), int(width), np.array(samples, np.float32), int(inputs))

    def to_json(self) -> list[Any]:
        return [self.height, self.width, self.samples.tolist(), self.inputs]

    def difference(self, engine: Callable[[np.ndarray], np.ndarray]) -> float:
        """The largest difference, in units of white or of the largest expected value; infinite for another shape."""
        found = _samples(engine(random_tile(self.height, self.width, self.inputs)), *self.samples.shape[1:])
        if found.shape != self.samples.shape or not np.isfinite(found - self.samples).all():
            return float("inf")
        return float(np.abs(found - self.samples).max()) / max(1.0, float(np.abs(self.samples).max()))

    def check(self, engine: Engine) -> None:
        """Refuses an engine whose numbers are not those of the reference with a `BackendError`."""
        worst, limit = self.difference(engine), LIMITS[engine.precision]
        if not worst <= limit:
            raise BackendError(
                f"{engine.name} {engine.precision} on {engine.device} gives wrong numbers: off by {worst:.2g} from the "
                f"eager network on a tile of {self.height} x {self.width}, {limit:g} allowed"
            )


def random_tile(height: int, width: int, channels: int = 3) -> np.ndarray:
    """float32 [1, channels, height, width] in [0, 1), the same every time."""
    return np.random.default_rng(height * 65537 + width).random((1, channels, height, width), dtype=np.float32)


def _samples(output: np.ndarray, rows: int, columns: int) -> np.ndarray:
    vertical = np.linspace(0, output.shape[2] - 1, rows).round().astype(int)
    horizontal = np.linspace(0, output.shape[3] - 1, columns).round().astype(int)
    return np.ascontiguousarray(output[0][:, vertical[:, None], horizontal], np.float32)


@dataclass(frozen=True, eq=False)
class Graph:
    """A network of a file of weights as something that can be exported: `nafnet` or `locator`; or `restormer`, which
    runs in eager Paddle only.

    Attributes:
        name: one word for the names of files.
        settings: of prediction, of which TLC's windows count; None for a locator.
        proof_size: (height, width) of a tile that is cheap to run and meets every part of the network.
        beside: where an exported file may lie that was handed over with the weights; None where there is no place.
    """

    name: str
    weights: Weights
    settings: PredictConfig | None
    proof_size: tuple[int, int]
    beside: Path | None

    @classmethod
    def nafnet(cls, weights: Weights, settings: PredictConfig) -> Graph:
        """Of the network that restores."""
        if "dim" in weights.model:
            return cls("restormer", weights, settings, (64, 64), None)
        # Odd, and still higher than TLC's window, so that its means are local ones.
        height = (min(int(settings.tlc_train_size * settings.tlc_ratio), 1024) + 17) | 1
        return cls("nafnet", weights, settings, (height, 41), weights.file and weights.file.with_name("model.onnx"))

    @classmethod
    def locator(cls, weights: Weights) -> Graph:
        beside = weights.file and weights.file.with_name("locator.onnx")
        return cls("locator", weights.locator, None, (96, 64), beside)

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
        # Proofs, which are made here, are part of what is exported.
        for file in (f"models/{self.name}", "models/tlc", "inference/engines/onnx_graph", "inference/engines/exported"):
            digest.update((_ROOT / f"{file}.py").read_bytes())
        return digest.hexdigest()

    def reference(self, device: str = "cpu", precision: str = "fp32") -> EagerNetwork:
        """The network in eager Paddle, whose current device `device` becomes."""
        start_paddle()
        device = resolve_device(device)
        return EagerNetwork(network_of(self.weights), self.settings, device, precision)


@dataclass(frozen=True)
class OnnxFile:
    """An exported network with its notes."""

    content: bytes
    fingerprint: str  # `Graph.fingerprint` of what it was made from
    gated: bool  # as a `Backend` says it
    tlc: str
    proof: Proof

    def save(self, path: Path) -> None:
        """Writes both files. The notes first: who comes between finds nothing, instead of half of it."""
        notes = {
            "sha256": hashlib.sha256(self.content).hexdigest(), "fingerprint": self.fingerprint, "gated": self.gated,
            "tlc": self.tlc, "proof": self.proof.to_json(),
        }  # fmt: skip
        write_text(notes_of(path), json.dumps(notes))
        write_bytes(path, self.content)

    @classmethod
    def load(cls, path: Path) -> OnnxFile:
        """Reads both files; OSError without an ONNX file, ValueError with the reason where it cannot be believed."""
        content, notes_file = path.read_bytes(), notes_of(path)
        try:
            notes = json.loads(notes_file.read_text("utf-8"))
            proof = Proof.from_json(notes["proof"])
            file = cls(content, notes["fingerprint"], notes["gated"], notes["tlc"], proof)
            checksum = notes["sha256"]
        except OSError as error:
            raise ValueError(f"{notes_file.name} is not beside it") from error
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{notes_file.name} is torn, or of another version of this project") from error
        if checksum != hashlib.sha256(content).hexdigest():
            raise ValueError(f"torn, or not the file that {notes_file.name} is about")
        return file


def notes_of(path: Path) -> Path:
    """The JSON file of an ONNX file."""
    return path.with_name(f"{path.name}.json")


def make(graph: Graph) -> OnnxFile:
    """Exports a network for any size of tile, with Paddle and onnx; else `BackendError`."""
    if graph.name == "restormer":
        raise BackendError("a Restormer is not exported; it runs with backend paddle")
    window = graph.settings and int(graph.settings.tlc_train_size * graph.settings.tlc_ratio)
    if window and window > LARGEST_WINDOW:
        raise BackendError(f"exported networks have TLC windows of {LARGEST_WINDOW} pixels at most, and {window} are "
                           "asked for; take tlc_ratio 0 (the mean over the whole tile), or backend paddle")
    try:
        reference = graph.reference()
        from inference.engines.onnx_graph import build_onnx
    except ImportError as error:
        raise BackendError(f"no exported network is at hand, and none can be made here ({error}); install the package "
                           "onnx, or put the .onnx and .onnx.json of `python -m inference.export` beside the weights"
                           ) from error
    proof = Proof.of(reference, *graph.proof_size, inputs=graph.inputs)
    return OnnxFile(build_onnx(reference.network), graph.fingerprint, reference.gated, reference.tlc, proof)


def find(graph: Graph) -> OnnxFile:
    """The network as ONNX for any size: the file beside the weights, the cache's, or a new one for there."""
    cached = cache_folder() / f"{graph.fingerprint[:24]}-{graph.name}.onnx"
    for place in filter(None, (graph.beside, cached)):
        try:
            found = OnnxFile.load(place)
            if found.fingerprint != graph.fingerprint:
                raise ValueError("made from other weights, for other settings, or by another version of this project")
        except OSError:
            continue
        except ValueError as error:
            _log.warning("%s is not used: %s; it is made again (python -m inference.export)", place, error)
            continue
        return found
    made = make(graph)
    try:
        made.save(cached)
        prune(cached.parent, keep=notes_of(cached))
    except OSError as error:
        _log.warning(
            "the exported network is not kept: %s cannot be written (%s); set %s to a folder that can",
            cached, error.strerror or error, FOLDER_VARIABLE,
        )  # fmt: skip
    return made


def cache_folder() -> Path:
    """Where exports are kept: $UNCOVER_CACHE, else uncover/ in $XDG_CACHE_HOME or ~/.cache; it need not exist."""
    named = os.environ.get(FOLDER_VARIABLE)
    if named:
        return Path(named)
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    # A user without a home keeps nothing.
    return Path(os.devnull if base.startswith("~") else base, "uncover")


def prune(folder: Path, keep: Path, limit: int = LIMIT_BYTES) -> None:
    """Removes what killed processes left behind, and the oldest entries until `limit` bytes are left.

    Files of other names are nobody's business here. The entry of the notes `keep` stays in any case.
    """
    # In a shared folder a file may be another user's, who then keeps it, or go at any time.
    with suppress(OSError):
        remove_leftovers(folder)
    entries = []
    for path in filter(lambda path: _ENTRY.fullmatch(path.name), folder.iterdir()):
        with suppress(OSError):
            pair = [file for file in (path.with_suffix(""), path) if file.exists()]
            entries.append((path.stat().st_mtime, path, pair, sum(file.stat().st_size for file in pair)))
    total = sum(size for *_, size in entries)
    for _, path, pair, size in sorted(entries):
        if total > limit and path != keep:
            with suppress(OSError):
                for file in pair:
                    file.unlink()
                total -= size
