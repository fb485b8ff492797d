"""Two looks, of which the mean decides; then the outline goes to the edge that the picture shows, and only there."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from configs.schema import PredictConfig
from inference import Restorer
from inference.find.locate import OutlineRules, follow_edges, locate_whole, look_size
from inference.find.occlusion import OcclusionRules
from tests.inference.painted import page
from tests.inference.stand_ins import StandIn, brighten

RULES = OutlineRules()
PAGE, HAND = (0.9, 0.88, 0.85), (0.8, 0.55, 0.45)


def is_red(tile: np.ndarray) -> np.ndarray:
    return (tile[:, :1] > 0.6) & (tile[:, 1:2] < 0.3)


def red_found_with(confidence: dict[int, float]):
    """As a gated network that is so sure of what is red, by the longer side of its tile."""
    return lambda tile: np.concatenate(
        [np.full_like(tile, 0.5), is_red(tile) * np.float32(confidence[max(tile.shape[2:])])], 1
    )


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


def test_what_would_vanish_stays_as_it_is_and_nothing_far_from_the_outline_changes():
    flat, mask = np.full((60, 60, 3), 0.7, np.float32), np.zeros((60, 60), np.uint8)
    mask[28:31, 28:31] = 1
    assert np.array_equal(follow_edges(mask, flat, RULES), mask)
    truth = np.zeros((120, 140), np.uint8)
    cv2.ellipse(truth, (70, 120), (35, 60), 0, 0, 360, 1, -1)
    picture = np.where(truth[..., None] > 0, HAND, PAGE) + np.random.default_rng(1).normal(0, 0.2, (120, 140, 3))
    picture = picture.astype(np.float32)
    found = follow_edges(truth, picture, RULES)
    distance = cv2.distanceTransform(truth, cv2.DIST_L2, 5) + cv2.distanceTransform(1 - truth, cv2.DIST_L2, 5)
    assert np.array_equal(found[distance > RULES.band], truth[distance > RULES.band])
    assert np.array_equal(follow_edges(truth, picture, OutlineRules(band=0.5)), truth)


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (7, 2), (40, 50)])
@pytest.mark.parametrize("part", ["all", "none", "half"])
def test_any_size_and_any_mask(shape, part):
    picture = np.random.default_rng(1).random((*shape, 3), np.float32)
    mask = np.zeros(shape, np.uint8)
    mask[:, : {"none": 0, "half": (shape[1] + 1) // 2}.get(part, shape[1])] = 1
    before = mask.copy()
    found = follow_edges(mask, picture, RULES)
    assert np.array_equal(mask, before)
    assert (found.shape, found.dtype) == (shape, np.uint8)
    assert found.max(initial=0) <= 1
    assert part == "half" or np.array_equal(found, mask)


def test_a_locator_sees_whole_copies_whose_sides_are_steps_of_32() -> None:
    """A blob in one corner of a photo of odd size comes back in that corner, from the mean of two looks, each
    also mirrored."""
    finds_red = StandIn(lambda tile: np.where(tile[:, :1] - tile[:, 1:2] > 0.3, np.float32(8), np.float32(-8)))
    truth = np.zeros((1000, 740), np.uint8)
    truth[700:, :200] = 1
    picture = np.where(truth[..., None] > 0, np.uint8([220, 40, 40]), np.uint8(200))
    found = locate_whole(finds_red, picture, (512, 320), OcclusionRules())
    assert finds_red.tiles == 2 * [(1, 3, 512, 384)] + 2 * [(1, 3, 320, 224)]
    assert (found.occluders, found.output) == (1, None)
    assert (found.mask != truth).mean() < 0.005
    # One look says yes and the other no: the mean is a half, and both together decide.
    half = locate_whole(
        lambda tile: finds_red(tile) if tile.shape[2] == 512 else np.full_like(tile[:, :1], -8),
        picture, (512, 320), OcclusionRules(threshold=0.6),
    )  # fmt: skip
    assert not half.mask.any()


def test_nearly_equal_shapes_share_a_copys_size() -> None:
    sizes = {(3770, 2811, 512): (512, 384), (2811, 3770, 320): (224, 320), (100, 60, 512): (96, 64),
             (5, 4000, 512): (32, 512)}  # fmt: skip
    assert {arguments: look_size(*arguments) for arguments in sizes} == sizes
