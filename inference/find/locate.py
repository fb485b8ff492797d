"""The first step: what covers the page, found on a small copy of the picture."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from inference.find.occlusion import OcclusionRules, occluders_from_probability, visible_changes
from inference.find.outline import OutlineRules, follow_edges
from inference.tiles import Cut, Network, single_cut


@dataclass(frozen=True)
class Located:
    """What a pass over the whole picture found.

    Attributes:
        picture: RGB uint8 or uint16 [h, w, 3], what the network saw.
        output: float32 [K, h, w], what it made of it.
        mask: uint8 [h, w], 1 = covered by something that is to be removed.
        occluders: how many; 0 for a network without a gate, whose changes are not counted.
    """

    picture: np.ndarray
    output: np.ndarray
    mask: np.ndarray
    occluders: int


def locate(
    network: Network, picture: np.ndarray, cut: Cut, rules: OcclusionRules, overview: tuple[int, int] | None = None
) -> Located:
    """Runs the network over a whole (small) picture and decides what is to be removed.

    Args:
        picture: RGB uint8 or uint16 [h, w, 3].
        cut: its tiles, which cover all of it.
        overview: (height, width) of a second look, of which the mask's probability becomes the mean of both; for a
            network with a gate.
    """
    output = network(picture, cut)
    if not network.gated:
        return Located(picture, output, visible_changes(to_float(picture), output.transpose(1, 2, 0), rules), 0)
    if overview is not None:
        seen = network(shrink(picture, overview), single_cut(*overview, cut.overlap))[3]
        seen = cv2.resize(seen, picture.shape[1::-1], interpolation=cv2.INTER_LINEAR)
        output = np.concatenate([output[:3], (output[3:] + seen) / 2])
    occluders = occluders_from_probability(np.ascontiguousarray(output[3]), rules)
    mask = np.maximum.reduce(occluders) if occluders else np.zeros(picture.shape[:2], np.uint8)
    return Located(picture, output, follow_edges(mask, to_float(picture), OutlineRules()), len(occluders))


def shrink(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The picture at (height, width), each pixel the mean of what it covers; itself where that is its size."""
    if size == picture.shape[:2]:
        return picture
    return cv2.resize(picture, size[::-1], interpolation=cv2.INTER_AREA)


def to_float(picture: np.ndarray) -> np.ndarray:
    """uint8 or uint16 -> float32 in [0, 1]."""
    return picture.astype(np.float32) / np.float32(np.iinfo(picture.dtype).max)
