"""Small cut-outs and pages that the tests of the synthesis share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from data.synthesis.occluders import Occluder

SKIN, SLEEVE, HAIR = (205, 150, 120), (0, 255, 0), (60, 40, 30)


def hand_rgba(height: int = 300, width: int = 220, sleeve: int = 0) -> np.ndarray:
    """Four fingers and a palm, fingertips up; the lowest `sleeve` rows are pure green."""
    rgba = np.zeros((height, width, 4), np.uint8)
    rgba[..., :3] = 255
    for index in range(4):
        x = round(width * (0.15 + 0.235 * index))
        cv2.line(rgba, (x, height // 6 + 8 * abs(index - 1)), (x, height // 2), (*SKIN, 255), width // 7)
    cv2.rectangle(rgba, (width // 12, height // 2), (width - width // 12, height), (*SKIN, 255), -1)
    if sleeve:
        rgba[-sleeve:, width // 12 : width - width // 12, :3] = SLEEVE
    rows, columns = np.nonzero(rgba[..., 3])
    return rgba[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1].copy()


def head_rgba(height: int = 260, width: int = 220) -> np.ndarray:
    """An oval on shoulders."""
    rgba = np.zeros((height, width, 4), np.uint8)
    cv2.ellipse(rgba, (width // 2, height), (width // 2 - 1, height // 4), 0, 0, 360, (90, 90, 160, 255), -1)
    cv2.ellipse(rgba, (width // 2, height * 4 // 10), (width // 4, height * 4 // 10), 0, 0, 360, (*SKIN, 255), -1)
    rgba[: height // 5][rgba[: height // 5, :, 3] > 0, :3] = HAIR
    return rgba


def occluder(kind: str = "hand", sleeve: int = 0, reserve: float = 0.0) -> Occluder:
    """A hand or a head, ready to be pasted."""
    return Occluder(hand_rgba(sleeve=sleeve) if kind == "hand" else head_rgba(), kind, f"test {kind}", reserve)


def one_of(*occluders: Occluder) -> Callable[[np.random.Generator, str], Occluder]:
    """Chooses one of these, of the kind that is asked for where there is one."""

    def choose(rng: np.random.Generator, kind: str) -> Occluder:
        fitting = [item for item in occluders if item.kind == kind] or occluders
        return fitting[int(rng.integers(len(fitting)))]

    return choose


def page_rgb(height: int = 400, width: int = 300, seed: int = 0) -> np.ndarray:
    """Grey-white paper with dark lines of "text"."""
    rng = np.random.default_rng(seed)
    page = np.full((height, width, 3), 225, np.uint8)
    for top in range(20, height - 20, 14):
        page[top : top + 5, 20 : int(rng.integers(width // 2, width - 20))] = 60
    return np.clip(page + rng.normal(0, 2, page.shape), 0, 255).astype(np.uint8)


def write_sources(root: Path, pages: int = 6, occluders: int = 6) -> tuple[Path, Path]:
    """Folders with pages, and with hands (picture and mask, arm leaving at the top) and heads (RGBA)."""
    for index in range(pages):
        path = root / "pages" / f"page {index}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(page_rgb(400 + 10 * index, 300, index)).save(path, quality=92)
    for index in range(occluders):
        hands, heads = root / "cutouts" / "hands", root / "cutouts" / "heads"
        hands.mkdir(parents=True, exist_ok=True)
        heads.mkdir(parents=True, exist_ok=True)
        hand = np.full((320, 300, 4), (255, 255, 255, 0), np.uint8)
        upright = hand_rgba(280 - index)
        hand[-upright.shape[0] :, 40 : 40 + upright.shape[1]] = upright
        hand = hand[::-1]
        Image.fromarray(hand[..., :3]).save(hands / f"h{index}.png")
        Image.fromarray(hand[..., 3]).save(hands / f"h{index}_mask.png")
        Image.fromarray(head_rgba(260 - index)).save(heads / f"p{index}.png")
    return root / "pages", root / "cutouts"
