"""Test-time augmentation: the mean over a picture's four mirrorings."""

from __future__ import annotations

import numpy as np

from inference.tiling import TileFunction

_MIRRORINGS = ((), (3,), (2,), (2, 3))


def mean_over_flips(function: TileFunction) -> TileFunction:
    """The mean of `function` over a tile as it is, mirrored left-right, upside down, and both.

    Args:
        function: maps [1, C, h, w] to float32 [1, K, h, w].

    Returns:
        A function of the same kind, for four times the work; each result is mirrored back before it counts.
    """

    def average(tile: np.ndarray) -> np.ndarray:
        total: np.ndarray | None = None
        for axes in _MIRRORINGS:
            result = np.flip(function(np.ascontiguousarray(np.flip(tile, axes))), axes)
            total = result.copy() if total is None else np.add(total, result, out=total)
        return total / np.float32(len(_MIRRORINGS))

    return average
