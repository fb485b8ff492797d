"""Paper of which hardly anything is seen; texture beside a hole is moved into it, and letters never are."""

import cv2
import numpy as np
import pytest

from inference.fill.paper import PaperRules, _is_texture, texture_over, without_slivers
from inference.fill.patches import PageRules, carry_page_on
from inference.paste import PasteRules


@pytest.mark.parametrize("rows", [40, 20, 4, 0])
def test_an_area_that_hardly_shows_is_the_nearest_ones_and_at_least_one_is_left(rows):
    areas, shown = np.zeros((100, 100), np.int32), np.ones((100, 100), bool)
    areas[:, 48:56], areas[:, 56:] = 1, 2
    shown[rows:, 48:56] = False
    expected = areas if rows >= 20 else np.where(np.arange(100) < 52, 0, 2) + 0 * areas
    assert np.array_equal(without_slivers(areas, shown), expected)
    shown[:, :48], shown[:, 56:], shown[0, 48:56] = False, False, True
    assert (without_slivers(areas, shown) == 1).all()


HEIGHT, WIDTH = 300, 400
MASK = np.zeros((HEIGHT, WIDTH), np.uint8)
MASK[200:, 170:230] = 1


def gravel() -> np.ndarray:
    stones = cv2.GaussianBlur(np.random.default_rng(1).normal(0, 1, (HEIGHT, WIDTH)).astype(np.float32), (0, 0), 2)
    return np.clip(110 + 40 * stones / stones.std(), 0, 255).astype(np.uint8)[..., None].repeat(3, 2)


def carried(picture: np.ndarray, tone: int) -> np.ndarray:
    """The page carried on over something of this tone."""
    return carry_page_on(np.where(MASK[..., None] > 0, np.uint8(tone), picture), MASK, PasteRules(), PageRules())


def test_gravel_is_filled_with_gravel_from_beside():
    picture, inside = gravel(), MASK > 0
    result = carried(picture, 200)
    assert abs(result[inside].std() - picture[inside].std()) < 8
    # As coarse as well: noise of that strength has no likeness of neighbours.
    grey = result[210:, 180:220, 0].astype(float) - result[inside].mean()
    assert (grey[:, 1:] * grey[:, :-1]).mean() > 0.7 * (grey**2).mean()
    assert np.array_equal(carried(picture, 200), result)


@pytest.mark.parametrize(("share", "is_texture"), [(1, True), (0.57, True), (0.45, False), (0, False)])
def test_what_is_rough_on_one_side_only_is_no_texture_of_the_other(share, is_texture):
    """As a chequered board beside dark cloth, of which nothing may be copied there."""
    rest, ring = gravel().astype(np.float32) - 110, np.zeros((HEIGHT, WIDTH), bool)
    ring[180:, 150:250] = MASK[180:, 150:250] == 0
    rest[:, 230:] *= share
    assert _is_texture(rest, ring, ring, PaperRules()) == is_texture


@pytest.mark.parametrize(
    ("strength", "unlike", "above", "is_texture"),
    # One is far from the plane of light without being rough: where a shadow ends.
    [(9, 0, 0, True), (7.2, 0, 0, False), (7.2, 0, 30, False), (30, 10, 0, True), (30, 14, 0, False)],
)
def test_texture_is_rough_and_alike_all_round(strength, unlike, above, is_texture):
    stones, ring = gravel().astype(np.float32) / 40 - 110 / 40, np.ones((HEIGHT, WIDTH), bool)
    areas = cv2.GaussianBlur(np.random.default_rng(2).normal(0, 1, (HEIGHT, WIDTH, 1)).astype(np.float32), (0, 0), 20)
    rest = above + strength * stones + unlike * (areas / areas.std())[..., None]
    assert _is_texture(rest, ring, ring, PaperRules()) == is_texture
    little = ring & (np.arange(WIDTH) < 2)
    assert not _is_texture(rest, little, little, PaperRules())


@pytest.mark.parametrize(
    ("share", "noise", "is_texture"),
    [(0.5, 0, False), (0.3, 0, False), (0.1, 0, False), (0.25, 13, False), (0.25, 16, True)],
)
def test_two_tones_are_no_texture_be_they_a_board_or_letters(share, noise, is_texture):
    """Spots of a second tone over this share, at last with noise: coefficients of 0.65 and 0.57."""
    stones, ring = gravel()[..., :1].astype(np.float32), np.ones((HEIGHT, WIDTH), bool)
    rest = np.where(stones > np.quantile(stones, share), np.float32(30), np.float32(-30)) * np.ones(3, np.float32)
    rest = rest + np.random.default_rng(3).normal(0, noise, (HEIGHT, WIDTH, 1)).astype(np.float32)
    assert _is_texture(rest, ring, ring, PaperRules()) == is_texture


def test_a_page_full_of_letters_is_no_texture():
    picture = np.full((HEIGHT, WIDTH, 3), 225, np.uint8)
    for y in range(14, HEIGHT, 14):
        cv2.putText(picture, "the quick brown fox jumps over the lazy dog and runs", (2, y), 0, 0.42, (40,) * 3, 1)
    assert (carried(picture, 90)[205:, 176:224] > 200).all()


def test_a_hole_larger_than_any_piece_is_halved_and_one_without_any_source_stays():
    page = gravel().astype(np.float32)
    wide = np.zeros((HEIGHT, WIDTH), bool)
    wide[40:260, 40:360] = True
    filled = np.where(wide[..., None], 0, page)
    texture_over(filled, wide, ~wide, np.full_like(page, 110), 12)
    assert (filled[wide].std(axis=0) > 30).all()
    alone = np.where(wide[..., None], 0, page)
    texture_over(alone, wide, np.zeros_like(wide), np.full_like(page, 110), 12)
    assert not alone[wide].any()


def test_a_piece_fits_to_the_pixel_whatever_the_pictures_size():
    rows, columns = np.mgrid[:299, :1021]
    tones = 110 + 50 * np.sin(columns * (np.pi / 8)) + 40 * np.sin(rows * (np.pi / 12))
    page, (hole, source) = np.float32(tones)[..., None].repeat(3, 2), np.zeros((2, *tones.shape), bool)
    hole[100:180, 940:1010] = True
    source[:, :300] = source[85:195, 925:] = True
    filled = np.where(hole[..., None], 0, page)
    texture_over(filled, hole, source & ~hole, np.full_like(page, 110), 12)
    assert np.abs(filled - page).max() < 1e-3
