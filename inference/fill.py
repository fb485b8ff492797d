"""The fill of the pass that found the occluder: the network's picture, brought to the tone of the page around it.

The network's result is the input plus a correction, and so a tint stays in its fill. It is measured on the page around
the occluder, where the truth is known. A ghost of the hand's fine detail stays as well; that is what
`PredictConfig.fill` has other ways for.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from data.background import carry_on


@dataclass(frozen=True)
class FillRules:
    """How the fill is made; lengths are pixels of a picture whose long side is 1024, tones are fractions of white.

    Attributes:
        ring: the page is looked at from where pixels stay as they are up to this much farther out.
        tone: how far the fill is pulled to the tone of the page around it: 0 not at all, 1 wholly.
        outlier: differences of tone beyond about this are taken for the network's changes of content, not of tone.
    """

    ring: float = 16.0
    tone: float = 1.0
    outlier: float = 0.1

    def scaled(self, long_side: int) -> FillRules:
        """The rules in pixels of a picture with this long side; below 1024 they stay: letters do, too."""
        return replace(self, ring=self.ring * max(1.0, long_side / 1024))


def make_fill(
    restored: np.ndarray, picture: np.ndarray, probability: np.ndarray, mask: np.ndarray, start: float, rules: FillRules
) -> np.ndarray:
    """Makes the fill for all occluders of a picture.

    Args:
        restored: float32 [h, w, 3] in [0, 1], the network's picture before the gate, at the working scale.
        picture: float32 [h, w, 3] in [0, 1], what was given to the network.
        probability: float32 [h, w] in [0, 1], the network's mask.
        mask: uint8 [h, w], 1 = occluder.
        start: distance from the mask from which on the picture stays as it is.

    Returns:
        float32 [h, w, 3]; not clipped; only its values near the mask mean anything.
    """
    if mask.all() or not mask.any():
        return restored
    distance = cv2.distanceTransform(1 - mask, cv2.DIST_L2, 5)
    ring = ((distance > start) & (distance <= start + rules.ring)).astype(np.float32)
    if not ring.any():
        return restored
    error = picture - restored
    # Where the network half believes in an occluder, its picture differs from the input by more than tone.
    trust = ring * (1 - probability) ** 4 * np.exp(-((np.abs(error).max(2) / rules.outlier) ** 2))
    return restored + rules.tone * carry_on(error, trust)
