"""Which blobs of the mask are occluders: the border decides, confidence may overrule it."""

from __future__ import annotations

import numpy as np
import pytest

from inference.find.occlusion import OcclusionRules, occluders_from_probability

RULES = OcclusionRules(threshold=0.5, border=0.01, inner_confidence=0.98, gap=0.02, speck=0.001, hole=0.2)


def areas(*blobs: tuple[int, int, int, int, float], rules: OcclusionRules = RULES) -> list[int]:
    """The occluders' areas in a 200 x 300 map with rectangles (top, left, bottom, right, value)."""
    values = np.full((200, 300), 0.01, np.float32)
    for top, left, bottom, right, value in blobs:
        values[top:bottom, left:right] = value
    found = occluders_from_probability(values, rules)
    assert all(mask.dtype == np.uint8 and mask.max() == 1 for mask in found)
    return [int(mask.sum()) for mask in found]


@pytest.mark.parametrize(
    "blob", [(0, 50, 40, 90), (160, 50, 200, 90), (50, 0, 90, 40), (50, 260, 90, 300), (2, 50, 40, 90), (0, 0, 40, 40)]
)
def test_a_blob_at_any_border_or_corner_is_an_occluder(blob):
    top, left, bottom, right = blob
    assert areas((*blob, 0.7)) == [(bottom - top) * (right - left)]


def test_a_printed_photograph_in_the_middle_stays_unless_the_network_is_very_sure():
    assert areas() == areas((60, 60, 140, 140, 0.9)) == []
    assert areas((60, 60, 140, 140, 0.99)) == [80 * 80]
    assert areas((60, 60, 140, 140, 0.9999), rules=OcclusionRules(border=0.01, inner_confidence=1.1)) == []


def test_what_touches_the_border_with_a_corner_only_must_be_more_certain():
    """A dark table top runs along a page and reaches the border by a tip; a finger is as wide there as elsewhere."""
    tip, body = (0, 100, 12, 104), (10, 60, 150, 260)
    assert areas((*tip, 0.8), (*body, 0.8)) == []
    assert len(areas((*tip, 0.95), (*body, 0.95))) == 1
    assert len(areas((0, 100, 150, 180, 0.6))) == 1


def test_a_low_threshold_takes_dim_nails_along_but_no_dim_blob_alone():
    low = OcclusionRules(threshold=0.2, border=0.01, wide_confidence=0.5)
    assert areas((0, 100, 80, 140, 0.95), (80, 110, 90, 130, 0.25), rules=low) == [80 * 40 + 10 * 20]
    assert areas((0, 100, 80, 140, 0.25), rules=low) == []


def covering(name: str, value: float = 0.95) -> np.ndarray:
    """A map of 1000 x 760 with one of the shapes that reach over a corner or along the border."""
    values = np.full((1000, 760), 0.01, np.float32)
    rows, columns = np.mgrid[:1000, :760]
    shape = {
        "triangle in a corner": rows + columns < 240,
        "hand over a corner": (((999 - rows) / 400) ** 2 + (columns / 120) ** 2) < 1,
        "strip of fingers": (columns >= 700) & (rows >= 200) & (rows < 700),
        "palm along the bottom": rows >= 890,
        "table on all sides": (rows < 70) | (rows >= 920) | (columns < 60) | (columns >= 680),
        "table on three sides": (rows < 90) | (columns < 110) | (columns >= 690),
        "table on two sides": (rows >= 930) | (columns < 60),
        "thin line": (columns >= 720) & (rows >= 50),
    }[name]
    values[shape] = value
    return values


@pytest.mark.parametrize(
    "name", ["triangle in a corner", "hand over a corner", "strip of fingers", "palm along the bottom"]
)
def test_what_reaches_over_a_corner_or_along_one_side_is_an_occluder(name):
    values = covering(name)
    (found,) = occluders_from_probability(values, OcclusionRules())
    assert np.array_equal(found > 0, values > 0.5)


@pytest.mark.parametrize(
    ("name", "value"),
    [("strip of fingers", 0.75), ("palm along the bottom", 0.75), ("table on all sides", 0.999),
     ("table on three sides", 0.999), ("table on two sides", 0.999), ("thin line", 0.999)],
)
def test_along_a_side_it_must_be_more_certain_and_a_table_round_the_page_stays_however_certain(name, value):
    assert occluders_from_probability(covering(name, value), OcclusionRules()) == []


def test_beside_a_table_a_corner_is_more_of_it_and_a_hand_is_still_an_occluder():
    table = covering("table on three sides")
    table[700:] = 0.01
    corner = covering("triangle in a corner")[::-1, ::-1]
    assert len(occluders_from_probability(corner, OcclusionRules())) == 1
    assert occluders_from_probability(np.maximum(table, corner), OcclusionRules()) == []
    table[800:, 300:450] = 0.95
    found = occluders_from_probability(table, OcclusionRules())
    assert [int(mask.sum()) for mask in found] == [200 * 150]


@pytest.mark.parametrize("shape", [(1, 1), (1, 50), (2, 2), (3, 400)])
def test_the_smallest_pictures_work(shape):
    assert len(occluders_from_probability(np.ones(shape, np.float32), RULES)) == 1
    assert occluders_from_probability(np.zeros(shape, np.float32), RULES) == []
