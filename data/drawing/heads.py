"""A head with hair, neck, shoulders and clothes, seen from the front."""

from __future__ import annotations

import numpy as np

from data.drawing.faces import Grid, mirrored, paint_face
from data.drawing.hair import STYLE_WEIGHTS, STYLES, comb, hair_shapes, paint_hair, pick_hair
from data.drawing.hands import pick_skin
from data.drawing.surfaces import (
    blurred,
    filled,
    fractal_noise,
    lambert,
    rounded_relief,
    skin_colour,
    smooth_outline,
    wall,
)

_CLOTH_COLOURS = (
    (28, 30, 38), (45, 52, 80), (225, 225, 228), (150, 40, 45), (70, 90, 70), (190, 170, 140), (90, 130, 175),
    (240, 210, 90), (120, 120, 125), (200, 120, 140),
)  # fmt: skip

Layer = tuple[np.ndarray, np.ndarray]


def _over(below: Layer, above: Layer) -> Layer:
    """One painted layer on another; each is (rgb, coverage)."""
    share = above[1][..., None]
    return below[0] * (1 - share) + above[0] * share, np.maximum(below[1], above[1])


def _torso(rng: np.random.Generator, grid: Grid, light: tuple[float, float, float], tone: np.ndarray) -> Layer:
    """Shoulders in clothes, with the open neck of a shirt, a collar or a suit with a tie."""
    slope, wide = rng.uniform(0.06, 0.16), rng.uniform(0.85, 1.02)
    half = np.array(
        [
            (0, 0.58),
            (0.17, 0.6),
            (0.26, 0.66),
            (0.55, 0.72 + slope),
            (wide - 0.1, 0.8 + slope),
            (wide, 1.0 + slope),
            (wide + 0.06, 1.6),
            (0, 3.0),
        ]
    )
    coverage = filled(*grid.shape, grid.pixels(smooth_outline(mirrored(half))))
    folds = fractal_noise(rng, *grid.shape, coarsest=0.4 * grid.scale, octaves=4, persistence=0.45)
    relief = rounded_relief(coverage, 0.3 * grid.scale, 0.28 * grid.scale) + folds * np.float32(0.018 * grid.scale)
    diffuse, _ = lambert(blurred(relief, 0.012 * grid.scale), light)
    cloth = np.float32(_CLOTH_COLOURS[int(rng.integers(len(_CLOTH_COLOURS)))])
    fabric = np.broadcast_to(cloth, (*grid.shape, 3)).astype(np.float32)
    fabric = _pattern(rng, grid, fabric)
    fabric = fabric * (0.35 + 0.72 * diffuse + 0.03 * rng.standard_normal(grid.shape, np.float32))[..., None]
    style = str(rng.choice(["round", "collar", "suit"], p=[0.4, 0.25, 0.35]))
    if style == "round":
        neckline = np.clip((0.23 - np.hypot(grid.x, (grid.y - 0.58) / rng.uniform(0.8, 1.2))) * grid.scale / 2, 0, 1)
        hem = np.exp(-(((np.hypot(grid.x, grid.y - 0.58) - 0.25) / 0.012) ** 2))
        fabric = fabric * (1 - 0.25 * hem)[..., None]
        skin = tone * (0.36 + 0.6 * diffuse)[..., None]
        fabric = fabric * (1 - neckline[..., None]) + skin * neckline[..., None]
    else:
        fabric = _shirt_front(rng, grid, fabric, diffuse, with_tie=style == "suit")
    return fabric, coverage


def _pattern(rng: np.random.Generator, grid: Grid, fabric: np.ndarray) -> np.ndarray:
    """Sometimes stripes or a check."""
    kind = int(rng.integers(5))
    period, contrast = rng.uniform(0.04, 0.12), rng.uniform(-0.45, 0.45)
    if kind in (0, 1):
        fabric = fabric * (1 + contrast * (np.mod(grid.y, period) < period * 0.4))[..., None]
    if kind == 1:
        fabric = fabric * (1 + contrast * (np.mod(grid.x, period) < period * 0.4))[..., None]
    return fabric


def _shirt_front(
    rng: np.random.Generator, grid: Grid, fabric: np.ndarray, diffuse: np.ndarray, with_tie: bool
) -> np.ndarray:
    """The V of a shirt under a jacket, its collar, and a tie."""
    shirt = np.float32(rng.choice([(236, 236, 238), (200, 214, 235), (225, 225, 215)]))
    opening = np.array([(-0.2, 0.56), (0.2, 0.56), (0.3, 0.68), (0.0, rng.uniform(1.2, 1.6)), (-0.3, 0.68)])
    lit = (0.4 + 0.62 * diffuse)[..., None]
    layers = [(opening, shirt, 1.0)] if with_tie else []
    if with_tie:
        tie = np.float32(rng.choice([(130, 25, 35), (30, 40, 90), (60, 60, 65), (20, 70, 60)]))
        layers.append(
            (
                np.array([(-0.05, 0.66), (0.05, 0.66), (0.035, 0.74), (0.09, 1.7), (-0.09, 1.7), (-0.035, 0.74)]),
                tie,
                1.0,
            )
        )
    for side in (-1, 1):
        flap = np.array([(0.15 * side, 0.5), (0.25 * side, 0.62), (0.15 * side, 0.82), (0.01 * side, 0.67)])
        layers.append((flap, shirt if with_tie else fabric.mean(axis=(0, 1)) * 1.15, 0.94))
    for outline, paint, strength in layers:
        area = filled(*grid.shape, grid.pixels(outline))
        edge = np.clip(blurred(area, 0.012 * grid.scale) - area, 0, 1)
        fabric = fabric * (1 - 0.6 * edge)[..., None] * (1 - area[..., None]) + paint * strength * lit * area[..., None]
    return fabric


def _neck(grid: Grid, tone: np.ndarray, light: tuple[float, float, float], wide: float) -> Layer:
    """Neck, dark under the chin."""
    outline = np.array(
        [(-wide, 0.2), (wide, 0.2), (wide, 0.55), (wide + 0.09, 0.72), (-wide - 0.09, 0.72), (-wide, 0.55)]
    )
    coverage = filled(*grid.shape, grid.pixels(outline))
    relief = 0.2 * np.sqrt(np.clip(1 - (grid.x / (wide + 0.08)) ** 2, 0.02, 1)) * grid.scale
    diffuse, gloss = lambert(relief.astype(np.float32), light)
    shadow = np.clip(1 - np.hypot(grid.x / 0.4, (grid.y - 0.38) / 0.26), 0, 1)
    rgb = skin_colour(np.broadcast_to(tone, (*grid.shape, 3)), diffuse * (1 - 0.75 * shadow**0.7), gloss, 0.03)
    return rgb, coverage


def _ears(grid: Grid, tone: np.ndarray, light: tuple[float, float, float]) -> Layer:
    """Both ears, behind the face."""
    coverage = np.zeros(grid.shape, np.float32)
    for side in (-1, 1):
        ear = np.array([(0.33, -0.1), (0.39, -0.13), (0.425, -0.08), (0.41, 0.04), (0.375, 0.12), (0.34, 0.1)]) * (
            side,
            1,
        )
        coverage = np.maximum(coverage, grid.covered(smooth_outline(ear)))
    relief = rounded_relief(coverage, 0.025 * grid.scale, 0.03 * grid.scale)
    diffuse, gloss = lambert(blurred(relief, 0.008 * grid.scale), light)
    inner = 1 - 0.4 * grid.pair(0.375, -0.02, 0.018, 0.06)
    return skin_colour(tone * np.float32((1.0, 0.9, 0.88)) * inner[..., None], diffuse, gloss, 0.03), coverage


def render_head(rng: np.random.Generator, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Paints a head and shoulders about `size` pixels long.

    Returns:
        (rgb float32 H x W x 3 in 0..255, coverage float32 H x W in [0, 1]); the shoulders reach the last row.
    """
    bottom = rng.uniform(0.8, 1.45)
    style = str(rng.choice(STYLES, p=STYLE_WEIGHTS))
    low, high = np.array([-1.15, -0.74]), np.array([1.15, bottom])
    scale = size / max(high - low)
    width, height = (round(float(value)) for value in (high - low) * scale)
    xs = (np.arange(width, dtype=np.float32) / scale + low[0])[None, :]
    ys = (np.arange(height, dtype=np.float32) / scale + low[1])[:, None]
    straight = Grid(*np.broadcast_arrays(xs, ys), scale, low)
    # A head is held a little askew; the shoulders stay level.
    lean = rng.normal(0, 0.05)
    grid = Grid(straight.x - lean * (0.6 - straight.y), straight.y + lean * straight.x, scale, low)

    tone, light = pick_skin(rng), (rng.uniform(-0.9, 0.9), rng.uniform(-0.9, 0.0), rng.uniform(1.0, 1.8))
    hair = pick_hair(rng)
    behind, front = hair_shapes(rng, grid, style)
    curl = {"curly": 1.0, "long": rng.uniform(0.1, 0.6)}.get(style, rng.uniform(0.05, 0.3))
    strands = comb(rng, grid, rng.uniform(-0.15, 0.15), curl)

    picture = (wall(rng, (height, width)), np.zeros((height, width), np.float32))
    layers = [_torso(rng, straight, light, tone), _neck(straight, tone, light, rng.uniform(0.16, 0.2))]
    if behind is not None:
        # Long hair falls behind the shoulders or over them.
        layers.insert(int(rng.integers(2)), paint_hair(rng, grid, behind, hair * 0.8, strands, light))
    layers += [_ears(grid, tone, light), paint_face(rng, grid, tone, hair, light)]
    if style != "bald":
        layers.append(paint_hair(rng, grid, front, hair, strands, light))
    for layer in layers:
        picture = _over(picture, layer)
    rgb, coverage = picture
    if rng.random() < 0.28:
        rgb = np.repeat((rgb @ np.float32((0.299, 0.587, 0.114)))[..., None], 3, axis=2)
    return rgb, coverage
