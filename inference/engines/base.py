"""The interface of everything that runs the network on a tile, and what all such engines share.

Nothing here imports an engine.

Numbers that are none, caught: reduced precision is repeated in fp32, fp32 is an error.

A tile and what the eager network makes of it: the question that every other engine is asked before it is used.
"""

from __future__ import annotations

import base64
import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import numpy as np

from configs.schema import PredictConfig

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")

# Words by which engines report that memory ran out, in lower case: Paddle, CUDA, onnxruntime, OpenVINO and C++.
_OUT_OF_MEMORY = (
    "out of memory",
    "resourceexhausted",
    "resource exhausted",
    "cannot allocate",
    "failed to allocate",
    "fail to alloc",
    "could not allocate",
    "bad_alloc",
    "bad allocation",
    "cudaerrormemoryallocation",
    "alloc_failed",
)

# What the exported network's input and output are called; `inference.engines.onnx_graph.build_onnx` describes both.
INPUT = "tile"
OUTPUT = "restored"


class BackendError(RuntimeError):
    """An engine cannot be used as asked for; the message says which, why, and what to do."""


class Backend(Protocol):
    """The network as a function of tiles; safe to call from several threads.

    Attributes:
        name: "paddle", "inference", "onnxruntime" or "openvino".
        device: "cpu" or "gpu:INDEX".
        precision: "fp32", "bf16" or "fp16".
        gated: the network has a gate, and the output a fourth channel.
        tlc: TLC's windows in words.
    """

    name: str
    device: str
    precision: str
    gated: bool
    tlc: str

    def __call__(self, tile: np.ndarray) -> np.ndarray:
        """Restores one tile.

        Args:
            tile: float32, C-contiguous, [1, 3, h, w] in [0, 1] with any h, w >= 1.

        Returns:
            float32 [1, 3, h, w], or [1, 4, h, w] with the mask probability last when gated. The three colours are the
            restored picture before the gate: inside the mask it is the better one, and the mask is decided on the
            whole picture and not here.

        Raises:
            MemoryError: memory ran out, in whatever way the engine says it; a smaller tile may work.
            FloatingPointError: the output is not finite although it was computed in fp32.
        """
        ...


def check_tile(tile: np.ndarray) -> None:
    """Refuses what no backend takes.

    Raises:
        ValueError: not float32 [1, 3, h, w] with at least one pixel.
    """
    if tile.dtype != np.float32 or tile.ndim != 4 or tile.shape[:2] != (1, 3) or tile.size == 0:
        raise ValueError(f"expected a tile of float32 [1, 3, height, width], got {tile.dtype} {list(tile.shape)}")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an engine's exception means that memory ran out, on the CPU or on a GPU."""
    text = str(error).lower()
    return isinstance(error, MemoryError) or any(words in text for words in _OUT_OF_MEMORY)


@contextmanager
def memory_errors(name: str, tile: np.ndarray) -> Iterator[None]:
    """Around an engine's run: its own words for "out of memory" become `MemoryError` with the tile's size."""
    try:
        yield
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        height, width = tile.shape[-2:]
        raise MemoryError(f"{name}: memory ran out on a tile of {height} x {width} pixels") from error


class RecentlyUsed(Generic[Key, Value]):
    """A few values by key, made when first asked for; the one that was not used for longest goes first.

    Not locked: its owner is.

    Args:
        make: makes the value of a key.
        limit: how many are kept, at least 1.
    """

    def __init__(self, make: Callable[[Key], Value], limit: int) -> None:
        self._make = make
        self._limit = limit
        self._values: OrderedDict[Key, Value] = OrderedDict()

    def __getitem__(self, key: Key) -> Value:
        if key in self._values:
            self._values.move_to_end(key)
            return self._values[key]
        while len(self._values) >= self._limit:
            # Dropped before the new one is made, so that there are never more than `limit` in memory.
            self._values.popitem(last=False)
        value = self._values[key] = self._make(key)
        return value

    def __len__(self) -> int:
        return len(self._values)

    def __contains__(self, key: Key) -> bool:
        return key in self._values


_log = logging.getLogger(__name__)


class CheckedBackend:
    """A `Backend` around another that never returns NaN or infinity.

    Args:
        backend: does the work.
        open_fp32: opens the same network in fp32, called at most once and only when it is needed; None when `backend`
            computes in fp32 itself.
    """

    def __init__(self, backend: Backend, open_fp32: Callable[[], Backend] | None = None) -> None:
        self.name, self.device, self.precision = backend.name, backend.device, backend.precision
        self.gated, self.tlc = backend.gated, backend.tlc
        self._backend = backend
        self._open_fp32 = open_fp32
        self._fp32: Backend | None = None
        self._lock = threading.Lock()

    def __call__(self, tile: np.ndarray) -> np.ndarray:
        output = self._backend(tile)
        if np.isfinite(output).all():
            return output
        if self._open_fp32 is None:
            raise FloatingPointError(self._problem(self._backend, tile))
        fallback = self._full_precision(tile)
        output = fallback(tile)
        if np.isfinite(output).all():
            return output
        raise FloatingPointError(self._problem(fallback, tile))

    def _full_precision(self, tile: np.ndarray) -> Backend:
        with self._lock:
            if self._fp32 is None:
                _log.warning("%s; such tiles are repeated in fp32", self._problem(self._backend, tile))
                self._fp32 = self._open_fp32()
            return self._fp32

    @staticmethod
    def _problem(backend: Backend, tile: np.ndarray) -> str:
        finite = "" if np.isfinite(tile).all() else " (nor were those of the tile itself)"
        height, width = tile.shape[-2:]
        return (
            f"{backend.name} in {backend.precision} on {backend.device}: the values for a tile of {height} x {width} "
            f"are not finite{finite}"
        )


# Largest difference from the eager network, in units of white (or of the largest output, where that is more): an
# engine in fp32 is off by 1e-6, one in bf16 by 4e-3, and one that computes something else by a tenth.
LIMITS = {"fp32": 1e-3, "bf16": 2e-2, "fp16": 2e-2}

# How many rows and columns of the output are kept: enough to meet every part of the network, little enough to store.
_KEPT = (48, 9)


def proof_size(settings: PredictConfig) -> tuple[int, int]:
    """(height, width) of a small odd tile that is still higher than TLC's window, so that its means are local ones."""
    window = int(settings.tlc_train_size * settings.tlc_ratio)
    return (min(window, 1024) + 17) | 1, 41


def random_tile(height: int, width: int) -> np.ndarray:
    """float32 [1, 3, height, width] in [0, 1), the same every time."""
    return np.random.default_rng(height * 65537 + width).random((1, 3, height, width), dtype=np.float32)


def difference(found: np.ndarray, expected: np.ndarray) -> float:
    """The largest difference, in units of white or of the largest expected value; infinite when the shapes differ."""
    if expected.size == 0:
        return 0.0
    if found.shape != expected.shape:
        return float("inf")
    worst = float(np.abs(found - expected).max()) / max(1.0, float(np.abs(expected).max()))
    return worst if np.isfinite(worst) else float("inf")


@dataclass(frozen=True)
class Proof:
    """What the reference made of `random_tile(height, width)`.

    Attributes:
        height, width: of the tile.
        samples: float32 [channels, rows, columns], the output at evenly spaced pixels, the corners among them; all
            of it where rows and columns are those of the tile.
    """

    height: int
    width: int
    samples: np.ndarray

    @classmethod
    def of(cls, reference: Backend, height: int, width: int, whole: bool = False) -> Proof:
        """Asks `reference`; `whole` keeps every pixel of the answer."""
        output = reference(random_tile(height, width))
        rows, columns = (height, width) if whole else (min(height, _KEPT[0]), min(width, _KEPT[1]))
        return cls(height, width, _samples(output, rows, columns))

    @classmethod
    def unanswered(cls, height: int, width: int) -> Proof:
        """A question to which every answer is right, for tiles on which asking the reference would cost too much."""
        return cls(height, width, np.empty((0, 0, 0), np.float32))

    @classmethod
    def from_text(cls, text: str) -> Proof:
        """Reads what `to_text` wrote.

        Raises:
            ValueError: something else.
        """
        height, width, channels, rows, columns, content = text.split(" ")
        samples = np.frombuffer(base64.b64decode(content, validate=True), np.float32)
        return cls(int(height), int(width), samples.reshape(int(channels), int(rows), int(columns)))

    def to_text(self) -> str:
        content = base64.b64encode(self.samples.tobytes()).decode("ascii")
        return " ".join(map(str, (self.height, self.width, *self.samples.shape, content)))

    def difference(self, backend: Backend) -> float:
        """How far `backend` is off: see `difference`."""
        output = backend(random_tile(self.height, self.width))
        return difference(_samples(output, *self.samples.shape[1:]), self.samples)

    def check(self, backend: Backend) -> None:
        """Runs the tile through `backend`.

        Raises:
            BackendError: the numbers are not those of the reference.
        """
        worst = self.difference(backend)
        if not worst <= LIMITS[backend.precision]:
            raise BackendError(
                f"{backend.name} {backend.precision} on {backend.device} gives wrong numbers: off by {worst:.2g} from "
                f"the eager network on a tile of {self.height} x {self.width}, {LIMITS[backend.precision]:g} allowed"
            )


def _samples(output: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """float32 [channels, rows, columns] of [1, channels, h, w], the first and the last row and column among them."""
    vertical, horizontal = (
        np.linspace(0, side - 1, count).round().astype(int)
        for side, count in zip(output.shape[2:], (rows, columns), strict=True)
    )
    return np.ascontiguousarray(output[0][:, vertical[:, None], horizontal], np.float32)
