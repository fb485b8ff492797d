"""A face from the front: a relief of soft bumps, and what is painted on it.

Coordinates are in head heights: the head's middle is (0, 0), the crown y = -0.5, the chin y = 0.5.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from data.drawing.surfaces import blurred, filled, fractal_noise, lambert, skin_colour, smooth_outline

_HALF_FACE = ((0.0, -0.5), (0.21, -0.46), (0.33, -0.3), (0.365, -0.05), (0.345, 0.15), (0.27, 0.35), (0.14, 0.47))
_CHIN = (0.0, 0.5)


@dataclass(frozen=True)
class Grid:
    """The canvas of a head: each pixel's place in head heights, and the number of pixels in one."""

    x: np.ndarray
    y: np.ndarray
    scale: float
    origin: np.ndarray

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.x.shape[0], self.x.shape[1]

    def pixels(self, points: np.ndarray) -> np.ndarray:
        """N x 2 places in head heights as pixel coordinates."""
        return (np.asarray(points, np.float64) - self.origin) * self.scale

    def covered(self, outline: np.ndarray) -> np.ndarray:
        """Coverage of a closed outline (N x 2 places), float32 in [0, 1], following the lean of the head."""
        straight = filled(*self.shape, self.pixels(outline))
        columns, rows = (self.x - self.origin[0]) * self.scale, (self.y - self.origin[1]) * self.scale
        return cv2.remap(straight, columns.astype(np.float32), rows.astype(np.float32), cv2.INTER_LINEAR)

    def bump(self, x: float, y: float, wide: float, high: float) -> np.ndarray:
        """A soft spot of height 1."""
        return np.exp(-(((self.x - x) / wide) ** 2) - ((self.y - y) / high) ** 2)

    def pair(self, x: float, y: float, wide: float, high: float) -> np.ndarray:
        """Two soft spots of height 1, left and right."""
        return self.bump(x, y, wide, high) + self.bump(-x, y, wide, high)


def mirrored(half: np.ndarray) -> np.ndarray:
    """A symmetric outline from its right half; points on the axis are not doubled."""
    half = np.asarray(half, np.float64)
    left = half[::-1] * (-1, 1)
    return np.concatenate([half, left[np.abs(left[:, 0]) > 1e-9]])


def face_outline(rng: np.random.Generator) -> np.ndarray:
    """Outline of a face, N x 2 in head heights; width and jaw differ from face to face."""
    half = np.array([*_HALF_FACE, _CHIN])
    half[:, 0] *= rng.uniform(0.94, 1.06)
    half[4:7, 0] *= rng.uniform(0.9, 1.1)
    return smooth_outline(mirrored(half))


def face_relief(rng: np.random.Generator, grid: Grid) -> np.ndarray:
    """Height of the face above the picture, in pixels."""
    body = np.sqrt(np.clip(1 - (grid.x / 0.42) ** 2 - (grid.y / 0.62) ** 2, 0.02, 1)) * 0.4
    nose_length = np.clip((grid.y + 0.12) / 0.24, 0, 1) * (grid.y < 0.16)
    bridge = np.exp(-((grid.x / 0.05) ** 2)) * blurred(nose_length.astype(np.float32), 0.02 * grid.scale)
    relief = body + rng.uniform(0.05, 0.075) * bridge
    relief += 0.05 * grid.bump(0, 0.115, 0.055, 0.045) + 0.03 * grid.pair(0.055, 0.13, 0.03, 0.03)
    relief -= 0.05 * grid.pair(0.15, -0.02, 0.1, 0.06) - 0.028 * grid.pair(0.15, -0.01, 0.07, 0.035)
    relief += 0.02 * grid.pair(0.14, -0.12, 0.12, 0.04) + 0.03 * grid.pair(0.21, 0.1, 0.11, 0.1)
    relief += 0.022 * grid.bump(0, 0.245, 0.1, 0.022) + 0.026 * grid.bump(0, 0.29, 0.085, 0.024)
    relief -= 0.02 * grid.bump(0, 0.34, 0.08, 0.025) - 0.03 * grid.bump(0, 0.42, 0.1, 0.06)
    relief -= 0.008 * grid.bump(0, 0.2, 0.015, 0.03)
    fold = np.abs(np.abs(grid.x) - (0.085 + 0.25 * (grid.y - 0.13)))
    relief -= rng.uniform(0.002, 0.008) * np.exp(-((fold / 0.012) ** 2)) * grid.pair(0.12, 0.2, 0.08, 0.08)
    bumps = fractal_noise(rng, *grid.shape, coarsest=0.02 * grid.scale, octaves=3) * 0.0005
    return ((relief + bumps) * grid.scale).astype(np.float32)


def _eyes(rng: np.random.Generator, grid: Grid, colour: np.ndarray) -> np.ndarray:
    """Eyes with white, iris, pupil, lid line and lashes painted over the lit skin."""
    opening, wide = rng.uniform(0.022, 0.032), rng.uniform(0.068, 0.078)
    iris_colour = np.float32(
        rng.choice([(62, 40, 28), (90, 62, 38), (70, 95, 70), (75, 105, 130)], p=[0.55, 0.2, 0.1, 0.15])
    )
    gaze = rng.normal(0, 0.008)
    for side in (-1, 1):
        x, y = grid.x - side * 0.152, grid.y + 0.025
        lid = opening * np.clip(1 - (x / wide) ** 2, 0, None)
        edge = 0.7 / grid.scale + 0.002
        white = np.clip((lid - np.where(y < 0, -y, y * 1.35)) / edge, 0, 1) * (np.abs(x) < wide)
        radius = np.hypot(x - gaze, y - 0.002)
        iris = np.clip((0.032 - radius) / edge, 0, 1)
        pupil = np.clip((0.014 - radius) / edge, 0, 1)
        glint = np.clip((0.007 - np.hypot(x - gaze + 0.01, y + 0.01)) / edge, 0, 1)
        ball = np.float32((222, 215, 210)) * (0.82 + 0.18 * np.clip((y + 0.02) / 0.03, 0, 1))[..., None]
        ring = 0.6 + 0.5 * np.clip(radius / 0.032, 0, 1) * (radius < 0.026)
        for layer, paint in (
            (iris, iris_colour * ring[..., None]),
            (pupil, np.float32((14, 11, 10))),
            (glint, np.float32((250, 250, 250))),
        ):
            ball = ball * (1 - layer[..., None]) + paint * layer[..., None]
        colour = colour * (1 - white[..., None]) + ball * white[..., None]
        line = np.exp(-(((y + lid) / 0.006) ** 2)) * (np.abs(x) < wide * 1.08)
        crease = np.exp(-(((y + lid * 1.2 + 0.02) / 0.005) ** 2)) * (np.abs(x) < wide)
        lower = np.exp(-(((y - lid * 0.74) / 0.004) ** 2)) * (np.abs(x) < wide)
        colour = colour * (1 - 0.82 * line - 0.28 * crease - 0.25 * lower).clip(0.1, 1)[..., None]
    return colour


def _brows(rng: np.random.Generator, grid: Grid, hair: np.ndarray) -> np.ndarray:
    """How much of each pixel a brow covers, 0..1."""
    thick, arch, tilt = rng.uniform(0.013, 0.024), rng.uniform(0.1, 0.3), rng.uniform(-0.12, 0.12)
    x = np.abs(grid.x) - 0.155
    middle = -0.115 + arch * x**2 * 6 - 0.01 + tilt * x
    width = thick * np.clip(1.15 - 4 * x, 0.35, 1.2)
    body = np.exp(-(((grid.y - middle) / width) ** 4)) * np.clip((0.1 - np.abs(x)) / 0.025, 0, 1)
    strands = fractal_noise(rng, *grid.shape, coarsest=0.012 * grid.scale, octaves=3, persistence=0.8)
    return np.clip(body * (0.78 + 0.14 * strands), 0, 0.9 if hair.mean() < 120 else 0.65)


def _lips(rng: np.random.Generator, grid: Grid, colour: np.ndarray, red: float) -> np.ndarray:
    """Lips, the line between them and the nostrils, painted over the lit skin."""
    wide, smile = rng.uniform(0.105, 0.135), rng.uniform(-0.1, 0.9)
    x = grid.x / wide
    line = 0.265 - 0.03 * smile * x**2
    inside = np.clip(1 - x**2, 0, None)
    bow = 0.03 * inside**0.8 * (1 - 0.35 * np.exp(-((grid.x / 0.018) ** 2)))
    upper = np.clip((grid.y - (line - bow)) / 0.006, 0, 1) * (grid.y <= line)
    lower = np.clip(((line + rng.uniform(0.035, 0.05) * inside) - grid.y) / 0.01, 0, 1) * (grid.y > line)
    lips = blurred(((upper + lower) * (np.abs(x) < 1)).astype(np.float32), 0.003 * grid.scale)
    tint = np.float32((1.0, 1 - 0.32 * red, 1 - 0.28 * red)) * (0.97 - 0.12 * (grid.y < line))[..., None]
    colour = colour * (1 - lips[..., None]) + colour * tint * lips[..., None]
    mouth = np.exp(-(((grid.y - line) / 0.005) ** 2)) * (np.abs(x) < 1.04)
    if smile > 0.55:
        teeth = np.clip((0.012 * inside - np.abs(grid.y - line - 0.008)) / 0.003, 0, 1)[..., None]
        colour = colour * (1 - teeth) + np.float32((226, 220, 210)) * teeth
        mouth = mouth * 0.6
    nostrils = grid.pair(0.03, 0.153, 0.015, 0.008)
    return colour * (1 - 0.6 * mouth - 0.6 * nostrils).clip(0.15, 1)[..., None]


def paint_face(
    rng: np.random.Generator, grid: Grid, tone: np.ndarray, hair: np.ndarray, light: tuple[float, float, float]
) -> tuple[np.ndarray, np.ndarray]:
    """Paints a face.

    Args:
        tone: skin, float32 (3,) RGB 0..255.
        hair: colour of brows and beard, float32 (3,) RGB 0..255.
        light: direction towards the light (right, down, towards the viewer).

    Returns:
        (rgb float32 H x W x 3 in 0..255, coverage float32 H x W in [0, 1]).
    """
    coverage = grid.covered(face_outline(rng))
    diffuse, gloss = lambert(blurred(face_relief(rng, grid), 0.004 * grid.scale), light)
    blotches = fractal_noise(rng, *grid.shape, coarsest=0.25 * grid.scale, octaves=5, persistence=0.6)
    flush = (
        rng.uniform(0.04, 0.14) * (grid.pair(0.21, 0.1, 0.1, 0.08) + grid.bump(0, 0.12, 0.05, 0.05)) + 0.02 * blotches
    )
    albedo = tone * (1 + 0.02 * blotches)[..., None] * (1 + flush[..., None] * np.float32((0.15, -0.75, -0.6)))
    colour = skin_colour(albedo, diffuse, gloss, rng.uniform(0.03, 0.12))
    if rng.random() < 0.3:
        colour = _beard(rng, grid, colour, hair)
    colour = _lips(rng, grid, colour, rng.uniform(0.4, 1.3))
    brows = _brows(rng, grid, hair)[..., None]
    colour = colour * (1 - brows) + hair * 0.75 * brows
    colour = _eyes(rng, grid, colour)
    if rng.random() < 0.22:
        colour = _glasses(rng, grid, colour)
    return colour, coverage


def _beard(rng: np.random.Generator, grid: Grid, colour: np.ndarray, hair: np.ndarray) -> np.ndarray:
    """Stubble or a beard around mouth and jaw."""
    area = np.clip((grid.y - 0.12 + 0.5 * np.abs(grid.x) ** 2 - 0.02) / 0.12, 0, 1) * (
        1 - grid.bump(0, 0.27, 0.1, 0.04)
    )
    area *= np.clip((np.hypot(grid.x / 0.26, (grid.y - 0.2) / 0.2) - 0.35) / 0.4, 0, 1)
    hairs = np.clip(
        0.7 + 0.22 * fractal_noise(rng, *grid.shape, coarsest=0.012 * grid.scale, octaves=3, persistence=0.9), 0, 1
    )
    strength = (rng.uniform(0.15, 0.85) * area * hairs)[..., None]
    return colour * (1 - strength) + hair * 0.8 * strength


def _glasses(rng: np.random.Generator, grid: Grid, colour: np.ndarray) -> np.ndarray:
    """A frame around both eyes."""
    thick = rng.uniform(0.004, 0.01)
    wide, high, power = rng.uniform(0.1, 0.12), rng.uniform(0.07, 0.095), rng.uniform(2.0, 4.0)
    x, y = np.abs(grid.x) - 0.155, grid.y + 0.012
    rim = np.abs((np.abs(x / wide) ** power + np.abs(y / high) ** power) ** (1 / power) - 1) * high
    side = np.where((x > wide) & (np.abs(grid.x) < 0.37), np.abs(y + 0.035), 1.0)
    bridge = np.where(np.abs(grid.x) < 0.155 - wide, np.abs(y + 0.02 - 2 * grid.x**2), 1.0)
    distance = np.minimum(np.minimum(rim, side), bridge)
    frame = 0.92 * np.clip((thick - distance) * grid.scale + 0.5, 0, 1)[..., None]
    paint = np.float32(rng.choice([(18, 18, 20), (60, 35, 25), (120, 110, 95)]))
    return colour * (1 - frame) + paint * frame
