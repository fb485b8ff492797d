"""Which blobs are occluders, by the mean of the looks; then the outline goes to the edge nearby, and only there.

`tests/golden/test_find.py` holds each rule's number; here are the shapes that the rules are for.
"""

import cv2
import numpy as np
import pytest

from configs.schema import PredictConfig
from inference.find import BAND, OcclusionRules, follow_edges, locate_whole, look_size, occluders_from_probability
from tests.inference.painted import page
from tests.inference.stand_ins import StandIn, brighten, restorer_over

PAGE, HAND = (0.9, 0.88, 0.85), (0.8, 0.55, 0.45)


def red_found_with(confidence: dict[int, float]):
    """As a gated network that is so sure of what is red, by the longer side of its tile."""

    def network(tile: np.ndarray) -> np.ndarray:
        red = (tile[:, :1] > 0.6) & (tile[:, 1:2] < 0.3)
        return np.concatenate([np.full_like(tile, 0.5), red * np.float32(confidence[max(tile.shape[2:])])], 1)

    return network


@pytest.mark.parametrize(("near", "far", "found"), [(1, 1, 1), (0.2, 1, 1), (1, 0.2, 1), (0.2, 0.6, 0), (0.6, 0.2, 0)])
def test_the_mean_of_both_looks_decides(near, far, found):
    backend = StandIn(red_found_with({448: near, 256: far}))
    result = restorer_over(backend, PredictConfig(long_side=0, overview_long_side=200))(page())
    assert [max(shape) for shape in backend.tiles] == [448, 256]
    assert (result.occluders, result.located.shape) == (found, (300, 420))
    if found:
        # The overview is enlarged again: its border is as coarse as its pixels.
        assert abs(int(result.located.sum()) - 100 * 110) < 2 * 2 * (100 + 100 + 110)


@pytest.mark.parametrize(
    ("mode", "gated", "overview"),
    [("auto", True, 0), ("auto", True, 420), ("auto", True, 4000), ("auto", False, 200), ("tiles", True, 200),
     ("full", True, 200)],
)
def test_one_look_where_a_second_is_not_asked_for_or_shows_nothing_new(mode, gated, overview):
    backend = StandIn(red_found_with(dict.fromkeys(range(1, 500), 1)) if gated else brighten, gated=gated)
    restorer_over(backend, PredictConfig(long_side=0, overview_long_side=overview), mode=mode)(page())
    assert len(backend.tiles) == (4 if mode == "tiles" else 1)


def test_a_locator_sees_whole_copies_whose_sides_are_steps_of_32():
    """A blob in one corner of a photo of odd size comes back in that corner, from the mean of two looks, each
    also mirrored."""
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
    sizes = {(3770, 2811, 512): (512, 384), (2811, 3770, 320): (224, 320), (100, 60, 512): (96, 64),
             (5, 4000, 512): (32, 512)}  # fmt: skip
    assert {arguments: look_size(*arguments) for arguments in sizes} == sizes


def test_what_would_vanish_stays_as_it_is_and_nothing_far_from_the_outline_changes():
    flat, mask = np.full((60, 60, 3), 0.7, np.float32), np.zeros((60, 60), np.uint8)
    mask[28:31, 28:31] = 1
    assert np.array_equal(follow_edges(mask, flat), mask)
    truth = np.zeros((120, 140), np.uint8)
    cv2.ellipse(truth, (70, 120), (35, 60), 0, 0, 360, 1, -1)
    picture = np.where(truth[..., None] > 0, HAND, PAGE) + np.random.default_rng(1).normal(0, 0.2, (120, 140, 3))
    found = follow_edges(truth, picture.astype(np.float32))
    distance = cv2.distanceTransform(truth, cv2.DIST_L2, 5) + cv2.distanceTransform(1 - truth, cv2.DIST_L2, 5)
    assert np.array_equal(found[distance > BAND], truth[distance > BAND])


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (7, 2), (40, 50)])
@pytest.mark.parametrize("part", ["all", "none", "half"])
def test_any_size_and_any_mask(shape, part):
    mask = np.zeros(shape, np.uint8)
    mask[:, : {"none": 0, "half": (shape[1] + 1) // 2}.get(part, shape[1])] = 1
    before = mask.copy()
    found = follow_edges(mask, np.random.default_rng(1).random((*shape, 3), np.float32))
    assert np.array_equal(mask, before)
    assert (found.shape, found.dtype) == (shape, np.uint8)
    assert found.max(initial=0) <= 1
    assert part == "half" or np.array_equal(found, mask)
    for value in (0, 1):
        assert len(occluders_from_probability(np.full(shape, value, np.float32), OcclusionRules())) == value


ROWS, COLUMNS = np.mgrid[:1000, :760]
SHAPES = {
    "triangle in a corner": ROWS + COLUMNS < 240,
    "hand over a corner": (((999 - ROWS) / 400) ** 2 + (COLUMNS / 120) ** 2) < 1,
    "head from above": (ROWS < 200) & (COLUMNS >= 250) & (COLUMNS < 400),
    "head a little below": (ROWS >= 5) & (ROWS < 200) & (COLUMNS >= 250) & (COLUMNS < 400),
    "hand from the left": (ROWS >= 250) & (ROWS < 400) & (COLUMNS < 200),
    "strip of fingers": (COLUMNS >= 700) & (ROWS >= 200) & (ROWS < 700),
    "palm along the bottom": ROWS >= 890,
    "table on all sides": (ROWS < 70) | (ROWS >= 920) | (COLUMNS < 60) | (COLUMNS >= 680),
    "table on three sides": (ROWS < 90) | (COLUMNS < 110) | (COLUMNS >= 690),
    "table on two sides": (ROWS >= 930) | (COLUMNS < 60),
    "thin line": (COLUMNS >= 720) & (ROWS >= 50),
}


def found_in(probability: np.ndarray, **rules: float) -> list[np.ndarray]:
    return occluders_from_probability(probability.astype(np.float32), OcclusionRules(**rules))


@pytest.mark.parametrize("name", SHAPES)
def test_over_a_corner_or_along_a_side_it_must_be_certain_and_a_table_round_the_page_stays_however_certain(name):
    shape, is_table = SHAPES[name], name.startswith(("table", "thin"))
    found = found_in(shape * (0.999 if is_table else 0.95))
    assert [mask.tolist() for mask in found] == ([] if is_table else [shape.astype(int).tolist()])
    if name in ("strip of fingers", "palm along the bottom"):
        assert found_in(shape * 0.75) == []


def test_inside_it_must_be_more_certain_and_the_dim_rim_of_one_goes_along():
    """A printed photograph; a nail is dimmer than its finger."""
    inside, finger, nail = np.zeros((3, 200, 300), bool)
    inside[60:140, 60:140] = finger[:80, 100:140] = nail[80:90, 110:130] = True
    for certainty, rules, expected in [(0.9, {}, 0), (0.99, {}, 1), (0.9999, {"inner_confidence": 1.1}, 0)]:
        assert len(found_in(certainty * inside, **rules)) == expected
    (both,) = found_in(0.95 * finger + 0.25 * nail, threshold=0.2)
    assert np.array_equal(both, finger | nail)
    assert found_in(0.25 * finger, threshold=0.2) == []


def test_beside_a_table_a_corner_is_more_of_it_and_a_hand_is_still_an_occluder():
    table, corner = SHAPES["table on three sides"] & (ROWS < 700), SHAPES["triangle in a corner"][::-1, ::-1]
    hand = (ROWS >= 800) & (COLUMNS >= 300) & (COLUMNS < 450)
    counts = [[int(mask.sum()) for mask in found_in(0.95 * shape)] for shape in (corner, table | corner, table | hand)]
    assert counts == [[corner.sum()], [], [200 * 150]]
