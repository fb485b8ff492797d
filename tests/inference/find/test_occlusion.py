"""Which blobs of the mask are occluders: the border decides, confidence may overrule it. `tests/golden/test_find.py`
holds each rule's number; here are the shapes that the rules are for."""

from __future__ import annotations

import numpy as np
import pytest

from inference.find.occlusion import OcclusionRules, occluders_from_probability

RULES = OcclusionRules(border=0.01, gap=0.02, speck=0.001, hole=0.2)


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


def test_inside_it_must_be_more_certain_and_the_dim_rim_of_one_goes_along():
    """A printed photograph; a nail is dimmer than its finger."""
    assert areas() == areas((60, 60, 140, 140, 0.9)) == []
    assert areas((60, 60, 140, 140, 0.99)) == [80 * 80]
    assert areas((60, 60, 140, 140, 0.9999), rules=OcclusionRules(border=0.01, inner_confidence=1.1)) == []
    low = OcclusionRules(threshold=0.2, border=0.01, wide_confidence=0.5)
    assert areas((0, 100, 80, 140, 0.95), (80, 110, 90, 130, 0.25), rules=low) == [80 * 40 + 10 * 20]
    assert areas((0, 100, 80, 140, 0.25), rules=low) == []


ROWS, COLUMNS = np.mgrid[:1000, :760]
SHAPES = {
    "triangle in a corner": ROWS + COLUMNS < 240,
    "hand over a corner": (((999 - ROWS) / 400) ** 2 + (COLUMNS / 120) ** 2) < 1,
    "strip of fingers": (COLUMNS >= 700) & (ROWS >= 200) & (ROWS < 700),
    "palm along the bottom": ROWS >= 890,
    "table on all sides": (ROWS < 70) | (ROWS >= 920) | (COLUMNS < 60) | (COLUMNS >= 680),
    "table on three sides": (ROWS < 90) | (COLUMNS < 110) | (COLUMNS >= 690),
    "table on two sides": (ROWS >= 930) | (COLUMNS < 60),
    "thin line": (COLUMNS >= 720) & (ROWS >= 50),
}


@pytest.mark.parametrize("name", SHAPES)
def test_over_a_corner_or_along_a_side_it_must_be_certain_and_a_table_round_the_page_stays_however_certain(name):
    shape, is_table = SHAPES[name], name.startswith(("table", "thin"))
    found = occluders_from_probability(np.where(shape, np.float32(0.999 if is_table else 0.95), 0), OcclusionRules())
    assert [mask.tolist() for mask in found] == ([] if is_table else [shape.astype(int).tolist()])
    if name in ("strip of fingers", "palm along the bottom"):
        assert occluders_from_probability(np.where(shape, np.float32(0.75), 0), OcclusionRules()) == []


def test_beside_a_table_a_corner_is_more_of_it_and_a_hand_is_still_an_occluder():
    table, corner = SHAPES["table on three sides"] & (ROWS < 700), SHAPES["triangle in a corner"][::-1, ::-1]
    hand = (ROWS >= 800) & (COLUMNS >= 300) & (COLUMNS < 450)
    counts = [[int(mask.sum()) for mask in occluders_from_probability(np.float32(0.95) * shape, OcclusionRules())]
              for shape in (corner, table | corner, table | hand)]  # fmt: skip
    assert counts == [[corner.sum()], [], [200 * 150]]


@pytest.mark.parametrize("shape", [(1, 1), (1, 50), (2, 2), (3, 400)])
def test_the_smallest_pictures_work(shape):
    assert len(occluders_from_probability(np.ones(shape, np.float32), RULES)) == 1
    assert occluders_from_probability(np.zeros(shape, np.float32), RULES) == []
