"""The second step: the covered regions at the working scale, each with enough of the page around it.

The fill of the pass that found the occluder: the network's picture, brought to the tone of the page around it.

The network's result is the input plus a correction, and so a tint stays in its fill. It is measured on the page around
the occluder, where the truth is known. A ghost of the hand's fine detail stays as well; that is what
`PredictConfig.fill` has other ways for.

The second step: what goes in the place of each occluder, at the working scale, by the network or from the page.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil

import cv2
import numpy as np

from configs.schema import PredictConfig
from inference.fill.page import BackgroundRules, PasteRules, blank, carry_on
from inference.find.locate import Located, shrink, to_float
from inference.tiles import Box, Network, region_cut


@dataclass(frozen=True)
class Region:
    """A covered part of the picture and what the network made of it, at the working scale.

    Attributes:
        box: (top, bottom, left, right).
        mask: uint8 [h, w], 1 = covered.
        picture: RGB uint8 or uint16 [h, w, 3], what the network saw.
        output: float32 [K, h, w], what it made of it.
    """

    box: Box
    mask: np.ndarray
    picture: np.ndarray
    output: np.ndarray

    @property
    def restored(self) -> np.ndarray:
        """float32 [h, w, 3]: the network's picture before the gate."""
        return np.ascontiguousarray(self.output[:3].transpose(1, 2, 0))

    @property
    def probability(self) -> np.ndarray:
        """float32 [h, w]: the network's mask, or the mask itself where the network has no gate."""
        gated = self.output.shape[0] > 3
        return np.ascontiguousarray(self.output[3]) if gated else self.mask.astype(np.float32)


def cut_out(picture: np.ndarray, output: np.ndarray, mask: np.ndarray, margin: int) -> list[Region]:
    """The regions of a picture whose output is there already.

    Args:
        picture: RGB uint8 or uint16 [h, w, 3].
        output: float32 [K, h, w].
        mask: uint8 [h, w].
        margin: pixels of page around what is covered.
    """
    return [
        Region((top, bottom, left, right), *(part[top:bottom, left:right] for part in (mask, picture)),
               output[:, top:bottom, left:right])
        for top, bottom, left, right in covered_boxes(mask, margin)
    ]


def restore(network: Network, picture: np.ndarray, mask: np.ndarray, margin: int, side: int, overlap: int
            ) -> list[Region]:
    """Runs the network over the covered regions of a picture, in tiles of one size.

    Args:
        picture: RGB uint8 or uint16 [h, w, 3] at the working scale.
        mask: uint8 [h, w].
        margin: pixels of page around what is covered.
        side: of the tiles, which hold more of the page where a region is small.
        overlap: pixels that tiles share.
    """
    regions = []
    for box in covered_boxes(mask, margin):
        cut = region_cut(box, *picture.shape[:2], side, overlap)
        wide_top, _, wide_left, _ = cut.box
        top, bottom, left, right = box
        output = network(picture, cut)
        output = output[:, top - wide_top : bottom - wide_top, left - wide_left : right - wide_left]
        regions.append(Region(box, mask[top:bottom, left:right], picture[top:bottom, left:right], output))
    return regions


def enlarge_mask(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A mask at (height, width), its border interpolated; itself where that is its size."""
    if size == mask.shape:
        return mask
    return (cv2.resize(mask.astype(np.float32), size[::-1], interpolation=cv2.INTER_LINEAR) >= 0.5).astype(np.uint8)


def covered_boxes(mask: np.ndarray, margin: int) -> list[Box]:
    """(top, bottom, left, right) of what a mask covers, grown by `margin` inside the picture, where boxes that would
    overlap have become one: no pixel lies in two, and in each box lies all of every blob that it touches.
    """
    height, width = mask.shape
    _, _, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    boxes: list[Box] = []
    for left, top, box_width, box_height, _ in stats[1:].tolist():
        box = (
            max(0, top - margin), min(height, top + box_height + margin),
            max(0, left - margin), min(width, left + box_width + margin),
        )
        while touching := [other for other in boxes if _overlap(box, other)]:
            boxes = [other for other in boxes if other not in touching]
            tops, bottoms, lefts, rights = zip(box, *touching, strict=True)
            box = (min(tops), max(bottoms), min(lefts), max(rights))
        boxes.append(box)
    return boxes


def _overlap(one: Box, other: Box) -> bool:
    return one[0] < other[1] and other[0] < one[1] and one[2] < other[3] and other[2] < one[3]


@dataclass(frozen=True)
class FillRules:
    """How the fill is made; lengths are pixels of a picture whose long side is 1024, tones are fractions of white.

    Attributes:
        ring: the page is looked at from where pixels stay as they are up to this much farther out.
        tone: how far the fill is pulled to the tone of the page around it: 0 not at all, 1 wholly.
        outlier: differences of tone beyond about this are taken for the network's changes of content, not of tone.
    """

    ring: float = 16.0
    tone: float = 1.0
    outlier: float = 0.1

    def scaled(self, long_side: int) -> FillRules:
        """The rules in pixels of a picture with this long side; below 1024 they stay: letters do, too."""
        return replace(self, ring=self.ring * max(1.0, long_side / 1024))


def make_fill(
    restored: np.ndarray, picture: np.ndarray, probability: np.ndarray, mask: np.ndarray, start: float, rules: FillRules
) -> np.ndarray:
    """Makes the fill for all occluders of a picture.

    Args:
        restored: float32 [h, w, 3] in [0, 1], the network's picture before the gate, at the working scale.
        picture: float32 [h, w, 3] in [0, 1], what was given to the network.
        probability: float32 [h, w] in [0, 1], the network's mask.
        mask: uint8 [h, w], 1 = occluder.
        start: distance from the mask from which on the picture stays as it is.

    Returns:
        float32 [h, w, 3]; not clipped; only its values near the mask mean anything.
    """
    if mask.all() or not mask.any():
        return restored
    distance = cv2.distanceTransform(1 - mask, cv2.DIST_L2, 5)
    ring = ((distance > start) & (distance <= start + rules.ring)).astype(np.float32)
    if not ring.any():
        return restored
    error = picture - restored
    # Where the network half believes in an occluder, its picture differs from the input by more than tone.
    trust = ring * (1 - probability) ** 4 * np.exp(-((np.abs(error).max(2) / rules.outlier) ** 2))
    return restored + rules.tone * carry_on(error, trust)


# Pixels of page beyond what is looked at: the network sees them, and nothing is taken for a side of the picture.
_CONTEXT = 48


@dataclass(frozen=True)
class Filled:
    """A covered part of the picture with what is pasted there, at the working scale.

    Attributes:
        box: (top, bottom, left, right).
        mask: uint8 [h, w], 1 = covered.
        fill: float32 [h, w, 3] in [0, 1]; not clipped; only its values near the mask mean anything.
    """

    box: Box
    mask: np.ndarray
    fill: np.ndarray


class Filler:
    """Makes the fills of a picture as `PredictConfig.fill` says.

    Args:
        network: what paints, where the network's fill is asked for.
        settings: `fill`, `tile` and `overlap` count.
    """

    def __init__(self, network: Network, settings: PredictConfig) -> None:
        self._network, self._settings = network, settings

    def __call__(
        self, picture: np.ndarray, located: Located, working: tuple[int, int], paste: PasteRules
    ) -> list[Filled]:
        """Makes them.

        Args:
            picture: RGB uint8 or uint16 [H, W, 3], at full size.
            located: what is covered.
            working: (height, width) at which fills are made.
            paste: how they will be pasted, in pixels of that size.
        """
        if not located.mask.any():
            return []
        seen = working == located.mask.shape
        small = located.picture if seen else shrink(picture, working)
        mask = enlarge_mask(located.mask, working)
        if self._settings.fill == "page":
            background = BackgroundRules().scaled(max(working))
            boxes = covered_boxes(mask, ceil(paste.reach + max(background.around, background.lines.band)) + _CONTEXT)
            return [_page(small, mask, box, paste, background) for box in boxes]
        rules = FillRules().scaled(max(working))
        margin = ceil(paste.reach + rules.ring) + _CONTEXT
        if seen:
            regions = cut_out(small, located.output, mask, margin)
        else:
            regions = restore(self._network, small, mask, margin, self._settings.tile, self._settings.overlap)
        return [Filled(region.box, region.mask, _matched(region, paste, rules)) for region in regions]


def _page(picture: np.ndarray, mask: np.ndarray, box: Box, paste: PasteRules, rules: BackgroundRules) -> Filled:
    top, bottom, left, right = box
    picture, mask = picture[top:bottom, left:right], mask[top:bottom, left:right]
    return Filled(box, mask, to_float(blank(picture, mask, paste, rules)))


def _matched(region: Region, paste: PasteRules, rules: FillRules) -> np.ndarray:
    picture = to_float(region.picture)
    return make_fill(region.restored, picture, region.probability, region.mask, paste.reach, rules)
