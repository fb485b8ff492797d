"""Two looks: which copies the network sees, and that the mean of both decides."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from configs.schema import PredictConfig
from inference import Restorer
from tests.inference.painted import page
from tests.inference.stand_ins import StandIn, brighten


def red_found_with(confidence: dict[int, float]):
    """As a gated network that is so sure of what is red, by the longer side of its tile."""

    def function(tile: np.ndarray) -> np.ndarray:
        red = (tile[:, :1] > 0.6) & (tile[:, 1:2] < 0.3)
        return np.concatenate([np.full_like(tile, 0.5), red * np.float32(confidence[max(tile.shape[2:])])], 1)

    return function


@pytest.mark.parametrize(("near", "far", "found"), [(1, 1, 1), (0.2, 1, 1), (1, 0.2, 1), (0.2, 0.6, 0), (0.6, 0.2, 0)])
def test_the_mean_of_both_looks_decides(near, far, found):
    backend = StandIn(red_found_with({448: near, 256: far}))
    settings = PredictConfig(long_side=0, overview_long_side=200)
    result = Restorer.from_backend(backend, settings)(page())
    assert [max(shape) for shape in backend.tiles] == [448, 256]
    assert result.occluders == found
    if found:
        # The overview is enlarged again: its border is as coarse as its pixels.
        assert abs(int(result.located.sum()) - 100 * 110) < 2 * 2 * (100 + 100 + 110)
        assert result.located.shape == (300, 420)


@pytest.mark.parametrize(
    ("mode", "gated", "overview"),
    [("auto", True, 0), ("auto", True, 420), ("auto", True, 4000), ("auto", False, 200), ("tiles", True, 200),
     ("full", True, 200)],
)
def test_one_look_where_a_second_is_not_asked_for_or_shows_nothing_new(mode, gated, overview):
    backend = StandIn(red_found_with(dict.fromkeys(range(1, 500), 1)) if gated else brighten, gated=gated)
    settings = PredictConfig(long_side=0, overview_long_side=overview)
    Restorer.from_backend(backend, settings, mode=mode)(page())
    assert len(backend.tiles) == (4 if mode == "tiles" else 1)


def test_the_mask_ends_where_the_picture_does():
    """The network's red is found two pixels too wide, on a page whose red ends sharply."""
    picture = page()

    def too_wide(tile: np.ndarray) -> np.ndarray:
        red = (tile[:, :1] > 0.6) & (tile[:, 1:2] < 0.3)
        wide = np.stack([cv2.dilate(plane[0].astype(np.uint8), np.ones((5, 5), np.uint8))[None] for plane in red])
        return np.concatenate([np.full_like(tile, 0.5), wide.astype(np.float32)], 1)

    located = Restorer.from_backend(StandIn(too_wide), PredictConfig(long_side=0))(picture).located
    red = (picture[..., 0] > 153) & (picture[..., 1] < 76)
    assert located.sum() < 1.01 * red.sum()
    assert (located & red).sum() > 0.99 * red.sum()
