"""The first step: what covers the page, found on a small copy of the picture.

The network looks once, or twice at two sizes; `inference.find.occlusion` decides which blobs of its probability are
occluders; then their outline, right to a pixel or two, moves to the edge that the picture shows there. The guided
filter (K. He, J. Sun and X. Tang, "Guided Image Filtering", ECCV 2010) makes of the mask, window by window, the linear
function of the colours that comes nearest to it, and so lets it end where the colours change.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from inference.engines.runtimes import Engine
from inference.find.occlusion import OcclusionRules, occluders_from_probability, visible_changes
from inference.tiles import Cut, Network, TileFunction, mirrored, single_cut
from utils.machine import lack_of_memory

# Sides of what a locator sees are multiples of this (`models.locator.STRIDE`, which cannot be read without Paddle).
LOCATOR_STRIDE = 32
# Bytes per pixel of what it sees at the peak of a look, measured at 512 x 384 and 512 x 512.
_BYTES_PER_PIXEL = {"paddle": 700, "onnxruntime": 250, "openvino": 350}


@dataclass(frozen=True)
class Located:
    """What covers a picture, whatever network said so."""

    picture: np.ndarray  # RGB uint8 or uint16 [h, w, 3], the copy that was looked at
    mask: np.ndarray  # uint8 [h, w], 1 = covered by something that is to be removed
    occluders: int  # How many; 0 for a network without a gate, whose changes are not counted
    output: np.ndarray | None  # float32 [K, h, w], what the network made of `picture`; None of a locator
    certainty: float = 1.0  # Mean probability of the least certain one; 1 where none was found, or none is measured


@dataclass(frozen=True)
class OutlineRules:
    """How the outline moves; lengths are pixels of the picture that the network saw."""

    radius: int = 8  # A window reaches this far from its middle
    smoothness: float = 1e-4  # Variance of a colour (in [0, 1]) that counts as flat: there the mask is blurred only
    threshold: float = 0.4  # The filtered mask is covered from this value on
    band: float = 6.0  # The outline moves by no more than this


def locate(
    network: Network, picture: np.ndarray, cut: Cut, rules: OcclusionRules, overview: tuple[int, int] | None = None
) -> Located:
    """Runs the network over a whole (small) picture, RGB uint8 or uint16 [h, w, 3], in the tiles of `cut`, and decides
    what is to be removed.

    `overview` is (height, width) of a second look of a network with a gate: the probability is the mean of both.
    """
    output = network(picture, cut)
    if not network.gated:
        return Located(picture, visible_changes(to_float(picture), output.transpose(1, 2, 0), rules), 0, output)
    if overview is not None:
        seen = network(shrink(picture, overview), single_cut(*overview, cut.overlap))[3]
        seen = cv2.resize(seen, picture.shape[1::-1], interpolation=cv2.INTER_LINEAR)
        output = np.concatenate([output[:3], (output[3:] + seen) / 2])
    return _decided(picture, np.ascontiguousarray(output[3]), rules, output)


def locate_whole(
    locator: TileFunction, picture: np.ndarray, sides: Sequence[int], rules: OcclusionRules, mirror: bool = True
) -> Located:
    """The same by a locator, which sees whole pictures and nothing but whole ones.

    `locator` makes logits, float32 [1, 1, h, w], of [1, 3, h, w], sides multiples of `LOCATOR_STRIDE`; `sides` are the
    long sides of the copies that it sees, with `mirror` each also mirrored, which a mean over mirrorings does not need;
    no picture is enlarged for them.
    """
    # What a network takes for a hand one way only is mostly none.
    size, ways = picture.shape[:2], (locator, mirrored(locator, (3,)))[: 1 + mirror]
    looks = []
    # In steps of the stride, so that photos of nearly one shape need one compilation.
    for copy in dict.fromkeys(look_size(*size, side) for side in sides):
        tile = np.ascontiguousarray(to_float(shrink(picture, copy)).transpose(2, 0, 1)[None])
        # The logistic function, which overflows nowhere in this form.
        looks += [cv2.resize(0.5 * np.tanh(0.5 * look(tile)[0, 0]) + 0.5, size[::-1]) for look in ways]
    return _decided(picture, np.mean(looks, axis=0, dtype=np.float32), rules, None)


def within_memory(locator: Engine, look: TileFunction) -> TileFunction:
    """`look`, which runs a locator, with a `MemoryError` on a CPU where a picture would not fit: it cannot be cut."""

    def checked(picture: np.ndarray) -> np.ndarray:
        height, width = picture.shape[2:]
        needed = height * width * _BYTES_PER_PIXEL.get(locator.name, 700)
        if problem := lack_of_memory(needed if locator.device == "cpu" else 0):
            raise MemoryError(f"memory does not suffice to look at {height}x{width} pixels: {problem}. Close other "
                              "programs, or raise the memory limit")
        return look(picture)

    return checked


def look_size(height: int, width: int, long_side: int) -> tuple[int, int]:
    """(height, width) of a locator's copy: about this long, each side a multiple of the stride."""
    scale = min(1.0, long_side / max(height, width)) / LOCATOR_STRIDE
    return tuple(LOCATOR_STRIDE * max(1, round(side * scale)) for side in (height, width))


def _decided(picture: np.ndarray, probability: np.ndarray, rules: OcclusionRules, output: np.ndarray | None) -> Located:
    occluders = occluders_from_probability(probability, rules)
    mask = np.maximum.reduce(occluders) if occluders else np.zeros(picture.shape[:2], np.uint8)
    certainty = min((float(probability[blob > 0].mean()) for blob in occluders), default=1.0)
    return Located(picture, follow_edges(mask, to_float(picture), OutlineRules()), len(occluders), output, certainty)


def shrink(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The picture at (height, width), each pixel the mean of what it covers; itself where that is its size."""
    if size == picture.shape[:2]:
        return picture
    return cv2.resize(picture, size[::-1], interpolation=cv2.INTER_AREA)


def enlarge_mask(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A mask at (height, width), its border interpolated; itself where that is its size."""
    if size == mask.shape:
        return mask
    return (cv2.resize(mask.astype(np.float32), size[::-1], interpolation=cv2.INTER_LINEAR) >= 0.5).astype(np.uint8)


def to_float(picture: np.ndarray) -> np.ndarray:
    """uint8 or uint16 -> float32 in [0, 1]."""
    return picture.astype(np.float32) / np.float32(np.iinfo(picture.dtype).max)


def follow_edges(mask: np.ndarray, picture: np.ndarray, rules: OutlineRules) -> np.ndarray:
    """Moves the outline of a mask (uint8 [h, w], 1 = covered) to the edges nearby of a picture (float32 [h, w, 3] in
    [0, 1]): uint8 [h, w], an array of its own.

    Nothing farther from the outline than `band` changes, and what would vanish altogether stays as it is.
    """
    result = mask.copy()
    reach = 2 * rules.radius + int(rules.band) + 1
    grown = cv2.dilate(mask, np.ones((2 * reach + 1, 2 * reach + 1), np.uint8))
    _, labels, boxes, _ = cv2.connectedComponentsWithStats(grown, connectivity=8)
    for label, (left, top, width, height, _) in enumerate(boxes[1:], 1):
        box = (slice(top, top + height), slice(left, left + width))
        own = labels[box] == label
        inside = mask[box] * own.astype(np.uint8)
        distance = cv2.distanceTransform(inside, cv2.DIST_L2, 5) + cv2.distanceTransform(1 - inside, cv2.DIST_L2, 5)
        moved = _guided(inside.astype(np.float32), picture[box], rules) >= rules.threshold
        moved = np.where(distance <= rules.band, moved, inside)
        if moved[own].any():
            result[box][own] = moved[own]
    return result


def _guided(values: np.ndarray, guide: np.ndarray, rules: OutlineRules) -> np.ndarray:
    """float32 [h, w]: the guided filter of `values` by a colour picture."""
    # About their mean, the squares of colours are small enough for float32.
    guide = guide - guide.mean((0, 1))

    def mean(plane: np.ndarray) -> np.ndarray:
        side = 2 * rules.radius + 1
        return cv2.blur(plane, (side, side), borderType=cv2.BORDER_REFLECT)

    mean_guide, mean_values = mean(guide), mean(values)
    covariance = mean(guide * values[..., None]) - mean_guide * mean_values[..., None]
    rows = [mean(guide * guide[..., i, None]) - mean_guide * mean_guide[..., i, None] for i in range(3)]
    for channel, row in enumerate(rows):
        row[..., channel] += rules.smoothness
    # The inverse of a symmetric 3 x 3 matrix by the cross products of its rows.
    crosses = [np.cross(rows[(index + 1) % 3], rows[(index + 2) % 3]) for index in range(3)]
    determinant = (rows[0] * crosses[0]).sum(2)
    slope = sum(covariance[..., index, None] * crosses[index] for index in range(3)) / determinant[..., None]
    offset = mean_values - (slope * mean_guide).sum(2)
    return (mean(slope) * guide).sum(2) + mean(offset)
