"""The ways to restore a photo that `inference.leaderboard` compares, and how a result is compared with the truth.

Whoever has another way adds a line to `METHODS`, which is in the table's order.
"""

import math
import time
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import cv2
import numpy as np

from inference.find import enlarge_mask, shrink
from inference.paste import covered_boxes
from inference.restorer import Restorer, changes
from metrics import evaluate, ms_ssim
from metrics.fill import INK, count_ink, seam_step

# So far round an occluder, as a fraction of the picture's longer side, a paste may change the page: 38 pixels of 3770.
RIM = 0.01
# Inpainting looks this far around a pixel, as its OpenCV examples do, and is given far more page round a hole.
_RADIUS, _MARGIN = 5, 64
# Hidden pixels of a part that the biharmonic equation is solved for: its time grows faster than they do.
_MOST_UNKNOWN = 20_000


class Photo(NamedTuple):
    """A photo, and what is known of it."""

    picture: np.ndarray  # RGB uint8 [H, W, 3]
    truth: np.ndarray  # The page without occluders, likewise
    mask: np.ndarray  # uint8 [H, W], 1 = occluder
    rules: np.ndarray | None = None  # Likewise, 1 = a rule of the page; None where nobody knows


class Outcome(NamedTuple):
    """What a method made of a photo."""

    image: np.ndarray  # RGB uint8 [H, W, 3], no encoding after it
    found: np.ndarray | None = None  # uint8 [H, W], what it took for an occluder; None: it did not say, or was told
    seconds: float = 0.0  # From pixels to pixels


class Method(NamedTuple):
    """One row of the table."""

    about: str  # What it is called there
    run: Callable[[Photo, Restorer | None], Outcome]
    over: tuple[str, str] = ("", "")  # Weights, "shipped" (what predict.py takes) or "gated" (a NAFNet), and mode


def judge(photo: Photo, outcome: Outcome) -> dict[str, float | int | None]:
    """What a result is worth, as it is, with no encoding after it.

    The measures of `evaluate` but psnr_outside, `ms_ssim` inside the mask, `seam_step`, those of `count_ink` or None,
    seconds, and numbers of pixels. pixels: of the picture; covered: of the true mask; found, and hit: those of them
    that are an occluder; changed: those that are not the photo's; wrong: of them, those beyond the mask and its rim."""
    mask, found = photo.mask, outcome.found
    measures = evaluate(outcome.image, photo.truth, mask)
    del measures["psnr_outside"]
    inside = math.nan if measures["ms_ssim"] is None else ms_ssim(outcome.image, photo.truth, mask)
    changed = changes(outcome.image, photo.picture)
    beyond = cv2.distanceTransform(1 - mask, cv2.DIST_L2, cv2.DIST_MASK_PRECISE) > RIM * max(mask.shape)
    return {
        **measures,
        "ms_ssim_inside": None if math.isnan(inside) else inside,
        "seam": seam_step(outcome.image, mask),
        **(dict.fromkeys(INK) if photo.rules is None else count_ink(outcome.image, photo.truth, mask, photo.rules)),
        "pixels": mask.size,
        "covered": int(mask.sum()),
        "found": None if found is None else int(found.sum()),
        "hit": None if found is None else int((found & mask).sum()),
        "changed": int(changed.sum()),
        "wrong": int((changed & beyond).sum()),
        "seconds": outcome.seconds,
    }


def biharmonic(picture: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The smoothest surface over what is covered, by scikit-image, on a copy small enough for `_MOST_UNKNOWN`."""
    from skimage.restoration import inpaint_biharmonic  # In requirements.txt, and no part of `pip install .`

    scale = min(1.0, math.sqrt(_MOST_UNKNOWN / np.count_nonzero(mask)))
    size = tuple(max(8, round(length * scale)) for length in mask.shape)
    # A pixel of the copy that has anything of the occluder is unknown.
    unknown = cv2.resize(np.float32(mask), size[::-1], interpolation=cv2.INTER_AREA) > 0
    small = inpaint_biharmonic(shrink(picture, size), unknown, channel_axis=-1)
    large = cv2.resize(255 * small, mask.shape[::-1], interpolation=cv2.INTER_LINEAR)
    return np.where(mask[..., None] > 0, np.uint8(np.rint(large.clip(0, 255))), picture)


def _filled(photo: Photo, _: None, fill: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Outcome:
    """Fills each covered part of the true mask by itself, with the page around it."""
    start, image = time.perf_counter(), photo.picture.copy()
    for top, bottom, left, right in covered_boxes(photo.mask, _MARGIN):
        place = (slice(top, bottom), slice(left, right))
        image[place] = fill(photo.picture[place], photo.mask[place])
    return Outcome(image, None, time.perf_counter() - start)


def _restored(photo: Photo, restorer: Restorer, told: bool = False) -> Outcome:
    restored = restorer(photo.picture, photo.mask if told else None)
    # Not `Restored.mask`, which is wider by the paste's rim.
    found = None if told or restored.located is None else enlarge_mask(restored.located, photo.mask.shape)
    return Outcome(restored.image, found, sum(restored.seconds.values()))


_TELEA, _NAVIER_STOKES = (partial(_filled, fill=partial(cv2.inpaint, inpaintRadius=_RADIUS, flags=algorithm))
                          for algorithm in (cv2.INPAINT_TELEA, cv2.INPAINT_NS))  # fmt: skip
METHODS = {
    "input": Method("input unchanged", lambda photo, _: Outcome(photo.picture)),
    "telea-true": Method("Telea, true mask", _TELEA),
    "ns-true": Method("Navier-Stokes, true mask", _NAVIER_STOKES),
    "biharmonic-true": Method("biharmonic, true mask", partial(_filled, fill=biharmonic)),
    "ceiling": Method("truth inside the mask (ceiling)", lambda photo, _: Outcome(
        np.where(photo.mask[..., None], photo.truth, photo.picture))),
    "auto": Method("what predict.py does", _restored, ("shipped", "auto")),
    "auto-true": Method("what predict.py does, told the true mask", partial(_restored, told=True), ("shipped", "auto")),
    "gated": Method("gated, auto", _restored, ("gated", "auto")),
    "gated-true": Method("gated, auto, told the true mask", partial(_restored, told=True), ("gated", "auto")),
    "tiles": Method("gated, tiles", _restored, ("gated", "tiles")),
}  # fmt: skip
