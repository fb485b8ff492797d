"""The two ways to fill: how often the network is asked in each, and what ends up in the photo."""

from __future__ import annotations

import numpy as np
import pytest

from configs.schema import PredictConfig
from inference import Restorer
from tests.inference.painted import page
from tests.inference.stand_ins import StandIn, paint_red_over


class Passes:
    """As a gated network that finds what is red and paints grey over it; counts how often it is asked."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, tile: np.ndarray) -> np.ndarray:
        self.count += 1
        return paint_red_over(tile)


def restored(fill: str, **settings: object) -> tuple[np.ndarray, np.ndarray, Passes]:
    passes = Passes()
    result = Restorer.from_backend(StandIn(passes), PredictConfig(fill=fill, **settings))(page())
    assert result.occluders == 1
    assert np.array_equal(result.image[result.mask == 0], page()[result.mask == 0])
    return result.image[205:295, 155:255].astype(int), result.mask, passes


def test_the_network_fills_in_the_pass_that_finds():
    inside, _, passes = restored("network", long_side=0)
    assert passes.count == 1
    assert np.abs(inside - 128).max() <= 12


def test_the_page_fills_without_another_pass():
    inside, _, passes = restored("page", long_side=0)
    assert passes.count == 1
    assert np.abs(inside - 128).mean() < 4


@pytest.mark.parametrize("settings", [{"locate_long_side": 210}, {"locate_long_side": 300, "tile": 128}])
def test_the_page_fills_as_well_where_it_is_found_on_a_smaller_copy(settings):
    inside, mask, passes = restored("page", long_side=0, **settings)
    assert passes.count == 1
    assert np.abs(inside - 128).mean() < 4
    _, expected, _ = restored("network", long_side=0, **settings)
    assert np.array_equal(mask, expected)


@pytest.mark.parametrize("fill", ["network", "page"])
def test_a_wholly_covered_picture_is_filled_with_what_the_network_makes_of_it(fill):
    image = np.zeros((90, 120, 3), np.uint8)
    image[:] = (230, 20, 20)
    result = Restorer.from_backend(StandIn(paint_red_over), PredictConfig(fill=fill, long_side=0), mode="full")(image)
    assert result.mask.all()
    assert (result.image == (230, 20, 20) if fill == "page" else result.image == 128).all()
