"""Masks and people: those that a person has made, and the sheets on which a person sees one."""

import os
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import cv2
import numpy as np

from data.images import eight_bit, pictures_below
from data.masks import read_mask
from inference.files import MASK, SHEET, Record, beside
from inference.find import scaled, shrink

COMPARISON_SIDE, MARGIN, CAPTION_HEIGHT = 1000, 12, 26
_MASK_COLOUR, _MASK_OPACITY = (255, 0, 90), 0.45


class Masks:
    """Those that a person has made: below `folder`, `NAME.jpg.mask.png`, as --save-mask writes it, or `NAME.png`; never
    what a record there, or in a folder above or below, knows as a result."""

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self._folder, self._record = Path(folder), cache(Record)
        if not self._folder.is_dir():
            raise ValueError(f"{folder}: no such folder (--mask)")

    def of(self, name: Path) -> np.ndarray | None:
        """The mask of a photo, by its name below the source: uint8 [H, W], 1 = covered; None without one."""
        return next((read_mask(file) for file in self._files(name) if self._may_be(file)), None)

    def of_none(self, names: Iterable[Path]) -> list[Path]:
        """The pictures that are no mask of the photos `names`, nor results with their masks and sheets."""
        known = {file for name in names for file in self._files(name)}
        others = (self._folder / file for file in pictures_below(self._folder))
        return [file.relative_to(self._folder) for file in others if file not in known and self._may_be(file)
                and not file.name.endswith(SHEET) and not os.path.isfile(beside(file, MASK))]  # fmt: skip

    def _files(self, name: Path) -> tuple[Path, Path]:
        return beside(self._folder / name, MASK), (self._folder / name).with_suffix(".png")

    def _may_be(self, file: Path) -> bool:  # Path.is_file raises an error at a name that is too long.
        real = Path(os.path.realpath(file))
        return os.path.isfile(real) and not any(self._record(place).is_result(real) for place in real.parents)


def draw_comparison(before: np.ndarray, after: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """A sheet, RGB uint8: a photo before, after, and before once more with what was replaced tinted and outlined.

    `before`, `after`: RGB uint8 or uint16 [H, W, 3], shrunk to `COMPARISON_SIDE`; `mask`: uint8 [H, W], 1 = may differ.
    """
    before, after = (eight_bit(fitted(rgb, COMPARISON_SIDE)) for rgb in (before, after))
    height, width = before.shape[:2]
    sheet = np.full((height + CAPTION_HEIGHT + 2 * MARGIN, 3 * (width + MARGIN) + MARGIN, 3), 255, np.uint8)
    captions = ("before", "after", f"{100 * float(mask.mean()):.2g} % may have changed")
    for column, (caption, picture) in enumerate(zip(captions, (before, after, tint(before, mask)), strict=True)):
        left = column * (width + MARGIN) + MARGIN
        cell = sheet[MARGIN : -MARGIN, left : left + width]
        place = (0, CAPTION_HEIGHT - 9)
        cv2.putText(cell, caption, place, cv2.FONT_HERSHEY_SIMPLEX, 0.45, (40, 40, 40), 1, cv2.LINE_AA)
        cell[CAPTION_HEIGHT:] = picture
    return sheet


def fitted(rgb: np.ndarray, side: int) -> np.ndarray:
    """`rgb` with a longer side of at most `side` pixels."""
    return shrink(rgb, scaled(*rgb.shape[:2], min(1.0, side / max(rgb.shape[:2]))))


def tint(rgb: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """RGB uint8 [h, w, 3] with a mask (uint8, 0 or 1; it may be larger) in colour, and its outline."""
    # Shrunk by area and cut low, so that the finest spot leaves its pixel.
    small = cv2.resize(mask * np.uint8(255), rgb.shape[1::-1], interpolation=cv2.INTER_AREA)
    covered = (small > 0).astype(np.uint8)
    tinted = rgb.copy()
    tinted[covered > 0] = (1 - _MASK_OPACITY) * rgb[covered > 0] + _MASK_OPACITY * np.array(_MASK_COLOUR)
    outlines, _ = cv2.findContours(covered, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    return cv2.drawContours(tinted, outlines, -1, _MASK_COLOUR, 2)
