"""The restorer's fill: a network sees the page carried on, with the mask beside it, and paints what the page left out.

Neither is always better. So both also fill the hole grown by a ring on a small copy; what the ring really shows says
how much of the network's picture is taken, hole by hole (`share_of`).
"""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from inference.fill.patches import PageRules, carry_page_on, page_patches, whole_letters
from inference.find.locate import enlarge_mask, shrink, to_float
from inference.paste import PasteRules, Patch
from inference.tiles import TileFunction, region_cut, run_cut

# The copy on which the ring is hidden has at most this long side, since every hole is filled once more there; the
# ring's width is in its pixels. Network and page are told apart by what differs in the ring: where that is less than
# this (root of the mean square, white is 1), it makes no difference either which one is taken.
_RING_LONG_SIDE, _RING = 1024, 12.0
_LEAST_DIFFERENCE = 2e-3
# Pixels around a hole that the network sees at least.
_CONTEXT = 64


def restored_patches(
    network: TileFunction, picture: np.ndarray, mask: np.ndarray, paste: PasteRules, side: int, overlap: int
) -> list[Patch]:
    """What is pasted over the covered parts of a picture: the page around, and the network's picture on it.

    Args:
        network: float32 [1, 4, h, w], colours and mask, to [1, 3, h, w].
        picture, mask, paste: as for `page_patches`.
        side, overlap: of the tiles in which the network sees the surroundings of a hole.
    """
    patches = []
    for patch in page_patches(picture, mask, paste):
        here = picture[slice(*patch.box[:2]), slice(*patch.box[2:])]
        share = share_of(network, here, patch.mask, paste, max(mask.shape), side, overlap)
        painted = paint(network, patch.fill, hole_of(patch.mask, paste), side, overlap) if share else patch.fill
        patches.append(replace(patch, fill=patch.fill + np.float32(share) * (painted - patch.fill)))
    return patches


def hole_of(mask: np.ndarray, paste: PasteRules) -> np.ndarray:
    """uint8 [h, w], 1 wherever something is pasted for a mask."""
    return (paste.weight(mask) > 0).astype(np.uint8)


def fill_patch(occluded: np.ndarray, mask: np.ndarray, long_side: int) -> tuple[np.ndarray, np.ndarray]:
    """What the restorer learns from: a patch (RGB uint8 [h, w, 3]) with the page carried on over what is covered (mask:
    uint8 [h, w]), and the hole, uint8 [h, w], 1 = filled. `long_side` is that of the photo which it is a part of.
    """
    rules, paste = PageRules().scaled(long_side), PasteRules().scaled(max(1.0, long_side / 1024))
    covered = whole_letters(occluded, mask, paste, rules)
    return carry_page_on(occluded, covered, paste, rules), hole_of(covered, paste)


def paint(network: TileFunction, page: np.ndarray, hole: np.ndarray, side: int, overlap: int) -> np.ndarray:
    """A page (float32 [h, w, 3] in [0, 1]) with the network's picture in the hole (uint8 [h, w], 1 = filled)."""
    if not hole.any():
        return page
    left, top, width, height = cv2.boundingRect(hole)
    box = (max(0, top - _CONTEXT), min(hole.shape[0], top + height + _CONTEXT),
           max(0, left - _CONTEXT), min(hole.shape[1], left + width + _CONTEXT))  # fmt: skip
    cut = region_cut(box, *hole.shape, side, overlap)
    top, bottom, left, right = cut.box
    result, here = page.copy(), (slice(top, bottom), slice(left, right))
    shown = run_cut(np.dstack([page, hole]).astype(np.float32).transpose(2, 0, 1), network, cut).transpose(1, 2, 0)
    result[here] = np.where(hole[here][..., None] > 0, shown, page[here])
    return result


def share_of(
    network: TileFunction, picture: np.ndarray, mask: np.ndarray, paste: PasteRules, long_side: int, side: int,
    overlap: int,
) -> float:  # fmt: skip
    """How much of the network's picture explains a hidden ring around the mask best, 0 (the page) to 1.

    The least squares' answer. Nearest to the mask nothing is asked: the occluder may have coloured it. `picture` is a
    part, uint8 or uint16 [h, w, 3], of a picture with `long_side`, the other arguments are those of `restored_patches`.
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
    change = (paint(network, page, hole_of(hidden, paste), side, overlap) - page)[ring]
    error = (to_float(small) - page)[ring]
    squares = float((change * change).sum())
    if squares <= change.size * _LEAST_DIFFERENCE**2:
        return 0.0
    return float(np.clip((change * error).sum() / squares, 0, 1))
