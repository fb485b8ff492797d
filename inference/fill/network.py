"""The network's own fill: its picture of the page, brought to the tone of the page around.

The network's result is the input plus a correction, and so a tint stays in its fill. It is measured on the page around
the occluder, where the truth is known. A ghost of the hand's fine detail stays as well; for weights that find better
than they paint there is `inference.fill.page`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil

import cv2
import numpy as np

from inference.fill.page import carry_on
from inference.find.locate import to_float
from inference.paste import PasteRules, Patch, covered_boxes
from inference.tiles import Box, Network, region_cut

# Pixels of page beyond what is looked at: the network sees them.
_CONTEXT = 48


@dataclass(frozen=True)
class ToneRules:
    """How the network's fill is matched to the page around; lengths are pixels of a picture whose long side is 1024,
    tones are fractions of white.
    """

    ring: float = 16.0  # The page is looked at from where pixels stay as they are up to this much farther out
    # Differences of tone beyond about this are taken for the network's changes of content, not of tone.
    outlier: float = 0.1

    def scaled(self, long_side: int) -> ToneRules:
        """The rules in pixels of a picture with this long side; below 1024 they stay: letters do, too."""
        return replace(self, ring=self.ring * max(1.0, long_side / 1024))


def network_patches(
    network: Network,
    picture: np.ndarray,
    mask: np.ndarray,
    paste: PasteRules,
    side: int,
    overlap: int,
    output: np.ndarray | None = None,
) -> list[Patch]:
    """What is pasted over the covered parts of a picture, painted by a network.

    Args:
        network: what paints.
        picture: RGB uint8 or uint16 [h, w, 3], the whole picture at the working scale.
        mask: uint8 [h, w], 1 = covered.
        paste: how the patches will be pasted, in pixels of that scale.
        side, overlap: of the tiles in which the network sees the covered parts.
        output: float32 [K, h, w], what it has made of `picture` already; None lets it run.
    """
    rules = ToneRules().scaled(max(mask.shape))
    patches = []
    for box in covered_boxes(mask, ceil(paste.reach + rules.ring) + _CONTEXT):
        place = (slice(*box[:2]), slice(*box[2:]))
        here = _run_over(network, picture, box, side, overlap) if output is None else output[:, *place]
        restored = np.ascontiguousarray(here[:3].transpose(1, 2, 0))
        # Without a gate the mask stands in for the network's probability.
        probability = here[3] if len(here) > 3 else mask[place].astype(np.float32)
        fill = match_tone(restored, to_float(picture[place]), probability, mask[place], paste.reach, rules)
        patches.append(Patch(box, mask[place], fill))
    return patches


def _run_over(network: Network, picture: np.ndarray, box: Box, side: int, overlap: int) -> np.ndarray:
    """float32 [K, h, w]: the output over a box, in tiles that reach beyond it where it is small."""
    cut = region_cut(box, *picture.shape[:2], side, overlap)
    top, bottom, left, right = box
    above, before = top - cut.box[0], left - cut.box[2]
    return network(picture, cut)[:, above : above + bottom - top, before : before + right - left]


def match_tone(
    restored: np.ndarray, picture: np.ndarray, probability: np.ndarray, mask: np.ndarray, start: float, rules: ToneRules
) -> np.ndarray:
    """Brings the network's picture to the tone of the page around what is covered.

    Args:
        restored: float32 [h, w, 3] in [0, 1], the network's picture before the gate.
        picture: float32 [h, w, 3] in [0, 1], what was given to the network.
        probability: float32 [h, w] in [0, 1], the network's mask.
        mask: uint8 [h, w], 1 = covered.
        start: distance from the mask from which on the picture stays as it is.

    Returns:
        float32 [h, w, 3]; not clipped; only its values near the mask mean anything.
    """
    if mask.all() or not mask.any():
        return restored
    distance = cv2.distanceTransform(1 - mask, cv2.DIST_L2, 5)
    ring = ((distance > start) & (distance <= start + rules.ring)).astype(np.float32)
    error = picture - restored
    # Where the network half believes in an occluder, its picture differs from the input by more than tone.
    trust = ring * (1 - probability) ** 4 * np.exp(-((np.abs(error).max(2) / rules.outlier) ** 2))
    return restored + carry_on(error, trust)
