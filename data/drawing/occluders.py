"""Cut-out hands and heads to put on a page: RGBA, cropped tight, standing on their bottom edge."""

from __future__ import annotations

import numpy as np

from data.drawing.hand_shapes import pose_hand
from data.drawing.hands import render_hand
from data.drawing.heads import render_head
from data.drawing.surfaces import blurred, cut_out

SMALLEST = 32
# The contest's heads are portraits from the web, enlarged; painting more pixels than this would only take longer.
_LARGEST_PAINTED_HEAD = 600


def _photographed(rng: np.random.Generator, rgb: np.ndarray) -> np.ndarray:
    """What a camera does to it: a little blur and noise, and its own exposure."""
    rgb = blurred(np.clip(rgb, 0, 255), rng.uniform(0.3, 0.9))
    noise = rng.standard_normal(rgb.shape[:2], np.float32)[..., None] * np.float32(rng.uniform(0.8, 2.5))
    noise = noise + rng.standard_normal(rgb.shape, np.float32) * np.float32(rng.uniform(0.2, 1.0))
    return rgb * np.float32(rng.uniform(0.85, 1.08)) + blurred(noise, 0.5)


def _check_size(long_side: int) -> None:
    if long_side < SMALLEST:
        raise ValueError(f"long_side is {long_side}, expected at least {SMALLEST} pixels")


def draw_hand(rng: np.random.Generator, long_side: int) -> np.ndarray:
    """Draws a hand, or only some fingers, as RGBA uint8 height x width x 4.

    The longest side is `long_side` pixels (at least 32). The hand is cut off at the bottom edge, where it leaves the
    picture; fingertips point upwards.
    """
    _check_size(long_side)
    rgb, coverage = render_hand(rng, pose_hand(rng), long_side)
    return cut_out(_photographed(rng, rgb), coverage, long_side)


def draw_head(rng: np.random.Generator, long_side: int) -> np.ndarray:
    """Draws a head with shoulders from the front, in colour or grey, as RGBA uint8 height x width x 4.

    The longest side is `long_side` pixels (at least 32). The shoulders stand on the bottom edge.
    """
    _check_size(long_side)
    rgb, coverage = render_head(rng, min(long_side, _LARGEST_PAINTED_HEAD))
    return cut_out(_photographed(rng, rgb), coverage, long_side)
