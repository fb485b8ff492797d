"""Pasting occluders on clean pages: the contest's way, or the way a camera would have seen them.

The same code makes whole contest sets (`data.synthesis`) and pastes on the fly in training. Every pixel that a mask
does not name stays as it was, except for the JPEG noise that a style may ask for.

From an occluder and its place in a photo to a layer of pixels: edge, light, blur, shadow.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np
from PIL import Image

from data.synthesis.occluders import KINDS, Occluder
from data.synthesis.placement import EntryRange, Placement, place, shape_points

Chooser = Callable[[np.random.Generator, str], Occluder]
# Pixel measures of a style are meant for the contest's photos, whose longer side is about this.
REFERENCE_LONG_SIDE = 3770
# A patch is this fraction of the longer side of its photo: 192 to 1024 pixels of a halved photo are 0.1 to 0.54.
_PATCH_FRACTIONS = (0.1, 0.6)
_PATCH_COVERAGE = (0.02, 0.7)


@dataclass(frozen=True)
class PasteStyle:
    """How occluders look and where they come in. Pixel measures are at a longer side of 3770 and scale with it.

    Attributes:
        hand, head: where and how large hands and heads enter.
        head_probability: probability that an occluder is a head where nobody asks for a kind.
        second_probability: probability of a second occluder on the same photo.
        sliver_probability: probability that a tip of the occluder peeps in once more somewhere else at a border.
        soft_edge_probability: probability of a feathered edge; every other edge is hard, that is, binary.
        feather_pixels: blur of a feathered edge (sigma).
        jagged_probability: probability that a hard edge is a staircase, as after nearest-neighbour enlarging.
        jag_pixels: size of such a stair.
        polygon_probability: probability that a hard edge is a coarse polygon.
        polygon_pixels: how far that polygon may leave the true outline.
        rim_probability: probability that a rim of the cut-out's own background comes along on a hard edge.
        rim_pixels: width of that rim.
        shadow_probability: probability of a shadow cast on the page; it belongs to the mask.
        shadow_strength: fraction of the light that it takes.
        shadow_pixels: its blur (sigma) and the range of its displacement.
        light_difference: largest difference of the occluder's brightness, in log units.
        colour_difference: the same for each colour channel.
        shading: largest brightness slope across the occluder, as a fraction.
        blur_probability, blur_pixels: out-of-focus or upscaled occluders (sigma).
        noise: largest sigma of the noise on the occluder, in grey levels.
        grey_probability: probability of a black-and-white head.
        jpeg_probability, jpeg_quality: encoding of the whole occluded picture as JPEG.
    """

    hand: EntryRange
    head: EntryRange
    head_probability: float = 0.4
    second_probability: float = 0.0
    sliver_probability: float = 0.0
    soft_edge_probability: float = 0.0
    feather_pixels: tuple[float, float] = (0.8, 3.0)
    jagged_probability: float = 0.0
    jag_pixels: tuple[int, int] = (2, 5)
    polygon_probability: float = 0.0
    polygon_pixels: tuple[float, float] = (1.5, 5.0)
    rim_probability: float = 0.0
    rim_pixels: tuple[int, int] = (1, 4)
    shadow_probability: float = 0.0
    shadow_strength: tuple[float, float] = (0.12, 0.45)
    shadow_pixels: tuple[float, float] = (12.0, 55.0)
    light_difference: float = 0.0
    colour_difference: float = 0.0
    shading: float = 0.0
    blur_probability: float = 0.0
    blur_pixels: tuple[float, float] = (1.0, 4.0)
    noise: float = 0.0
    grey_probability: float = 0.0
    jpeg_probability: float = 0.0
    jpeg_quality: tuple[int, int] = (90, 98)


CONTEST = PasteStyle(
    hand=EntryRange((0.1, 0.42, 0.06, 0.42), (0.012, 0.037), (0.2, 0.45), (0.12, 0.75), 28.0, (0.12, 0.88)),
    head=EntryRange((1.0, 0.0, 0.0, 0.0), (0.016, 0.037), (0.16, 0.225), (0.6, 1.0), 4.0, (0.15, 0.85)),
    head_probability=0.5,
    sliver_probability=0.4,
    soft_edge_probability=0.0,
    jagged_probability=0.5,
    polygon_probability=0.3,
    rim_probability=0.5,
    light_difference=0.12,
    blur_probability=0.35,
    grey_probability=0.3,
    jpeg_probability=0.7,
    jpeg_quality=(90, 98),
)
NATURAL = PasteStyle(
    hand=EntryRange((0.2, 0.32, 0.16, 0.32), (0.008, 0.09), (0.12, 0.6), (0.1, 1.0), 50.0, (0.05, 0.95), (0.03, 0.1)),
    head=EntryRange((1.0, 0.0, 0.0, 0.0), (0.012, 0.08), (0.12, 0.36), (0.4, 1.0), 12.0, (0.08, 0.92)),
    head_probability=0.3,
    second_probability=0.3,
    sliver_probability=0.15,
    soft_edge_probability=0.85,
    jagged_probability=0.2,
    polygon_probability=0.2,
    rim_probability=0.2,
    shadow_probability=0.7,
    light_difference=0.35,
    colour_difference=0.1,
    shading=0.3,
    blur_probability=0.5,
    noise=4.0,
    grey_probability=0.15,
    jpeg_probability=0.8,
    jpeg_quality=(75, 97),
)
STYLES = {"contest": CONTEST, "natural": NATURAL}


def paste(
    page: np.ndarray,
    choose: Chooser | Sequence[Occluder],
    rng: np.random.Generator,
    style: PasteStyle = CONTEST,
    placement: str = "page",
    count: int | None = None,
    kind: str | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Pastes occluders on a clean page or on a patch of one.

    Args:
        page: RGB uint8, height x width x 3; stays untouched.
        choose: a callable (rng, kind) -> Occluder, such as `OccluderLibrary`, or a sequence of occluders.
        placement: "page": `page` is a whole photo. "patch": it is a part of a larger photo, so that an occluder may
            cross any of its edges; a tip, a wrist and everything between can be what shows.
        count: how many occluders; None draws one or two as the style says. 0 only passes the picture on (and
            through JPEG, where the style asks for it).
        kind: "hand" or "head" for all of them; None draws it for each.

    Returns:
        The occluded picture, uint8 height x width x 3, and its mask, uint8 height x width, 1 = occluder.
    """
    if page.dtype != np.uint8 or page.ndim != 3 or page.shape[2] != 3:
        raise ValueError(f"expected a page as RGB uint8 height x width x 3, got {page.dtype} {page.shape}")
    if placement not in ("page", "patch"):
        raise ValueError(f"placement is {placement!r}, expected 'page' or 'patch'")
    image, mask = page.copy(), np.zeros(page.shape[:2], np.uint8)
    if count is None:
        count = 1 + int(rng.random() < style.second_probability)
    for _ in range(count):
        wanted = kind or KINDS[int(rng.random() < style.head_probability)]
        occluder = choose(rng, wanted) if callable(choose) else _choose_from(choose, rng, wanted)
        image, mask = paste_occluder(image, mask, occluder, rng, style, placement)
    if rng.random() < style.jpeg_probability:
        image = through_jpeg(image, int(rng.integers(style.jpeg_quality[0], style.jpeg_quality[1] + 1)))
    return image, mask


def _choose_from(occluders: Sequence[Occluder], rng: np.random.Generator, kind: str) -> Occluder:
    fitting = [occluder for occluder in occluders if occluder.kind == kind] or list(occluders)
    if not fitting:
        raise ValueError("expected at least one occluder to paste, got an empty sequence")
    return fitting[int(rng.integers(len(fitting)))]


def paste_occluder(
    image: np.ndarray,
    mask: np.ndarray,
    occluder: Occluder,
    rng: np.random.Generator,
    style: PasteStyle = CONTEST,
    placement: str | Placement = "page",
) -> tuple[np.ndarray, np.ndarray]:
    """Pastes one occluder, with a second glimpse of it where the style draws one.

    Args:
        image: RGB uint8, height x width x 3.
        mask: uint8, height x width, what is covered already.
        placement: "page", "patch" (see `paste`), or a place that is already decided.

    Returns:
        The new picture and the new mask; the arguments stay as they were.
    """
    image, mask = image.copy(), mask.copy()
    size = image.shape[:2]
    if isinstance(placement, Placement):
        where, photo = placement, placement.size
    elif placement == "page":
        where, photo = place(occluder, size, getattr(style, occluder.kind), rng), size
    else:
        where, photo = place_in_patch(occluder, size, getattr(style, occluder.kind), rng)
    unit = max(photo) / REFERENCE_LONG_SIDE
    _blend(image, mask, render(occluder, where, style, unit, rng))
    if placement == "page" and rng.random() < style.sliver_probability:
        depth = rng.uniform(6, 40) * unit
        glimpse = place(occluder, size, getattr(style, occluder.kind), rng, depth_pixels=depth)
        _blend(image, mask, render(occluder, glimpse, style, unit, rng))
    return image, mask


def _blend(image: np.ndarray, mask: np.ndarray, layer: Layer | None) -> None:
    """Lays a layer on the picture in place; its mask names every pixel that it changes."""
    if layer is None:
        return
    top, left = layer.top, layer.left
    bottom, right = top + layer.alpha.shape[0], left + layer.alpha.shape[1]
    below = image[top:bottom, left:right]
    shaded = layer.shade < 1
    covered = shaded | (layer.alpha > 0)
    base = below.astype(np.float32)
    if shaded.any():
        base *= layer.shade[..., None]
    mixed = layer.rgb - base
    mixed *= layer.alpha[..., None]
    mixed += base
    # OpenCV rounds and clips in one go.
    mixed = cv2.convertScaleAbs(np.maximum(mixed, 0, out=mixed))
    np.copyto(below, mixed, where=covered[..., None])
    np.maximum(mask[top:bottom, left:right], covered, out=mask[top:bottom, left:right])


def place_in_patch(
    occluder: Occluder, size: tuple[int, int], entry: EntryRange, rng: np.random.Generator
) -> tuple[Placement, tuple[int, int]]:
    """Places an occluder in an imagined photo, and a patch of `size` over a random part of it.

    Returns:
        The place as seen from the patch, and the (height, width) of the imagined photo.
    """
    fraction = float(np.exp(rng.uniform(*np.log(_PATCH_FRACTIONS))))
    long_side = max(size) / fraction
    short_side = max(long_side * rng.uniform(0.68, 0.8), *size)
    photo = (round(long_side), round(short_side)) if rng.random() < 0.6 else (round(short_side), round(long_side))
    where = place(occluder, photo, entry, rng)
    points, _ = shape_points(occluder)
    points = points @ where.matrix[:, :2].T + where.matrix[:, 2]
    points = points[np.all((points >= 0) & (points < photo[::-1]), 1)]
    if not len(points):
        return where.in_window(0, 0, *size), photo
    for _ in range(6):
        # Any point of the occluder may lie at any point of the patch, if the photo has that patch.
        corner = points[int(rng.integers(len(points)))] - rng.uniform(0.02, 0.98, 2) * size[::-1]
        left, top = np.clip(np.round(corner), 0, np.array(photo[::-1]) - size[::-1]).astype(int)
        seen = np.all((points >= (left, top)) & (points < (left + size[1], top + size[0])), 1)
        # Points carry equal areas, so their share tells how much of the patch is covered.
        cell = shape_points(occluder)[1] * where.scale**2
        coverage = np.count_nonzero(seen) * cell / (size[0] * size[1])
        if _PATCH_COVERAGE[0] <= coverage <= _PATCH_COVERAGE[1]:
            break
    return where.in_window(int(left), int(top), *size), photo


def through_jpeg(rgb: np.ndarray, quality: int) -> np.ndarray:
    """What is left of RGB uint8 height x width x 3 after JPEG encoding at `quality` with halved chroma."""
    buffer = io.BytesIO()
    Image.fromarray(rgb).save(buffer, "JPEG", quality=quality, subsampling=2)
    return np.asarray(Image.open(buffer).convert("RGB"))


if TYPE_CHECKING:
    from data.synthesis.paste import PasteStyle

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
