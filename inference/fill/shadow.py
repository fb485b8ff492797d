"""The shadow that an occluder throws on the paper beside it, which goes with it.

On a small copy the hole is grown by as far as such a shadow may reach, and filled as any hole is. Where the picture is
darker than that, all along the hole and most next to it, there is a shadow, the surer the bluer. A printed picture or a
book's edge, of which the fill does not know, is darker, too, but meets the hole on a shorter line than light paper, or
is as dark farther out; and where letters are cut, there is more ink than darkness. On dark ground none is looked for:
there it hardly shows.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from data.images import eight_bit
from inference.fill.paper import MEAN, PaperRules, paper_under, without_ink
from inference.find import blob_places, enlarge_mask, scaled, shrink

# Long side of the copy on which shadows are looked for.
_LONG_SIDE = 512
# A share of a tone is one of this much more, in grey levels: in the dark, noise is no large share.
_DARK = 16.0


@dataclass(frozen=True)
class ShadowRules:
    """What is a shadow; tones are grey levels."""

    reach: float = 0.03  # It ends this share of the picture's long side from what is pasted, or nearer
    darker: float = 0.05  # It is darker by this share of the paper's tone,
    shows: float = 0.085  # ... somewhere by this,
    darkest: float = 0.4  # ... and by no more than this on average,
    light: float = 140.0  # ... than paper at least so light
    # What it is darker by than `darker` lies at this share, or less, of its pixels' mean distance from what is pasted.
    fading: float = 0.95
    # The line on which it meets what is pasted is at least so many times as long as that on which it meets paper in the
    # light: so many times its own share of the above, to the power of 1.5, and as many times as more red than blue is
    # left in it. Dark ground counts for neither.
    along: float = 1.17
    # There is less ink in it than this share of its darkness, or, if that is more, as many times its darkness as the
    # line on which it meets what is pasted is longer than `word`, a share of the picture's long side.
    ink: float = 0.7
    word: float = 0.125


def with_shadows(picture: np.ndarray, mask: np.ndarray, reach: float, rules: ShadowRules) -> np.ndarray:
    """A mask (uint8 [h, w], 1 = covered) with the shadows beside it, of a whole picture, RGB uint8 or uint16 [h, w, 3],
    large enough for letters to be told from paper; a fill is pasted up to `reach` pixels beyond what is covered."""
    if not mask.any():
        return mask
    inkless, ink = without_ink(eight_bit(picture), mask, PaperRules().scaled(max(1.0, max(mask.shape) / 1024)))
    factor = min(1.0, _LONG_SIDE / max(mask.shape))
    size = scaled(*mask.shape, factor)
    beyond = cv2.distanceTransform(1 - enlarge_mask(mask, size), cv2.DIST_L2, 5) - np.float32(reach * factor)
    shadows = np.zeros(size, np.uint8)
    small = shrink(inkless, size)
    share, tint = _darkness(small, beyond, rules)
    tone = cv2.transform(small, MEAN)
    ink = shrink(ink, size)
    # Dark ground beside the paper tells nothing, nor does the blur between the two.
    ground = cv2.dilate(((tone <= rules.light / 2) & (beyond > -1)).astype(np.uint8), np.ones((5, 5), np.uint8))
    lit = (share == 0) & (beyond > -1) & (ground == 0)
    touches = [cv2.dilate(plane.astype(np.uint8), np.ones((3, 3), np.uint8)) for plane in (beyond <= -1, lit)]
    for box, here in blob_places((share > 0).astype(np.uint8)):
        outside = here & (beyond[box] > 0)
        by_hole, by_lit = (np.count_nonzero(plane[box][here]) for plane in touches)
        distances, shares = beyond[box][outside], share[box][outside]
        if not by_hole or not shares.size or shares.max() < rules.shows or shares.mean() > rules.darkest:
            continue
        fading = np.average(distances, weights=shares - rules.darker) / distances.mean()
        line = rules.along * fading**1.5 * tint[box][outside].mean() * by_lit
        letters = np.mean(ink[box][outside] / (tone[box][outside] + _DARK)) / shares.mean()
        most = max(rules.ink, by_hole / (rules.word * max(size)))
        if fading <= rules.fading and by_hole >= line and letters < most:
            shadows[box][here] = 1
    return mask | enlarge_mask(shadows, mask.shape)


def _darkness(inkless: np.ndarray, beyond: np.ndarray, rules: ShadowRules) -> tuple[np.ndarray, np.ndarray]:
    """(float32 [h, w]: by which share of the paper's tone a picture (uint8 [h, w, 3]) is darker than the paper that the
    page farther out tells of; 0 where that is little, and but for where a shadow may be; float32 [h, w]: how many times
    as much red as blue is left there)."""
    paper_rules = PaperRules().scaled(_LONG_SIDE / 1024)
    farther = beyond - np.float32(rules.reach * max(beyond.shape))
    share, tint, no_ink = np.zeros_like(beyond), np.ones_like(beyond), np.zeros(beyond.shape, np.uint8)
    for box, near in blob_places((farther <= paper_rules.around).astype(np.uint8)):
        page, _ = paper_under(inkless[box], inkless[box], no_ink[box], farther[box], near, paper_rules)
        paper, shown = (cv2.transform(plane, MEAN) for plane in (page, inkless[box].astype(np.float32)))
        by = cv2.GaussianBlur(paper, (0, 0), 1.5) - cv2.GaussianBlur(shown, (0, 0), 1)
        by /= paper + _DARK
        dark = near & (beyond[box] > -1) & (farther[box] < 0) & (paper > rules.light) & (by > rules.darker)
        share[box][dark] = by[dark]
        left = (inkless[box][dark] + _DARK) / (page[dark] + _DARK)
        tint[box][dark] = left[:, 0] / left[:, 2]
    return share, tint
