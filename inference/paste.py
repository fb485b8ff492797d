"""Putting the fill over an occluder into the full-size picture, and leaving everything else alone.

The network worked on a smaller picture. Its fill is enlarged and pasted inside the widened mask only, where its own
(restored) pixels replace the picture's: adding the enlarged difference instead would leave the fine detail of the
hand in the result. Beyond the feather not one bit changes.

The full-size picture is worked on in blocks, so that memory stays small whatever its size.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from inference.fill.page import PasteRules
from inference.tiles import Box

_BLOCK = 256
# Catmull-Rom has -0.5; this is the sharper cubic that OpenCV enlarges with.
_CUBIC = -0.75


def paste_fill(
    image: np.ndarray,
    changed: np.ndarray,
    fill: np.ndarray,
    mask: np.ndarray,
    box: Box,
    size: tuple[int, int],
    rules: PasteRules,
) -> None:
    """Pastes the enlarged fill of one region, in place.

    Args:
        image: uint8 or uint16 [H, W, 3], the full-size picture; changed only where the weight of the fill is above 0.
        changed: uint8 [H, W]; becomes 1 there.
        fill: float32 [h, w, 3] in [0, 1], the region at the working scale.
        mask: uint8 [h, w], 1 = occluder; its distance to sides of the region that are no sides of the picture must be
            the rules' reach and two pixels more.
        box: (top, bottom, left, right) of the region at the working scale.
        size: (height, width) of the whole picture at the working scale, at most those of `image`.
        rules: in pixels of the working scale.
    """
    weight = rules.weight(mask)[None]
    white = np.float32(np.iinfo(image.dtype).max)
    planes = np.ascontiguousarray((np.clip(fill, 0, 1) * white).transpose(2, 0, 1))
    for block in _blocks(box, size, image.shape[:2]):
        share = block.enlarge(weight, cubic=False)
        if not share.any():
            continue
        here = image[block.place].astype(np.float32)
        mixed = block.enlarge(planes, cubic=True).transpose(1, 2, 0).copy()
        np.clip(mixed, 0, white, out=mixed)
        mixed -= here
        mixed *= share[0][..., None]
        mixed += here + np.float32(0.5)
        image[block.place] = mixed.astype(image.dtype)
        changed[block.place] |= share[0] > 0


def add_difference(image: np.ndarray, difference: np.ndarray) -> None:
    """Adds an enlarged difference to a whole picture, in place: the picture keeps its own sharpness.

    Args:
        image: uint8 or uint16 [H, W, 3].
        difference: float32 [3, h, w], fractions of white, h <= H and w <= W.
    """
    height, width = difference.shape[1:]
    white = np.float32(np.iinfo(image.dtype).max)
    for block in _blocks((0, height, 0, width), (height, width), image.shape[:2]):
        here = image[block.place].transpose(2, 0, 1).astype(np.float32)
        there = np.clip(here + white * block.enlarge(difference, cubic=True), 0, white) + np.float32(0.5)
        image[block.place] = there.astype(image.dtype).transpose(1, 2, 0)


@dataclass(frozen=True)
class _Block:
    """A block of the full-size picture and the part of the region that it is made of.

    Attributes:
        rows, columns: (start, stop) in the full-size picture.
        box: the region at the working scale.
        size: the whole picture at the working scale.
        full: the whole picture.
    """

    rows: tuple[int, int]
    columns: tuple[int, int]
    box: Box
    size: tuple[int, int]
    full: tuple[int, int]

    @property
    def place(self) -> tuple[slice, slice]:
        return slice(*self.rows), slice(*self.columns)

    def enlarge(self, region: np.ndarray, cubic: bool) -> np.ndarray:
        """The region's values, float32 [C, h, w], at the block's pixels, [C, rows, columns]; linear or cubic."""
        top, bottom, left, right = self.box
        first, across_rows = _weights(self.rows, self.size[0], self.full[0], (top, bottom), cubic)
        start, across_columns = _weights(self.columns, self.size[1], self.full[1], (left, right), cubic)
        part = region[:, first : first + across_rows.shape[1], start : start + across_columns.shape[1]]
        return (across_rows @ part) @ across_columns.T


def _blocks(box: Box, size: tuple[int, int], full: tuple[int, int]) -> Iterator[_Block]:
    """The blocks of the full-size picture that a region at the working scale covers, touched pixels included."""
    (top, bottom), (left, right) = (
        (start * whole // small, -(-stop * whole // small))
        for start, stop, small, whole in ((*box[:2], size[0], full[0]), (*box[2:], size[1], full[1]))
    )
    for row in range(top, bottom, _BLOCK):
        for column in range(left, right, _BLOCK):
            yield _Block((row, min(row + _BLOCK, bottom)), (column, min(column + _BLOCK, right)), box, size, full)


@lru_cache(maxsize=128)
def _weights(
    span: tuple[int, int], small: int, whole: int, region: tuple[int, int], cubic: bool
) -> tuple[int, np.ndarray]:
    """How `span` of `whole` pixels is interpolated from `region` of `small` pixels.

    Returns:
        The first pixel that counts, from the region's start, and float32 [span, pixels that count]; kept for the next
        block of the same rows or columns.
    """
    centres = (np.arange(*span) + 0.5) * (small / whole) - 0.5
    base = np.floor(centres).astype(int)
    beyond = centres - base
    taps = {0: 1 - beyond, 1: beyond}
    if cubic:
        taps = {offset: _cubic(np.abs(beyond - offset)) for offset in (-1, 0, 1, 2)}
    places = {offset: np.clip(base + offset, region[0], region[1] - 1) - region[0] for offset in taps}
    first = min(place.min() for place in places.values())
    count = max(place.max() for place in places.values()) + 1 - first
    matrix = np.zeros((len(centres), count), np.float32)
    for offset, weight in taps.items():
        np.add.at(matrix, (np.arange(len(centres)), places[offset] - first), weight)
    return int(first), matrix


def _cubic(distance: np.ndarray) -> np.ndarray:
    """Keys' cubic convolution kernel ("Cubic Convolution Interpolation for Digital Image Processing", 1981)."""
    near = ((_CUBIC + 2) * distance - (_CUBIC + 3)) * distance**2 + 1
    far = _CUBIC * (((distance - 5) * distance + 8) * distance - 4)
    return np.where(distance <= 1, near, np.where(distance < 2, far, 0))
