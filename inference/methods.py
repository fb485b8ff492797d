"""The ways to restore a photo that `inference.leaderboard` compares, and how a result is compared with the truth.

Whoever has another way adds a line to `METHODS`, which is in the table's order.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from inference.find.locate import enlarge_mask
from inference.paste import covered_boxes
from inference.restorer import Restorer, changes
from metrics.score import evaluate

# So far round an occluder, as a fraction of the picture's longer side, a paste may change the page: 38 pixels of 3770.
RIM = 0.01
# Inpainting looks this far around a pixel, as its OpenCV examples do, and is given far more page round a hole.
_RADIUS, _MARGIN = 5, 64


class Photo(NamedTuple):
    """RGB uint8 [H, W, 3]: a photo, and the page without occluders; `mask`: uint8 [H, W], 1 = occluder."""

    picture: np.ndarray
    truth: np.ndarray
    mask: np.ndarray


class Outcome(NamedTuple):
    """What a method made of a photo: RGB uint8 [H, W, 3] before any encoding, in so many seconds from pixels to pixels.

    `found`: uint8 [H, W], what it took for an occluder; None where it did not say, or was told.
    """

    image: np.ndarray
    found: np.ndarray | None = None
    seconds: float = 0.0


class Method(NamedTuple):
    """One row of the table: what it is called there, and the weights it needs, "shipped", "gated" or ""."""

    about: str
    weights: str
    run: Callable[[Tools, Photo], Outcome]


class Tools:
    """The restorers of a run, each opened when it is first needed, over `files` by kind of weights: "shipped", what
    predict.py takes, and "gated", a NAFNet with a gate; `digests` has the start of their SHA-256.
    """

    def __init__(self, files: dict[str, Path], threads: int | None = None) -> None:
        self.files = files
        self.digests = {kind: hashlib.sha256(path.read_bytes()).hexdigest()[:16] for kind, path in files.items()}
        self._threads = threads
        self._restorers: dict[tuple[str, str], Restorer] = {}

    def restorer(self, kind: str, mode: str) -> Restorer:
        if (kind, mode) not in self._restorers:
            self._restorers[kind, mode] = Restorer(self.files[kind], mode=mode, threads=self._threads)
        return self._restorers[kind, mode]


def judge(photo: Photo, outcome: Outcome) -> dict[str, float | int | None]:
    """What a result is worth, as it is, with no encoding after it.

    Returns:
        psnr, ms_ssim, score, psnr_inside: as `metrics.score.evaluate` gives them.
        pixels: of the picture; covered: of the true mask; found, and hit: those of them that are an occluder.
        changed: pixels whose value is not the photo's; wrong: those outside the true mask and the rim round it.
    """
    mask, found = photo.mask, outcome.found
    measures = evaluate(outcome.image, photo.truth, mask)
    changed = changes(outcome.image, photo.picture)
    return {
        **{name: measures[name] for name in ("psnr", "ms_ssim", "score", "psnr_inside")},
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


def inpaint(picture: np.ndarray, mask: np.ndarray, algorithm: int) -> np.ndarray:
    """OpenCV's inpainting of each covered part of RGB uint8 [H, W, 3] with the page around it, as a new picture.

    `mask` is uint8 [H, W], 1 = to be filled; `algorithm` cv2.INPAINT_TELEA or cv2.INPAINT_NS.
    """
    result = picture.copy()
    for top, bottom, left, right in covered_boxes(mask, _MARGIN):
        place = (slice(top, bottom), slice(left, right))
        result[place] = cv2.inpaint(picture[place], mask[place], _RADIUS, algorithm)
    return result


def _inpainted(tools: Tools, photo: Photo, algorithm: int) -> Outcome:
    start = time.perf_counter()
    image = inpaint(photo.picture, photo.mask, algorithm)
    return Outcome(image, None, time.perf_counter() - start)


def _restored(tools: Tools, photo: Photo, kind: str = "shipped", mode: str = "auto", told: bool = False) -> Outcome:
    restored = tools.restorer(kind, mode)(photo.picture, photo.mask if told else None)
    # Not `Restored.mask`, which is wider by the paste's rim.
    says = not told and restored.located is not None
    found = enlarge_mask(restored.located, restored.image.shape[:2]) if says else None
    return Outcome(restored.image, found, sum(restored.seconds.values()))


METHODS = {
    "input": Method("input unchanged", "", lambda _, photo: Outcome(photo.picture)),
    "telea-true": Method("Telea, true mask", "", partial(_inpainted, algorithm=cv2.INPAINT_TELEA)),
    "ns-true": Method("Navier-Stokes, true mask", "", partial(_inpainted, algorithm=cv2.INPAINT_NS)),
    "ceiling": Method("truth inside the mask (ceiling)", "", lambda _, photo: Outcome(
        np.where(photo.mask[..., None], photo.truth, photo.picture))),
    "auto": Method("what predict.py does", "shipped", _restored),
    "auto-true": Method("the same, told the true mask", "shipped", partial(_restored, told=True)),
    "gated": Method("gated, auto", "gated", partial(_restored, kind="gated")),
    "tiles": Method("gated, tiles", "gated", partial(_restored, kind="gated", mode="tiles")),
}  # fmt: skip
