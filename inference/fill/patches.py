"""What is pasted over the covered parts of a picture: the page around carried on, or the network's own picture.

The page around gives two answers, and their mean is better than either: plain paper, which is the tone of the
surroundings carried on without its letters; and Navier-Stokes inpainting, which carries lines and edges on for a
little. Straight borders (`inference.fill.borders`) keep their sides apart, ruled lines (`inference.fill.lines`) go on.
The network's result is its input plus a correction, and so a tint stays in its fill: it is measured on the page around.
A ghost of the hand's fine detail stays as well. MODEL_CARD.md tells what each is worth.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from math import ceil

import cv2
import numpy as np

from inference.fill.borders import BorderRules, straight_areas
from inference.fill.lines import LineRules, draw_lines, ruled_lines
from inference.find.locate import to_float
from inference.paste import PasteRules, Patch, covered_boxes
from inference.tiles import Box, Network, region_cut

_INPAINTING_RADIUS = 3
# An area of which less than this many pixels show takes its tone from all that shows.
_FEWEST_SEEN = 10
# Pixels of page beyond what is looked at: the network sees them, and no side of a box is taken for the picture's.
_CONTEXT = 48
# The network's fill takes the tone of the page up to this far from what is pasted, in pixels as those of `PageRules`;
# a difference beyond about this share of white is a change of content, and not of tone.
TONE_RING, TONE_OUTLIER = 16.0, 0.1


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
    return [
        Patch(box, mask[place], to_float(carry_page_on(picture[place], mask[place], paste, rules)))
        for box, place in _covered_places(mask, paste.reach + max(rules.around, rules.lines.band))
    ]


def network_patches(
    network: Network, picture: np.ndarray, mask: np.ndarray, paste: PasteRules, side: int, overlap: int,
    output: np.ndarray | None = None,
) -> list[Patch]:  # fmt: skip
    """The same, painted by a network, which sees the covered parts in tiles of `side` and `overlap`, or has made
    `output` (float32 [K, h, w]) of the whole picture already.
    """
    ring = TONE_RING * max(1.0, max(mask.shape) / 1024)
    patches = []
    for box, place in _covered_places(mask, paste.reach + ring):
        if output is None:
            # The tiles reach beyond a small box.
            cut = region_cut(box, *picture.shape[:2], side, overlap)
            top, bottom, left, right = box - np.repeat(cut.box[::2], 2)
            here = network(picture, cut)[:, top:bottom, left:right]
        else:
            here = output[:, *place]
        restored = np.ascontiguousarray(here[:3].transpose(1, 2, 0))
        # Without a gate the mask stands in for the network's probability.
        probability = here[3] if len(here) > 3 else mask[place].astype(np.float32)
        fill = match_tone(restored, to_float(picture[place]), probability, mask[place], paste.reach, ring)
        patches.append(Patch(box, mask[place], fill))
    return patches


def _covered_places(mask: np.ndarray, looked_at: float) -> Iterator[tuple[Box, tuple[slice, slice]]]:
    for box in covered_boxes(mask, ceil(looked_at) + _CONTEXT):
        yield box, (slice(*box[:2]), slice(*box[2:]))


def match_tone(
    restored: np.ndarray, picture: np.ndarray, probability: np.ndarray, mask: np.ndarray, reach: float, ring: float,
    outlier: float = TONE_OUTLIER,
) -> np.ndarray:  # fmt: skip
    """The network's picture (`restored`, before the gate) in the tone of the page around what is covered, not clipped;
    only values near the mask mean anything.

    Pictures are float32 [h, w, 3] in [0, 1], `picture` is what was given to the network, `probability` (float32 [h, w])
    its mask, and `mask` uint8 [h, w], 1 = covered. The page is looked at from `reach` up to `ring` pixels farther out.
    """
    if mask.all() or not mask.any():
        return restored
    distance = cv2.distanceTransform(1 - mask, cv2.DIST_L2, 5)
    around = ((distance > reach) & (distance <= reach + ring)).astype(np.float32)
    error = picture - restored
    # Where the network half believes in an occluder, its picture differs from the input by more than tone.
    trust = around * (1 - probability) ** 4 * np.exp(-((np.abs(error).max(2) / outlier) ** 2))
    return restored + carry_on(error, trust)


def carry_page_on(picture: np.ndarray, mask: np.ndarray, paste: PasteRules, rules: PageRules) -> np.ndarray:
    """A picture (RGB uint8 or uint16 [h, w, 3]) with the page around carried on over what is covered, and as far beyond
    as `paste` reaches; the picture itself where nothing is covered (mask: uint8 [h, w]), or no page is left to go by.
    `rules` are scaled to this picture.
    """
    if mask.all() or not mask.any():
        return picture
    # How far a pixel is from the last one that is pasted; negative within.
    beyond = cv2.distanceTransform(1 - mask, cv2.DIST_L2, 5) - np.float32(paste.reach)
    if not ((beyond > 0) & (beyond <= rules.ring)).any():
        return picture
    eight_bit = picture if picture.dtype == np.uint8 else ((picture.astype(np.uint32) + 128) // 257).astype(np.uint8)
    page = _page(eight_bit, mask, beyond, rules) * np.float32(np.iinfo(picture.dtype).max / 255)
    changed = beyond < 0
    before = picture[changed].astype(np.float32)
    result = picture.copy()
    result[changed] = before + paste.weight(mask)[changed][:, None] * (page[changed] - before) + np.float32(0.5)
    return result


def _page(picture: np.ndarray, mask: np.ndarray, beyond: np.ndarray, rules: PageRules) -> np.ndarray:
    """float32 [h, w, 3] in [0, 255], the page where `beyond` is negative; blobs with nothing of their surroundings in
    common are looked at one by one, in their own box and with their own borders.
    """
    page = picture.astype(np.float32)
    surroundings = (beyond <= rules.around).astype(np.uint8)
    _, labels, boxes, _ = cv2.connectedComponentsWithStats(surroundings, connectivity=8)
    margin = max(rules.lines.band - int(rules.around), 0) + rules.text
    for label, (left, top, width, height, _) in enumerate(boxes[1:], 1):
        box = (slice(max(0, top - margin), top + height + margin), slice(max(0, left - margin), left + width + margin))
        near = labels[box] == label
        own = near & (beyond[box] < 0)
        page[box][own] = _page_under(picture[box], mask[box], beyond[box], near, rules)[own]
    return page


def _page_under(
    picture: np.ndarray, mask: np.ndarray, beyond: np.ndarray, near: np.ndarray, rules: PageRules
) -> np.ndarray:
    """The same for one blob, which lies with its surroundings in `near` (bool [h, w])."""
    ring, around = (near & (beyond > 0) & (beyond <= width) for width in (rules.ring, rules.around))
    pasted = beyond < 0
    plain = cv2.medianBlur(picture, rules.text)
    areas = straight_areas(plain, around, rules.borders)
    plain = plain.astype(np.float32)
    hole = cv2.dilate(mask, np.ones((2 * rules.rim + 1, 2 * rules.rim + 1), np.uint8))
    # Without thin strokes as well: a stroke that is carried on too far costs more than one that ends.
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
    """float32 [h, w, 3], the weighted mean of known values around each pixel, in which near ones count most; 0 where
    `weights` (float32 [h, w] in [0, 1], 0 = not known) knows none.

    The weight of a value falls with about the third power of its distance: that is what a sum of Gaussians makes whose
    width doubles and whose share halves from level to level of a pyramid.
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
