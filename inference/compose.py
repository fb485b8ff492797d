"""Putting the fill over an occluder into the full-size picture, and leaving everything else alone.

The network worked on a smaller picture. Its fill is enlarged and pasted inside the widened mask only, where its own
(restored) pixels replace the picture's: adding the enlarged difference instead would leave the fine detail of the
hand in the result. Beyond the feather not one bit changes.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np


@dataclass(frozen=True)
class PasteRules:
    """How a fill is pasted; lengths are pixels of the working scale, since that is how well the border is known.

    Attributes:
        widening: the mask grows by this much, over the rim of the cut-out and the ringing of its JPEG.
        feather: beyond it the fill passes into the picture over this much.
        tone: how far the fill is pulled to the tone of the paper around it: 0 not at all, 1 wholly.
        ring: the tone is measured from the end of the feather up to this much farther out.
    """

    widening: float = 2.0
    feather: float = 1.5
    tone: float = 1.0
    ring: float = 8.0


def match_tone(restored: np.ndarray, picture: np.ndarray, mask: np.ndarray, rules: PasteRules) -> np.ndarray:
    """Shifts the fill so that it continues the paper around it without a step.

    Around the occluder the network's picture and the real one show the same paper, and differ by the network's
    error of tone. That error is carried from the ring around the mask into it, smoothly and nearest values first
    (a normalised convolution from coarse to fine), and subtracted.

    Args:
        restored: float32 [h, w, 3] in [0, 1], the network's picture at the working scale.
        picture: float32 [h, w, 3] in [0, 1], what was given to the network.
        mask: uint8 [h, w], 1 = occluder.

    Returns:
        float32 [h, w, 3]; not clipped.
    """
    if rules.tone == 0 or mask.all() or not mask.any():
        return restored
    distance = cv2.distanceTransform(1 - mask, cv2.DIST_L2, 5)
    start = rules.widening + rules.feather
    ring = ((distance > start) & (distance <= start + rules.ring)).astype(np.float32)
    if not ring.any():
        return restored
    error = spread((picture - restored) * ring[..., None], ring)
    return restored + rules.tone * error


def spread(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Carries known values into the unknown rest of a picture, smoothly.

    Args:
        values: float32 [h, w, c], already multiplied by `weights`.
        weights: float32 [h, w], 0 where nothing is known.

    A pyramid of halved sums is built; on the way back each level takes what is known there and, where it knows too
    little, the enlarged coarser level.
    """
    height, width = weights.shape
    if weights.min() > 0 or max(height, width) == 1:
        known = np.maximum(weights, np.float32(1e-6))
        return values / known[..., None]
    half = ((width + 1) // 2, (height + 1) // 2)
    coarse = spread(
        cv2.resize(values, half, interpolation=cv2.INTER_AREA).reshape(half[1], half[0], -1),
        cv2.resize(weights, half, interpolation=cv2.INTER_AREA),
    )
    enlarged = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR).reshape(height, width, -1)
    return values + (1 - np.minimum(weights, 1))[..., None] * enlarged


def paste_fill(image: np.ndarray, fill: np.ndarray, mask: np.ndarray, rules: PasteRules) -> np.ndarray:
    """Pastes the enlarged fill over one occluder, in place.

    Args:
        image: uint8 [H, W, 3], the full-size picture; changed only where the weight of the fill is above 0.
        fill: float32 [h, w, 3] in [0, 1] at the working scale, h <= H and w <= W.
        mask: uint8 [h, w], 1 = occluder.

    Returns:
        uint8 [H, W]: 1 where `image` may have changed.
    """
    changed = np.zeros(image.shape[:2], np.uint8)
    if not mask.any():
        return changed
    # Only a box around the occluder is enlarged: a hand covers a few percent of a picture of ten megapixels.
    reach = int(np.ceil(rules.widening + rules.feather)) + 2
    top, bottom, left, right = _box(mask, reach)
    y_scale, x_scale = image.shape[0] / mask.shape[0], image.shape[1] / mask.shape[1]
    box = (
        slice(round(top * y_scale), round(bottom * y_scale)),
        slice(round(left * x_scale), round(right * x_scale)),
    )
    size = (box[1].stop - box[1].start, box[0].stop - box[0].start)
    weight = _weight(mask[top:bottom, left:right], rules)
    weight = np.clip(cv2.resize(weight, size, interpolation=cv2.INTER_LINEAR), 0, 1)[..., None]
    enlarged = cv2.resize(np.clip(fill[top:bottom, left:right], 0, 1), size, interpolation=cv2.INTER_CUBIC)
    region = image[box].astype(np.float32)
    mixed = region + weight * (np.clip(enlarged, 0, 1) * 255 - region)
    image[box] = (mixed + np.float32(0.5)).astype(np.uint8)
    changed[box] = (weight[..., 0] > 0).astype(np.uint8)
    return changed


def _weight(mask: np.ndarray, rules: PasteRules) -> np.ndarray:
    """float32 [h, w]: 1 over the widened mask, falling linearly to 0 over the feather."""
    if mask.all():
        return mask.astype(np.float32)
    distance = cv2.distanceTransform(1 - mask, cv2.DIST_L2, 5)
    return np.clip((rules.widening + rules.feather - distance) / max(rules.feather, 1e-3), 0, 1).astype(np.float32)


def _box(mask: np.ndarray, reach: int) -> tuple[int, int, int, int]:
    """(top, bottom, left, right) of the mask grown by `reach`, inside the picture."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return (
        max(0, int(rows[0]) - reach),
        min(mask.shape[0], int(rows[-1]) + 1 + reach),
        max(0, int(columns[0]) - reach),
        min(mask.shape[1], int(columns[-1]) + 1 + reach),
    )
