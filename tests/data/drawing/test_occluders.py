"""Drawn hands and heads: size, root, edge, colours, repeatability."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest

from data.drawing.occluders import draw_hand, draw_head
from data.masks import blobs

Drawer = Callable[[np.random.Generator, int], np.ndarray]
BOTH = pytest.mark.parametrize("draw", [draw_hand, draw_head])


@pytest.fixture(scope="module")
def hands() -> list[np.ndarray]:
    return [draw_hand(np.random.default_rng(seed), 300) for seed in range(30)]


@pytest.fixture(scope="module")
def heads() -> list[np.ndarray]:
    return [draw_head(np.random.default_rng(seed), 300) for seed in range(16)]


@BOTH
@pytest.mark.parametrize("long_side", [32, 57, 200, 720])
def test_the_longest_side_is_what_was_asked(draw: Drawer, long_side: int) -> None:
    for seed in range(3):
        drawn = draw(np.random.default_rng(seed), long_side)
        assert max(drawn.shape[:2]) == long_side
        assert drawn.shape[2] == 4
        assert drawn.dtype == np.uint8


@BOTH
def test_the_same_seed_gives_the_same_bytes(draw: Drawer) -> None:
    first = draw(np.random.default_rng(9), 160)
    np.random.seed(3)  # noqa: NPY002 - the global state must not matter
    assert np.array_equal(first, draw(np.random.default_rng(9), 160))
    other = draw(np.random.default_rng(10), 160)
    assert first.shape != other.shape or not np.array_equal(first, other)


def test_cut_outs_are_tight_and_stand_on_their_root(hands: list[np.ndarray], heads: list[np.ndarray]) -> None:
    """All four sides are touched; the root at the bottom is wide and solid, the top is a fingertip or hair."""
    for drawn in hands + heads:
        solid = drawn[..., 3] > 127
        for side in (solid[:2], solid[-2:], solid[:, :2], solid[:, -2:]):
            assert side.any()
        assert solid[-2].sum() > 1.5 * solid[0].sum()
    for head in heads:
        assert (head[-2, :, 3] > 127).mean() > 0.8, "shoulders fill the bottom edge"


def test_the_edge_is_hard_and_the_inside_is_solid(hands: list[np.ndarray], heads: list[np.ndarray]) -> None:
    for drawn in hands + heads:
        alpha = drawn[..., 3]
        soft = ((alpha > 8) & (alpha < 247)).mean()
        assert soft < 0.08
        assert 0.15 < (alpha > 127).mean() < 0.98


def test_a_head_is_one_piece(heads: list[np.ndarray]) -> None:
    for head in heads:
        found = blobs((head[..., 3] > 127).astype(np.uint8))
        assert found[0][4] > 0.995 * sum(blob[4] for blob in found)


def test_every_piece_of_a_hand_reaches_the_root(hands: list[np.ndarray]) -> None:
    """A hand comes from outside the frame: no finger floats on the page."""
    for hand in hands:
        for _, top, _, height, area in blobs((hand[..., 3] > 127).astype(np.uint8)):
            assert top + height == hand.shape[0] or area < 20


def test_hands_have_the_colours_of_skin(hands: list[np.ndarray]) -> None:
    luma = []
    for hand in hands:
        red, green, blue = np.median(hand[hand[..., 3] > 200][:, :3].astype(float), axis=0)
        assert red > green > 0.8 * blue
        assert red - blue > 8
        luma.append(green)
    assert max(luma) - min(luma) > 50, "light and dark skin both occur"


def test_hands_are_shaded_like_round_things(hands: list[np.ndarray]) -> None:
    """The rim is darker than the middle, and the skin is nowhere a flat colour."""
    darker = 0
    for hand in hands:
        green, solid = hand[..., 1].astype(float), (hand[..., 3] > 250).astype(np.uint8)
        depth = _depth(solid)
        rim, middle = green[(depth > 1) & (depth < 5)].mean(), green[depth > 12].mean()
        darker += rim < middle
        assert green[depth > 12].std() > 2
    assert darker >= 0.9 * len(hands)


def _depth(solid: np.ndarray) -> np.ndarray:
    # The root is cut through flesh, so it has no rim.
    padded = np.pad(solid, ((1, 40), (1, 1)), mode="constant")
    padded[-40:] = padded[-41]
    return cv2.distanceTransform(padded, cv2.DIST_L2, 5)[1:-40, 1:-1]


def test_from_one_finger_to_a_whole_hand(hands: list[np.ndarray]) -> None:
    """Crossing a hand just below its tips meets one to five fingers; all through 30 hands, several counts occur."""
    counts = set()
    for hand in hands:
        solid = hand[..., 3] > 127
        crossings = [int((np.diff(row.astype(int)) == 1).sum() + row[0]) for row in solid[: len(solid) // 2 : 4]]
        counts.add(max(crossings))
    assert {1, 2} <= counts
    assert max(counts) >= 4
    assert max(counts) <= 5


def test_heads_come_in_colour_and_in_grey(heads: list[np.ndarray]) -> None:
    """A quarter or so is black and white but for the sensor's noise."""
    colourful = [np.ptp(head[head[..., 3] > 200][:, :3].astype(int), axis=1).mean() > 8 for head in heads]
    assert any(colourful)
    assert not all(colourful)


@BOTH
def test_too_small_is_refused(draw: Drawer) -> None:
    with pytest.raises(ValueError, match="long_side is 31, expected at least 32"):
        draw(np.random.default_rng(0), 31)
