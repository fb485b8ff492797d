import numpy as np
import pytest

from data.images import read_rgb, write_image
from inference import sheet
from inference.sheet import CAPTION_HEIGHT, CELL_SIDE, COMPARISON_SIDE, MARGIN, draw_comparison, draw_sheet, main

TOP = MARGIN + CAPTION_HEIGHT


def test_a_cell_shows_the_picture_below_its_caption_and_what_is_missing_stays_white():
    red = np.zeros((CELL_SIDE, CELL_SIDE, 3), np.uint8)
    red[..., 0] = 100
    sheet = draw_sheet([[("before", red), ("b", red // 2)], [("c", red)]])
    first, second = (sheet[:, left : left + CELL_SIDE] for left in (MARGIN, 2 * MARGIN + CELL_SIDE))
    assert (first[TOP : TOP + CELL_SIDE] == (100, 0, 0)).all()
    assert (second[TOP : TOP + CELL_SIDE] == (50, 0, 0)).all()
    assert 50 < (first[MARGIN:TOP] < 128).all(2).sum() < 1000
    assert (second[TOP + CELL_SIDE + TOP :] == 255).all()


@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
def test_a_comparison_shows_before_after_and_what_may_have_changed(depth):
    before, mask = np.full((3000, 2400, 3), np.iinfo(depth).max // 5, depth), np.zeros((3000, 2400), np.uint8)
    # One pixel of ten megapixels is still to be seen.
    mask[900:2100, 600:1800] = mask[300, 300] = 1
    after = np.where(mask[..., None] > 0, np.iinfo(depth).max, before).astype(depth)
    sheet = draw_comparison(before, after, mask)
    assert sheet.dtype == np.uint8
    assert sheet.shape == (COMPARISON_SIDE + TOP + MARGIN, 3 * (800 + MARGIN) + MARGIN, 3)
    lefts = (MARGIN, 2 * MARGIN + 800, 3 * MARGIN + 1600)
    first, second, third = (sheet[TOP : TOP + COMPARISON_SIDE, left : left + 800].astype(int) for left in lefts)
    assert (first == 51).all()
    assert (second[310:690, 210:590] == 255).all()
    assert (second[:90] == 51).all()
    assert np.abs(third[500, 400] - (0.55 * 51 + 0.45 * np.array((255, 0, 90)))).max() <= 1
    assert (third[300, 300] == (255, 0, 90)).all()
    assert (third[100, 100] != 51).any()
    assert (third[800:] == 51).all()


def test_folders_are_matched_by_name_in_sub_folders_too(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("before/x.png", "before/sub/y.png", "before/z.png", "after/x.png", "after/sub/y.png", "truth/x.png"):
        write_image(name, np.full((30, 20, 3), 90, np.uint8))
    # Cells are as large as the largest picture.
    assert main(["s.png", "before", "after", "--truth", "truth"]) == 0
    assert read_rgb("s.png").shape == (2 * (30 + TOP) + MARGIN, 3 * (20 + MARGIN) + MARGIN, 3)
    monkeypatch.setattr(sheet, "ROWS", 1)
    assert main(["s.png", "before", "after"]) == 0
    assert len(read_rgb("s.png")) == 30 + TOP + MARGIN
    assert main(["s.png", "before/sub", "after"]) == 2
    assert "same name" in capsys.readouterr().err
