import numpy as np
import pytest

from data.images import read_rgb, write_image
from inference import sheet
from inference.sheet import CAPTION_HEIGHT, CELL_SIDE, COMPARISON_SIDE, MARGIN, draw_comparison, draw_sheet, main

TOP = MARGIN + CAPTION_HEIGHT


def is_tinted(pixels: np.ndarray, grey: int) -> bool:
    return bool((np.abs(pixels - (0.55 * grey + 0.45 * np.array((255, 0, 90)))) <= 1).all())


def test_a_cell_shows_the_picture_below_its_caption():
    red = np.zeros((CELL_SIDE, CELL_SIDE, 3), np.uint8)
    red[..., 0] = 100
    sheet = draw_sheet([[("before", red), ("b", red // 2)], [("c", red)]])
    assert sheet.shape[0] == 2 * (CELL_SIDE + TOP) + MARGIN
    second = 2 * MARGIN + CELL_SIDE
    assert (sheet[TOP : TOP + CELL_SIDE, MARGIN : MARGIN + CELL_SIDE] == (100, 0, 0)).all()
    assert (sheet[TOP : TOP + CELL_SIDE, second : second + CELL_SIDE] == (50, 0, 0)).all()
    assert 50 < (sheet[MARGIN:TOP, MARGIN : MARGIN + 300] < 128).all(2).sum() < 1000
    # The second row has one picture only: the rest of it stays white.
    assert (sheet[TOP + CELL_SIDE + TOP :, second:] == 255).all()


@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
def test_a_comparison_shows_before_after_and_what_may_have_changed(depth):
    before = np.full((3000, 2400, 3), np.iinfo(depth).max // 5, depth)
    mask = np.zeros((3000, 2400), np.uint8)
    mask[900:2100, 600:1800] = 1
    # One pixel of ten megapixels is still to be seen.
    mask[300, 300] = 1
    after = np.where(mask[..., None] > 0, np.iinfo(depth).max, before).astype(depth)
    sheet = draw_comparison(before, after, mask)
    assert sheet.dtype == np.uint8
    assert sheet.shape == (COMPARISON_SIDE + TOP + MARGIN, 3 * (800 + MARGIN) + MARGIN, 3)
    lefts = (MARGIN, 2 * MARGIN + 800, 3 * MARGIN + 1600)
    first, second, third = (sheet[TOP : TOP + COMPARISON_SIDE, left : left + 800].astype(int) for left in lefts)
    assert (first == 51).all()
    assert (second[310:690, 210:590] == 255).all()
    assert (second[:90] == 51).all()
    assert is_tinted(third[500, 400], 51)
    assert (third[300, 300] == (255, 0, 90)).all()
    assert (third[100, 100] != 51).any()
    assert (third[800:] == 51).all()


def test_folders_are_matched_by_name_in_sub_folders_too(tmp_path, capsys, monkeypatch):
    def sheet_of(*options: str) -> tuple[int, ...]:
        folders = (str(tmp_path / name) for name in ("s.png", "before", "after"))
        assert main([*folders, *options]) == 0
        return read_rgb(tmp_path / "s.png").shape

    for name in ("before/x.png", "before/sub/y.png", "before/z.png", "after/x.png", "after/sub/y.png", "truth/x.png"):
        write_image(tmp_path / name, np.full((30, 20, 3), 90, np.uint8))
    # Cells are as large as the largest picture.
    assert sheet_of("--truth", str(tmp_path / "truth")) == (2 * (30 + TOP) + MARGIN, 3 * (20 + MARGIN) + MARGIN, 3)
    monkeypatch.setattr(sheet, "ROWS", 1)
    assert sheet_of()[0] == 30 + TOP + MARGIN
    assert main([str(tmp_path / name) for name in ("s.png", "before/sub", "after")]) == 2
    assert "same name" in capsys.readouterr().err
