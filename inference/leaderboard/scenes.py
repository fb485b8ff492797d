"""The pictures that methods are compared on, and how a result is compared with the truth."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np

from data.contest.lists import Group, read_contest
from data.images import read_rgb
from data.masks import read_mask
from inference.restorer import changes
from metrics.score import contest_score, evaluate

# So far round an occluder, as a fraction of the picture's longer side, a paste may change the page: 38 pixels of 3770.
RIM = 0.01


@dataclass(frozen=True)
class Scene:
    """One photo of a set; its pictures are decoded when they are first asked for, and then kept.

    Attributes:
        set: name of the set.
        name: the photo's, unique in its set.
        group: its files.
    """

    set: str
    name: str
    group: Group

    @cached_property
    def picture(self) -> np.ndarray:
        """RGB uint8 [H, W, 3], the photo that methods are given."""
        return read_rgb(self.group.occluded)

    @cached_property
    def truth(self) -> np.ndarray:
        """RGB uint8 [H, W, 3], the page without occluders."""
        return read_rgb(self.group.clean)

    @cached_property
    def mask(self) -> np.ndarray:
        """uint8 [H, W], 1 = occluder."""
        return read_mask(self.group.mask)

    @cached_property
    def digest(self) -> str:
        """Checksum of the three files, so that what was measured on others is not taken for this scene's."""
        files = (self.group.clean, self.group.occluded, self.group.mask)
        return hashlib.sha256(b"".join(hashlib.sha256(path.read_bytes()).digest() for path in files)).hexdigest()


def list_scenes(folder: Path, limit: int = 0) -> list[Scene]:
    """The scenes of a set in the contest's layout, named after its folder.

    Args:
        limit: so many, always the same ones, and those of a smaller limit among them; 0 takes all.

    Raises:
        data.contest.lists.ListError: no such set.
    """
    groups = read_contest(folder)
    if 0 < limit < len(groups):
        # Not every second one: sets alternate between photos with and without an occluder.
        chosen = np.random.default_rng(0).permutation(len(groups))[:limit]
        groups = [groups[index] for index in sorted(chosen)]
    return [Scene(folder.name, f"{group.folder}/{group.occluded_name}", group) for group in groups]


def judge(scene: Scene, image: np.ndarray, found: np.ndarray | None) -> dict[str, float | int | None]:
    """What a result is worth, as it is, with no encoding after it.

    Args:
        image: RGB uint8 [H, W, 3].
        found: uint8 [H, W], what was taken for an occluder; None where a method did not say.

    Returns:
        psnr, ms_ssim, score, psnr_inside: as `metrics.score.evaluate` gives them.
        pixels: of the picture; covered: of the true mask; found, and hit: those of them that are an occluder.
        changed: pixels whose value is not the input's; wrong: those outside the true mask and the rim round it.
    """
    mask = scene.mask
    if np.array_equal(image, scene.truth):
        # Seconds less for every clean page that comes back as it was.
        score, inside = contest_score(float("inf"), 1.0), float("inf") if mask.any() else None
        measures = {"psnr": float("inf"), "ms_ssim": 1.0, "score": score, "psnr_inside": inside}
    else:
        measures = evaluate(image, scene.truth, mask)
    changed = changes(image, scene.picture)
    return {
        **{name: measures[name] for name in ("psnr", "ms_ssim", "score", "psnr_inside")},
        "pixels": changed.size,
        "covered": int(mask.sum()),
        "found": None if found is None else int(found.sum()),
        "hit": None if found is None else int((found & mask).sum()),
        "changed": int(changed.sum()),
        "wrong": int((changed & outside_rim(mask)).sum()),
    }


def outside_rim(mask: np.ndarray) -> np.ndarray:
    """uint8 [H, W], 1 = farther from every occluder than the rim, where nothing may change."""
    if not mask.any():
        return np.ones_like(mask)
    distance = cv2.distanceTransform(1 - mask, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return (distance > RIM * max(mask.shape)).astype(np.uint8)
