"""The second step: the covered regions at the working scale, each with enough of the page around it."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from inference.network import Network
from inference.tiling import Box, region_cut


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
