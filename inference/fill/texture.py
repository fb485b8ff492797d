"""Texture in place of paper where an occluder lies on gravel, cloth or wood: a piece of the same area from beside the
hole, moved as a whole.

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
    pieces = _Pieces(before, source, rim)
    for label in range(1, count):
        left, top, width, height = boxes[label, :4].tolist()
        parts = [(top, top + height, left, left + width)]
        while parts:
            top, bottom, left, right = parts.pop()
            places = np.stack(np.nonzero(labels[top:bottom, left:right] == label)) + np.array([[top], [left]])
            if not places.size:
                continue
            shift = pieces.best_shift(places)
            if shift is not None:
                page[tuple(places)] = light[tuple(places)] + before[tuple(places + shift[:, None])]
            elif max(bottom - top, right - left) > 2 * _SMALLEST:
                tall, middle = bottom - top > right - left, ((top + bottom) // 2, (left + right) // 2)
                parts += (
                    [(top, middle[0], left, right), (middle[0], bottom, left, right)] if tall
                    else [(top, bottom, left, middle[1]), (top, bottom, middle[1], right)]
                )  # fmt: skip


class _Pieces:
    """Where pieces may come from, and what they look like: on a small copy, made once for all parts of a hole."""

    def __init__(self, rest: np.ndarray, source: np.ndarray, rim: int) -> None:
        self._source, self._rim = source, rim
        # A rim may reach beyond the picture, where nothing is known.
        self._margin = -(-rim // _COARSE)
        sides = [(self._margin, self._margin)] * 2
        self._known = np.pad(_small(source), sides)
        self._values = np.pad(_small(np.where(source[..., None], rest, 0)), [*sides, (0, 0)])
        self._whole = (self._known > 0.99).astype(np.float32)
        self._squares = (self._values**2).sum(2)

    def best_shift(self, places: np.ndarray) -> np.ndarray | None:
        """int [2], down and right from a part of the hole (its pixels, int [2, n] of rows and columns) to where its
        piece lies, all of it in the source; None if there is none."""
        first, last = places.min(1) // _COARSE, places.max(1) // _COARSE + 1
        part = np.zeros((last - first + 2 * self._margin) * _COARSE, np.float32)
        part[tuple(places - (first - self._margin)[:, None] * _COARSE)] = 1
        wanted = _small(part) > 0
        missing = wanted.sum() - _correlation(self._whole, wanted)
        if missing.min() > 0.5:
            return None
        rim = _small(cv2.dilate(part, np.ones((2 * self._rim + 1, 2 * self._rim + 1), np.uint8)))
        here = tuple(slice(start, stop + 2 * self._margin) for start, stop in zip(first, last, strict=True))
        known = rim * self._known[here]
        products = _correlation(self._values, known[..., None] * self._values[here])
        cost = _correlation(self._squares, known) - 2 * products
        # All of the piece must be known, and its rim but for a little.
        covered = _correlation(self._whole, known > 0)
        cost[(missing > 0.5) | (covered < 0.75 * (known > 0).sum())] = np.inf
        best = np.unravel_index(int(cost.argmin()), cost.shape)
        shift = (np.array(best) - first) * _COARSE
        moved = places + shift[:, None]
        inside = np.isfinite(cost[best]) and moved.min() >= 0 and np.less(moved.T, self._source.shape).all()
        return shift if inside and self._source[tuple(moved)].all() else None


def _small(plane: np.ndarray) -> np.ndarray:
    """float32 [ceil(h / _COARSE), ceil(w / _COARSE)] or with channels behind: means, beyond the picture of zeros."""
    height, width = (-(-side // _COARSE) for side in plane.shape[:2])
    beyond = [(0, height * _COARSE - plane.shape[0]), (0, width * _COARSE - plane.shape[1])]
    whole = np.pad(plane.astype(np.float32), beyond + [(0, 0)] * (plane.ndim - 2))
    return cv2.resize(whole, (width, height), interpolation=cv2.INTER_AREA)


def _correlation(plane: np.ndarray, piece: np.ndarray) -> np.ndarray:
    """float32: sum of plane(x + place) * piece(x), over channels too, for every place where the piece lies within."""
    return cv2.matchTemplate(plane, piece.astype(np.float32), cv2.TM_CCORR)
