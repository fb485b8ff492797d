"""From an occluder and its place in a photo to a layer of pixels: edge, light, blur, shadow."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from data.synthesis.occluders import Occluder
from data.synthesis.placement import Placement
from data.synthesis.styles import PasteStyle

# Less than this is not seen and would only widen the mask.
_LEAST_ALPHA = 0.02
_LEAST_SHADE = 0.012


@dataclass(frozen=True)
class Layer:
    """Pixels to lay on a picture.

    Attributes:
        top, left: where the layer begins in the picture.
        rgb: float32 height x width x 3, 0..255.
        alpha: float32 height x width, 0..1.
        shade: float32 height x width, 0..1: the light that a cast shadow leaves to the page.
    """

    top: int
    left: int
    rgb: np.ndarray
    alpha: np.ndarray
    shade: np.ndarray


def render(
    occluder: Occluder, where: Placement, style: PasteStyle, unit: float, rng: np.random.Generator
) -> Layer | None:
    """The occluder as it lies in the photo, or None where nothing of it falls into the frame.

    Args:
        unit: pixels of this picture for one pixel of a photo with a longer side of 3770.
    """
    shadow = rng.random() < style.shadow_probability
    sigma, strength = _log_uniform(rng, style.shadow_pixels) * unit, rng.uniform(*style.shadow_strength)
    offset = rng.uniform(-1, 1, 2) * style.shadow_pixels[1] * unit if shadow else np.zeros(2)
    soft = rng.random() < style.soft_edge_probability
    feather = _log_uniform(rng, style.feather_pixels) * max(unit, 0.3)
    reach = int(np.ceil(3 * feather + style.polygon_pixels[1] + style.rim_pixels[1] + 2))
    margin = reach + int(np.ceil(2.5 * sigma + np.abs(offset).max())) if shadow else reach
    box = _visible_box(occluder, where, margin)
    if box is None:
        return None
    left, top, right, bottom = box
    rgb, alpha = _warp(occluder, where.in_window(left, top, bottom - top, right - left))
    alpha = _soft_edge(alpha, feather) if soft else _hard_edge(alpha, style, unit, rng)
    alpha = _without_islands(alpha, (left == 0, top == 0, right == where.size[1], bottom == where.size[0]))
    rgb = _light(rgb, alpha, occluder.kind, style, unit, rng)
    shade = _shadow(alpha, sigma, strength, offset) if shadow else np.ones_like(alpha)
    return Layer(top, left, rgb, alpha, shade)


def _log_uniform(rng: np.random.Generator, bounds: tuple[float, float]) -> float:
    return float(np.exp(rng.uniform(*np.log(bounds))))


def _visible_box(occluder: Occluder, where: Placement, margin: int) -> tuple[int, int, int, int] | None:
    height, width = occluder.rgba.shape[:2]
    corners = np.array([[0, 0], [width, 0], [0, height], [width, height]], np.float64)
    corners = corners @ where.matrix[:, :2].T + where.matrix[:, 2]
    low, high = np.floor(corners.min(0)).astype(int) - margin, np.ceil(corners.max(0)).astype(int) + margin
    left, top = max(0, int(low[0])), max(0, int(low[1]))
    right, bottom = min(where.size[1], int(high[0])), min(where.size[0], int(high[1]))
    return (left, top, right, bottom) if right > left and bottom > top else None


def _warp(occluder: Occluder, where: Placement) -> tuple[np.ndarray, np.ndarray]:
    """(rgb uint8 height x width x 3, alpha float32 height x width in 0..1) of the window that `where` describes."""
    rgba, matrix = occluder.rgba, where.matrix.copy()
    if where.scale < 0.7:
        size = tuple(max(1, round(length * where.scale)) for length in rgba.shape[1::-1])
        ratio = np.array([rgba.shape[1] / size[0], rgba.shape[0] / size[1]])
        rgba = cv2.resize(rgba, size, interpolation=cv2.INTER_AREA)
        matrix[:, :2] *= ratio
    # OpenCV counts from pixel centres, the placement from pixel corners.
    matrix[:, 2] += matrix[:, :2] @ (0.5, 0.5) - 0.5
    size = (where.size[1], where.size[0])
    colours = np.ascontiguousarray(rgba[..., :3])
    smooth = cv2.INTER_CUBIC if where.scale > 1 else cv2.INTER_LINEAR
    rgb = cv2.warpAffine(colours, matrix, size, flags=smooth, borderMode=cv2.BORDER_REPLICATE)
    alpha = cv2.warpAffine(np.ascontiguousarray(rgba[..., 3]), matrix, size, flags=cv2.INTER_LINEAR)
    return rgb, alpha.astype(np.float32) / 255


def _soft_edge(alpha: np.ndarray, feather: float) -> np.ndarray:
    """Feathers inwards, so that none of the cut-out's own background shines through."""
    solid = (alpha > 0.5).astype(np.uint8)
    # The frame cuts the occluder off: blurring must not pull in emptiness from outside the picture.
    steps = max(1, round(1.5 * feather))
    inner = cv2.erode(solid, np.ones((3, 3), np.uint8), iterations=steps, borderValue=1)
    soft = cv2.GaussianBlur(inner.astype(np.float32), (0, 0), feather, borderType=cv2.BORDER_REPLICATE)
    return np.where(soft < _LEAST_ALPHA, 0, soft).astype(np.float32)


def _hard_edge(alpha: np.ndarray, style: PasteStyle, unit: float, rng: np.random.Generator) -> np.ndarray:
    solid = (alpha > 0.5).astype(np.uint8)
    polygon, jagged, rim = rng.random(3) < (style.polygon_probability, style.jagged_probability, style.rim_probability)
    polygon_pixels = rng.uniform(*style.polygon_pixels) * unit
    jag = round(rng.integers(style.jag_pixels[0], style.jag_pixels[1] + 1) * unit)
    # Below one pixel, chance decides between one and none.
    rim_pixels = int(rng.integers(style.rim_pixels[0], style.rim_pixels[1] + 1) * unit + rng.random())
    if polygon and polygon_pixels > 0.5:
        solid = _polygon(solid, polygon_pixels)
    if jagged and jag > 1:
        height, width = solid.shape
        stairs = solid[jag // 2 :: jag, jag // 2 :: jag]
        if stairs.size:
            stairs = np.repeat(np.repeat(stairs, jag, 0), jag, 1)[:height, :width]
            missing = (0, height - stairs.shape[0], 0, width - stairs.shape[1])
            solid = cv2.copyMakeBorder(stairs, *missing, cv2.BORDER_REPLICATE)
    if rim and rim_pixels:
        solid = cv2.dilate(solid, np.ones((3, 3), np.uint8), iterations=rim_pixels)
    return solid.astype(np.float32)


def _polygon(solid: np.ndarray, tolerance: float) -> np.ndarray:
    # The outline goes on outside the picture, so that no corner of the polygon is cut off at its border.
    pad = 2 * int(np.ceil(tolerance)) + 2
    wider = cv2.copyMakeBorder(solid, pad, pad, pad, pad, cv2.BORDER_REPLICATE)
    contours, _ = cv2.findContours(wider, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    coarse = [cv2.approxPolyDP(contour, tolerance, True) for contour in contours]
    wider = cv2.drawContours(np.zeros_like(wider), coarse, -1, 1, cv2.FILLED)
    return np.ascontiguousarray(wider[pad:-pad, pad:-pad])


def _without_islands(alpha: np.ndarray, at_border: tuple[bool, bool, bool, bool]) -> np.ndarray:
    """Drops parts that no longer hang together with the picture's border, such as ends of hair after feathering.

    Args:
        at_border: whether the left, top, right and bottom side of `alpha` is the picture's own border.
    """
    count, labels = cv2.connectedComponents((alpha > 0).astype(np.uint8), connectivity=8)
    if count <= 2:
        return alpha
    sides = (labels[:, 0], labels[0], labels[:, -1], labels[-1])
    kept = np.zeros(count, bool)
    for side, is_border in zip(sides, at_border, strict=True):
        if is_border:
            kept[side] = True
    # In a patch, everything may lie inside: then the whole is not cut by any border.
    return np.where(kept[labels], alpha, 0) if kept[1:].any() else alpha


def _light(
    rgb: np.ndarray, alpha: np.ndarray, kind: str, style: PasteStyle, unit: float, rng: np.random.Generator
) -> np.ndarray:
    gain = rng.uniform(-1, 1) * style.light_difference + rng.uniform(-1, 1, 3) * style.colour_difference
    slope = rng.uniform(-1, 1, 2) * style.shading
    blurred, sigma = rng.random() < style.blur_probability, _log_uniform(rng, style.blur_pixels) * unit
    noise, grey = rng.uniform(0, 1) * style.noise, kind == "head" and rng.random() < style.grey_probability
    if grey:
        rgb = cv2.cvtColor(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    if blurred and sigma > 0.25:
        rgb = cv2.GaussianBlur(rgb, (0, 0), sigma)
    # Unlike a gain, an exponent keeps black and white where they are: nothing is clipped flat.
    levels = np.arange(256, dtype=np.float32)[:, None] / 255
    rgb = cv2.LUT(rgb, (255 * levels ** np.exp(-gain)).astype(np.float32)[None])
    if style.shading:
        height, width = alpha.shape
        rows = np.linspace(-0.5, 0.5, height, dtype=np.float32)[:, None] * slope[0]
        columns = np.linspace(-0.5, 0.5, width, dtype=np.float32) * slope[1]
        rgb *= (1 + rows + columns).astype(np.float32)[..., None]
    if noise:
        rgb += rng.standard_normal((*alpha.shape, 1), np.float32) * np.float32(noise)
    return np.clip(rgb, 0, 255)


def _shadow(alpha: np.ndarray, sigma: float, strength: float, offset: np.ndarray) -> np.ndarray:
    """The light that is left around the occluder: blurred, displaced, and exactly 1 where it ends."""
    # A wide blur needs no fine pixels.
    step = max(1, int(sigma / 3))
    height, width = alpha.shape
    size = (max(1, width // step), max(1, height // step))
    small = cv2.resize(alpha, size, interpolation=cv2.INTER_AREA)
    shift = np.float32([[1, 0, offset[0] / step], [0, 1, offset[1] / step]])
    small = cv2.warpAffine(small, shift, size, borderMode=cv2.BORDER_REPLICATE)
    small = cv2.GaussianBlur(small, (0, 0), max(0.3, sigma / step), borderType=cv2.BORDER_REPLICATE)
    dark = strength * cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.where(dark < _LEAST_SHADE, 1, 1 - dark).astype(np.float32)
