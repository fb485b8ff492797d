"""The ways to restore a photo that `inference.leaderboard` compares, and how a result is compared with the truth.

Whoever has another way adds a line to `METHODS`, which is in the table's order.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from inference.find import enlarge_mask, shrink
from inference.paste import covered_boxes
from inference.restorer import Restorer, changes
from metrics.fill import INK, count_ink, seam_step
from metrics.score import evaluate, ms_ssim
from models.weights import load_weights

# So far round an occluder, as a fraction of the picture's longer side, a paste may change the page: 38 pixels of 3770.
RIM = 0.01
# Inpainting looks this far around a pixel, as its OpenCV examples do, and is given far more page round a hole.
_RADIUS, _MARGIN = 5, 64
# Hidden pixels of a part that the biharmonic equation is solved for: its time grows faster than they do.
_MOST_UNKNOWN = 20_000


class Photo(NamedTuple):
    """RGB uint8 [H, W, 3]: a photo, and the page without occluders; `mask`: uint8 [H, W], 1 = occluder; `rules`: 1 = a
    rule of the page, None where nobody knows.
    """

    picture: np.ndarray
    truth: np.ndarray
    mask: np.ndarray
    rules: np.ndarray | None = None


class Outcome(NamedTuple):
    """What a method made of a photo: RGB uint8 [H, W, 3] before any encoding, in so many seconds from pixels to pixels.

    `found`: uint8 [H, W], what it took for an occluder; None where it did not say, or was told.
    """

    image: np.ndarray
    found: np.ndarray | None = None
    seconds: float = 0.0


class Method(NamedTuple):
    """One row of the table: what it is called there, and the weights it needs, a kind of `Tools.files` or ""."""

    about: str
    weights: str
    run: Callable[[Tools, Photo], Outcome]


class Tools:
    """The restorers of a run, each opened when it is first needed, over `files` by kind of weights: "shipped", what
    predict.py takes, "page", the same without its restorer, where it has one, and "gated", a NAFNet with a gate;
    `digests` has the start of their SHA-256.
    """

    def __init__(self, files: dict[str, Path]) -> None:
        self.files = files
        self.digests = {kind: hashlib.sha256(path.read_bytes()).hexdigest()[:16] for kind, path in files.items()}
        self._restorers: dict[tuple[str, str], Restorer] = {}

    def restorer(self, kind: str, mode: str) -> Restorer:
        if (kind, mode) not in self._restorers:
            weights = load_weights(self.files[kind])
            if kind == "page":
                weights = replace(weights, predict=weights.predict | {"fill": "page"})
            self._restorers[kind, mode] = Restorer(weights, mode=mode)
        return self._restorers[kind, mode]


def judge(photo: Photo, outcome: Outcome) -> dict[str, float | int | None]:
    """What a result is worth, as it is, with no encoding after it.

    psnr, ms_ssim, score, psnr_inside: as `metrics.score.evaluate` gives them; ms_ssim_inside; seam: `seam_step`; rules,
    rules_back, blank, false_ink: as `metrics.fill.count_ink` gives them, None where no rules are known; pixels: of the
    picture; covered: of the true mask; found, and hit: those of them that are an occluder; changed: pixels whose value
    is not the photo's; wrong: those outside the true mask and the rim round it.
    """
    mask, found = photo.mask, outcome.found
    measures = evaluate(outcome.image, photo.truth, mask)
    inside = math.nan if measures["ms_ssim"] is None else ms_ssim(outcome.image, photo.truth, mask)
    changed = changes(outcome.image, photo.picture)
    return {
        **{name: measures[name] for name in ("psnr", "ms_ssim", "score", "psnr_inside")},
        "ms_ssim_inside": None if math.isnan(inside) else inside,
        "seam": seam_step(outcome.image, mask),
        **(dict.fromkeys(INK) if photo.rules is None else count_ink(outcome.image, photo.truth, mask, photo.rules)),
        "pixels": mask.size,
        "covered": int(mask.sum()),
        "found": None if found is None else int(found.sum()),
        "hit": None if found is None else int((found & mask).sum()),
        "changed": int(changed.sum()),
        "wrong": int((changed & outside_rim(mask)).sum()),
        "seconds": outcome.seconds,
    }


def outside_rim(mask: np.ndarray) -> np.ndarray:
    """uint8 [H, W], 1 = farther from every occluder than the rim, where nothing may change."""
    if not mask.any():
        return np.ones_like(mask)
    distance = cv2.distanceTransform(1 - mask, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return (distance > RIM * max(mask.shape)).astype(np.uint8)


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


def _filled(tools: Tools, photo: Photo, fill: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Outcome:
    """Fills each covered part of the true mask by itself, with the page around it."""
    start, image = time.perf_counter(), photo.picture.copy()
    for top, bottom, left, right in covered_boxes(photo.mask, _MARGIN):
        place = (slice(top, bottom), slice(left, right))
        image[place] = fill(photo.picture[place], photo.mask[place])
    return Outcome(image, None, time.perf_counter() - start)


def _inpainting(about: str, algorithm: int) -> Method:
    fill = partial(cv2.inpaint, inpaintRadius=_RADIUS, flags=algorithm)
    return Method(about, "", partial(_filled, fill=fill))


def _restored(tools: Tools, photo: Photo, kind: str = "shipped", mode: str = "auto", told: bool = False) -> Outcome:
    restored = tools.restorer(kind, mode)(photo.picture, photo.mask if told else None)
    # Not `Restored.mask`, which is wider by the paste's rim.
    says = not told and restored.located is not None
    found = enlarge_mask(restored.located, restored.image.shape[:2]) if says else None
    return Outcome(restored.image, found, sum(restored.seconds.values()))


METHODS = {
    "input": Method("input unchanged", "", lambda _, photo: Outcome(photo.picture)),
    "telea-true": _inpainting("Telea, true mask", cv2.INPAINT_TELEA),
    "ns-true": _inpainting("Navier-Stokes, true mask", cv2.INPAINT_NS),
    "biharmonic-true": Method("biharmonic, true mask", "", partial(_filled, fill=biharmonic)),
    "ceiling": Method("truth inside the mask (ceiling)", "", lambda _, photo: Outcome(
        np.where(photo.mask[..., None], photo.truth, photo.picture))),
    "auto": Method("what predict.py does", "shipped", _restored),
    "auto-true": Method("what predict.py does, told the true mask", "shipped", partial(_restored, told=True)),
    "page": Method("the page carried on, no restorer", "page", partial(_restored, kind="page")),
    "page-true": Method("the page carried on, told the true mask", "page", partial(_restored, kind="page", told=True)),
    "gated": Method("gated, auto", "gated", partial(_restored, kind="gated")),
    "gated-true": Method("gated, auto, told the true mask", "gated", partial(_restored, kind="gated", told=True)),
    "tiles": Method("gated, tiles", "gated", partial(_restored, kind="gated", mode="tiles")),
}  # fmt: skip
