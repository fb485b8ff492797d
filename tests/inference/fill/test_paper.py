"""Areas of which hardly anything is seen."""

from __future__ import annotations

import numpy as np
import pytest

from inference.fill.paper import without_slivers


@pytest.mark.parametrize(("shown_rows", "is_area"), [(40, True), (20, True), (4, False), (0, False)])
def test_an_area_that_hardly_shows_is_the_nearest_ones(shown_rows, is_area):
    areas = np.zeros((100, 100), np.int32)
    areas[:, 48:56], areas[:, 56:] = 1, 2
    shown = np.ones((100, 100), bool)
    shown[shown_rows:, 48:56] = False
    found = without_slivers(areas, shown)
    if is_area:
        assert np.array_equal(found, areas)
    else:
        assert (found[:, :52] == 0).all()
        assert (found[:, 52:] == 2).all()


def test_where_nothing_shows_much_one_area_is_left():
    areas = np.zeros((20, 20), np.int32)
    areas[:, 10:] = 1
    shown = np.zeros((20, 20), bool)
    shown[:3, 10:12] = True
    assert set(np.unique(without_slivers(areas, shown))) == {1}
