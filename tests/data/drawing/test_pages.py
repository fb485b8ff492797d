"""Drawn pages: what a caller may rely on, and that they look like photographed print."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from data.drawing.figures import code_square
from data.drawing.fonts import FontSet, bundled_fonts
from data.drawing.pages import KINDS, draw_page
from data.drawing.paper import photograph_sheet
from data.drawing.sheet import blank_sheet


def _luma(rgb: np.ndarray) -> np.ndarray:
    return rgb.astype(np.float32) @ np.float32((0.299, 0.587, 0.114))


@pytest.mark.parametrize(("width", "height"), [(300, 400), (411, 289), (64, 64), (97, 700)])
def test_a_page_has_the_asked_size(width: int, height: int) -> None:
    page = draw_page(np.random.default_rng(0), width, height)
    assert page.shape == (height, width, 3)
    assert page.dtype == np.uint8


def test_the_same_seed_gives_the_same_bytes_and_nothing_else_decides() -> None:
    first = draw_page(np.random.default_rng(5), 240, 320)
    np.random.seed(1)  # noqa: NPY002 - the global state must not matter
    assert np.array_equal(first, draw_page(np.random.default_rng(5), 240, 320))
    assert not np.array_equal(first, draw_page(np.random.default_rng(6), 240, 320))


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_page_is_printed_paper(kind: str) -> None:
    """Bright paper, dark print on a good part of the page, fine edges, no bare sheet and no black one."""
    for seed in range(3):
        page = draw_page(np.random.default_rng([seed, 7]), 600, 800, kind=kind)
        luma = _luma(page)
        paper = np.percentile(luma, 85)
        printed = (luma < 0.75 * paper).mean()
        assert paper > 130
        assert 0.01 < printed < 0.7
        detail = np.abs(cv2.Laplacian(luma, cv2.CV_32F)) > 25
        blocks = cv2.resize(detail.astype(np.float32), (6, 8), interpolation=cv2.INTER_AREA)
        assert (blocks > 0.003).mean() > 0.3, "print is spread over the page"


def test_pages_differ_in_tone_and_content() -> None:
    pages = [draw_page(np.random.default_rng(seed), 150, 200) for seed in range(12)]
    tones = np.array([np.percentile(_luma(page), 85) for page in pages])
    tints = np.array([np.median(page[..., 0].astype(int) - page[..., 2]) for page in pages])
    assert np.ptp(tones) > 15
    assert np.ptp(tints) > 8


def test_paper_is_lit_unevenly_and_the_sensor_is_noisy() -> None:
    blank = np.full((400, 300, 3), 255, np.uint8)
    spreads, grains = [], []
    for seed in range(8):
        photo = _luma(photograph_sheet(np.random.default_rng(seed), blank))
        smooth = cv2.GaussianBlur(photo, (0, 0), 8)
        spreads.append(float(np.ptp(smooth)))
        # Third differences leave only what changes from pixel to pixel; 20 is their gain in variance.
        grains.append(float(np.diff(photo, 3, axis=1).std() / np.sqrt(20)))
    assert 8 < max(spreads) < 120
    assert min(grains) > 0.6
    assert max(grains) < 4


def test_pages_are_drawn_without_any_font_file() -> None:
    """Pillow's built-in font is the last resort."""
    page = draw_page(np.random.default_rng(2), 300, 400, FontSet((("", ""),), (), ""), kind="article")
    assert (_luma(page) < 110).mean() > 0.01


def test_chinese_is_written_where_a_font_is_found() -> None:
    """A page with a Chinese font differs from the Latin one; DejaVu stands in for the font."""
    latin = bundled_fonts()
    with_chinese = FontSet(latin.latin, (latin.latin[0][0],), latin.formula)
    changed = 0
    for seed in range(4):
        first = draw_page(np.random.default_rng(seed), 300, 400, latin, kind="article")
        second = draw_page(np.random.default_rng(seed), 300, 400, with_chinese, kind="article")
        changed += not np.array_equal(first, second)
    assert changed >= 2


def test_refusals_say_what_was_expected() -> None:
    with pytest.raises(ValueError, match="63 x 200 pixels, expected at least 64"):
        draw_page(np.random.default_rng(0), 63, 200)
    with pytest.raises(ValueError, match="expected one of article"):
        draw_page(np.random.default_rng(0), 100, 100, kind="novel")


def test_a_square_code_has_its_three_marks() -> None:
    sheet = blank_sheet(np.random.default_rng(4), 200, 200, bundled_fonts())
    code_square(sheet, 10, 20, 145)
    dark = np.asarray(sheet.image)[22:165:5, 12:155:5, 0] < 128
    mark = np.ones((7, 7), bool)
    mark[1:6, 1:6] = False
    mark[2:5, 2:5] = True
    assert dark.shape == (29, 29)
    for corner in (dark[:7, :7], dark[:7, -7:], dark[-7:, :7]):
        assert np.array_equal(corner, mark)
    assert 0.3 < dark[8:21, 8:21].mean() < 0.7
