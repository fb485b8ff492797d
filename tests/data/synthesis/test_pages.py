"""Drawn pages, and what photographs make of pages: their light, and the desk that they lie on."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from data.synthesis.pages import KINDS, draw_sheet
from data.synthesis.scenes import lay_on_desk, photograph
from tests.data.synthesis.cutouts import page_rgb


@pytest.mark.parametrize("kind", KINDS)
def test_a_page_is_white_paper_with_print_and_the_same_for_the_same_seed(kind: str) -> None:
    page, again, other = (np.array(draw_sheet(np.random.default_rng(seed), 300, 400, kind).image) for seed in (1, 1, 2))
    np.testing.assert_array_equal(page, again)
    assert np.any(page != other)
    assert (page.dtype, page.shape, np.median(page)) == (np.uint8, (400, 300, 3), 255)
    printed = (page < 128).any(2)
    assert 0.01 < printed.mean() < 0.3
    # Print reaches from the head to the foot, and leaves the margins alone.
    rows = np.flatnonzero(printed.any(1))
    assert rows[0] < 60
    assert rows[-1] > 300
    assert not printed[:, :10].any()


@pytest.mark.parametrize("size", [(40, 64), (700, 90), (1100, 800)])
def test_any_size_and_any_seed_can_be_drawn(size: tuple[int, int]) -> None:
    assert len({draw_sheet(np.random.default_rng(seed), *size).image.tobytes() for seed in range(6)}) == 6


def test_the_desk_shows_round_one_to_four_sides_and_the_page_stays_inside() -> None:
    counts, green = set(), np.full((320, 240, 3), (10, 250, 20), np.uint8)
    for seed in range(60):
        paper = (lay_on_desk(green, np.random.default_rng(seed)) == green).all(2)
        # The last three pixels at each border, and the middle third of them.
        strips = [paper[:, :3].T, paper[:3], paper[:, -3:].T, paper[-3:]]
        desk = [not strip[:, strip.shape[1] // 3 : -(strip.shape[1] // 3)].any() for strip in strips]
        counts.add(sum(desk))
        assert 0.6 < paper.mean() < 0.995
        assert paper[80:-80, 60:-60].all()
        # Whatever side shows desk shows all of it: the page does not run out of the picture there.
        assert all(strip.mean() < 0.25 for strip, shown in zip(strips, desk, strict=True) if shown)
        # One sheet, in one piece.
        assert ndimage.label(paper)[1] == 1
    assert counts == {1, 2, 3, 4}


def test_a_photo_of_a_page_has_its_size_and_the_light_of_a_photo() -> None:
    white, rng = np.full((400, 300, 3), 255, np.uint8), np.random.default_rng(0)
    white[100:120, 50:250] = 0
    photo = photograph(white, rng, 512)
    assert photo.shape == (512, 384, 3)
    assert 190 < np.median(photo) < 250
    assert photo[140:145, 120:200].max() < 80
    assert np.ptp(photo[300:].mean(2)) > 5
    # What is a photo already keeps its tone.
    grey = page_rgb()
    assert abs(float(np.median(photograph(grey, rng, 400))) - np.median(grey)) < 8
    # Strips are cut to a photo's proportions.
    assert photograph(white[:, :60], rng, 600).shape == (600, 400, 3)
    assert photograph(white[:60], rng, 600).shape == (400, 600, 3)
