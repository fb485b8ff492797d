"""Texture in place of paper where an occluder lies on gravel, cloth, wood or a printed picture: a piece of the same
area from beside the hole, moved as a whole.

As in shift-map editing (Y. Pritch, E. Kav-Venaki and S. Peleg, ICCV 2009), but with one shift for a hole, the one that
fits its rim best; a hole for which no piece is large enough is halved.
"""

from __future__ import annotations

import cv2
import numpy as np

# Below this many pixels a side, what is left of a hole stays as it is.
_SMALLEST = 12
# Shifts are looked for on a copy so many times smaller.
_COARSE = 4


def texture_over(page: np.ndarray, hole: np.ndarray, source: np.ndarray, light: np.ndarray, rim: int) -> None:
    """Copies texture into a hole.

    Args:
        page: float32 [h, w, 3], changed in the hole.
        hole, source: bool [h, w], where texture is wanted, and where it may come from.
        light: float32 [h, w, 3], the tone that it takes there.
        rim: what a piece must fit is so broad, in pixels.
    """
    count, labels, boxes, _ = cv2.connectedComponentsWithStats(hole.astype(np.uint8), connectivity=8)
    before = page - light
    for label, (left, top, width, height, _) in enumerate(boxes[1:count], 1):
        parts = [(top, top + height, left, left + width)]
        while parts:
            top, bottom, left, right = parts.pop()
            part = np.zeros_like(hole)
            part[top:bottom, left:right] = labels[top:bottom, left:right] == label
            if not part.any():
                continue
            shift = _best_shift(before, part, source, rim)
            if shift is not None:
                rows, columns = np.nonzero(part)
                page[rows, columns] = light[rows, columns] + before[rows + shift[0], columns + shift[1]]
            elif max(bottom - top, right - left) > 2 * _SMALLEST:
                tall, middle = bottom - top > right - left, ((top + bottom) // 2, (left + right) // 2)
                parts += (
                    [(top, middle[0], left, right), (middle[0], bottom, left, right)] if tall
                    else [(top, bottom, left, middle[1]), (top, bottom, middle[1], right)]
                )  # fmt: skip


def _best_shift(rest: np.ndarray, part: np.ndarray, source: np.ndarray, rim: int) -> tuple[int, int] | None:
    """(down, right) from a part of the hole to where its piece lies, all of it in the source; None if there is none."""
    ring = (cv2.dilate(part.astype(np.uint8), np.ones((2 * rim + 1, 2 * rim + 1), np.uint8)) > 0) & source
    size = tuple(-(-side // _COARSE) for side in part.shape)

    def small(plane: np.ndarray) -> np.ndarray:
        return cv2.resize(plane.astype(np.float32), size[::-1], interpolation=cv2.INTER_AREA)

    known, wanted, unknown = small(ring), small(part) > 0, small(source) < 0.99
    values = small(np.where(source[..., None], rest, 0))
    # Beyond the picture nothing is known either.
    missing = wanted.sum() - _correlation(wanted, ~unknown)
    squares = _correlation(known, (values**2).sum(2))
    products = sum(_correlation(known * values[..., channel], values[..., channel]) for channel in range(3))
    cost = squares - 2 * products
    # The same for the rim, but for a little.
    covered = _correlation(known > 0, ~unknown)
    cost[(missing > 0.5) | (covered < 0.75 * (known > 0).sum())] = np.inf
    down, right = np.unravel_index(int(cost.argmin()), cost.shape)
    if not np.isfinite(cost[down, right]):
        return None
    down, right = (int(step) - (2 * span if step >= span else 0) for step, span in ((down, size[0]), (right, size[1])))
    rows, columns = np.nonzero(part)
    down, right = down * _COARSE, right * _COARSE
    inside = rows.min() + down >= 0 and rows.max() + down < part.shape[0]
    inside &= columns.min() + right >= 0 and columns.max() + right < part.shape[1]
    return (down, right) if inside and source[rows + down, columns + right].all() else None


def _correlation(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """float64 [2 h, 2 w]: sum of one(x) * other(x + shift) for every shift; negative ones count from the end."""
    size = tuple(2 * side for side in one.shape)
    product = np.conj(np.fft.rfft2(one.astype(np.float64), size)) * np.fft.rfft2(other.astype(np.float64), size)
    return np.fft.irfft2(product, size)
