"""From a printed sheet to a photograph of it: paper, light, lens and sensor."""

from __future__ import annotations

import cv2
import numpy as np

from data.drawing.surfaces import fractal_noise

_PAPERS = (
    (244, 243, 240),
    (232, 232, 230),
    (216, 217, 219),
    (205, 206, 205),
    (240, 234, 218),
    (228, 230, 236),
    (225, 214, 190),
)


def _light(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Uneven light and vignetting as a factor per pixel, float32 height x width, about 0.7..1.05."""
    rows, columns = 96, max(8, round(96 * width / height))
    y = np.linspace(-1, 1, rows, dtype=np.float32)[:, None]
    x = np.linspace(-1, 1, columns, dtype=np.float32)[None, :]
    slope = rng.normal(0, 0.05, 2).astype(np.float32)
    field = 1 + slope[0] * x + slope[1] * y - np.float32(rng.uniform(0.0, 0.07)) * (x**2 + y**2)
    field = field + np.float32(rng.uniform(0.0, 0.02)) * fractal_noise(rng, rows, columns, 60, 3)
    if rng.random() < 0.3:
        # Somebody's shadow, or a lamp, with an edge out of focus.
        angle, offset = rng.uniform(0, 2 * np.pi), rng.uniform(-0.3, 0.9)
        side = x * np.float32(np.cos(angle)) + y * np.float32(np.sin(angle)) - np.float32(offset)
        field = field * (1 - np.float32(rng.uniform(0.04, 0.2)) / (1 + np.exp(-side * np.float32(rng.uniform(4, 14)))))
    return cv2.resize(field, (width, height), interpolation=cv2.INTER_LINEAR)


def _bend(rng: np.random.Generator, printed: np.ndarray) -> np.ndarray:
    """The sheet is not quite flat and the camera not quite straight; what comes from outside is blank paper."""
    height, width = printed.shape[:2]
    corners = np.float32([(0, 0), (width, 0), (width, height), (0, height)])
    moved = corners + (rng.normal(0, 0.004, (4, 2)) * max(height, width)).astype(np.float32)
    matrix = cv2.getPerspectiveTransform(corners, moved)
    return cv2.warpPerspective(printed, matrix, (width, height), flags=cv2.INTER_LINEAR, borderValue=(255, 255, 255))


def photograph_sheet(rng: np.random.Generator, printed: np.ndarray) -> np.ndarray:
    """Turns a printed sheet (RGB uint8, white paper) into a photograph of it (RGB uint8, same size)."""
    height, width = printed.shape[:2]
    picture = _bend(rng, printed)
    if rng.random() < 0.7:
        picture = cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.35, 0.35 + 0.0002 * max(height, width)))
    paper = np.float32(_PAPERS[int(rng.integers(len(_PAPERS)))]) * np.float32(rng.uniform(0.93, 1.02))
    light = _light(rng, height, width)
    light += np.float32(0.004) * fractal_noise(rng, height, width, max(height, width) / 150, 2, 0.7)
    tint = paper * (1 + rng.normal(0, 0.008, 3)).astype(np.float32) / 255
    ink_floor = np.float32(rng.uniform(0, 28))
    # One pass per channel keeps the working set of a ten-megapixel page small.
    result = np.empty_like(picture)
    grain = rng.standard_normal((height, width), np.float32)
    grain *= np.float32(rng.uniform(0.6, 2.2))
    for channel in range(3):
        plane = picture[..., channel].astype(np.float32)
        plane *= (1 - ink_floor / 255) * tint[channel]
        plane += ink_floor * tint[channel]
        plane *= light
        plane += grain
        np.clip(plane, 0, 255, out=plane)
        result[..., channel] = np.rint(plane).astype(np.uint8)
    return result
