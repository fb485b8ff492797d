"""Putting the fill over an occluder into the full-size picture, and leaving everything else alone.

The fill was made on a smaller picture. It is enlarged and pasted inside the widened mask only, where its own pixels
replace the picture's: adding the enlarged difference instead would leave the fine detail of the hand in the result.
Beyond the feather not one bit changes. The picture is worked on in blocks, so that memory stays small.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import product

import cv2
import numpy as np

from inference.tiles import Box, Span

_BLOCK = 256
_CUBIC = -0.75  # Catmull-Rom has -0.5; this is the sharper cubic that OpenCV enlarges with.


@dataclass(frozen=True)
class PasteRules:
    """How a fill is pasted; lengths are pixels of the scale at which the mask was found, and its border is known."""

    widening: float = 2.0  # The mask grows by this much, over the rim of the cut-out and the ringing of its JPEG
    feather: float = 3.0  # Beyond it the fill passes into the picture over this much

    @property
    def reach(self) -> float:
        """How far from the mask a pixel may change."""
        return self.widening + self.feather

    def scaled(self, factor: float) -> "PasteRules":
        """The same lengths in pixels that are `factor` times smaller."""
        return PasteRules(self.widening * factor, self.feather * factor)

    def weight(self, mask: np.ndarray) -> np.ndarray:
        """float32 [h, w], the share of the fill: 1 over the widened mask (uint8, 1 = covered), 0 beyond the feather."""
        distance = cv2.distanceTransform(1 - mask, cv2.DIST_L2, 5)
        return np.clip((self.reach - distance) / max(self.feather, 1e-3), 0, 1).astype(np.float32)


@dataclass(frozen=True)
class Patch:
    """A covered part of a picture and what is pasted there, at the scale at which that was made."""

    box: Box  # (top, bottom, left, right); from sides within the picture the mask is farther than the paste reaches
    mask: np.ndarray  # uint8 [h, w], 1 = covered
    fill: np.ndarray  # float32 [h, w, 3] in [0, 1]; not clipped; only its values near the mask mean anything


def covered_boxes(mask: np.ndarray, margin: int) -> list[Box]:
    """(top, bottom, left, right) of what a mask covers, grown by `margin` inside the picture, where boxes that would
    overlap have become one: no pixel lies in two, and in each box lies all of every blob that it touches."""
    height, width = mask.shape
    boxes: list[Box] = []
    for left, top, box_width, box_height, _ in cv2.connectedComponentsWithStats(mask, connectivity=8)[2][1:].tolist():
        rows = max(0, top - margin), min(height, top + box_height + margin)
        box = (*rows, max(0, left - margin), min(width, left + box_width + margin))
        while touching := [
            other for other in boxes
            if box[0] < other[1] and other[0] < box[1] and box[2] < other[3] and other[2] < box[3]
        ]:  # fmt: skip
            boxes = [other for other in boxes if other not in touching]
            tops, bottoms, lefts, rights = zip(box, *touching, strict=True)
            box = (min(tops), max(bottoms), min(lefts), max(rights))
        boxes.append(box)
    return boxes


def paste(image: np.ndarray, changed: np.ndarray, patch: Patch, size: tuple[int, int], rules: PasteRules) -> None:
    """Pastes a patch of a picture of `size` (height, width), and `rules` in pixels of that, enlarged, in place: into
    `image`, uint8 or uint16 [H, W, 3], where the fill has any weight, and there `changed`, uint8 [H, W], becomes 1."""
    weight = rules.weight(patch.mask)[None]
    white = np.float32(np.iinfo(image.dtype).max)
    planes = np.ascontiguousarray((np.clip(patch.fill, 0, 1) * white).transpose(2, 0, 1))
    for place, enlarge in _blocks(patch.box, size, image.shape[:2]):
        share = enlarge(weight, cubic=False)[0]
        if share.any():
            here = image[place].astype(np.float32)
            there = np.clip(enlarge(planes, cubic=True), 0, white).transpose(1, 2, 0)
            image[place] = (there - here) * share[..., None] + (here + np.float32(0.5))
            changed[place] |= share > 0


def add_difference(image: np.ndarray, difference: np.ndarray) -> None:
    """Adds an enlarged difference (float32 [3, h, w], white = 1) to a picture, in place: it keeps its own sharpness."""
    height, width = difference.shape[1:]
    white = np.float32(np.iinfo(image.dtype).max)
    for place, enlarge in _blocks((0, height, 0, width), (height, width), image.shape[:2]):
        there = image[place] + white * enlarge(difference, cubic=True).transpose(1, 2, 0)
        image[place] = np.clip(there, 0, white) + np.float32(0.5)


def _blocks(
    box: Box, size: tuple[int, int], full: tuple[int, int]
) -> Iterator[tuple[tuple[slice, slice], Callable[..., np.ndarray]]]:
    """The blocks of a picture of size `full` that a box covers in its small copy of `size`, touched pixels included:
    their place, and the function that enlarges float32 [C, h, w] of the box to [C, rows, columns] of the block."""
    sides = []
    for region, small, whole in ((box[:2], size[0], full[0]), (box[2:], size[1], full[1])):
        start, end = region[0] * whole // small, -(-region[1] * whole // small)
        sides.append([((first, min(first + _BLOCK, end)), small, whole, region) for first in range(start, end, _BLOCK)])
    for rows, columns in product(*sides):
        yield (slice(*rows[0]), slice(*columns[0])), partial(_enlarge, rows, columns)


def _enlarge(rows: tuple, columns: tuple, values: np.ndarray, cubic: bool) -> np.ndarray:
    (top, down), (left, across) = _interpolation(*rows, cubic), _interpolation(*columns, cubic)
    return (down @ values[:, top : top + down.shape[1], left : left + across.shape[1]]) @ across.T


@lru_cache(maxsize=128)
def _interpolation(span: Span, small: int, whole: int, region: Span, cubic: bool) -> tuple[int, np.ndarray]:
    """How `span` of `whole` pixels is interpolated from `region` of `small` pixels, by cubics or linearly: the first
    pixel that counts, from the region's start, and float32 [span, pixels that count]. Kept for the blocks beside it."""
    centres = (np.arange(*span) + 0.5) * (small / whole) - 0.5
    base = np.floor(centres).astype(int)
    beyond = centres - base
    offsets = (np.arange(-1, 3) if cubic else np.arange(2))[:, None]
    weights = _cubic(np.abs(beyond - offsets)) if cubic else [1 - beyond, beyond]
    places = np.clip(base + offsets, region[0], region[1] - 1) - region[0]
    first = int(places.min())
    matrix = np.zeros((len(centres), places.max() + 1 - first), np.float32)
    for place, weight in zip(places, weights, strict=True):
        matrix[np.arange(len(centres)), place - first] += weight
    return first, matrix


def _cubic(distance: np.ndarray) -> np.ndarray:
    """Keys' cubic convolution kernel ("Cubic Convolution Interpolation for Digital Image Processing", 1981)."""
    near = ((_CUBIC + 2) * distance - (_CUBIC + 3)) * distance**2 + 1
    far = _CUBIC * (((distance - 5) * distance + 8) * distance - 4)
    return np.where(distance <= 1, near, np.where(distance < 2, far, 0))
