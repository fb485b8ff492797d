"""Hair: combed streaks, a lit mass with a frayed edge, and the shapes of hair styles."""

from __future__ import annotations

import cv2
import numpy as np

from data.drawing.faces import Grid, mirrored
from data.drawing.surfaces import blurred, fractal_noise, lambert, rounded_relief, smooth_outline

HAIR_COLOURS = (
    (24, 20, 18), (34, 27, 23), (52, 36, 27), (78, 52, 35), (112, 76, 46), (170, 128, 78), (205, 170, 118),
    (110, 48, 26), (150, 148, 146), (205, 203, 200),
)  # fmt: skip
_HAIR_WEIGHTS = (0.26, 0.18, 0.14, 0.12, 0.09, 0.06, 0.04, 0.04, 0.04, 0.03)
STYLES = ("short", "curly", "long", "bob", "bald")
STYLE_WEIGHTS = (0.42, 0.13, 0.22, 0.17, 0.06)


def pick_hair(rng: np.random.Generator) -> np.ndarray:
    """A hair colour, float32 (3,) RGB 0..255."""
    return np.float32(HAIR_COLOURS[int(rng.choice(len(HAIR_COLOURS), p=_HAIR_WEIGHTS))])


def comb(rng: np.random.Generator, grid: Grid, parting: float, curl: float) -> np.ndarray:
    """Texture of combed hair, about -1..1: streaks that fan out from the parting and fall down."""
    across = (grid.x - parting) / (0.3 + 0.9 * np.clip(grid.y + 0.62, 0.0, 0.6))
    wave = fractal_noise(rng, *grid.shape, coarsest=0.3 * grid.scale, octaves=4, persistence=0.55)
    table = rng.standard_normal((32, 1024), np.float32)
    table = 0.7 * table + 0.9 * cv2.GaussianBlur(table, (0, 0), 3) * 3
    columns = (across + wave * (0.02 + 0.25 * curl)) * 170 + 512
    rows = (grid.y + 1) * 7 + 2 + wave * curl * 3
    streaks = cv2.remap(
        table, columns.astype(np.float32), rows.astype(np.float32), cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP
    )
    return np.clip(streaks / 1.6, -1.5, 1.5)


def paint_hair(
    rng: np.random.Generator, grid: Grid, coverage: np.ndarray, colour: np.ndarray, strands: np.ndarray, light: tuple
) -> tuple[np.ndarray, np.ndarray]:
    """Hair as a lit mass with streaks; its edge frays along the streaks."""
    soft = blurred(coverage, 0.012 * grid.scale)
    coverage = blurred(np.clip((soft + 0.22 * strands * (soft < 0.97) - 0.5) * 4 + 0.5, 0, 1), 0.5)
    relief = blurred(rounded_relief(soft, 0.22 * grid.scale, 0.2 * grid.scale), 0.03 * grid.scale)
    diffuse, _ = lambert(relief + strands * np.float32(0.003 * grid.scale), light)
    band = np.exp(-(((grid.y + 0.42 + 0.25 * grid.x**2) / 0.07) ** 2)) + 0.5 * np.exp(-(((grid.y - 0.1) / 0.12) ** 2))
    lit = 0.35 + 0.6 * diffuse + 0.22 * strands
    gloss = rng.uniform(10, 45) * band * np.clip(0.6 + 0.6 * strands, 0, 1.5) * diffuse
    return colour * lit.clip(0.12, 1.6)[..., None] + gloss[..., None], coverage


def hair_shapes(rng: np.random.Generator, grid: Grid, style: str) -> tuple[np.ndarray | None, np.ndarray]:
    """Where a style's hair lies: (behind the head or None, in front of it), coverage float32 H x W in [0, 1]."""
    volume = rng.uniform(0.0, 0.04) + (rng.uniform(0.06, 0.14) if style == "curly" else 0)
    top, end = -0.53 - volume - rng.uniform(0, 0.03), rng.uniform(-0.1, 0.1)
    wide = 0.37 + volume
    hanging = style in ("long", "bob")
    # Short hair hugs the temples; hanging hair and curls stand off.
    temple = wide + 0.03 if hanging or style == "curly" else 0.372
    half = [
        (0, top),
        (0.2, top + 0.035),
        (wide * 0.94, -0.33),
        (temple, -0.12),
        (temple - 0.02, end),
        (0.31, end + 0.03),
    ]
    cap = grid.covered(smooth_outline(mirrored(np.array([*half, (0, end)]))))
    line, parting = rng.uniform(-0.38, -0.27), rng.uniform(-0.16, 0.16)
    inner, drop = rng.uniform(0.28, 0.335), rng.uniform(0.02, 0.1)
    forehead = np.array(
        [(parting, line), (0.19, line + drop - 0.3 * parting), (inner, -0.14), (inner + 0.02, end + 0.2), (0, 0.6),
         (-inner - 0.02, end + 0.2), (-inner, -0.14), (-0.19, line + drop + 0.3 * parting)]
    )  # fmt: skip
    front = cap * (1 - grid.covered(smooth_outline(forehead)))
    if not hanging:
        return None, front
    low = rng.uniform(0.8, 1.15) if style == "long" else rng.uniform(0.4, 0.6)
    full, tail = wide + rng.uniform(0.03, 0.1), rng.uniform(-0.06, 0.06)
    half = [
        (0, top + 0.01),
        (0.24, top + 0.06),
        (wide + 0.02, -0.22),
        (full, 0.2),
        (full + tail, low - 0.12),
        (0.28, low),
    ]
    return grid.covered(smooth_outline(mirrored(np.array([*half, (0, low)])))), front
