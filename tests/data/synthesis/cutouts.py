"""Small cut-outs and pages that the tests of the synthesis share."""

from pathlib import Path

import numpy as np

from tests.golden.pictures import hand, head, save, text_page

SLEEVE = (0, 255, 0)


def hand_rgba(height: int = 300, width: int = 220, sleeve: int = 0) -> np.ndarray:
    """Three fingers and a palm on white, fingertips up; the lowest `sleeve` rows are pure green."""
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
