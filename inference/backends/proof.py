"""A tile and what the eager network makes of it: the question that every other engine is asked before it is used."""

from __future__ import annotations

import base64
from dataclasses import dataclass

import numpy as np

from configs.schema import PredictConfig
from inference.backends.base import Backend, BackendError

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
