"""The shadow that an occluder throws on the paper beside it, which goes with it.

On a small copy the hole is grown by as far as such a shadow may reach, and filled as any hole is. Where the picture is
darker than that, all along the hole and most next to it, there is a shadow. A printed picture or a book's edge, of
which the fill does not know, is darker, too, but meets the hole on a short line, or is as dark farther out. On dark
ground none is looked for: there it hardly shows.
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
    """What is a shadow; lengths are pixels of the copy, tones grey levels."""

    reach: float = 14.0  # It ends this far from what is pasted, or nearer
    darker: float = 0.05  # It is darker by this share of the paper's tone
    light: float = 140.0  # ... than paper at least so light
    along: float = 4.0  # So many of its pixels, times the root of their number, lie where the paste ends
    fading: float = 0.92  # Its darkness lies at this share, or less, of its pixels' mean distance from there


def with_shadows(picture: np.ndarray, mask: np.ndarray, reach: float, rules: ShadowRules) -> np.ndarray:
    """A mask (uint8 [h, w], 1 = covered) with the shadows beside it, of a whole picture, RGB uint8 or uint16 [h, w, 3],
    large enough for letters to be told from paper; a fill is pasted up to `reach` pixels beyond what is covered.
    """
    if not mask.any():
        return mask
    inkless, _ = without_ink(eight_bit(picture), mask, PaperRules().scaled(max(1.0, max(mask.shape) / 1024)))
    factor = min(1.0, _LONG_SIDE / max(mask.shape))
    size = scaled(*mask.shape, factor)
    beyond = cv2.distanceTransform(1 - enlarge_mask(mask, size), cv2.DIST_L2, 5) - np.float32(reach * factor)
    shadows = np.zeros(size, np.uint8)
    share = _darkness(shrink(inkless, size), beyond, rules)
    for box, here in blob_places((share > 0).astype(np.uint8)):
        if _is_shadow(share[box][here], beyond[box][here], rules):
            shadows[box][here] = 1
    return mask | enlarge_mask(shadows, mask.shape)


def _darkness(inkless: np.ndarray, beyond: np.ndarray, rules: ShadowRules) -> np.ndarray:
    """float32 [h, w]: by which share of the paper's tone a picture (uint8 [h, w, 3]) is darker than the paper that the
    page farther out tells of; 0 where that is little, and but for where a shadow may be.
    """
    paper_rules = PaperRules().scaled(_LONG_SIDE / 1024)
    farther, share, no_ink = beyond - np.float32(rules.reach), np.zeros_like(beyond), np.zeros(beyond.shape, np.uint8)
    for box, near in blob_places((farther <= paper_rules.around).astype(np.uint8)):
        paper, _ = paper_under(inkless[box], inkless[box], no_ink[box], farther[box], near, paper_rules)
        paper, shown = (cv2.transform(plane, MEAN) for plane in (paper, inkless[box].astype(np.float32)))
        by = cv2.GaussianBlur(paper, (0, 0), 1.5) - cv2.GaussianBlur(shown, (0, 0), 1)
        by /= paper + _DARK
        dark = near & (beyond[box] > -1) & (farther[box] < 0) & (paper > rules.light) & (by > rules.darker)
        share[box][dark] = by[dark]
    return share


def _is_shadow(share: np.ndarray, beyond: np.ndarray, rules: ShadowRules) -> bool:
    """Whether a blob, float32 [n] of darkness and of distance from what is pasted, is one."""
    outside = beyond > 0
    if not outside.any() or (beyond <= 1).sum() < rules.along * np.sqrt(len(beyond)):
        return False
    return np.average(beyond[outside], weights=share[outside]) <= rules.fading * beyond[outside].mean()
