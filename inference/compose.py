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
    """

    widening: float = 2.0
    feather: float = 3.0

    @property
    def reach(self) -> float:
        """How far from the mask a pixel may change."""
        return self.widening + self.feather


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
    reach = int(np.ceil(rules.reach)) + 2
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
    return np.clip((rules.reach - distance) / max(rules.feather, 1e-3), 0, 1).astype(np.float32)


def _box(mask: np.ndarray, reach: int) -> tuple[int, int, int, int]:
    """(top, bottom, left, right) of the mask grown by `reach`, inside the picture."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return (
        max(0, int(rows[0]) - reach),
        min(mask.shape[0], int(rows[-1]) + 1 + reach),
        max(0, int(columns[0]) - reach),
        min(mask.shape[1], int(columns[-1]) + 1 + reach),
    )
