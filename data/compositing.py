"""Pasting occluders on clean pages: the contest's way, or the way a camera would have seen them.

The same code makes whole contest sets (`data.synthesis`) and pastes on the fly in training. Every pixel that a mask
does not name stays as it was, except for the JPEG noise that a style may ask for.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from PIL import Image

from data.cutout import Layer, render
from data.occluders import KINDS, Occluder
from data.placement import EntryRange, Placement, place, shape_points

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
