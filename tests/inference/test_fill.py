"""The network's own fill: tinted paper is put right, whatever it has removed beside the mask."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from inference.fill.network import FillRules, make_fill

NETWORK_ONLY = FillRules()
UNTOUCHED = FillRules(tone=0)
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


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (7, 2), (40, 50)])
@pytest.mark.parametrize("covered", ["all", "none", "half"])
def test_any_size_and_any_mask_give_finite_numbers(shape, covered):
    generator = np.random.default_rng(1)
    picture, restored = generator.random((2, *shape, 3), dtype=np.float32)
    mask = np.zeros(shape, np.uint8)
    mask[:, : {"all": shape[1], "none": 0, "half": (shape[1] + 1) // 2}[covered]] = 1
    fill = make_fill(restored, picture, mask.astype(np.float32), mask, 3, NETWORK_ONLY)
    assert fill.shape == (*shape, 3)
    assert fill.dtype == np.float32
    assert np.isfinite(fill).all()
    if covered != "half":
        assert fill is restored


def test_with_nothing_known_the_networks_fill_stays():
    """The network doubts everything around: nothing there is an example of the page."""
    page = np.full((HEIGHT, WIDTH, 3), 0.8, np.float32)
    picture, _, mask = scene(page)
    restored = page - np.float32(0.2)
    fill = make_fill(restored, picture, np.ones((HEIGHT, WIDTH), np.float32), mask, 4, NETWORK_ONLY)
    assert np.allclose(fill, restored, atol=1e-6)


def test_lengths_grow_with_the_working_scale_and_never_shrink():
    rules = FillRules(ring=16)
    assert rules.scaled(300) == rules.scaled(1024) == rules
    assert rules.scaled(2048).ring == 32
