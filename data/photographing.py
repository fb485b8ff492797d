"""Turns scans and renderings of pages into what a phone's camera makes of them, at the size of its photos."""

from __future__ import annotations

import cv2
import numpy as np

# Receipts are longer, phone photos are not.
_LONGEST_ASPECT = 1.5
_BRIGHT_PAPER = 238


def photograph(page: np.ndarray, rng: np.random.Generator, long_side: int) -> np.ndarray:
    """A photo of a page: its sheet fills the frame, paper is grey-white, light falls off a little.

    Args:
        page: RGB uint8, height x width x 3, of any size; a strip is cut to a photo's proportions.
        long_side: pixels of the photo's longer side.

    Returns:
        RGB uint8 whose longer side is exactly `long_side`.
    """
    page = cut_strip(page, rng)
    scale = long_side / max(page.shape[:2])
    size = (max(1, round(page.shape[1] * scale)), max(1, round(page.shape[0] * scale)))
    photo = cv2.resize(page, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    paper = np.percentile(page.reshape(-1, 3)[::97], 80, axis=0)
    # What is a photo already has its paper tone and its light; what was rendered is pure white.
    rendered = paper.min() >= _BRIGHT_PAPER
    tone = rng.uniform(0.8, 0.97) * np.exp(rng.uniform(-0.02, 0.02, 3)) if rendered else np.ones(3)
    light = _light_field(rng, photo.shape[:2], 1.0 if rendered else 0.3)
    # Black print is never black in a photo.
    veil = rng.uniform(8, 35) if rendered else 0.0
    noise = rng.uniform(0.3, 0.9)
    return _expose(photo, light, tone.astype(np.float32), np.float32(veil), np.float32(noise), rng)


def _expose(
    photo: np.ndarray,
    light: np.ndarray,
    tone: np.ndarray,
    veil: np.float32,
    noise: np.float32,
    rng: np.random.Generator,
) -> np.ndarray:
    """Applies light and noise in strips: whole photos in float32 would take ten times their size."""
    result = np.empty_like(photo)
    for top in range(0, photo.shape[0], 256):
        rows = slice(top, top + 256)
        values = (veil + photo[rows] * (1 - veil / 255)) * tone * light[rows, :, None]
        values += rng.standard_normal((*values.shape[:2], 1), np.float32) * noise
        result[rows] = np.clip(values + np.float32(0.5), 0, 255).astype(np.uint8)
    return result


def _light_field(rng: np.random.Generator, size: tuple[int, int], strength: float) -> np.ndarray:
    """float32 height x width around 1: a slope, a vignette and a large soft patch, all smooth."""
    rows, columns = np.mgrid[-1:1:32j, -1:1:32j].astype(np.float32)
    slope = rng.uniform(-0.07, 0.07, 2)
    vignette = rng.uniform(0, 0.08)
    centre, depth = rng.uniform(-1, 1, 2), rng.uniform(-0.06, 0.06)
    patch = np.exp(-((rows - centre[0]) ** 2 + (columns - centre[1]) ** 2) / 0.5)
    field = slope[0] * rows + slope[1] * columns - vignette * (rows**2 + columns**2) / 2 + depth * patch
    field = 1 + strength * (field - field.max() * 0.5)
    return cv2.resize(field.astype(np.float32), size[::-1], interpolation=cv2.INTER_CUBIC)


def cut_strip(page: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A part of a strip with a photo's proportions; other pages as they are."""
    height, width = page.shape[:2]
    if height > _LONGEST_ASPECT * width:
        length = round(_LONGEST_ASPECT * width)
        top = int(rng.integers(height - length + 1))
        return page[top : top + length]
    if width > _LONGEST_ASPECT * height:
        length = round(_LONGEST_ASPECT * height)
        left = int(rng.integers(width - length + 1))
        return page[:, left : left + length]
    return page
