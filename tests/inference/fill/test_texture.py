"""Texture beside a hole is moved into it; letters never are."""

from __future__ import annotations

import cv2
import numpy as np

from inference.fill.paper import texture_over
from inference.fill.patches import PageRules, carry_page_on
from inference.paste import PasteRules

HEIGHT, WIDTH = 300, 400


def gravel() -> np.ndarray:
    stones = np.random.default_rng(1).normal(0, 1, (HEIGHT, WIDTH)).astype(np.float32)
    stones = cv2.GaussianBlur(stones, (0, 0), 2)
    return np.clip(110 + 40 * stones / stones.std(), 0, 255).astype(np.uint8)[..., None].repeat(3, 2)


def hole() -> np.ndarray:
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[200:, 170:230] = 1
    return mask


def test_gravel_is_filled_with_gravel_from_beside():
    picture, mask = gravel(), hole()
    blind = np.where(mask[..., None] > 0, np.uint8(200), picture)
    result = carry_page_on(blind, mask, PasteRules(), PageRules())
    inside = mask > 0
    assert abs(result[inside].std() - picture[inside].std()) < 8
    # As coarse as well: noise of that strength has no likeness of neighbours.
    grey = result[210:, 180:220, 0].astype(float) - result[inside].mean()
    assert (grey[:, 1:] * grey[:, :-1]).mean() > 0.7 * (grey**2).mean()
    assert np.array_equal(carry_page_on(blind, mask, PasteRules(), PageRules()), result)


def test_a_page_full_of_letters_is_no_texture():
    picture, mask = np.full((HEIGHT, WIDTH, 3), 225, np.uint8), hole()
    for y in range(14, HEIGHT, 14):
        cv2.putText(picture, "the quick brown fox jumps over the lazy dog and runs", (2, y), 0, 0.42, (40,) * 3, 1)
    result = carry_page_on(np.where(mask[..., None] > 0, np.uint8(90), picture), mask, PasteRules(), PageRules())
    assert (result[205:, 176:224] > 200).all()


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
    page, hole, source = (
        np.float32(tones)[..., None].repeat(3, 2),
        np.zeros(tones.shape, bool),
        np.zeros(tones.shape, bool),
    )
    hole[100:180, 940:1010] = True
    source[:, :300] = source[85:195, 925:] = True
    filled = np.where(hole[..., None], 0, page)
    texture_over(filled, hole, source & ~hole, np.full_like(page, 110), 12)
    assert np.abs(filled - page).max() < 1e-3
