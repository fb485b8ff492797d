"""Pasting occluders on clean pages, for whole sets (`data.synthesis`) and on the fly in training, in one of two styles.

Every pixel that a mask does not name stays as it was, except for the JPEG noise that a style may ask for.
"""

import io
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.random import Generator
from PIL import Image

from data.synthesis.occluders import KINDS, Occluder
from data.synthesis.placement import EntryRange, Place, place, place_in_patch

Chooser = Callable[[Generator, str], Occluder]

# Pixels are those of the contest's photos, whose longer side is about this; in other photos they scale with it.
REFERENCE_LONG_SIDE = 3770
_FEATHER_PIXELS = (0.8, 3.0)  # sigma of a soft edge
_POLYGON_PIXELS = (1.5, 5.0)  # how far a polygon may leave the true outline
_SHADOW_PIXELS = (12.0, 55.0)  # sigma, and range of its displacement
_BLUR_PIXELS = (1.0, 4.0)  # sigma
_MOST_RIM = 4
_LEAST_ALPHA, _LEAST_SHADE = 0.02, 0.012  # Less than this is not seen and would only widen the mask


@dataclass(frozen=True)
class PasteStyle:
    """How occluders look and where they come in; probabilities are 0 to 1."""

    hand: EntryRange
    head: EntryRange
    head_probability: float = 0.5  # that an occluder is a head where nobody asks for a kind
    second_probability: float = 0.0  # of a second occluder on the same photo
    sliver_probability: float = 0.0  # that a tip of the occluder peeps in once more somewhere else at a border
    soft_edge_probability: float = 0.0  # of a feathered edge; every other edge is hard, that is, binary
    jagged_probability: float = 0.0  # that a hard edge is a staircase, as after nearest-neighbour enlarging
    polygon_probability: float = 0.0  # that a hard edge is a coarse polygon
    rim_probability: float = 0.0  # that a rim of the cut-out's own background comes along on a hard edge
    shadow_probability: float = 0.0  # of a shadow cast on the page; it belongs to the mask
    light_difference: float = 0.0  # largest difference of the occluder's brightness, in log units
    colour_difference: float = 0.0  # the same for each colour channel
    shading: float = 0.0  # largest brightness slope across the occluder, as a fraction
    blur_probability: float = 0.0  # of an occluder that is out of focus or enlarged
    noise: float = 0.0  # largest sigma of the noise on the occluder, in grey levels
    grey_probability: float = 0.0  # of a black-and-white head
    jpeg_probability: float = 0.0  # that the whole occluded picture goes through JPEG
    jpeg_quality: tuple[int, int] = (90, 98)


STYLES = {
    "contest": PasteStyle(
        hand=EntryRange((0.1, 0.42, 0.06, 0.42), (0.012, 0.037), (0.2, 0.45), (0.12, 0.75), 28, (0.12, 0.88)),
        head=EntryRange((1, 0, 0, 0), (0.016, 0.037), (0.16, 0.225), (0.6, 1), 4, (0.15, 0.85)),
        sliver_probability=0.4, jagged_probability=0.5, polygon_probability=0.3, rim_probability=0.5,
        light_difference=0.12, blur_probability=0.35, grey_probability=0.3, jpeg_probability=0.7),
    "natural": PasteStyle(
        hand=EntryRange((0.2, 0.32, 0.16, 0.32), (0.008, 0.09), (0.12, 0.6), (0.1, 1), 50, (0.05, 0.95), (0.03, 0.1)),
        head=EntryRange((1, 0, 0, 0), (0.012, 0.08), (0.12, 0.36), (0.4, 1), 12, (0.08, 0.92)),
        head_probability=0.3, second_probability=0.3, sliver_probability=0.15, soft_edge_probability=0.85,
        jagged_probability=0.2, polygon_probability=0.2, rim_probability=0.2, shadow_probability=0.7,
        light_difference=0.35, colour_difference=0.1, shading=0.3, blur_probability=0.5, noise=4.0,
        grey_probability=0.15, jpeg_probability=0.8, jpeg_quality=(75, 97)),
}  # fmt: skip


def paste(page: np.ndarray, choose: Chooser, rng: Generator, style: PasteStyle, placement: str = "page",
          kind: str | None = None) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Pastes one or two occluders on a clean page (RGB uint8, height x width x 3).

    With `placement` "patch" instead of "page" it is a part of a larger photo, so that an occluder may cross any of its
    edges; a tip, a wrist and everything between can be what shows. `kind` is "hand" or "head" for all occluders; None
    draws it for each. Returns the occluded picture, and its mask, uint8 height x width, 1 = occluder.
    """
    image, size = page.copy(), page.shape[:2]
    mask = np.zeros(size, np.uint8)
    for _ in range(1 + int(rng.random() < style.second_probability)):
        occluder = choose(rng, kind or KINDS[int(rng.random() < style.head_probability)])
        entry = style.head if occluder.kind == "head" else style.hand
        if placement == "page":
            where, photo = place(occluder, size, entry, rng), size
        else:
            where, photo = place_in_patch(occluder, size, entry, rng)
        unit = max(photo) / REFERENCE_LONG_SIDE
        lay(image, mask, occluder, where, style, unit, rng)
        if placement == "page" and rng.random() < style.sliver_probability:
            glimpse = place(occluder, size, entry, rng, tip=rng.uniform(6, 40) * unit)
            lay(image, mask, occluder, glimpse, style, unit, rng)
    if rng.random() < style.jpeg_probability:
        buffer, quality = io.BytesIO(), int(rng.integers(style.jpeg_quality[0], style.jpeg_quality[1] + 1))
        Image.fromarray(image).save(buffer, "JPEG", quality=quality, subsampling=2)
        image = np.asarray(Image.open(buffer).convert("RGB"))
    return image, mask


def lay(image: np.ndarray, mask: np.ndarray, item: Occluder, where: Place, style: PasteStyle, unit: float,
        rng: Generator) -> None:  # fmt: skip
    """Lays the occluder `item` on `image` (RGB uint8) in place; `mask` gets a 1 at every pixel that this changes, and
    `unit` is the pixels of this picture for one of a photo with a longer side of `REFERENCE_LONG_SIDE`."""
    shadow = rng.random() < style.shadow_probability
    sigma, strength = np.exp(rng.uniform(*np.log(_SHADOW_PIXELS))) * unit, rng.uniform(0.12, 0.45)
    offset = rng.uniform(-1, 1, 2) * _SHADOW_PIXELS[1] * unit if shadow else np.zeros(2)
    soft = rng.random() < style.soft_edge_probability
    feather = np.exp(rng.uniform(*np.log(_FEATHER_PIXELS))) * max(unit, 0.3)
    margin = np.ceil(3 * feather + _POLYGON_PIXELS[1] + _MOST_RIM + 2)
    margin += np.ceil(2.5 * sigma + np.abs(offset).max()) if shadow else 0
    bottom, right = item.rgba.shape[:2]
    corners = where.points(np.array([[0, 0], [right, 0], [0, bottom], [right, bottom]]))
    left, top = np.maximum(np.floor(corners.min(0)) - margin, 0).astype(int)
    right, bottom = np.minimum(np.ceil(corners.max(0)) + margin, mask.shape[::-1]).astype(int)
    if right <= left or bottom <= top:
        return
    rgb, alpha = _warp(item.rgba, where.seen_from(left, top), (int(right - left), int(bottom - top)))
    alpha = _soft_edge(alpha, feather) if soft else _hard_edge(alpha, style, unit, rng)
    alpha = _without_islands(alpha, (left == 0, top == 0, right == mask.shape[1], bottom == mask.shape[0]))
    rgb = _light(rgb, item.kind, style, unit, rng)
    shade = _shadow(alpha, sigma, strength, offset) if shadow else np.ones_like(alpha)
    below, covered = image[top:bottom, left:right], (shade < 1) | (alpha > 0)
    base = below.astype(np.float32) * shade[..., None]
    mixed = (rgb - base) * alpha[..., None] + base
    # OpenCV rounds and clips in one go.
    np.copyto(below, cv2.convertScaleAbs(np.maximum(mixed, 0)), where=covered[..., None])
    mask[top:bottom, left:right] |= covered


def _warp(rgba: np.ndarray, where: Place, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """RGB uint8 and alpha float32 in 0..1, both of `size` (width, height)."""
    matrix = where.matrix.copy()
    if where.scale < 0.7:
        small = tuple(max(1, round(length * where.scale)) for length in rgba.shape[1::-1])
        matrix[:, :2] *= np.array(rgba.shape[1::-1]) / small
        rgba = cv2.resize(rgba, small, interpolation=cv2.INTER_AREA)
    # OpenCV counts from pixel centres, the placement from pixel corners.
    matrix[:, 2] += matrix[:, :2] @ (0.5, 0.5) - 0.5
    smooth, colours = cv2.INTER_CUBIC if where.scale > 1 else cv2.INTER_LINEAR, np.ascontiguousarray(rgba[..., :3])
    rgb = cv2.warpAffine(colours, matrix, size, flags=smooth, borderMode=cv2.BORDER_REPLICATE)
    return rgb, cv2.warpAffine(np.ascontiguousarray(rgba[..., 3]), matrix, size).astype(np.float32) / 255


def _soft_edge(alpha: np.ndarray, feather: float) -> np.ndarray:
    """Feathers inwards, so that none of the cut-out's own background shines through."""
    solid = (alpha > 0.5).astype(np.uint8)
    # The frame cuts the occluder off: no emptiness comes in from outside the picture.
    inner = cv2.erode(solid, np.ones((3, 3), np.uint8), iterations=max(1, round(1.5 * feather)), borderValue=1)
    soft = cv2.GaussianBlur(inner.astype(np.float32), (0, 0), feather, borderType=cv2.BORDER_REPLICATE)
    return np.where(soft < _LEAST_ALPHA, 0, soft).astype(np.float32)


def _hard_edge(alpha: np.ndarray, style: PasteStyle, unit: float, rng: Generator) -> np.ndarray:
    solid = (alpha > 0.5).astype(np.uint8)
    polygon, jagged, rim = rng.random(3) < (style.polygon_probability, style.jagged_probability, style.rim_probability)
    tolerance = rng.uniform(*_POLYGON_PIXELS) * unit
    jag = round(rng.integers(2, 6) * unit)
    # Below one pixel, chance decides between one and none.
    rim_pixels = int(rng.integers(1, _MOST_RIM + 1) * unit + rng.random())
    if polygon and tolerance > 0.5:
        # The outline goes on outside the picture, so that no corner of the polygon is cut off at its border.
        pad = 2 * int(np.ceil(tolerance)) + 2
        wider = np.pad(solid, pad, "edge")
        contours, _ = cv2.findContours(wider, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
        coarse = [cv2.approxPolyDP(contour, tolerance, True) for contour in contours]
        solid = cv2.drawContours(np.zeros_like(wider), coarse, -1, 1, cv2.FILLED)[pad:-pad, pad:-pad].copy()
    if jagged and jag > 1 and min(solid.shape) > jag // 2:
        # A stair whose middle is outside goes on with the one before it.
        stairs = (np.arange(length) // jag * jag + jag // 2 for length in solid.shape)
        solid = solid[np.ix_(*(np.where(stair < len(stair), stair, stair - jag) for stair in stairs))]
    if rim and rim_pixels:
        solid = cv2.dilate(solid, np.ones((3, 3), np.uint8), iterations=rim_pixels)
    return solid.astype(np.float32)


def _without_islands(alpha: np.ndarray, at_border: tuple[bool, bool, bool, bool]) -> np.ndarray:
    """Drops what hangs together with none of the picture's borders (left, top, right, bottom), such as ends of hair."""
    count, labels = cv2.connectedComponents((alpha > 0).astype(np.uint8), connectivity=8)
    kept = np.zeros(count, bool)
    for side, is_border in zip((labels[:, 0], labels[0], labels[:, -1], labels[-1]), at_border, strict=True):
        kept[side] |= is_border
    # In a patch, everything may lie inside: then the whole is not cut by any border.
    return np.where(kept[labels], alpha, 0) if kept[1:].any() else alpha


def _light(rgb: np.ndarray, kind: str, style: PasteStyle, unit: float, rng: Generator) -> np.ndarray:
    """The occluder (RGB uint8) in a light of its own, as float32 0..255."""
    gain = rng.uniform(-1, 1) * style.light_difference + rng.uniform(-1, 1, 3) * style.colour_difference
    slope = rng.uniform(-1, 1, 2) * style.shading
    blurred, sigma = rng.random() < style.blur_probability, np.exp(rng.uniform(*np.log(_BLUR_PIXELS))) * unit
    noise, grey = rng.uniform(0, 1) * style.noise, kind == "head" and rng.random() < style.grey_probability
    if grey:
        rgb = cv2.cvtColor(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    if blurred and sigma > 0.25:
        rgb = cv2.GaussianBlur(rgb, (0, 0), sigma)
    # Unlike a gain, an exponent keeps black and white where they are: nothing is clipped flat.
    levels = np.arange(256, dtype=np.float32)[:, None] / 255
    rgb = cv2.LUT(rgb, (255 * levels ** np.exp(-gain)).astype(np.float32)[None])
    if style.shading:
        down, across = (np.linspace(-0.5, 0.5, length, dtype=np.float32) for length in rgb.shape[:2])
        rgb *= (1 + down[:, None] * slope[0] + across * slope[1]).astype(np.float32)[..., None]
    if noise:
        rgb += rng.standard_normal((*rgb.shape[:2], 1), np.float32) * np.float32(noise)
    return np.clip(rgb, 0, 255)


def _shadow(alpha: np.ndarray, sigma: float, strength: float, offset: np.ndarray) -> np.ndarray:
    """The light that is left around the occluder: blurred, displaced, and exactly 1 where it ends."""
    # A wide blur needs no fine pixels.
    step = max(1, int(sigma / 3))
    size = [max(1, length // step) for length in alpha.shape[::-1]]
    small = cv2.resize(alpha, size, interpolation=cv2.INTER_AREA)
    shift = np.float32([[1, 0, offset[0] / step], [0, 1, offset[1] / step]])
    small = cv2.warpAffine(small, shift, size, borderMode=cv2.BORDER_REPLICATE)
    small = cv2.GaussianBlur(small, (0, 0), max(0.3, sigma / step), borderType=cv2.BORDER_REPLICATE)
    dark = strength * cv2.resize(small, alpha.shape[::-1], interpolation=cv2.INTER_LINEAR)
    return np.where(dark < _LEAST_SHADE, 1, 1 - dark).astype(np.float32)
