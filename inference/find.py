"""The first step: what covers the page, found on a small copy of the picture.

A network looks at one or two small copies and gives a probability. Which of its blobs are occluders `OcclusionRules`
decide: the gated network also likes printed photographs and bold letters, and cannot see that a hand or a head comes
from outside the picture. Then the outline, right to a pixel or two, moves to the edge that the picture shows there, by
the guided filter (K. He, J. Sun and X. Tang, "Guided Image Filtering", ECCV 2010): of the mask it makes, window by
window, the linear function of the colours that comes nearest to it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import inf
from typing import NamedTuple

import cv2
import numpy as np

from inference.engines import Backend, mean_over_flips, mirrored
from inference.tiles import Cut, Network, single_cut
from utils.machine import lack_of_memory

# Sides of what a locator sees are multiples of this: the stride of its coarsest features.
LOCATOR_STRIDE = 32
# Bytes per pixel of what it sees at the peak of a look, measured at 512 x 384 and 512 x 512.
_BYTES_PER_PIXEL = {"paddle": 700, "onnxruntime": 250, "openvino": 350}
# A network without a gate changes every pixel a little; this much is taken for a removal, as the contest's teams did.
VISIBLE_CHANGE = 2 / 255
# The outline, in pixels of the picture that the network saw: a window of the filter reaches this far from its middle;
# this variance of a colour (in [0, 1]) counts as flat, and there the mask is blurred only; the filtered mask is covered
# from this value on; the outline moves by no more than this.
_RADIUS, _SMOOTHNESS, _EDGE, BAND = 8, 1e-4, 0.4, 6.0


@dataclass(frozen=True)
class OcclusionRules:
    """How a mask probability becomes occluders; lengths and areas are fractions, so they hold at every size.

    Contact is how wide something is where it meets the picture's border, as a fraction of the square root of its
    area: a square has 1 on its side of the picture, a strip 1 x 9 lying along it has 3, and a triangle in a corner
    has 1.4 on either side and 2.8 on both."""

    threshold: float = 0.5  # A pixel is covered from this probability on
    border: float = 0.006  # How near to the picture's border an occluder must come, as a fraction of the long side
    # Contact that it must have with one side. A finger or a pair of shoulders is cut off by the border over 0.6 and
    # more; a dark corner or a printed picture that happens to reach the border touches it over 0.3 at most.
    contact: float = 0.3
    # With more contact than this on one side it runs along the border, as fingers round the edge of a sheet do, or a
    # palm, but a glimpse of the table as well: it must be more certain.
    strip: float = 2.2
    line: float = 4.5  # With more on one side it is a line along the border, and no occluder at any probability
    # With more contact than this on all sides together, and along more than half of two sides or more, it is the
    # table that shows round the page, and no occluder at any probability. Where there is a table, whatever else has
    # more contact than `strip` on all sides together is a piece of it.
    table: float = 3.0
    # One with enough contact is removed when the mean probability over it is at least this; so a low `threshold` takes
    # the dim rim of an occluder along, and no shadow of a doubt on its own.
    wide_confidence: float = 0.5
    # Below this fraction of the picture it is small. Hands and heads seldom are; what is taken for one on a clean page
    # mostly is. Over the tip of a real finger the mean probability is 0.88 and more.
    small: float = 0.007
    small_confidence: float = 0.85  # The same for a small one with enough contact, or none
    narrow_confidence: float = 0.9  # The same for one with too little contact
    strip_confidence: float = 0.85  # The same for a strip
    inner_confidence: float = 0.98  # The same for one that does not come near the border; above 1 none is removed
    # Blobs nearer to each other than this fraction of the long side are one occluder (fingers divided by a printed
    # line, a cut-out's second blob).
    gap: float = 0.006
    speck: float = 0.0002  # Occluders smaller than this fraction of the picture are dropped
    hole: float = 0.1  # Uncovered islands inside an occluder are filled up to this fraction of the occluder's area


# A locator sees the whole picture, and learnt from tables, cables and printed people which must stay: where a blob lies
# and what shape it has matters no more, only how certain it is.
LOCATOR_RULES = OcclusionRules(
    contact=0.0, strip=inf, line=inf, table=inf, speck=0.0004,
    wide_confidence=0.74, small_confidence=0.86, narrow_confidence=0.74, strip_confidence=0.74, inner_confidence=0.78,
)  # fmt: skip


@dataclass(frozen=True)
class Located:
    """What covers a picture, whatever network said so."""

    picture: np.ndarray  # RGB uint8 or uint16 [h, w, 3], the copy that was looked at
    mask: np.ndarray  # uint8 [h, w], 1 = covered by something that is to be removed
    occluders: int  # How many; 0 for a network without a gate, whose changes are not counted
    output: np.ndarray | None = None  # float32 [K, h, w], what the network made of `picture`; None of a locator
    certainty: float = 1.0  # Mean probability of the least certain one; 1 where none was found, or none is measured


def locate(
    network: Network, picture: np.ndarray, cut: Cut, threshold: float, overview: tuple[int, int] | None = None
) -> Located:
    """Runs the network over a whole (small) picture, RGB uint8 or uint16 [h, w, 3], in the tiles of `cut`, and decides
    what is to be removed, as `OcclusionRules` of this `threshold` say.

    `overview` is (height, width) of a second look of a network with a gate: the probability is the mean of both."""
    output, rules = network(picture, cut), OcclusionRules(threshold)
    if not network.gated:
        return Located(picture, visible_changes(to_float(picture), output.transpose(1, 2, 0), rules), 0, output)
    if overview is not None:
        seen = network(shrink(picture, overview), single_cut(*overview, cut.overlap))[3]
        seen = cv2.resize(seen, picture.shape[1::-1], interpolation=cv2.INTER_LINEAR)
        output = np.concatenate([output[:3], (output[3:] + seen) / 2])
    return _decided(picture, np.ascontiguousarray(output[3]), rules, output)


def locate_whole(
    locator: Backend, picture: np.ndarray, sides: Sequence[int], threshold: float, tta: bool = False
) -> Located:
    """The same by a locator, which sees whole pictures and nothing but whole ones.

    `locator` makes logits, float32 [1, 1, h, w], of [1, 3, h, w], sides multiples of `LOCATOR_STRIDE`; `sides` are the
    long sides of the copies that it sees, each also mirrored, with `tta` in all four ways; no picture is enlarged for
    them. MemoryError: one of them would not fit into a CPU's memory; it cannot be cut."""
    # What a network takes for a hand one way only is mostly none.
    ways = [mean_over_flips(locator)] if tta else [locator, mirrored(locator, (3,))]
    size, looks = picture.shape[:2], []
    # In steps of the stride, so that photos of nearly one shape need one compilation.
    for height, width in dict.fromkeys(look_size(*size, side) for side in sides):
        needed = height * width * _BYTES_PER_PIXEL.get(locator.name, 700)
        if problem := lack_of_memory(needed if locator.device == "cpu" else 0):
            raise MemoryError(f"memory does not suffice to look at {height}x{width} pixels: {problem}. Close other "
                              "programs, or raise the memory limit")
        tile = np.ascontiguousarray(to_float(shrink(picture, (height, width))).transpose(2, 0, 1)[None])
        # The logistic function, which overflows nowhere in this form.
        looks += [cv2.resize(0.5 * np.tanh(0.5 * look(tile)[0, 0]) + 0.5, size[::-1]) for look in ways]
    rules = replace(LOCATOR_RULES, threshold=threshold)
    return _decided(picture, np.mean(looks, axis=0, dtype=np.float32), rules)


def look_size(height: int, width: int, long_side: int) -> tuple[int, int]:
    """(height, width) of a locator's copy: about this long, each side a multiple of the stride."""
    scale = min(1.0, long_side / max(height, width)) / LOCATOR_STRIDE
    return tuple(LOCATOR_STRIDE * max(1, round(side * scale)) for side in (height, width))


def _decided(
    picture: np.ndarray, probability: np.ndarray, rules: OcclusionRules, output: np.ndarray | None = None
) -> Located:
    occluders = occluders_from_probability(probability, rules)
    mask = np.maximum.reduce(occluders) if occluders else np.zeros(picture.shape[:2], np.uint8)
    certainty = min((float(probability[blob > 0].mean()) for blob in occluders), default=1.0)
    return Located(picture, follow_edges(mask, to_float(picture)), len(occluders), output, certainty)


def shrink(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The picture at (height, width), each pixel the mean of what it covers; itself where that is its size."""
    if size == picture.shape[:2]:
        return picture
    return cv2.resize(picture, size[::-1], interpolation=cv2.INTER_AREA)


def scaled(height: int, width: int, scale: float) -> tuple[int, int]:
    """(height, width) at a fraction of it, at least one pixel."""
    return max(1, round(height * scale)), max(1, round(width * scale))


def enlarge_mask(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A mask at (height, width), its border interpolated."""
    return (cv2.resize(mask.astype(np.float32), size[::-1], interpolation=cv2.INTER_LINEAR) >= 0.5).astype(np.uint8)


def blob_places(mask: np.ndarray) -> Iterator[tuple[tuple[slice, slice], np.ndarray]]:
    """The box of each blob of a mask (uint8 [h, w], not 0 = covered), and where in that it is: bool."""
    _, labels, boxes, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    for label, (left, top, width, height, _) in enumerate(boxes[1:], 1):
        box = (slice(top, top + height), slice(left, left + width))
        yield box, labels[box] == label


def to_float(picture: np.ndarray) -> np.ndarray:
    """uint8 or uint16 -> float32 in [0, 1]."""
    return picture.astype(np.float32) / np.float32(np.iinfo(picture.dtype).max)


def occluders_from_probability(probability: np.ndarray, rules: OcclusionRules) -> list[np.ndarray]:
    """Decides which covered blobs of a probability (float32 [h, w] in [0, 1]) are occluders: one uint8 [h, w] mask
    (1 = occluder) for each, largest first."""
    blobs = _blobs(probability, rules)
    table = any(_is_table(blob, rules) for blob in blobs)
    chosen = [blob for blob in blobs if _is_occluder(blob, table, rules)]
    return [_fill_holes(blob.mask, rules.hole * blob.area) for blob in sorted(chosen, key=lambda blob: -blob.area)]


def visible_changes(picture: np.ndarray, output: np.ndarray, rules: OcclusionRules) -> np.ndarray:
    """uint8 [h, w], 1 = removed: where a network without a gate changed something visibly, without specks and holes.

    `picture`: float32 [h, w, 3] in [0, 1], what it saw; `output`: float32 [h, w, 3], what it made of it."""
    # A shade below the bound, because 8-bit steps are not exact in float32.
    changed = np.abs(np.clip(output, 0, 1) - picture).max(2) >= np.float32(VISIBLE_CHANGE - 1e-5)
    _, labels, stats, _ = cv2.connectedComponentsWithStats(changed.astype(np.uint8), connectivity=8)
    mask = (changed & (stats[:, cv2.CC_STAT_AREA] >= rules.speck * changed.size)[labels]).astype(np.uint8)
    return _fill_holes(mask, rules.hole * int(mask.sum()))


class _Blob(NamedTuple):
    """A covered blob, uint8 [h, w] with its area and mean probability, and how it meets the border: its contact with
    the side where it is largest and with all sides together, and how many sides it runs along over more than half."""

    mask: np.ndarray
    area: int
    probability: float
    contact: float
    whole_contact: float
    long_sides: int


def _blobs(probability: np.ndarray, rules: OcclusionRules) -> list[_Blob]:
    """The covered blobs that are no specks."""
    covered = (probability >= rules.threshold).astype(np.uint8)
    height, width = covered.shape
    long_side = max(height, width)
    gap = round(rules.gap * long_side) // 2
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * gap + 1, 2 * gap + 1))
    band = max(1, round(rules.border * long_side))
    smallest = max(1.0, rules.speck * height * width)
    found = []
    # A text page has hundreds of specks: they are looked at in their box and not in the whole picture.
    for place, near in blob_places(cv2.dilate(covered, disc)):
        there = near & (covered[place] > 0)
        area = int(there.sum())
        if area < smallest:
            continue
        mask = np.zeros_like(covered)
        mask[place] = there
        strips = (mask[:band], mask[-band:], mask[:, :band], mask[:, -band:])
        widths = [strip.sum() / min(band, *strip.shape) for strip in strips]
        long_sides = sum(met > length / 2 for met, length in zip(widths, (width, width, height, height), strict=True))
        contact, whole_contact = max(widths) / area**0.5, sum(widths) / area**0.5
        found.append(_Blob(mask, area, float(probability[place][there].mean()), contact, whole_contact, long_sides))
    return found


def _is_table(blob: _Blob, rules: OcclusionRules) -> bool:
    """Whether a blob runs round the page; what covers half of the picture is no longer something round it."""
    return blob.long_sides >= 2 and blob.whole_contact > rules.table and blob.area < blob.mask.size / 2


def _is_occluder(blob: _Blob, table: bool, rules: OcclusionRules) -> bool:
    """Whether a blob is removed; `table` says that a table shows round the page."""
    is_small = blob.area < rules.small * blob.mask.size
    if blob.contact == 0:
        return blob.probability >= max(rules.inner_confidence, rules.small_confidence if is_small else 0)
    if blob.area < blob.mask.size / 2 and (
        blob.contact > rules.line or _is_table(blob, rules) or (table and blob.whole_contact > rules.strip)
    ):
        return False
    if blob.contact < rules.contact:
        return blob.probability >= rules.narrow_confidence
    if blob.contact > rules.strip:
        return blob.probability >= rules.strip_confidence
    return blob.probability >= (rules.small_confidence if is_small else rules.wide_confidence)


def _fill_holes(blob: np.ndarray, largest: float) -> np.ndarray:
    """Fills uncovered islands that do not reach the picture's border and are not larger than `largest` pixels."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(1 - blob, connectivity=4)
    height, width = blob.shape
    left, top, box_width, box_height, area = stats.T
    inside = (left > 0) & (top > 0) & (left + box_width < width) & (top + box_height < height)
    return blob | (inside & (area <= largest))[labels].astype(np.uint8)


def follow_edges(mask: np.ndarray, picture: np.ndarray) -> np.ndarray:
    """Moves the outline of a mask (uint8 [h, w], 1 = covered) to the edges nearby of a picture (float32 [h, w, 3] in
    [0, 1]): uint8 [h, w], an array of its own.

    Nothing farther from the outline than `BAND` changes, and what would vanish altogether stays as it is."""
    result, reach = mask.copy(), 2 * _RADIUS + int(BAND) + 1
    grown = cv2.dilate(mask, np.ones((2 * reach + 1, 2 * reach + 1), np.uint8))
    for box, own in blob_places(grown):
        inside = mask[box] * own.astype(np.uint8)
        distance = cv2.distanceTransform(inside, cv2.DIST_L2, 5) + cv2.distanceTransform(1 - inside, cv2.DIST_L2, 5)
        moved = _guided(inside.astype(np.float32), picture[box]) >= _EDGE
        moved = np.where(distance <= BAND, moved, inside)
        if moved[own].any():
            result[box][own] = moved[own]
    return result


def _guided(values: np.ndarray, guide: np.ndarray) -> np.ndarray:
    """float32 [h, w]: the guided filter of `values` by a colour picture."""
    # About their mean, the squares of colours are small enough for float32.
    guide = guide - guide.mean((0, 1))
    mean = partial(cv2.blur, ksize=(2 * _RADIUS + 1, 2 * _RADIUS + 1), borderType=cv2.BORDER_REFLECT)
    mean_guide, mean_values = mean(guide), mean(values)
    covariance = mean(guide * values[..., None]) - mean_guide * mean_values[..., None]
    rows = [mean(guide * guide[..., i, None]) - mean_guide * mean_guide[..., i, None] for i in range(3)]
    for channel, row in enumerate(rows):
        row[..., channel] += _SMOOTHNESS
    # The inverse of a symmetric 3 x 3 matrix by the cross products of its rows.
    crosses = [np.cross(rows[(index + 1) % 3], rows[(index + 2) % 3]) for index in range(3)]
    determinant = (rows[0] * crosses[0]).sum(2)
    slope = sum(covariance[..., index, None] * crosses[index] for index in range(3)) / determinant[..., None]
    offset = mean_values - (slope * mean_guide).sum(2)
    return (mean(slope) * guide).sum(2) + mean(offset)
