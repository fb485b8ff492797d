"""What is pasted over the covered parts of a picture, in one of three ways.

The page around carried on: plain paper (`inference.fill.paper`), on which the lines and bars that show around go on
(`inference.fill.lines`, `strokes`). Or the picture of the network that found: its input plus a correction, and so a
tint stays in it, which is measured on the page around; a ghost of the hand's fine detail stays as well. Or that of a
restorer, which sees the page carried on, with the mask beside it, and paints what the page left out. As neither of
these two is always better, both also fill the hole grown by a ring on a small copy; what the ring really shows says
how much of the restorer's picture is taken, hole by hole (`share_of`). MODEL_CARD.md tells what each is worth.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from math import ceil

import cv2
import numpy as np

from data.images import eight_bit
from inference.fill.lines import LineRules, find_bars, find_lines
from inference.fill.paper import (
    PaperRules,
    carry_on,
    coarse_median,
    paper_under,
    with_remains,
    with_strokes_off,
    without_ink,
)
from inference.fill.strokes import draw_strokes, strokes_of
from inference.find import enlarge_mask, shrink, to_float
from inference.paste import PasteRules, Patch, covered_boxes
from inference.tiles import Box, Network, TileFunction, region_cut, run_cut

# Pixels of page beyond what is looked at: the network sees them, and no side of a box is taken for the picture's; and
# those around a hole that a restorer sees at least.
_CONTEXT, _RESTORER_CONTEXT = 48, 64
# The network's fill takes the tone of the page up to this far from what is pasted, in pixels as those of `PageRules`;
# a difference beyond about this share of white is a change of content, and not of tone.
TONE_RING, _TONE_OUTLIER = 16.0, 0.1
# The copy on which the ring is hidden has at most this long side, since every hole is filled once more there; the
# ring's width is in its pixels. Network and page are told apart by what differs in the ring: where that is less than
# this (root of the mean square, white is 1), it makes no difference either which one is taken.
_RING_LONG_SIDE, _RING, _LEAST_DIFFERENCE = 1024, 12.0, 2e-3


@dataclass(frozen=True)
class PageRules:
    """How the page around is carried on, for a picture whose long side is 1024."""

    context: float = 170.0  # Lines are followed up to this far from what is pasted
    paper: PaperRules = field(default_factory=PaperRules)
    lines: LineRules = field(default_factory=LineRules)

    def scaled(self, long_side: int) -> PageRules:
        """The rules in pixels of a picture with this long side; below 1024 they stay: letters do, too."""
        factor = max(1.0, long_side / 1024)
        return PageRules(self.context * factor, self.paper.scaled(factor), self.lines.scaled(factor))


def page_patches(picture: np.ndarray, mask: np.ndarray, paste: PasteRules) -> list[Patch]:
    """What is pasted over the covered parts (mask: uint8 [h, w], 1 = covered) of a whole picture (RGB uint8 or uint16
    [h, w, 3]), made from the page around them; `paste` tells how, in pixels of that picture."""
    rules, patches = PageRules().scaled(max(mask.shape)), []
    for box, place in _covered_places(mask, paste.reach + rules.context):
        covered, page = _with_letters(picture[place], mask[place], paste, rules)
        patches.append(Patch(box, covered, to_float(page)))
    return patches


def network_patches(
    network: Network, picture: np.ndarray, mask: np.ndarray, paste: PasteRules, side: int, overlap: int,
    output: np.ndarray | None = None,
) -> list[Patch]:  # fmt: skip
    """The same, painted by a network, which sees the covered parts in tiles of `side` and `overlap`, or has made
    `output` (float32 [K, h, w]) of the whole picture already."""
    ring, patches = TONE_RING * max(1.0, max(mask.shape) / 1024), []
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
    restored: np.ndarray, picture: np.ndarray, probability: np.ndarray, mask: np.ndarray, reach: float, ring: float
) -> np.ndarray:
    """The network's picture (`restored`, before the gate) in the tone of the page around what is covered, not clipped;
    only values near the mask mean anything.

    Pictures are float32 [h, w, 3] in [0, 1], `picture` is what was given to the network, `probability` (float32 [h, w])
    its mask, and `mask` uint8 [h, w], 1 = covered. The page is looked at from `reach` up to `ring` pixels farther out.
    """
    distance = cv2.distanceTransform(1 - mask, cv2.DIST_L2, 5)
    around = ((distance > reach) & (distance <= reach + ring)).astype(np.float32)
    error = picture - restored
    # Where the network half believes in an occluder, its picture differs from the input by more than tone.
    trust = around * (1 - probability) ** 4 * np.exp(-((np.abs(error).max(2) / _TONE_OUTLIER) ** 2))
    return restored + carry_on(error, trust)


def _with_letters(
    picture: np.ndarray, mask: np.ndarray, paste: PasteRules, rules: PageRules
) -> tuple[np.ndarray, np.ndarray]:
    """(the mask with the small remains of letters that it cuts, the page carried on over that); the arguments are those
    of `carry_page_on`."""
    if not mask.any():
        return mask, picture
    ink = without_ink(eight_bit(picture), mask, rules.paper)
    covered = with_remains(mask, ink[1], _beyond(mask, paste), rules.paper)
    return covered, carry_page_on(picture, covered, paste, rules, ink)


def carry_page_on(
    picture: np.ndarray, mask: np.ndarray, paste: PasteRules, rules: PageRules,
    ink: tuple[np.ndarray, np.ndarray] | None = None,
) -> np.ndarray:  # fmt: skip
    """A picture (RGB uint8 or uint16 [h, w, 3]) with the page around carried on over what is covered, and as far beyond
    as `paste` reaches; the picture itself where nothing is covered (mask: uint8 [h, w]), or no page is left to go by.
    `rules` are scaled to this picture; `ink` is what `without_ink` returns, where that is known."""
    beyond = _beyond(mask, paste)
    if not ((beyond > 0) & (beyond <= rules.paper.ring)).any():
        return picture
    eight = eight_bit(picture)
    page = _page(eight, ink or without_ink(eight, mask, rules.paper), beyond, rules)
    page *= np.float32(np.iinfo(picture.dtype).max / 255)
    changed = beyond < 0
    before = picture[changed].astype(np.float32)
    result = picture.copy()
    result[changed] = before + paste.weight(mask)[changed][:, None] * (page[changed] - before) + np.float32(0.5)
    return result


def _beyond(mask: np.ndarray, paste: PasteRules) -> np.ndarray:
    """float32 [h, w]: how far a pixel is from the last one that is pasted; negative within."""
    return cv2.distanceTransform(1 - mask, cv2.DIST_L2, 5) - np.float32(paste.reach)


def _page(picture: np.ndarray, ink: tuple[np.ndarray, np.ndarray], beyond: np.ndarray, rules: PageRules) -> np.ndarray:
    """float32 [h, w, 3] in [0, 255], the page where `beyond` is negative; blobs with nothing of their surroundings in
    common lie on paper of their own."""
    inkless, darkness = ink
    page, hole = picture.astype(np.float32), beyond < 0
    # Letters on a bar of colour are no borders of it, be they dark or light.
    plain = coarse_median(with_strokes_off(inkless, cv2.MORPH_OPEN, rules.paper), rules.paper.text // 5 * 2 + 1)
    common = np.median(plain[(beyond > 0) & (beyond <= 2 * rules.paper.around)], axis=0).astype(np.float32)
    bars = find_bars(plain - common, hole, rules.lines)
    rest = picture - coarse_median(picture, rules.paper.text).astype(np.float32)
    strokes = strokes_of(bars + find_lines(page, rest, hole, rules.lines), rules.lines)
    on_bars, on_lines = ([stroke for stroke in strokes if (stroke[0] in bars) == is_bar] for is_bar in (True, False))
    # What a bar that goes on hides is paper, too.
    known = beyond.copy()
    for bar, *_ in on_bars:
        known[bar.covers(hole.shape) & ~hole] = sum(hole.shape)  # As if far away
    around = (beyond <= rules.paper.around).astype(np.uint8)
    _, labels, boxes, _ = cv2.connectedComponentsWithStats(around, connectivity=8)
    for label, (left, top, width, height, _) in enumerate(boxes[1:], 1):
        # Texture is taken from farther than paper, so that where there is some, more is looked at.
        for margin in (rules.paper.text, max(rules.paper.text, round(rules.context / 2))):
            box = np.s_[max(0, top - margin) : top + height + margin, max(0, left - margin) : left + width + margin]
            near = labels[box] == label
            paper, is_rough = paper_under(picture[box], inkless[box], darkness[box], known[box], near, rules.paper)
            if not is_rough:
                break
        page[box][near & hole[box]] = paper[near & hole[box]]
    draw_strokes(page, hole, on_bars, 0)
    draw_strokes(page, hole, on_lines, rules.lines.near)
    return np.clip(page, 0, 255)


def restored_patches(
    network: TileFunction, picture: np.ndarray, mask: np.ndarray, paste: PasteRules, side: int, overlap: int
) -> list[Patch]:
    """The same as `page_patches`, and the picture of a restorer on it as far as it explains what is known: `network`
    makes float32 [1, 3, h, w] of [1, 4, h, w], colours and mask, in tiles of `side` and `overlap`."""
    painter, patches = partial(paint, network, side=side, overlap=overlap), []
    for patch in page_patches(picture, mask, paste):
        here = picture[slice(*patch.box[:2]), slice(*patch.box[2:])]
        share = share_of(painter, here, patch.mask, paste, max(mask.shape))
        painted = painter(patch.fill, hole_of(patch.mask, paste)) if share else patch.fill
        patches.append(replace(patch, fill=patch.fill + np.float32(share) * (painted - patch.fill)))
    return patches


def hole_of(mask: np.ndarray, paste: PasteRules) -> np.ndarray:
    """uint8 [h, w], 1 wherever something is pasted for a mask."""
    return (paste.weight(mask) > 0).astype(np.uint8)


def fill_patch(occluded: np.ndarray, mask: np.ndarray, long_side: int) -> tuple[np.ndarray, np.ndarray]:
    """What the restorer learns from: a patch (RGB uint8 [h, w, 3]) with the page carried on over what is covered (mask:
    uint8 [h, w]), and the hole, uint8 [h, w], 1 = filled. `long_side` is that of the photo which it is a part of."""
    rules, paste = PageRules().scaled(long_side), PasteRules().scaled(max(1.0, long_side / 1024))
    covered, page = _with_letters(occluded, mask, paste, rules)
    return page, hole_of(covered, paste)


def paint(network: TileFunction, page: np.ndarray, hole: np.ndarray, side: int, overlap: int) -> np.ndarray:
    """A page (float32 [h, w, 3] in [0, 1]) with the network's picture in the hole (uint8 [h, w], 1 = filled)."""
    if not hole.any():
        return page
    left, top, width, height = cv2.boundingRect(hole)
    box = (max(0, top - _RESTORER_CONTEXT), min(hole.shape[0], top + height + _RESTORER_CONTEXT),
           max(0, left - _RESTORER_CONTEXT), min(hole.shape[1], left + width + _RESTORER_CONTEXT))  # fmt: skip
    cut = region_cut(box, *hole.shape, side, overlap)
    top, bottom, left, right = cut.box
    result, here = page.copy(), (slice(top, bottom), slice(left, right))
    shown = run_cut(np.dstack([page, hole]).astype(np.float32).transpose(2, 0, 1), network, cut).transpose(1, 2, 0)
    result[here] = np.where(hole[here][..., None] > 0, shown, page[here])
    return result


def share_of(painter: partial, picture: np.ndarray, mask: np.ndarray, paste: PasteRules, long_side: int) -> float:
    """How much of what `painter` makes of page and hole explains a hidden ring around the mask best, 0 (the page) to 1.

    The least squares' answer. Nearest to the mask nothing is asked: the occluder may have coloured it. `picture` is a
    part, uint8 or uint16 [h, w, 3], of a picture with `long_side`, `mask` and `paste` are those of `restored_patches`.
    """
    factor = min(1.0, _RING_LONG_SIDE / long_side)
    size = tuple(max(1, round(length * factor)) for length in mask.shape)
    small, covered, paste = shrink(picture, size), enlarge_mask(mask, size), paste.scaled(factor)
    if covered.all() or not covered.any():
        return 0.0
    distance = cv2.distanceTransform(1 - covered, cv2.DIST_L2, 5)
    hidden = (distance <= paste.reach + _RING).astype(np.uint8)
    page = to_float(carry_page_on(small, hidden, paste, PageRules().scaled(round(long_side * factor))))
    ring = (hidden > 0) & (distance > paste.reach)
    change = (painter(page, hole_of(hidden, paste)) - page)[ring]
    error = (to_float(small) - page)[ring]
    squares = float((change * change).sum())
    if squares <= change.size * _LEAST_DIFFERENCE**2:
        return 0.0
    return float(np.clip((change * error).sum() / squares, 0, 1))
