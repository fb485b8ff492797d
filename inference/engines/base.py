"""What every engine has in common: its interface, what it refuses, finite numbers, and the proof that they are right.

An engine is a function of tiles. Nothing here imports one: whoever opens an engine does (`inference.engines.choice`).
"""

from __future__ import annotations

import base64
import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

# What the exported network's input and output are called.
INPUT, OUTPUT = "tile", "restored"

# Words by which engines report that memory ran out, in lower case: Paddle, CUDA, onnxruntime, OpenVINO and C++.
_OUT_OF_MEMORY = (
    "out of memory", "resourceexhausted", "resource exhausted", "cannot allocate", "failed to allocate",
    "fail to alloc", "could not allocate", "bad_alloc", "bad allocation", "cudaerrormemoryallocation", "alloc_failed",
)  # fmt: skip

# Largest difference from the eager network, in units of white (or of the largest output, where that is more): an
# engine in fp32 is off by 1e-6, one in bf16 by 4e-3, and one that computes something else by a tenth.
LIMITS = {"fp32": 1e-3, "bf16": 2e-2, "fp16": 2e-2}

# How many rows and columns of an output a proof keeps: enough to meet every part of the network, little to store.
_KEPT = (48, 9)

_log = logging.getLogger(__name__)


class BackendError(RuntimeError):
    """An engine cannot be used as asked for; the message says which, why, and what to do."""


class Engine(Protocol):
    """A network as a function of tiles; safe to call from several threads.

    Attributes:
        name: "paddle", "onnxruntime" or "openvino".
        device: "cpu" or "gpu:INDEX".
        precision: "fp32", "bf16" or "fp16".
    """

    name: str
    device: str
    precision: str

    def __call__(self, tile: np.ndarray) -> np.ndarray:
        """Runs one tile through the network.

        Args:
            tile: float32, C-contiguous, [1, 3, h, w], RGB in [0, 1], with any h, w >= 1.

        Returns:
            float32 [1, channels, h, w]. Of NAFNet: the restored colours, before the gate and not clipped, and with a
            gate a fourth channel, the probability that something covers the page.

        Raises:
            ValueError: another array.
            MemoryError: memory ran out, in whatever way the engine says it; a smaller tile may work.
        """
        ...


class Backend(Engine, Protocol):
    """An engine that runs NAFNet, or a locator, whose output is one channel: the logit of an occluder.

    Attributes:
        gated: NAFNet has a gate, and the output a fourth channel.
        tlc: TLC's windows in words.
    """

    gated: bool
    tlc: str


def check_tile(tile: np.ndarray) -> None:
    """Refuses what no engine takes with a `ValueError`."""
    if tile.dtype != np.float32 or tile.ndim != 4 or tile.shape[:2] != (1, 3) or tile.size == 0:
        raise ValueError(f"expected a tile of float32 [1, 3, height, width], got {tile.dtype} {list(tile.shape)}")


@contextmanager
def memory_errors(name: str, tile: np.ndarray) -> Iterator[None]:
    """Around an engine's run: its own words for "out of memory" become `MemoryError` with the tile's size."""
    try:
        yield
    except Exception as error:
        text = str(error).lower()
        if not isinstance(error, MemoryError) and not any(words in text for words in _OUT_OF_MEMORY):
            raise
        height, width = tile.shape[-2:]
        raise MemoryError(f"{name}: memory ran out on a tile of {height} x {width} pixels") from error


class CheckedBackend:
    """A `Backend` around an engine that never returns NaN or infinity: such tiles are repeated in fp32.

    Args:
        engine: does the work.
        gated, tlc: of `Backend`.
        open_fp32: opens the same network in fp32, called at most once and only when it is needed; None when `engine`
            computes in fp32 itself. What is not finite there is a `FloatingPointError`.
    """

    def __init__(
        self, engine: Engine, gated: bool, tlc: str, open_fp32: Callable[[], Engine] | None = None
    ) -> None:
        self.name, self.device, self.precision = engine.name, engine.device, engine.precision
        self.gated, self.tlc = gated, tlc
        self._engine, self._open_fp32 = engine, open_fp32
        self._fp32: Engine | None = None
        self._lock = threading.Lock()

    def __call__(self, tile: np.ndarray) -> np.ndarray:
        engine, output = self._engine, self._engine(tile)
        if self._open_fp32 is not None and not np.isfinite(output).all():
            engine = self._full_precision(tile)
            output = engine(tile)
        if not np.isfinite(output).all():
            raise FloatingPointError(_not_finite(engine, tile))
        return output

    def _full_precision(self, tile: np.ndarray) -> Engine:
        with self._lock:
            if self._fp32 is None:
                _log.warning("%s; such tiles are repeated in fp32", _not_finite(self._engine, tile))
                self._fp32 = self._open_fp32()
            return self._fp32


def _not_finite(engine: Engine, tile: np.ndarray) -> str:
    finite = "" if np.isfinite(tile).all() else " (nor were those of the tile itself)"
    height, width = tile.shape[-2:]
    return (
        f"{engine.name} in {engine.precision} on {engine.device}: the values for a tile of {height} x {width} are not "
        f"finite{finite}"
    )


@dataclass(frozen=True)
class Proof:
    """What the eager network made of a random tile: the question that every other engine is asked before it is used.

    Attributes:
        height, width: of the tile.
        samples: float32 [channels, rows, columns], the output at evenly spaced pixels, the corners among them; all of
            it where rows and columns are those of the tile.
    """

    height: int
    width: int
    samples: np.ndarray

    @classmethod
    def of(cls, reference: Engine, height: int, width: int, whole: bool = False) -> Proof:
        """Asks `reference`; `whole` keeps every pixel of the answer."""
        rows, columns = (height, width) if whole else (min(height, _KEPT[0]), min(width, _KEPT[1]))
        return cls(height, width, _samples(reference(random_tile(height, width)), rows, columns))

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Proof:
        """Reads what `to_json` wrote; ValueError, TypeError or KeyError for something else."""
        samples = np.frombuffer(base64.b64decode(value["samples"], validate=True), np.float32)
        return cls(int(value["height"]), int(value["width"]), samples.reshape(value["shape"]))

    def to_json(self) -> dict[str, Any]:
        samples = base64.b64encode(self.samples.tobytes()).decode("ascii")
        return {"height": self.height, "width": self.width, "shape": self.samples.shape, "samples": samples}

    def difference(self, engine: Engine) -> float:
        """The largest difference, in units of white or of the largest expected value; infinite for another shape."""
        found = _samples(engine(random_tile(self.height, self.width)), *self.samples.shape[1:])
        if found.shape != self.samples.shape:
            return float("inf")
        worst = float(np.abs(found - self.samples).max()) / max(1.0, float(np.abs(self.samples).max()))
        return worst if np.isfinite(worst) else float("inf")

    def check(self, engine: Engine) -> None:
        """Refuses an engine whose numbers are not those of the reference with a `BackendError`."""
        worst, limit = self.difference(engine), LIMITS[engine.precision]
        if not worst <= limit:
            raise BackendError(
                f"{engine.name} {engine.precision} on {engine.device} gives wrong numbers: off by {worst:.2g} from the "
                f"eager network on a tile of {self.height} x {self.width}, {limit:g} allowed"
            )


def random_tile(height: int, width: int) -> np.ndarray:
    """float32 [1, 3, height, width] in [0, 1), the same every time."""
    return np.random.default_rng(height * 65537 + width).random((1, 3, height, width), dtype=np.float32)


def _samples(output: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """float32 [channels, rows, columns] of [1, channels, h, w], the first and the last row and column among them."""
    vertical, horizontal = (
        np.linspace(0, side - 1, count).round().astype(int)
        for side, count in zip(output.shape[2:], (rows, columns), strict=True)
    )
    return np.ascontiguousarray(output[0][:, vertical[:, None], horizontal], np.float32)
