"""The fill: tinted paper is put right, ghosts go on plain paper, the network's pictures stay on pictures."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from inference.fill import FillRules, make_fill, spread

NETWORK_ONLY = FillRules(evenness=0)
UNTOUCHED = FillRules(evenness=0, tone=0)
HEIGHT, WIDTH = 120, 160


def scene(page: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(what the network saw, its mask probability, the mask): a dark hand from below on a page [h, w, 3]."""
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[60:, 50:110] = 1
    picture = page.copy()
    picture[mask > 0] = 0.3
    return picture, mask.astype(np.float32), mask


def test_tone_matching_removes_a_tint_and_a_slope_of_light():
    """The network's paper is lighter and bluish, more so to the right; afterwards it continues the real paper."""
    page = np.full((HEIGHT, WIDTH, 3), 0.8, np.float32)
    slope = np.linspace(0.01, 0.04, WIDTH, dtype=np.float32)[None, :, None] * np.float32([1, 0.5, 2])
    picture, probability, mask = scene(page)
    restored = page + slope
    assert np.array_equal(make_fill(restored, picture, probability, mask, 4, UNTOUCHED), restored)
    inside = mask > 0
    fill = make_fill(restored, picture, probability, mask, 4, NETWORK_ONLY)
    assert np.abs(restored - page)[inside].mean() > 0.02
    assert np.abs(fill - page)[inside].mean() < 0.004
    assert np.abs(fill - page)[inside].max() < 0.02


def test_what_the_network_removes_beside_the_mask_is_not_taken_for_tone():
    page = np.full((HEIGHT, WIDTH, 3), 0.8, np.float32)
    picture, probability, mask = scene(page)
    picture[50:57, 60:100] = (0.9, 0.1, 0.1)  # a red bar just above the fingers, which the network has wiped away
    fill = make_fill(page, picture, probability, mask, 2, NETWORK_ONLY)
    assert np.abs(fill - page)[mask > 0].max() < 0.01
    gullible = make_fill(page, picture, probability, mask, 2, replace(NETWORK_ONLY, outlier=1e6))
    assert np.abs(gullible - page)[mask > 0].max() > 0.1


def test_a_ghost_disappears_on_plain_paper_with_letters():
    generator = np.random.default_rng(4)
    page = np.full((HEIGHT, WIDTH, 3), 0.8, np.float32)
    page[8:HEIGHT:16, ::3] = 0.1  # lines of thin strokes: letters, to the median filter
    paper = np.full_like(page, 0.8)
    picture, probability, mask = scene(page)
    restored = np.where(mask[..., None] > 0, paper, page) + generator.normal(0, 0.06, page.shape).astype(np.float32)
    inside = mask > 0
    with_ghost = make_fill(restored, picture, probability, mask, 4, NETWORK_ONLY)
    fill = make_fill(restored, picture, probability, mask, 4, FillRules())
    assert (with_ghost - paper)[inside].std() > 0.05
    assert (fill - paper)[inside].std() < 0.005
    assert np.abs(fill - paper)[inside].max() < 0.02


def test_on_a_printed_picture_the_networks_fill_stays():
    page = np.full((HEIGHT, WIDTH, 3), 0.8, np.float32)
    for left in range(0, WIDTH, 40):
        page[:, left : left + 20] = (0.2, 0.3, 0.7)
    picture, probability, mask = scene(page)
    fill = make_fill(page, picture, probability, mask, 4, FillRules())
    assert np.abs(fill - page)[mask > 0].mean() < 0.03
    paper_only = make_fill(page, picture, probability, mask, 4, FillRules(evenness=1e6))
    assert np.abs(paper_only - page)[mask > 0].mean() > 0.1


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (7, 2), (40, 50)])
@pytest.mark.parametrize("covered", ["all", "none", "half"])
def test_any_size_and_any_mask_give_finite_numbers(shape, covered):
    generator = np.random.default_rng(1)
    picture, restored = generator.random((2, *shape, 3), dtype=np.float32)
    mask = np.zeros(shape, np.uint8)
    mask[:, : {"all": shape[1], "none": 0, "half": (shape[1] + 1) // 2}[covered]] = 1
    fill = make_fill(restored, picture, mask.astype(np.float32), mask, 3, FillRules())
    assert fill.shape == (*shape, 3)
    assert fill.dtype == np.float32
    assert np.isfinite(fill).all()
    if covered != "half":
        assert fill is restored


def test_spread_keeps_known_values_and_carries_a_constant_everywhere():
    generator = np.random.default_rng(3)
    weights = (generator.random((33, 47)) < 0.05).astype(np.float32)
    values = generator.random((33, 47, 2), dtype=np.float32) * weights[..., None]
    filled = spread(values, weights)
    assert np.allclose(filled[weights > 0], values[weights > 0], atol=1e-6)
    assert np.allclose(spread(weights[..., None] * np.float32(0.3), weights), 0.3, atol=1e-5)
