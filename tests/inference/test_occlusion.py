"""Which blobs of the mask are occluders: the border decides, confidence may overrule it."""

from __future__ import annotations

import numpy as np
import pytest

from inference.occlusion import OcclusionRules, find_occluders

RULES = OcclusionRules(threshold=0.5, border=0.01, inner_confidence=0.98, gap=0.02, speck=0.001, hole=0.2)


def probability(*blobs: tuple[int, int, int, int, float]) -> np.ndarray:
    """A 200 x 300 map with rectangles (top, left, bottom, right, value)."""
    values = np.full((200, 300), 0.01, np.float32)
    for top, left, bottom, right, value in blobs:
        values[top:bottom, left:right] = value
    return values


def test_nothing_covered_gives_no_occluder():
    assert find_occluders(probability(), RULES) == []


@pytest.mark.parametrize(
    "blob", [(0, 50, 40, 90), (160, 50, 200, 90), (50, 0, 90, 40), (50, 260, 90, 300), (2, 50, 40, 90), (0, 0, 40, 40)]
)
def test_a_blob_at_any_border_or_corner_is_an_occluder(blob):
    found = find_occluders(probability((*blob, 0.7)), RULES)
    assert len(found) == 1
    top, left, bottom, right = blob
    assert found[0].dtype == np.uint8
    assert found[0].sum() == (bottom - top) * (right - left)
    assert found[0][top:bottom, left:right].all()


def test_a_printed_photograph_in_the_middle_stays_on_the_page():
    assert find_occluders(probability((60, 60, 140, 140, 0.9)), RULES) == []


def test_a_very_confident_blob_in_the_middle_is_removed():
    assert len(find_occluders(probability((60, 60, 140, 140, 0.99)), RULES)) == 1
    off = OcclusionRules(border=0.01, inner_confidence=1.1)
    assert find_occluders(probability((60, 60, 140, 140, 0.9999)), off) == []


def test_what_touches_the_border_with_a_corner_only_must_be_more_certain():
    """A dark table top runs along a page and reaches the border by a tip; a finger is as wide there as elsewhere."""
    tip, body = (0, 100, 12, 104), (10, 60, 150, 260)
    assert find_occluders(probability((*tip, 0.8), (*body, 0.8)), RULES) == []
    assert len(find_occluders(probability((*tip, 0.95), (*body, 0.95)), RULES)) == 1
    assert len(find_occluders(probability((0, 100, 150, 180, 0.6)), RULES)) == 1


def test_a_low_threshold_takes_dim_nails_along_but_no_dim_blob_alone():
    low = OcclusionRules(threshold=0.2, border=0.01, wide_confidence=0.5)
    found = find_occluders(probability((0, 100, 80, 140, 0.95), (80, 110, 90, 130, 0.25)), low)
    assert found[0].sum() == 80 * 40 + 10 * 20
    assert find_occluders(probability((0, 100, 80, 140, 0.25)), low) == []


def test_what_runs_along_the_border_is_the_table_and_not_a_hand():
    assert find_occluders(probability((0, 0, 12, 300, 0.99)), RULES) == []
    assert len(find_occluders(probability((0, 0, 60, 90, 0.99)), RULES)) == 1


def test_specks_are_dropped():
    assert find_occluders(probability((0, 10, 5, 15, 0.99)), RULES) == []


def test_two_occluders_come_largest_first():
    found = find_occluders(probability((0, 10, 20, 40, 0.8), (100, 200, 200, 300, 0.8)), RULES)
    assert [int(mask.sum()) for mask in found] == [10000, 600]


def test_a_second_blob_near_the_first_belongs_to_it():
    near = find_occluders(probability((0, 10, 40, 40, 0.8), (43, 10, 60, 40, 0.8)), RULES)
    assert len(near) == 1
    assert near[0].sum() == 30 * 57
    assert near[0][40:43].sum() == 0
    far = find_occluders(probability((0, 10, 40, 40, 0.8), (60, 10, 80, 40, 0.8)), RULES)
    assert len(far) == 1
    assert far[0].sum() == 30 * 40


def test_small_holes_are_filled_and_large_ones_are_not():
    small = find_occluders(probability((0, 100, 100, 200, 0.9), (40, 140, 50, 150, 0.1)), RULES)
    assert small[0].sum() == 100 * 100
    large = find_occluders(probability((0, 100, 100, 200, 0.9), (20, 120, 80, 180, 0.1)), RULES)
    assert large[0].sum() == 100 * 100 - 60 * 60


@pytest.mark.parametrize("shape", [(1, 1), (1, 50), (2, 2), (3, 400)])
def test_the_smallest_pictures_work(shape):
    assert len(find_occluders(np.ones(shape, np.float32), RULES)) == 1
    assert find_occluders(np.zeros(shape, np.float32), RULES) == []
