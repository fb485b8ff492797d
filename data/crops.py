"""Where to cut patches around the occluders of a picture, and cutting them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from data.masks import blobs

# A blob below this share of the largest one (a sliver, a second finger's tip) does not move a crop.
LARGE_BLOB = 0.05

CENTERS = ("union", "blobs")


class Box(NamedTuple):
    """A rectangle in pixels; it reaches over the picture's edge only where the picture is smaller than the box."""

    left: int
    top: int
    width: int
    height: int


def crop_boxes(mask: np.ndarray, size: int, mode: str = "union") -> list[Box]:
    """Square boxes of side `size` around the occluders of a picture.

    Args:
        mask: height x width, not 0 where something is covered.
        size: side of the boxes in pixels.
        mode: "union" gives one box centred on all large blobs together, or, where these do not fit into one box, one
            on each; "blobs" always gives one on each. Boxes are shifted inside the picture, and boxes that become the
            same are given once. Large is what has at least a twentieth of the largest blob's area.

    Returns:
        At least one box: without any occluder, the picture's middle.
    """
    if mode not in CENTERS:
        raise ValueError(f"mode is {mode!r}, expected one of {', '.join(CENTERS)}")
    if size < 1:
        raise ValueError(f"size is {size}, expected at least 1 pixel")
    height, width = mask.shape
    found = blobs((mask != 0).astype(np.uint8))
    regions = [Box(*blob[:4]) for blob in found if blob[4] >= LARGE_BLOB * found[0][4]]
    union = _union(regions) if regions else Box(0, 0, width, height)
    if not regions or (mode == "union" and max(union.width, union.height) <= size):
        regions = [union]
    boxes = [
        Box(
            left=_start(region.left, region.width, size, width),
            top=_start(region.top, region.height, size, height),
            width=size,
            height=size,
        )
        for region in regions
    ]
    return list(dict.fromkeys(boxes))


def _union(regions: list[Box]) -> Box:
    left = min(region.left for region in regions)
    top = min(region.top for region in regions)
    right = max(region.left + region.width for region in regions)
    bottom = max(region.top + region.height for region in regions)
    return Box(left, top, right - left, bottom - top)


def _start(start: int, length: int, size: int, whole: int) -> int:
    """Where a span of `size` begins that is centred on start..start+length and lies within 0..whole if it can."""
    if whole <= size:
        return (whole - size) // 2
    return min(max(start + (length - size) // 2, 0), whole - size)


def take(image: np.ndarray, box: Box) -> np.ndarray:
    """Cuts `box` out of an image of height x width (x channels); what lies beyond the edges is its reflection.

    The pixels are those of the image, none is computed anew. The result is an array of its own.
    """
    rows = _reflected(box.top, box.height, image.shape[0])
    columns = _reflected(box.left, box.width, image.shape[1])
    if isinstance(rows, slice) and isinstance(columns, slice):
        return image[rows, columns].copy()
    return image[rows][:, columns]


def _reflected(start: int, length: int, whole: int) -> slice | np.ndarray:
    """Indices start .. start+length-1, folded back into 0 .. whole-1 at the borders."""
    before, after = max(-start, 0), max(start + length - whole, 0)
    if not before and not after:
        return slice(start, start + length)
    inside = np.arange(max(start, 0), min(start + length, whole))
    return np.pad(inside, (before, after), mode="reflect")


def shrink_mask(mask: np.ndarray, factor: int) -> np.ndarray:
    """Reduces a 0/1 mask by a whole factor; sides round up, as those of a JPEG decoded at reduced size do.

    A pixel of the result is 1 where any of the pixels it stands for is: each of them coloured it.
    """
    height, width = mask.shape
    small = np.zeros((-(-height // factor), -(-width // factor)), np.uint8)
    for row in range(factor):
        for column in range(factor):
            part = mask[row::factor, column::factor]
            corner = small[: part.shape[0], : part.shape[1]]
            np.maximum(corner, part, out=corner)
    return small
