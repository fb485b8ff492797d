"""The interface of everything that runs the network on a tile, and what all such engines share.

Nothing here imports an engine.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import Generic, Protocol, TypeVar

import numpy as np

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
