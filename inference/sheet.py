"""Before/after sheets: one picture to look at instead of a folder of large ones.

    python -m inference.sheet SHEET.jpg BEFORE AFTER [--truth FOLDER]
"""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from data.images import eight_bit, pictures_below, read_rgb, write_image
from inference.find import scaled, shrink
from utils.command import DONE, command, parser_of

CELL_SIDE = 460
ROWS = 8
COMPARISON_SIDE = 1000
MARGIN = 12
CAPTION_HEIGHT = 26
_MASK_COLOUR, _MASK_OPACITY = (255, 0, 90), 0.45


def draw_sheet(rows: Sequence[Sequence[tuple[str, np.ndarray]]], side: int = CELL_SIDE) -> np.ndarray:
    """RGB uint8: rows, at least one, of (caption, RGB uint8 HWC), shrunk to `side` and in cells of the same size."""
    table = [[(caption, fitted(rgb, side)) for caption, rgb in row] for row in rows]
    cell_height = max(small.shape[0] for row in table for _, small in row) + CAPTION_HEIGHT
    cell_width = max(small.shape[1] for row in table for _, small in row)
    height, width = cell_height + MARGIN, cell_width + MARGIN
    sheet = np.full((len(table) * height + MARGIN, max(map(len, table)) * width + MARGIN, 3), 255, np.uint8)
    for row, cells in enumerate(table):
        for column, (caption, small) in enumerate(cells):
            cell = sheet[row * height + MARGIN :, column * width + MARGIN :][:cell_height, :cell_width]
            left = (cell_width - small.shape[1]) // 2
            # OpenCV's built-in font has Latin letters only.
            plain, place = caption.encode("ascii", "replace").decode(), (left, CAPTION_HEIGHT - 9)
            cv2.putText(cell, plain, place, cv2.FONT_HERSHEY_SIMPLEX, 0.45, (40, 40, 40), 1, cv2.LINE_AA)
            cell[CAPTION_HEIGHT : CAPTION_HEIGHT + small.shape[0], left : left + small.shape[1]] = small
    return sheet


def fitted(rgb: np.ndarray, side: int) -> np.ndarray:
    """`rgb` with a longer side of at most `side` pixels."""
    return shrink(rgb, scaled(*rgb.shape[:2], min(1.0, side / max(rgb.shape[:2]))))


def draw_comparison(before: np.ndarray, after: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """RGB uint8: a photo before, after, and before once more with what was replaced tinted and outlined.

    `before`, `after`: RGB uint8 or uint16 [H, W, 3], shrunk to `COMPARISON_SIDE`; `mask`: uint8 [H, W], 1 = may differ.
    """
    before, after = (eight_bit(fitted(rgb, COMPARISON_SIDE)) for rgb in (before, after))
    share = f"{100 * float(mask.mean()):.2g} % may have changed"
    return draw_sheet([[("before", before), ("after", after), (share, tint(before, mask))]], COMPARISON_SIDE)


def tint(rgb: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """RGB uint8 [h, w, 3] with a mask (uint8, 0 or 1; it may be larger) in colour, and its outline."""
    # Shrunk by area and cut low, so that the finest spot leaves its pixel.
    small = cv2.resize(mask * np.uint8(255), rgb.shape[1::-1], interpolation=cv2.INTER_AREA)
    covered = (small > 0).astype(np.uint8)
    tinted = rgb.copy()
    tinted[covered > 0] = (1 - _MASK_OPACITY) * rgb[covered > 0] + _MASK_OPACITY * np.array(_MASK_COLOUR)
    outlines, _ = cv2.findContours(covered, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    return cv2.drawContours(tinted, outlines, -1, _MASK_COLOUR, 2)


@command(ValueError)
def main(arguments: Sequence[str] | None = None) -> int:
    parser = parser_of("Draws a before/after sheet.", "python -m inference.sheet")
    parser.add_argument("sheet", type=Path, help="picture to write, .jpg or .png")
    parser.add_argument("before", type=Path, help="folder of photos")
    parser.add_argument("after", type=Path, help="folder of results with the same names")
    parser.add_argument("--truth", type=Path, help="folder of clean pages with the same names")
    options = parser.parse_args(arguments)
    names = [name for name in pictures_below(options.before) if (options.after / name).is_file()]
    if not names:
        raise FileNotFoundError(f"no picture of {options.before} has a result of the same name in {options.after}")
    folders = {"before": options.before, "after": options.after, **({"truth": options.truth} if options.truth else {})}
    write_image(options.sheet, draw_sheet([
        [(f"{name} - {caption}", read_rgb(folder / name)) for caption, folder in folders.items()
         if (folder / name).is_file()] for name in names[:ROWS]
    ]))  # fmt: skip
    print(f"Sheet: {options.sheet}")
    return DONE


if __name__ == "__main__":
    raise SystemExit(main())
