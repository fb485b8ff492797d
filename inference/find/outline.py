"""The outline of what is covered, moved to the edge that the picture shows there.

A network's mask is right to a pixel or two. The guided filter (K. He, J. Sun and X. Tang, "Guided Image Filtering",
ECCV 2010) makes of it, window by window, the linear function of the colours that comes nearest to it, and so lets it
end where the colours change.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np


@dataclass(frozen=True)
class OutlineRules:
    """How the outline moves; lengths are pixels of the picture that the network saw.

    Attributes:
        radius: a window reaches this far from its middle.
        smoothness: variance of a colour (in [0, 1]) that counts as flat: there the mask is blurred only.
        threshold: the filtered mask is covered from this value on.
        band: the outline moves by no more than this.
    """

    radius: int = 8
    smoothness: float = 1e-4
    threshold: float = 0.4
    band: float = 6.0


def follow_edges(mask: np.ndarray, picture: np.ndarray, rules: OutlineRules) -> np.ndarray:
    """Moves the outline of a mask to the edges nearby.

    Args:
        mask: uint8 [h, w], 1 = covered.
        picture: float32 [h, w, 3] in [0, 1].

    Returns:
        uint8 [h, w], an array of its own; nothing farther from the outline than `band` changes, and what would vanish
        altogether stays as it is.
    """
    result = mask.copy()
    if not mask.any() or mask.all():
        return result
    reach = 2 * rules.radius + int(rules.band) + 1
    grown = cv2.dilate(mask, np.ones((2 * reach + 1, 2 * reach + 1), np.uint8))
    count, labels, boxes, _ = cv2.connectedComponentsWithStats(grown, connectivity=8)
    for label in range(1, count):
        left, top, width, height = boxes[label, :4]
        box = (slice(top, top + height), slice(left, left + width))
        own = labels[box] == label
        inside = mask[box] * own.astype(np.uint8)
        near = _distance(inside) + _distance(1 - inside) <= rules.band
        moved = np.where(near, _guided(inside.astype(np.float32), picture[box], rules) >= rules.threshold, inside)
        if moved[own].any():
            result[box][own] = moved[own]
    return result


def _distance(mask: np.ndarray) -> np.ndarray:
    """float32 [h, w], how far each pixel that is 1 is from the nearest one that is 0; 0 at those."""
    return cv2.distanceTransform(mask, cv2.DIST_L2, 5)


def _guided(values: np.ndarray, guide: np.ndarray, rules: OutlineRules) -> np.ndarray:
    """float32 [h, w]: the guided filter of `values` by a colour picture."""
    # About their mean, the squares of colours are small enough for float32.
    guide = guide - guide.mean((0, 1))

    def mean(plane: np.ndarray) -> np.ndarray:
        side = 2 * rules.radius + 1
        return cv2.blur(plane, (side, side), borderType=cv2.BORDER_REFLECT)

    mean_guide, mean_values = mean(guide), mean(values)
    covariance = mean(guide * values[..., None]) - mean_guide * mean_values[..., None]
    rows = []
    for channel in range(3):
        row = mean(guide * guide[..., channel, None]) - mean_guide * mean_guide[..., channel, None]
        row[..., channel] += rules.smoothness
        rows.append(row)
    # The inverse of a symmetric 3 x 3 matrix by the cross products of its rows.
    crosses = [np.cross(rows[(index + 1) % 3], rows[(index + 2) % 3]) for index in range(3)]
    determinant = (rows[0] * crosses[0]).sum(2)
    slope = sum(covariance[..., index, None] * crosses[index] for index in range(3)) / determinant[..., None]
    offset = mean_values - (slope * mean_guide).sum(2)
    return (mean(slope) * guide).sum(2) + mean(offset)
