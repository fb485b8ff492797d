"""Pasting occluders on clean pages, for whole sets (`data.synthesis`) and on the fly in training.

Every pixel that a mask does not name stays as it was, except for the JPEG noise that a style may ask for.
"""

from __future__ import annotations

import io
from collections.abc import Callable

import cv2
import numpy as np
from PIL import Image

from data.synthesis.occluders import KINDS, Occluder
from data.synthesis.placement import Placement, place, place_in_patch
from data.synthesis.render import Layer, render
from data.synthesis.styles import CONTEST, REFERENCE_LONG_SIDE, PasteStyle

Chooser = Callable[[np.random.Generator, str], Occluder]


def paste(
    page: np.ndarray,
    choose: Chooser,
    rng: np.random.Generator,
    style: PasteStyle = CONTEST,
    placement: str = "page",
    count: int | None = None,
    kind: str | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Pastes occluders on a clean page or on a patch of one.

    Args:
        page: RGB uint8, height x width x 3; stays untouched.
        choose: (rng, kind) -> Occluder, such as `OccluderLibrary`.
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
        image, mask = paste_occluder(image, mask, choose(rng, wanted), rng, style, placement)
    if rng.random() < style.jpeg_probability:
        image = through_jpeg(image, int(rng.integers(style.jpeg_quality[0], style.jpeg_quality[1] + 1)))
    return image, mask


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


def through_jpeg(rgb: np.ndarray, quality: int) -> np.ndarray:
    """What is left of RGB uint8 height x width x 3 after JPEG encoding at `quality` with halved chroma."""
    buffer = io.BytesIO()
    Image.fromarray(rgb).save(buffer, "JPEG", quality=quality, subsampling=2)
    return np.asarray(Image.open(buffer).convert("RGB"))
