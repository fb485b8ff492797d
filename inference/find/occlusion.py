"""From the network's mask probability to the occluders that will be removed.

The network sees one patch of paper at a time and also likes printed photographs and bold letters. What it cannot
see is that a hand or a head comes from outside the picture; that is decided here, and it is what keeps a printed
portrait on the page.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import NamedTuple

import cv2
import numpy as np


@dataclass(frozen=True)
class OcclusionRules:
    """How a mask probability becomes occluders; lengths and areas are fractions, so they hold at every size.

    Contact is how wide something is where it meets the picture's border, as a fraction of the square root of its
    area: a square has 1 on its side of the picture, a strip 1 x 9 lying along it has 3, and a triangle in a corner
    has 1.4 on either side and 2.8 on both.
    """

    threshold: float = 0.5  # A pixel is covered from this probability on
    border: float = 0.006  # How near to the picture's border an occluder must come, as a fraction of the long side
    # Contact that it must have with one side. A finger or a pair of shoulders is cut off by the border over 0.6 and
    # more; a dark corner or a printed picture that happens to reach the border touches it over 0.3 at most.
    contact: float = 0.3
    # With more contact than this on one side it runs along the border, as fingers round the edge of a sheet do, or a
    # palm, but a glimpse of the table as well: it must be more certain.
    strip: float = 2.2
    # With more contact than this on one side it is a line along the border, and no occluder at any probability.
    line: float = 4.5
    # With more contact than this on all sides together, and along more than half of two sides or more, it is the
    # table that shows round the page, and no occluder at any probability. Where there is a table, whatever else has
    # more contact than `strip` on all sides together is a piece of it.
    table: float = 3.0
    # An occluder with enough contact is removed when the mean probability over it is at least this; so a low
    # `threshold` takes the dim rim of an occluder along, and no shadow of a doubt on its own.
    wide_confidence: float = 0.5
    # An occluder of less than this fraction of the picture is small. Hands and heads seldom are; what the network
    # takes for one on a clean page mostly is.
    small: float = 0.007
    # A small occluder with enough contact is removed when the mean probability over it is at least this; over the tip
    # of a real finger it is 0.88 and more.
    small_confidence: float = 0.85
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
    wide_confidence=0.74, small_confidence=0.74, narrow_confidence=0.74, strip_confidence=0.74, inner_confidence=0.78,
)  # fmt: skip

# A network without a gate changes every pixel a little; this much is taken for a removal, as the contest's teams did.
VISIBLE_CHANGE = 2 / 255


class _Blob(NamedTuple):
    """A covered blob, uint8 [h, w] with its area and mean probability, and how it meets the border: its contact with
    the side where it is largest and with all sides together, and how many sides it runs along over more than half.
    """

    mask: np.ndarray
    area: int
    probability: float
    contact: float
    whole_contact: float
    long_sides: int


def occluders_from_probability(probability: np.ndarray, rules: OcclusionRules) -> list[np.ndarray]:
    """Decides which covered blobs of a probability (float32 [h, w] in [0, 1]) are occluders: one uint8 [h, w] mask
    (1 = occluder) for each, largest first.
    """
    blobs = _blobs(probability, rules)
    table = any(_is_table(blob, rules) for blob in blobs)
    chosen = [blob for blob in blobs if _is_occluder(blob, table, rules)]
    return [_fill_holes(blob.mask, rules.hole * blob.area) for blob in sorted(chosen, key=lambda blob: -blob.area)]


def visible_changes(picture: np.ndarray, output: np.ndarray, rules: OcclusionRules) -> np.ndarray:
    """uint8 [h, w], 1 = removed: where a network without a gate changed something visibly, without specks and holes.

    `picture`: float32 [h, w, 3] in [0, 1], what it saw; `output`: float32 [h, w, 3], what it made of it.
    """
    # A shade below the bound, because 8-bit steps are not exact in float32.
    changed = np.abs(np.clip(output, 0, 1) - picture).max(2) >= np.float32(VISIBLE_CHANGE - 1e-5)
    _, labels, stats, _ = cv2.connectedComponentsWithStats(changed.astype(np.uint8), connectivity=8)
    mask = (changed & (stats[:, cv2.CC_STAT_AREA] >= rules.speck * changed.size)[labels]).astype(np.uint8)
    return _fill_holes(mask, rules.hole * int(mask.sum()))


def _blobs(probability: np.ndarray, rules: OcclusionRules) -> list[_Blob]:
    """The covered blobs that are no specks."""
    covered = (probability >= rules.threshold).astype(np.uint8)
    height, width = covered.shape
    long_side = max(height, width)
    gap = round(rules.gap * long_side) // 2
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * gap + 1, 2 * gap + 1))
    _, labels, boxes, _ = cv2.connectedComponentsWithStats(cv2.dilate(covered, disc), connectivity=8)
    band = max(1, round(rules.border * long_side))
    smallest = max(1.0, rules.speck * height * width)
    found = []
    # A text page has hundreds of specks: they are looked at in their box and not in the whole picture.
    for label, (left, top, box_width, box_height, _) in enumerate(boxes[1:], 1):
        place = (slice(top, top + box_height), slice(left, left + box_width))
        there = (labels[place] == label) & (covered[place] > 0)
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
    if blob.contact == 0:
        return blob.probability >= rules.inner_confidence
    if blob.area < blob.mask.size / 2 and (
        blob.contact > rules.line or _is_table(blob, rules) or (table and blob.whole_contact > rules.strip)
    ):
        return False
    if blob.contact < rules.contact:
        return blob.probability >= rules.narrow_confidence
    if blob.contact > rules.strip:
        return blob.probability >= rules.strip_confidence
    is_small = blob.area < rules.small * blob.mask.size
    return blob.probability >= (rules.small_confidence if is_small else rules.wide_confidence)


def _fill_holes(blob: np.ndarray, largest: float) -> np.ndarray:
    """Fills uncovered islands that do not reach the picture's border and are not larger than `largest` pixels."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(1 - blob, connectivity=4)
    height, width = blob.shape
    left, top, box_width, box_height, area = stats.T
    inside = (left > 0) & (top > 0) & (left + box_width < width) & (top + box_height < height)
    return blob | (inside & (area <= largest))[labels].astype(np.uint8)
