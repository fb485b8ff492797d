"""What the page around an occluder says about the page under it, without a network.

Two answers, and their mean is better than either: plain paper, which is the tone of the surroundings carried on
without its letters; and Navier-Stokes inpainting, which carries lines and edges on for a little, once from the picture
and once from a copy without thin strokes, since a stroke that it carries on too far costs more than one that ends.
Where straight borders divide the page around (`inference.fill.borders`), each side is carried on by itself, and ruled
lines that show on both sides (`inference.fill.lines`) are drawn through. MODEL_CARD.md tells what each is worth.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import ceil

import cv2
import numpy as np

from inference.fill.borders import BorderRules, straight_areas
from inference.fill.lines import LineRules, draw_lines, ruled_lines
from inference.paste import PasteRules, Patch, covered_boxes

_INPAINTING_RADIUS = 3
# An area of which less than this many pixels show takes its tone from all that shows.
_FEWEST_SEEN = 10
# Pixels of page beyond what is looked at, so that no side of a box is taken for a side of the picture.
_CONTEXT = 48


@dataclass(frozen=True)
class PageRules:
    """Where the page around is looked at; lengths are pixels of a picture whose long side is 1024."""

    ring: float = 7.0  # The paper is looked at from where pixels stay as they are up to this much farther out
    text: int = 21  # Side of the median filter that takes letters off the paper; odd
    stroke: int = 9  # Side of the one that takes thin strokes off; odd
    rim: int = 3  # Navier-Stokes starts this far from the mask
    around: float = 32.0  # Borders of the sheet are looked for from where pixels stay up to this much farther out
    borders: BorderRules = field(default_factory=BorderRules)  # What a border is
    lines: LineRules = field(default_factory=LineRules)  # Which lines go on

    def scaled(self, long_side: int) -> PageRules:
        """The rules in pixels of a picture with this long side; below 1024 they stay: letters do, too."""
        factor = max(1.0, long_side / 1024)
        text, stroke = (2 * round(side * factor / 2 - 0.5) + 1 for side in (self.text, self.stroke))
        rim, around = round(self.rim * factor), self.around * factor
        return PageRules(self.ring * factor, text, stroke, rim, around, self.borders, self.lines.scaled(factor))


def page_patches(picture: np.ndarray, mask: np.ndarray, paste: PasteRules) -> list[Patch]:
    """What is pasted over the covered parts of a picture, made from the page around them.

    Args:
        picture: RGB uint8 or uint16 [h, w, 3], the whole picture at the working scale.
        mask: uint8 [h, w], 1 = covered.
        paste: how the patches will be pasted, in pixels of that scale.
    """
    rules = PageRules().scaled(max(mask.shape))
    white = np.float32(np.iinfo(picture.dtype).max)
    patches = []
    for box in covered_boxes(mask, ceil(paste.reach + max(rules.around, rules.lines.band)) + _CONTEXT):
        place = (slice(*box[:2]), slice(*box[2:]))
        page = carry_page_on(picture[place], mask[place], paste, rules)
        patches.append(Patch(box, mask[place], page.astype(np.float32) / white))
    return patches


def carry_page_on(picture: np.ndarray, mask: np.ndarray, paste: PasteRules, rules: PageRules) -> np.ndarray:
    """The picture with the page around carried on over what is covered.

    Args:
        picture: RGB uint8 or uint16 [h, w, 3]; stays as it is.
        mask: uint8 [h, w], 1 = covered.
        paste: how far it reaches beyond the mask.
        rules: where the page around is looked at, scaled to this picture.

    Returns:
        An array of its own; the picture itself where nothing is covered, or no page is left to go by.
    """
    if mask.all() or not mask.any():
        return picture
    # How far a pixel is from the last one that is pasted; negative within.
    beyond = cv2.distanceTransform(1 - mask, cv2.DIST_L2, 5) - np.float32(paste.reach)
    if not ((beyond > 0) & (beyond <= rules.ring)).any():
        return picture
    page = _page(_eight_bit(picture), mask, beyond, rules) * np.float32(np.iinfo(picture.dtype).max / 255)
    changed = beyond < 0
    before = picture[changed].astype(np.float32)
    result = picture.copy()
    result[changed] = before + paste.weight(mask)[changed][:, None] * (page[changed] - before) + np.float32(0.5)
    return result


def _eight_bit(picture: np.ndarray) -> np.ndarray:
    if picture.dtype == np.uint8:
        return picture
    return ((picture.astype(np.uint32) + 128) // 257).astype(np.uint8)


def _page(picture: np.ndarray, mask: np.ndarray, beyond: np.ndarray, rules: PageRules) -> np.ndarray:
    """float32 [h, w, 3] in [0, 255], the page where `beyond` is negative; blobs with nothing of their surroundings in
    common are looked at one by one, in their own box and with their own borders.
    """
    page = picture.astype(np.float32)
    surroundings = (beyond <= rules.around).astype(np.uint8)
    count, labels, boxes, _ = cv2.connectedComponentsWithStats(surroundings, connectivity=8)
    margin = max(rules.lines.band - int(rules.around), 0) + rules.text
    for label in range(1, count):
        left, top, width, height = boxes[label, :4]
        box = (slice(max(0, top - margin), top + height + margin), slice(max(0, left - margin), left + width + margin))
        near = labels[box] == label
        own = near & (beyond[box] < 0)
        page[box][own] = _page_under(picture[box], mask[box], beyond[box], near, rules)[own]
    return page


def _page_under(
    picture: np.ndarray, mask: np.ndarray, beyond: np.ndarray, near: np.ndarray, rules: PageRules
) -> np.ndarray:
    """float32 [h, w, 3] in [0, 255], the page under one blob and as far around it as is pasted; `near`, bool [h, w],
    is the blob with its surroundings.
    """
    ring, around = (near & (beyond > 0) & (beyond <= width) for width in (rules.ring, rules.around))
    pasted = beyond < 0
    plain = cv2.medianBlur(picture, rules.text)
    areas = straight_areas(plain, around, rules.borders)
    plain = plain.astype(np.float32)
    hole = cv2.dilate(mask, np.ones((2 * rules.rim + 1, 2 * rules.rim + 1), np.uint8))
    calm = cv2.medianBlur(picture, rules.stroke)
    page, papers = picture.astype(np.float32), plain.copy()
    for area in np.unique(areas[pasted & near]):
        here = areas == area
        seen = ring & here
        paper = carry_on(plain, (seen if seen.sum() >= _FEWEST_SEEN else ring).astype(np.float32))
        papers[here] = paper[here]
        page[here] = paper[here] / 2
        # On the other side of a border Navier-Stokes sees this side's paper, so that nothing flows across.
        elsewhere = np.clip(paper + np.float32(0.5), 0, 255).astype(np.uint8)
        for strokes in (picture, calm):
            source = np.where(here[..., None], strokes, elsewhere)
            flow = cv2.inpaint(source, hole * here.astype(np.uint8), _INPAINTING_RADIUS, cv2.INPAINT_NS)
            page[here] += flow[here] / np.float32(4)
    draw_lines(page, papers, pasted, ruled_lines(picture - plain, pasted, rules.lines))
    return np.clip(page, 0, 255)


def carry_on(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The weighted mean of known values around each pixel, in which near ones count most.

    Args:
        values: float32 [h, w, 3].
        weights: float32 [h, w] in [0, 1], 0 where nothing is known.

    Returns:
        float32 [h, w, 3]. The weight of a value falls with about the third power of its distance: that is what a sum
        of Gaussians makes whose width doubles and whose share halves from level to level of a pyramid. 0 where no
        value is known at all.
    """
    height, width = weights.shape
    level = np.dstack([values * weights[..., None], weights])
    total, share = np.zeros_like(level), np.float32(1)
    while True:
        blurred = cv2.GaussianBlur(level, (0, 0), 1.5, borderType=cv2.BORDER_CONSTANT)
        total += share * cv2.resize(blurred, (width, height), interpolation=cv2.INTER_LINEAR)
        if max(level.shape[:2]) <= 4:
            return total[..., :3] / np.maximum(total[..., 3:], np.float32(1e-9))
        half = ((level.shape[1] + 1) // 2, (level.shape[0] + 1) // 2)
        level, share = cv2.resize(level, half, interpolation=cv2.INTER_AREA), share / 2
