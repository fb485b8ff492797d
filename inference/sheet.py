"""Before/after sheets: one picture to look at instead of a folder of large ones.

    python -m inference.sheet SHEET.jpg BEFORE AFTER [--truth FOLDER] [--rows 8]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from data.images import read_rgb, write_image
from data.listing import pictures_below

CELL_SIDE = 460
MARGIN = 12
CAPTION_HEIGHT = 26


def _cell(rgb: np.ndarray, caption: str) -> np.ndarray:
    """One picture shrunk into a CELL_SIDE square below its caption, on white."""
    scale = min(CELL_SIDE / max(rgb.shape[:2]), 1.0)
    size = (max(round(rgb.shape[1] * scale), 1), max(round(rgb.shape[0] * scale), 1))
    small = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)
    cell = np.full((CELL_SIDE + CAPTION_HEIGHT, CELL_SIDE, 3), 255, np.uint8)
    left = (CELL_SIDE - size[0]) // 2
    cell[CAPTION_HEIGHT : CAPTION_HEIGHT + size[1], left : left + size[0]] = small
    # OpenCV's built-in font has Latin letters only.
    plain = caption.encode("ascii", "replace").decode()
    origin = (left, CAPTION_HEIGHT - 9)
    cv2.putText(cell, plain[:52], origin, cv2.FONT_HERSHEY_SIMPLEX, 0.45, (40, 40, 40), 1, cv2.LINE_AA)
    return cell


def draw_sheet(rows: Sequence[Sequence[tuple[str, np.ndarray]]]) -> np.ndarray:
    """A sheet of pictures, each row a sequence of (caption, RGB uint8 HWC); rows may differ in length.

    Returns:
        RGB uint8 HWC.
    """
    if not rows:
        raise ValueError("a sheet needs at least one row of pictures")
    columns = max(len(row) for row in rows)
    height, width = CELL_SIDE + CAPTION_HEIGHT + MARGIN, CELL_SIDE + MARGIN
    sheet = np.full((len(rows) * height + MARGIN, columns * width + MARGIN, 3), 255, np.uint8)
    for row_index, row in enumerate(rows):
        for column, (caption, rgb) in enumerate(row):
            top, left = MARGIN + row_index * height, MARGIN + column * width
            sheet[top : top + height - MARGIN, left : left + CELL_SIDE] = _cell(rgb, caption)
    return sheet


def sheet_of_folders(before: Path, after: Path, truth: Path | None = None, rows: int = 8) -> np.ndarray:
    """The sheet of the first `rows` pictures that both folders have under the same name.

    Raises:
        FileNotFoundError: the folders have no picture in common.
    """
    names = [name for name in pictures_below(before) if (after / name).is_file()]
    if not names:
        raise FileNotFoundError(f"no picture of {before} has a result of the same name in {after}")
    table = []
    for name in names[:rows]:
        row = [(f"{name} - before", read_rgb(before / name)), ("after", read_rgb(after / name))]
        if truth is not None and (truth / name).is_file():
            row.append(("truth", read_rgb(truth / name)))
        table.append(row)
    return draw_sheet(table)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m inference.sheet", description="Draws a before/after sheet.")
    parser.add_argument("sheet", type=Path, help="picture to write, .jpg or .png")
    parser.add_argument("before", type=Path, help="folder of photos")
    parser.add_argument("after", type=Path, help="folder of results with the same names")
    parser.add_argument("--truth", type=Path, help="folder of clean pages with the same names")
    parser.add_argument("--rows", type=int, default=8, help="pictures at most (default: 8)")
    options = parser.parse_args(arguments)
    try:
        write_image(options.sheet, sheet_of_folders(options.before, options.after, options.truth, options.rows))
    except (FileNotFoundError, ValueError) as error:
        parser.exit(1, f"{error}\n")
    print(f"Sheet: {options.sheet}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
