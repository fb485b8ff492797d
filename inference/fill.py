"""What is pasted over an occluder: the network's picture, brought to the tone of the page around it.

The network's result is the input plus a correction, and so two faults stay in its fill: a tint, and a ghost of the
hand's fine detail. The tint is measured on the page around the occluder, where the truth is known. The ghost of a weak
network is worst where it is least needed, on plain paper; there the paper itself, carried on from around the occluder,
can take the place of the fill, which is kept where the surroundings are uneven (pictures, charts, the edge of the
page). That costs whatever text the network would have put back, and so it is off unless the weights ask for it
(`PredictConfig.paper_fill`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

# What the network believes to be covered with more than this is no example of the page.
_DOUBT = 0.1


@dataclass(frozen=True)
class FillRules:
    """How the fill is made; lengths are pixels of a picture whose long side is 1024, tones are fractions of white.

    Attributes:
        ring: the page is looked at from where pixels stay as they are up to this much farther out.
        tone: how far the fill is pulled to the tone of the page around it: 0 not at all, 1 wholly.
        outlier: differences of tone beyond about this are taken for the network's changes of content, not of tone.
        evenness: the paper replaces the network's fill where its tone around varies by less than about this; 0 keeps
            the network's fill everywhere. Networks with ghosts do best with about 0.08.
        text: side of the median filter that takes letters off the paper; odd.
    """

    ring: float = 16.0
    tone: float = 1.0
    outlier: float = 0.1
    evenness: float = 0.0
    text: int = 21

    def scaled(self, long_side: int) -> FillRules:
        """The rules in pixels of a picture with this long side; below 1024 they stay: letters do, too."""
        factor = max(1.0, long_side / 1024)
        return replace(self, ring=self.ring * factor, text=2 * round(self.text * factor / 2 - 0.5) + 1)


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
    fill = restored
    if rules.tone > 0:
        error = picture - restored
        # Where the network half believes in an occluder, its picture differs from the input by more than tone.
        trust = ring * (1 - probability) ** 4 * np.exp(-((np.abs(error).max(2) / rules.outlier) ** 2))
        fill = restored + rules.tone * carry_on(error, trust)
    if rules.evenness > 0:
        paper, unevenness = _paper(picture, ring * (probability < _DOUBT), rules)
        share = np.exp(-((unevenness / rules.evenness) ** 2))[..., None]
        fill = share * paper + (1 - share) * fill
    return fill


def _paper(picture: np.ndarray, ring: np.ndarray, rules: FillRules) -> tuple[np.ndarray, np.ndarray]:
    """The paper carried on from the ring, [h, w, 3], and how much what was carried there varies, [h, w]."""
    eight_bit = (np.clip(picture, 0, 1) * 255 + 0.5).astype(np.uint8)
    page = cv2.medianBlur(eight_bit, rules.text).astype(np.float32) / np.float32(255)
    paper = carry_on(page, ring)
    variance = carry_on(page**2, ring) - paper**2
    if not ring.any():
        return paper, np.full(ring.shape, np.inf, np.float32)
    return paper, np.sqrt(np.maximum(variance, 0)).max(2)


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
