"""Which blobs are occluders, by the mean of the looks; then the outline goes to the edge nearby, and only there.

`tests/golden/test_find.py` holds each rule's number; here are the shapes that the rules are for.
"""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from configs.schema import PredictConfig
from inference.find import (
    BAND,
    LOCATOR_RULES,
    OcclusionRules,
    follow_edges,
    locate_whole,
    look_size,
    occluders_from_probability,
)
from tests.inference.stand_ins import StandIn, brighten, page, paint_red_over, restorer_over

PAGE, HAND = (0.9, 0.88, 0.85), (0.8, 0.55, 0.45)


@pytest.mark.parametrize(("near", "far", "found"), [(1, 1, 1), (0.2, 1, 1), (1, 0.2, 1), (0.2, 0.6, 0), (0.6, 0.2, 0)])
def test_the_mean_of_both_looks_decides(near, far, found):
    """Of a gated network that is so sure of what is red, by the longer side of its tile."""
    def network(tile: np.ndarray) -> np.ndarray:
        output = paint_red_over(tile)
        output[:, 3] *= {448: near, 256: far}[max(tile.shape[2:])]
        return output

    backend = StandIn(network)
    result = restorer_over(backend, PredictConfig(long_side=0, overview_long_side=200))(page())
    assert [max(shape) for shape in backend.tiles] == [448, 256]
    assert (result.occluders, result.located.shape) == (found, (300, 420))
    # The overview is enlarged again: its border is as coarse as its pixels.
    assert abs(int(result.located.sum()) - found * 100 * 110) < 2 * 2 * (100 + 100 + 110)


@pytest.mark.parametrize(("mode", "gated", "overview", "looks"), [
    ("auto", True, 0, 1), ("auto", True, 420, 1), ("auto", True, 4000, 1), ("auto", False, 200, 1),
    ("tiles", True, 200, 4), ("full", True, 200, 1)])  # fmt: skip
def test_one_look_where_a_second_is_not_asked_for_or_shows_nothing_new(mode, gated, overview, looks):
    backend = StandIn(paint_red_over if gated else brighten, gated=gated)
    restorer_over(backend, PredictConfig(long_side=0, overview_long_side=overview), mode=mode)(page())
    assert len(backend.tiles) == looks


def test_a_locator_sees_whole_copies_whose_sides_are_steps_of_32():
    """A blob in a corner of a photo of odd size comes back there, from the mean of two looks, each also mirrored."""
    red = StandIn(lambda tile: np.where(tile[:, :1] - tile[:, 1:2] > 0.3, np.float32(8), np.float32(-8)))
    truth = np.zeros((1000, 740), np.uint8)
    truth[700:, :200] = 1
    picture = np.where(truth[..., None] > 0, np.uint8([220, 40, 40]), np.uint8(200))
    found = locate_whole(red, picture, (512, 320), 0.5)
    assert red.tiles == 2 * [(1, 3, 512, 384)] + 2 * [(1, 3, 320, 224)]
    assert (found.occluders, found.output) == (1, None)
    assert (found.mask != truth).mean() < 0.005
    # One look says yes and the other no: the mean is a half, and both together decide.
    half = StandIn(lambda tile: red(tile) if tile.shape[2] == 512 else np.full_like(tile[:, :1], -8))
    assert not locate_whole(half, picture, (512, 320), 0.6).mask.any()
    # Nearly equal shapes share a copy's size.
    for asked, size in [((3770, 2811, 512), (512, 384)), ((100, 60, 512), (96, 64)), ((5, 4000, 512), (32, 512))]:
        assert look_size(*asked) == size


def test_what_would_vanish_stays_as_it_is_and_nothing_far_from_the_outline_changes():
    mask, truth = np.zeros((60, 60), np.uint8), np.zeros((120, 140), np.uint8)
    mask[28:31, 28:31] = 1
    assert np.array_equal(follow_edges(mask, np.full((60, 60, 3), 0.7, np.float32)), mask)
    cv2.ellipse(truth, (70, 120), (35, 60), 0, 0, 360, 1, -1)
    picture = np.where(truth[..., None] > 0, HAND, PAGE) + np.random.default_rng(1).normal(0, 0.2, (120, 140, 3))
    distance = cv2.distanceTransform(truth, cv2.DIST_L2, 5) + cv2.distanceTransform(1 - truth, cv2.DIST_L2, 5)
    far = distance > BAND
    assert np.array_equal(follow_edges(truth, picture.astype(np.float32))[far], truth[far])


ROWS, COLUMNS = np.mgrid[:1000, :760]
SHAPES = {
    "triangle in a corner": ROWS + COLUMNS < 240,
    "hand over a corner": (((999 - ROWS) / 400) ** 2 + (COLUMNS / 120) ** 2) < 1,
    "table on all sides": (ROWS < 70) | (ROWS >= 920) | (COLUMNS < 60) | (COLUMNS >= 680),
    "table on three sides": (ROWS < 90) | (COLUMNS < 110) | (COLUMNS >= 690),
}


@pytest.mark.parametrize("name", SHAPES)
def test_over_a_corner_something_is_an_occluder_and_a_table_round_the_page_stays_however_certain(name):
    shape, is_table = SHAPES[name], name.startswith("table")
    found = occluders_from_probability(np.float32(shape * (0.999 if is_table else 0.95)), OcclusionRules())
    assert [mask.tolist() for mask in found] == ([] if is_table else [shape.astype(int).tolist()])


@pytest.mark.parametrize(("top", "side", "probability", "found"), [
    (0, 40, 0.76, True), (0, 40, 0.72, False), (80, 40, 0.8, True), (80, 40, 0.76, False),
    (0, 14, 0.88, True), (0, 14, 0.84, False), (80, 14, 0.88, True), (80, 14, 0.84, False), (0, 18, 0.8, True),
])  # fmt: skip
def test_of_what_a_locator_finds_small_blobs_have_to_be_more_certain(top, side, probability, found) -> None:
    there = np.full((200, 200), 0.1, np.float32)
    there[top : top + side, 80 : 80 + side] = probability
    assert bool(occluders_from_probability(there, replace(LOCATOR_RULES, threshold=0.55))) == found
