"""What is pasted over an occluder: the network's picture, brought to the tone of the page around it.

The network's result is the input plus a correction, and so two faults stay in its fill: a tint, and a ghost of the
hand's fine detail. The tint is measured on the page around the occluder, where the truth is known. The ghost is worst
where it is least needed, on plain paper; there the paper itself, carried on from around the occluder, is the better
fill, and the network's is kept where the surroundings are uneven (pictures, charts, the edge of the page).
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np


@dataclass(frozen=True)
class FillRules:
    """How the fill is made; lengths are pixels of the working scale, tones are fractions of white.

    Attributes:
        ring: the page is looked at from where pixels stay as they are up to this much farther out.
        tone: how far the fill is pulled to the tone of the page around it: 0 not at all, 1 wholly.
        outlier: differences of tone beyond about this are taken for the network's changes of content, not of tone.
        evenness: the paper replaces the network's fill where its tone around varies by less than about this; 0 keeps
            the network's fill everywhere.
        neighbourhood: how far the evenness is judged around each pixel (standard deviation of a Gaussian).
        text: side of the median filter that takes letters off the paper; odd.
    """

    ring: float = 16.0
    tone: float = 1.0
    outlier: float = 0.1
    evenness: float = 0.06
    neighbourhood: float = 30.0
    text: int = 21


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
        fill = restored + rules.tone * spread(error * trust[..., None], trust)
    if rules.evenness > 0:
        paper, unevenness = _paper(picture, ring, rules)
        share = np.exp(-((unevenness / rules.evenness) ** 2))[..., None]
        fill = share * paper + (1 - share) * fill
    return fill


def _paper(picture: np.ndarray, ring: np.ndarray, rules: FillRules) -> tuple[np.ndarray, np.ndarray]:
    """The paper carried on from the ring, [h, w, 3], and how much its tone varies around each pixel, [h, w]."""
    eight_bit = (np.clip(picture, 0, 1) * 255 + 0.5).astype(np.uint8)
    page = cv2.medianBlur(eight_bit, rules.text).astype(np.float32) / np.float32(255)

    def around(values: np.ndarray) -> np.ndarray:
        return cv2.GaussianBlur(values, (0, 0), rules.neighbourhood)

    known = np.maximum(around(ring), np.float32(1e-6))[..., None]
    mean = around(page * ring[..., None]) / known
    variance = around(page**2 * ring[..., None]) / known - mean**2
    return spread(page * ring[..., None], ring), np.sqrt(np.maximum(variance, 0)).max(2)


def spread(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Carries known values into the unknown rest of a picture, smoothly.

    Args:
        values: float32 [h, w, c], already multiplied by `weights`.
        weights: float32 [h, w] in [0, 1], 0 where nothing is known.

    Returns:
        float32 [h, w, c]: the known values where the weight is 1. A pyramid of halved sums is built; on the way back
        each level takes what is known there and, as far as that is too little, the enlarged coarser level.
    """
    height, width = weights.shape
    if weights.min() > 0 or max(height, width) == 1:
        return values / np.maximum(weights, np.float32(1e-6))[..., None]
    half = ((width + 1) // 2, (height + 1) // 2)
    coarse = spread(
        cv2.resize(values, half, interpolation=cv2.INTER_AREA).reshape(half[1], half[0], -1),
        cv2.resize(weights, half, interpolation=cv2.INTER_AREA),
    )
    enlarged = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR).reshape(height, width, -1)
    return values + (1 - weights)[..., None] * enlarged
