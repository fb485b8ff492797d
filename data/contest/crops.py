"""Where patches are cut around the occluders of a picture, cutting them, and how much detail they show."""

from __future__ import annotations

from typing import NamedTuple

import cv2
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


def gradient_measure(rgb: np.ndarray) -> float:
    """Mean Sobel gradient magnitude of a picture, in grey levels.

    The mean over all pixels of sqrt(gx^2 + gy^2), where gx and gy are the 3x3 Sobel derivatives of the grey picture
    (0..255). Blank paper gives a few, a page of print about 20 to 100. The write-up keeps patches above 10.

    The result is bit for bit that of 64-bit arithmetic: gx^2 + gy^2 is a whole number below 2^24, which 32-bit floats
    hold exactly, so that only the root and the mean need 64 bits, at a third of the time.

    Args:
        rgb: RGB uint8, height x width x 3.
    """
    grey = cv2.cvtColor(np.ascontiguousarray(rgb), cv2.COLOR_RGB2GRAY)
    horizontal = cv2.Sobel(grey, cv2.CV_32F, 1, 0, ksize=3)
    vertical = cv2.Sobel(grey, cv2.CV_32F, 0, 1, ksize=3)
    energy = cv2.add(cv2.multiply(horizontal, horizontal), cv2.multiply(vertical, vertical))
    return float(np.mean(np.sqrt(energy, dtype=np.float64)))
