from __future__ import annotations

import numpy as np
import pytest

from data.images import read_rgb, write_image
from inference.sheet import (
    CAPTION_HEIGHT,
    CELL_SIDE,
    COMPARISON_SIDE,
    MARGIN,
    draw_comparison,
    draw_sheet,
    main,
    sheet_of_folders,
    tint,
)


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


def test_the_caption_stands_above_its_picture_and_does_not_reach_into_it():
    black = np.zeros((CELL_SIDE, 300, 3), np.uint8)
    sheet = draw_sheet([[("before", black)]])
    caption = sheet[MARGIN : MARGIN + CAPTION_HEIGHT, MARGIN : MARGIN + 300]
    assert 50 < (caption < 128).all(2).sum() < 1000
    assert not sheet[MARGIN + CAPTION_HEIGHT : -MARGIN, MARGIN:-MARGIN].any()


@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
def test_a_comparison_shows_before_after_and_what_may_have_changed(depth):
    height, width = 3000, 2400
    white = np.iinfo(depth).max
    before = np.full((height, width, 3), white // 5, depth)
    mask = np.zeros((height, width), np.uint8)
    mask[900:2100, 600:1800] = 1
    # One pixel of ten megapixels is still to be seen.
    mask[300, 300] = 1
    after = np.where(mask[..., None] > 0, depth(white), before)
    sheet = draw_comparison(before, after, mask)
    panel_height, panel_width = COMPARISON_SIDE, 800
    assert sheet.dtype == np.uint8
    assert sheet.shape == (panel_height + CAPTION_HEIGHT + 2 * MARGIN, 3 * (panel_width + MARGIN) + MARGIN, 3)
    top = MARGIN + CAPTION_HEIGHT
    first, second, third = (
        sheet[top : top + panel_height, left : left + panel_width].astype(int)
        for left in (MARGIN, 2 * MARGIN + panel_width, 3 * MARGIN + 2 * panel_width)
    )
    assert (first == 51).all()
    assert (second[310:690, 210:590] == 255).all()
    assert (second[:90] == 51).all()
    assert np.abs(third[500, 400] - (0.55 * 51 + 0.45 * np.array((255, 0, 90)))).max() <= 1
    assert (third[300, 300] == (255, 0, 90)).all()
    assert (third[100, 100] != 51).any()
    assert (third[800:] == 51).all()


def test_folders_are_matched_by_name_in_sub_folders_too(tmp_path):
    grey = np.full((30, 20, 3), 90, np.uint8)
    for name in ("x.png", "sub/y.png", "only_before.png"):
        write_image(tmp_path / "before" / name, grey)
    for name in ("x.png", "sub/y.png"):
        write_image(tmp_path / "after" / name, grey)
    write_image(tmp_path / "truth" / "x.png", grey)
    sheet = sheet_of_folders(tmp_path / "before", tmp_path / "after", tmp_path / "truth")
    # Cells are as large as the largest picture.
    assert sheet.shape == (2 * (30 + CAPTION_HEIGHT + MARGIN) + MARGIN, 3 * (20 + MARGIN) + MARGIN, 3)
    assert main([str(tmp_path / "s.png"), str(tmp_path / "before"), str(tmp_path / "after"), "--rows", "1"]) == 0
    assert read_rgb(tmp_path / "s.png").shape[0] == 30 + CAPTION_HEIGHT + 2 * MARGIN


def test_nothing_in_common_is_an_error(tmp_path):
    write_image(tmp_path / "before" / "x.png", np.zeros((4, 4, 3), np.uint8))
    (tmp_path / "after").mkdir()
    with pytest.raises(FileNotFoundError, match="same name"):
        sheet_of_folders(tmp_path / "before", tmp_path / "after")


def test_a_tint_shows_one_mask_and_the_outline_of_another():
    grey = np.full((100, 100, 3), 100, np.uint8)
    found, truth = np.zeros((400, 400), np.uint8), np.zeros((400, 400), np.uint8)
    found[:200, :200] = 1
    truth[200:, 200:] = 1
    seen = tint(grey, found, truth)
    assert (grey == 100).all()
    assert (np.abs(seen[10:40, 10:40] - (0.55 * 100 + 0.45 * np.array((255, 0, 90)))) <= 1).all()
    # The other one is outlined and not filled.
    assert (seen[50:, 50] == (0, 110, 255)).all()
    assert (seen[60:90, 60:90] == 100).all()
    assert (seen[60:, :40] == 100).all()
