"""The outline goes to the edge that the picture shows, and nowhere where it shows none."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from inference.find.outline import OutlineRules, _guided, follow_edges

RULES = OutlineRules()
PAGE, HAND = (0.9, 0.88, 0.85), (0.8, 0.55, 0.45)


def scene(height: int = 120, width: int = 140, noise: float = 0.01) -> tuple[np.ndarray, np.ndarray]:
    """(float32 picture, uint8 mask): a hand's ellipse that comes in from below on a page."""
    mask = np.zeros((height, width), np.uint8)
    cv2.ellipse(mask, (width // 2, height), (width // 4, height // 2), 0, 0, 360, 1, -1)
    picture = np.where(mask[..., None] > 0, HAND, PAGE)
    picture = picture + np.random.default_rng(1).normal(0, noise, picture.shape)
    return picture.astype(np.float32), mask


def wrong(found: np.ndarray, truth: np.ndarray) -> float:
    return (found != truth).sum() / truth.sum()


@pytest.mark.parametrize("change", ["wider", "narrower", "moved"])
def test_an_outline_some_pixels_off_goes_where_the_colours_change(change):
    picture, truth = scene()
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (7, 7))
    mask = {
        "wider": cv2.dilate(truth, disc),
        "narrower": cv2.erode(truth, disc),
        "moved": np.roll(truth, 3, axis=1),
    }[change]
    assert wrong(mask, truth) > 0.09
    assert wrong(follow_edges(mask, picture, RULES), truth) < wrong(mask, truth) / 2


def test_a_right_outline_stays():
    picture, truth = scene()
    assert wrong(follow_edges(truth, picture, RULES), truth) < 0.01


def test_where_the_picture_shows_no_edge_the_outline_stays_as_well():
    _, truth = scene()
    flat = np.full((*truth.shape, 3), 0.7, np.float32)
    assert wrong(follow_edges(truth, flat, RULES), truth) < 0.08


def test_what_would_vanish_stays_as_it_is():
    flat, mask = np.full((60, 60, 3), 0.7, np.float32), np.zeros((60, 60), np.uint8)
    mask[28:31, 28:31] = 1
    assert np.array_equal(follow_edges(mask, flat, RULES), mask)


def test_nothing_far_from_the_outline_changes():
    picture, truth = scene(noise=0.2)
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
    assert set(np.unique(found)) <= {0, 1}
    if part != "half":
        assert np.array_equal(found, mask)


def test_the_filter_is_the_least_squares_fit_of_every_window():
    rules = OutlineRules(radius=2, smoothness=1e-3)
    generator = np.random.default_rng(2)
    guide, values = generator.random((12, 13, 3)), generator.random((12, 13))
    found = _guided(values, guide, rules)
    padded = [np.pad(plane, [(4, 4), (4, 4)] + [(0, 0)] * (plane.ndim - 2), "symmetric") for plane in (guide, values)]
    fits = {}
    for row in range(-2, 14):
        for column in range(-2, 15):
            window = (slice(row + 2, row + 7), slice(column + 2, column + 7))
            colours, wanted = padded[0][window].reshape(-1, 3), padded[1][window].reshape(-1)
            colour, mean = colours.mean(0), wanted.mean()
            spread = (colours - colour).T @ (colours - colour) / 25 + rules.smoothness * np.eye(3)
            slope = np.linalg.solve(spread, (colours - colour).T @ (wanted - mean) / 25)
            fits[row, column] = (slope, mean - slope @ colour)
    for row in range(2, 10):
        for column in range(2, 11):
            near = [fits[row + y, column + x] for y in range(-2, 3) for x in range(-2, 3)]
            slope, offset = (np.mean([fit[part] for fit in near], axis=0) for part in (0, 1))
            assert found[row, column] == pytest.approx(slope @ guide[row, column] + offset, abs=1e-4)
