"""Compares one result with the truth."""

from __future__ import annotations

import hashlib

import cv2
import numpy as np

from inference.leaderboard.methods import Outcome
from inference.leaderboard.records import Row
from inference.leaderboard.scenes import Scene
from inference.restorer import changes
from metrics.score import contest_score, evaluate

# So far round an occluder, as a fraction of the picture's longer side, a paste may change the page: 38 pixels of 3770.
RIM = 0.01


class Judge:
    """Measures the results of one scene; equal results are compared with the truth once. May be called from threads."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self._known: dict[bytes, dict[str, float | None]] = {}

    def __call__(self, method: str, outcome: Outcome, digest: str) -> Row:
        """What came out: pictures as they are, with no encoding after them."""
        scene = self.scene
        measures = self._measures(outcome.image)
        changed = changes(outcome.image, scene.picture)
        found, hit = None, None
        if outcome.found is not None:
            found, hit = int(outcome.found.sum()), int((outcome.found & scene.mask).sum())
        return Row(
            set=scene.set,
            method=method,
            picture=scene.name,
            digest=digest,
            **{name: measures[name] for name in ("psnr", "ms_ssim", "score", "psnr_inside")},
            pixels=changed.size,
            covered=int(scene.mask.sum()),
            found=found,
            hit=hit,
            changed=int(changed.sum()),
            wrong=int((changed & outside_rim(scene.mask)).sum()),
            seconds=outcome.seconds,
        )

    def _measures(self, image: np.ndarray) -> dict[str, float | None]:
        key = hashlib.sha256(np.ascontiguousarray(image)).digest()
        if key not in self._known:
            self._known[key] = _evaluate(image, self.scene.truth, self.scene.mask)
        return self._known[key]


def _evaluate(image: np.ndarray, truth: np.ndarray, mask: np.ndarray) -> dict[str, float | None]:
    if np.array_equal(image, truth):
        # Seconds less for every clean page that comes back as it was.
        inside = float("inf") if mask.any() else None
        return {"psnr": float("inf"), "ms_ssim": 1.0, "score": contest_score(float("inf"), 1.0), "psnr_inside": inside}
    return evaluate(image, truth, mask, data_range=255)


def outside_rim(mask: np.ndarray) -> np.ndarray:
    """uint8 [H, W], 1 = farther from every occluder than the rim, where nothing may change."""
    if not mask.any():
        return np.ones_like(mask)
    distance = cv2.distanceTransform(1 - mask, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return (distance > RIM * max(mask.shape)).astype(np.uint8)
