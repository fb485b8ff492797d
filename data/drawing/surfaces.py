"""What drawn things share: noise, smooth outlines and light falling on a relief."""

from __future__ import annotations

import cv2
import numpy as np

Colour = tuple[float, float, float]


def fractal_noise(
    rng: np.random.Generator, height: int, width: int, coarsest: float, octaves: int = 4, persistence: float = 0.5
) -> np.ndarray:
    """Smooth random field, float32 height x width, mean about 0 and standard deviation about 1.

    Args:
        coarsest: size in pixels of the largest spots; each further octave halves it.
        persistence: strength of an octave against the one before.
    """
    field = np.zeros((height, width), np.float32)
    power, strength, spot = 0.0, 1.0, max(float(coarsest), 1.0)
    for _ in range(octaves):
        rows, columns = max(2, round(height / spot) + 1), max(2, round(width / spot) + 1)
        grid = rng.standard_normal((min(rows, height), min(columns, width)), np.float32)
        field += strength * cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC)
        power += strength**2
        strength *= persistence
        if spot <= 1:
            break
        spot = max(spot / 2, 1.0)
    # Interpolation between grid points takes about a third of the deviation away.
    return field * np.float32(1.45 / np.sqrt(power))


def lambert(relief: np.ndarray, light: tuple[float, float, float]) -> tuple[np.ndarray, np.ndarray]:
    """Diffuse light and a soft gloss on a relief seen from above.

    Args:
        relief: height above the picture plane in pixels, float32 height x width.
        light: direction towards the light (right, down, towards the viewer), any length.

    Returns:
        (diffuse, gloss), float32 height x width in [0, 1].
    """
    slope_x = cv2.Sobel(relief, cv2.CV_32F, 1, 0, ksize=3, scale=1 / 8)
    slope_y = cv2.Sobel(relief, cv2.CV_32F, 0, 1, ksize=3, scale=1 / 8)
    length = np.sqrt(slope_x**2 + slope_y**2 + 1)
    direction = np.asarray(light, np.float32) / np.linalg.norm(light)
    diffuse = np.clip((direction[2] - slope_x * direction[0] - slope_y * direction[1]) / length, 0, 1)
    half = direction + np.float32((0, 0, 1))
    half /= np.linalg.norm(half)
    facing = np.clip((half[2] - slope_x * half[0] - slope_y * half[1]) / length, 0, 1)
    return diffuse, facing**24


def smooth_outline(points: np.ndarray, steps: int = 12) -> np.ndarray:
    """Closed Catmull-Rom curve through `points` (N x 2), as (N * steps) x 2 float64."""
    points = np.asarray(points, np.float64)
    before, after, beyond = np.roll(points, 1, 0), np.roll(points, -1, 0), np.roll(points, -2, 0)
    t = (np.arange(steps) / steps)[None, :, None]
    curve = (
        2 * points[:, None]
        + (after - before)[:, None] * t
        + (2 * before - 5 * points + 4 * after - beyond)[:, None] * t**2
        + (3 * points - before - 3 * after + beyond)[:, None] * t**3
    )
    return 0.5 * curve.reshape(-1, 2)


def filled(height: int, width: int, outline: np.ndarray) -> np.ndarray:
    """Coverage of a closed outline (N x 2, x and y in pixels), float32 height x width in [0, 1], smooth edge."""
    canvas = np.zeros((height, width), np.uint8)
    cv2.fillPoly(canvas, [np.round(outline * 16).astype(np.int32)], 255, cv2.LINE_AA, shift=4)
    return canvas.astype(np.float32) / 255


def rounded_relief(coverage: np.ndarray, rim: float, top: float) -> np.ndarray:
    """A slab of the covered shape whose rim rises over `rim` pixels, round, to the height `top` (pixels)."""
    distance = cv2.distanceTransform((coverage > 0.5).astype(np.uint8), cv2.DIST_L2, 5)
    inner = np.clip(1 - distance / max(rim, 1.0), 0, 1)
    return np.float32(top) * np.sqrt(1 - inner**2)


def blurred(field: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian blur by `sigma` pixels; a wide one works on a smaller copy, which looks the same and is fast."""
    if sigma <= 0.3:
        return field
    shrink = int(sigma // 6)
    height, width = field.shape[:2]
    if shrink < 2 or min(height, width) < 8 * shrink:
        return cv2.GaussianBlur(field, (0, 0), sigma)
    small = cv2.resize(field, (width // shrink, height // shrink), interpolation=cv2.INTER_AREA)
    return cv2.resize(cv2.GaussianBlur(small, (0, 0), sigma / shrink), (width, height), interpolation=cv2.INTER_LINEAR)


def skin_colour(albedo: np.ndarray, diffuse: np.ndarray, gloss: np.ndarray, shine: float) -> np.ndarray:
    """Lit skin, float32 H x W x 3 in 0..255: light that enters skin comes out red, so shadows are warm."""
    lit = 0.36 + 0.72 * diffuse
    channels = [albedo[..., index] * lit**power for index, power in enumerate((0.75, 1.0, 1.12))]
    return np.stack(channels, axis=2) + (255 * shine) * gloss[..., None]


def wall(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """What stood behind a hand or a head before it was cut out, float32 H x W x 3 in 0..255: mostly light and grey."""
    tone = rng.choice([245.0, 225.0, 200.0, 160.0, 70.0], p=[0.35, 0.25, 0.2, 0.1, 0.1]) + rng.normal(0, 5, 3)
    return np.broadcast_to(np.clip(tone, 0, 255).astype(np.float32), (*shape, 3)).copy()


def cut_out(rgb: np.ndarray, coverage: np.ndarray, long_side: int) -> np.ndarray:
    """The covered part as RGBA uint8, cropped tight, its longest side exactly `long_side` pixels."""
    solid = coverage > 0.5
    rows, columns = np.flatnonzero(solid.any(axis=1)), np.flatnonzero(solid.any(axis=0))
    box = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    rgba = np.dstack([np.clip(rgb[box], 0, 255), 255 * np.clip(coverage[box], 0, 1)])
    scale = long_side / max(rgba.shape[:2])
    size = (max(1, round(rgba.shape[1] * scale)), max(1, round(rgba.shape[0] * scale)))
    if size != rgba.shape[1::-1]:
        rgba = cv2.resize(rgba, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    return np.clip(np.rint(rgba), 0, 255).astype(np.uint8)
