"""From the network's mask probability to the occluders that will be removed.

The network sees one patch of paper at a time and also likes printed photographs and bold letters. What it cannot
see is that a hand or a head comes from outside the picture; that is decided here, and it is what keeps a printed
portrait on the page.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np


@dataclass(frozen=True)
class OcclusionRules:
    """How a mask probability becomes occluders; lengths and areas are fractions, so they hold at every size.

    Attributes:
        threshold: a pixel is covered from this probability on.
        border: how near to the picture's border an occluder must come, as a fraction of the long side.
        contact: how wide it must be there, as a fraction of the square root of its area. A finger or a pair of
            shoulders is cut off by the border over 0.6 and more; a dark corner or a printed picture that happens to
            reach the border touches it over 0.3 at most.
        widest_contact: wider than this it is not something that reaches into the picture but runs along its border:
            the table under the page.
        wide_confidence: an occluder with as much contact is removed when the mean probability over it is at least
            this; so a low `threshold` takes the dim rim of an occluder along, and no shadow of a doubt on its own.
        narrow_confidence: an occluder with less contact than that is removed when the mean probability over it is
            at least this.
        inner_confidence: the same for one that does not come near the border; above 1 none is removed.
        gap: blobs nearer to each other than this fraction of the long side are one occluder (fingers divided by a
            printed line, a cut-out's second blob).
        speck: occluders smaller than this fraction of the picture are dropped.
        hole: uncovered islands inside an occluder are filled up to this fraction of the occluder's area.
    """

    threshold: float = 0.5
    border: float = 0.006
    contact: float = 0.3
    widest_contact: float = 2.5
    wide_confidence: float = 0.5
    narrow_confidence: float = 0.9
    inner_confidence: float = 0.98
    gap: float = 0.006
    speck: float = 0.0002
    hole: float = 0.1


def find_occluders(probability: np.ndarray, rules: OcclusionRules) -> list[np.ndarray]:
    """Decides which covered blobs are occluders.

    Args:
        probability: float32 [h, w] in [0, 1] at the working scale.

    Returns:
        One uint8 [h, w] mask (1 = occluder) for each occluder, largest first; an empty list when nothing is covered.
    """
    covered = (probability >= rules.threshold).astype(np.uint8)
    if not covered.any():
        return []
    height, width = covered.shape
    long_side = max(height, width)
    gap = round(rules.gap * long_side)
    joined = cv2.dilate(covered, _disc(gap // 2)) if gap >= 2 else covered
    count, labels = cv2.connectedComponents(joined, connectivity=8)
    thickness = max(1, round(rules.border * long_side))
    near_border = _border_band(height, width, thickness)
    found = []
    for label in range(1, count):
        blob = ((labels == label) & (covered > 0)).astype(np.uint8)
        area = int(blob.sum())
        if area < max(1.0, rules.speck * height * width):
            continue
        contact = int((blob & near_border).sum()) / thickness / area**0.5
        if contact == 0:
            needed = rules.inner_confidence
        elif contact > rules.widest_contact and area < height * width / 2:
            continue
        else:
            needed = rules.narrow_confidence if contact < rules.contact else rules.wide_confidence
        if float(probability[blob > 0].mean()) >= needed:
            found.append((area, _fill_holes(blob, rules.hole * area)))
    return [blob for _, blob in sorted(found, key=lambda item: -item[0])]


def _border_band(height: int, width: int, thickness: int) -> np.ndarray:
    band = np.ones((height, width), np.uint8)
    if height > 2 * thickness and width > 2 * thickness:
        band[thickness:-thickness, thickness:-thickness] = 0
    return band


def _fill_holes(blob: np.ndarray, largest: float) -> np.ndarray:
    """Fills uncovered islands that do not reach the picture's border and are not larger than `largest` pixels."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(1 - blob, connectivity=4)
    height, width = blob.shape
    filled = blob.copy()
    for label in range(1, count):
        left, top, box_width, box_height, area = stats[label]
        inside = left > 0 and top > 0 and left + box_width < width and top + box_height < height
        if inside and area <= largest:
            filled[labels == label] = 1
    return filled


def _disc(radius: int) -> np.ndarray:
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
