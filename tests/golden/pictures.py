"""Pictures for the golden tests and those of the synthesis, drawn with NumPy and OpenCV alone."""

from pathlib import Path

import cv2
import numpy as np
from PIL import Image

PAPER, DESK, INK = (226, 222, 210), (96, 70, 52), (52, 50, 64)
SKIN, SLEEVE = (205, 150, 120), (0, 255, 0)


def speckled(picture: np.ndarray, seed: int, strength: float = 2.0) -> np.ndarray:
    """With a little noise, so that no two lines fit equally well."""
    noise = np.random.default_rng(seed).normal(0, strength, picture.shape)
    return np.clip(picture + noise, 0, 255).astype(np.uint8)


def flat(height: int, width: int, colour: tuple[int, ...] = PAPER) -> np.ndarray:
    return np.full((height, width, 3), colour, np.uint8)


def half_plane(picture: np.ndarray, angle: float, offset: float, colour: tuple[int, ...]) -> np.ndarray:
    """Gives what lies beyond x * cos + y * sin = offset another colour, in place; a soft edge of a pixel."""
    rows, columns = np.mgrid[: picture.shape[0], : picture.shape[1]]
    share = np.clip(columns * np.cos(angle) + rows * np.sin(angle) - offset + 0.5, 0, 1)[..., None]
    picture[:] = (picture + share * (np.array(colour) - picture) + 0.5).astype(np.uint8)
    return picture


def finger(shape: tuple[int, ...], tip: tuple[int, int], root: tuple[int, int], width: int) -> np.ndarray:
    """uint8 [h, w], 1 along a thick round stroke."""
    mask = np.zeros(shape[:2], np.uint8)
    cv2.line(mask, root, tip, 1, width)
    return mask


def text_page(height: int, width: int, seed: int) -> np.ndarray:
    """Paper with rows of dark bars for words; every seed has others."""
    rng = np.random.default_rng(seed)
    page = flat(height, width)
    for top in range(18, height - 18, 14):
        left = 18
        while left < width - 40:
            word = int(rng.integers(8, 34))
            page[top : top + 5, left : left + word] = rng.integers(30, 90, 3)
            left += word + 7
    return speckled(page, seed)


def hand(height: int, width: int) -> np.ndarray:
    """RGBA uint8: three fingers and a palm that leaves at the bottom."""
    rgba = np.zeros((height, width, 4), np.uint8)
    rgba[..., :3] = SKIN
    for index in range(3):
        x = round(width * (0.2 + 0.3 * index))
        cv2.line(rgba, (x, height // 6 + 9 * index), (x, height // 2), (200, 146 - 9 * index, 116, 255), width // 5)
    cv2.rectangle(rgba, (width // 12, height // 2), (width - width // 12, height), (*SKIN, 255), -1)
    return rgba


def head(height: int, width: int) -> np.ndarray:
    """RGBA uint8: an oval with dark hair on shoulders."""
    rgba = np.zeros((height, width, 4), np.uint8)
    cv2.ellipse(rgba, (width // 2, height), (width // 2 - 1, height // 4), 0, 0, 360, (90, 90, 160, 255), -1)
    cv2.ellipse(rgba, (width // 2, height * 4 // 10), (width // 4, height * 4 // 10), 0, 0, 360, (*SKIN, 255), -1)
    rgba[: height // 5][rgba[: height // 5, :, 3] > 0, :3] = (60, 40, 30)
    return rgba


def save(path: Path, picture: np.ndarray, **options: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(path, **options)
    return path


def hand_rgba(height: int = 300, width: int = 220, sleeve: int = 0) -> np.ndarray:
    """Three fingers and a palm on white, fingertips up; the lowest `sleeve` rows are pure green (`SLEEVE`)."""
    rgba = hand(height, width)
    rgba[rgba[..., 3] == 0, :3] = 255
    rgba[height - sleeve :, width // 12 : width - width // 12, :3] = SLEEVE
    rows, columns = np.nonzero(rgba[..., 3])
    return rgba[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1].copy()


def save_with_mask(path: Path, rgba: np.ndarray) -> None:
    save(path.with_name(f"{path.stem}_mask.png"), rgba[..., 3])
    save(path, rgba[..., :3])


def write_sources(root: Path, pages: int = 6, occluders: int = 6) -> tuple[Path, Path]:
    """Folders with pages, and with hands (picture and mask, arm leaving at the top) and heads (RGBA)."""
    for index in range(pages):
        save(root / "pages" / f"page {index}.jpg", text_page(400 + 10 * index, 300, index), quality=92)
    for index in range(occluders):
        framed, upright = np.full((320, 300, 4), (255, 255, 255, 0), np.uint8), hand_rgba(280 - index)
        framed[-upright.shape[0] :, 40 : 40 + upright.shape[1]] = upright
        save_with_mask(root / "cutouts" / "hands" / f"h{index}.png", framed[::-1])
        save(root / "cutouts" / "heads" / f"p{index}.png", head(260 - index, 220))
    return root / "pages", root / "cutouts"
