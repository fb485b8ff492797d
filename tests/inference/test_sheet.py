from __future__ import annotations

import numpy as np
import pytest

from data.images import read_rgb, write_image
from inference.sheet import CAPTION_HEIGHT, CELL_SIDE, MARGIN, draw_sheet, main, sheet_of_folders


def test_a_cell_shows_the_picture_below_its_caption():
    red = np.zeros((CELL_SIDE, CELL_SIDE, 3), np.uint8)
    red[..., 0] = 200
    sheet = draw_sheet([[("a", red), ("b", red // 2)], [("c", red)]])
    assert sheet.shape[0] == 2 * (CELL_SIDE + CAPTION_HEIGHT + MARGIN) + MARGIN
    top, left = MARGIN + CAPTION_HEIGHT, MARGIN
    assert (sheet[top : top + CELL_SIDE, left : left + CELL_SIDE] == (200, 0, 0)).all()
    second = left + CELL_SIDE + MARGIN
    assert (sheet[top : top + CELL_SIDE, second : second + CELL_SIDE] == (100, 0, 0)).all()
    # The second row has one picture only: the rest of it stays white.
    assert (sheet[top + CELL_SIDE + CAPTION_HEIGHT + MARGIN :, second:] == 255).all()


def test_folders_are_matched_by_name_in_sub_folders_too(tmp_path):
    grey = np.full((30, 20, 3), 90, np.uint8)
    for name in ("x.png", "sub/y.png", "only_before.png"):
        write_image(tmp_path / "before" / name, grey)
    for name in ("x.png", "sub/y.png"):
        write_image(tmp_path / "after" / name, grey)
    write_image(tmp_path / "truth" / "x.png", grey)
    sheet = sheet_of_folders(tmp_path / "before", tmp_path / "after", tmp_path / "truth")
    assert sheet.shape == (2 * (CELL_SIDE + CAPTION_HEIGHT + MARGIN) + MARGIN, 3 * (CELL_SIDE + MARGIN) + MARGIN, 3)
    assert main([str(tmp_path / "s.png"), str(tmp_path / "before"), str(tmp_path / "after"), "--rows", "1"]) == 0
    assert read_rgb(tmp_path / "s.png").shape[0] == CELL_SIDE + CAPTION_HEIGHT + 2 * MARGIN


def test_nothing_in_common_is_an_error(tmp_path):
    write_image(tmp_path / "before" / "x.png", np.zeros((4, 4, 3), np.uint8))
    (tmp_path / "after").mkdir()
    with pytest.raises(FileNotFoundError, match="same name"):
        sheet_of_folders(tmp_path / "before", tmp_path / "after")
