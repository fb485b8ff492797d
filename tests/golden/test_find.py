"""From probabilities to occluders, and their outline: for each rule something on either side of its border.

The rules look at rectangles of one probability each, (top, left, bottom, right, probability) on 1000 x 800, since those
have round numbers: one of a x b that lies with a at the picture's border has a contact of the square root of a / b.
"""

import cv2
import numpy as np
import pytest

from inference.find import OcclusionRules, follow_edges, occluders_from_probability, visible_changes
from tests.golden import pictures
from tests.golden.recorded_values import grid, sha

Boxes = list[tuple[int, int, int, int, float]]
SHAPE = (800, 1000)
SCENES: dict[str, Boxes] = {
    "wide": [(600, 100, 800, 200, 0.55), (600, 300, 800, 400, 0.45), (0, 700, 200, 800, 0.62)],
    "contact": [(389, 100, 800, 130, 0.7), (433, 300, 800, 340, 0.7)],
    "narrow": [(389, 100, 800, 125, 0.95), (433, 300, 800, 325, 0.8)],
    "strip": [(750, 100, 800, 300, 0.7), (758, 500, 800, 740, 0.7)],
    "strip confidence": [(758, 100, 800, 400, 0.92), (758, 500, 800, 800, 0.8)],
    "line": [(775, 100, 800, 500, 0.95), (0, 100, 20, 600, 0.95)],
    "table": [(0, 0, 123, 520, 0.95), (0, 0, 420, 123, 0.95)],
    "wide table": [(0, 0, 83, 520, 0.95), (0, 0, 420, 83, 0.95)],
    "piece of a table": [(0, 0, 50, 520, 0.95), (0, 0, 420, 50, 0.95), (758, 500, 800, 740, 0.95),
                         (750, 780, 800, 980, 0.95), (400, 900, 520, 1000, 0.95)],
    "half": [(0, 0, 800, 560, 0.7)],
    "small": [(730, 100, 800, 171, 0.7), (722, 300, 800, 380, 0.7)],
    "small confidence": [(740, 100, 800, 160, 0.92), (740, 300, 800, 360, 0.8)],
    "inner": [(300, 100, 400, 200, 0.985), (300, 400, 400, 500, 0.95), (300, 700, 400, 800, 0.9)],
    "speck": [(300, 100, 310, 114, 0.99), (300, 400, 310, 418, 0.99), (790, 700, 800, 714, 0.99)],
    "border": [(735, 100, 795, 400, 0.95), (734, 500, 794, 800, 0.95)],
    "rim": [(600, 100, 800, 300, 0.45), (600, 500, 800, 700, 0.35), (620, 120, 800, 280, 0.9),
            (620, 520, 800, 680, 0.9)],
    "holes": [(600, 100, 800, 300, 0.8), (640, 120, 671, 240, 0.1), (690, 130, 720, 274, 0.1),
              (600, 500, 800, 700, 0.8), (640, 520, 655, 680, 0.1), (660, 520, 686, 680, 0.1),
              (700, 600, 800, 640, 0.1)],
}  # fmt: skip


def _probability(boxes: Boxes, shape: tuple[int, int] = SHAPE) -> np.ndarray:
    probability = np.full(shape, 0.02, np.float32)
    for top, left, bottom, right, value in boxes:
        probability[top:bottom, left:right] = value
    return probability


def _occluders(probability: np.ndarray, threshold: float = 0.4) -> list[object]:
    """Of what is removed; the gated weights ask for a threshold of 0.4."""
    return _told(occluders_from_probability(probability, OcclusionRules(threshold=threshold)))


def _told(masks: list[np.ndarray]) -> list[object]:
    return [[int(mask.sum()), [int(side) for side in cv2.boundingRect(mask)], sha(mask)] for mask in masks]


@pytest.mark.parametrize("name", SCENES)
def test_the_recorded_blobs_are_occluders(golden, name):
    golden(f"find/rules/{name}", _occluders(_probability(SCENES[name])))


def test_blobs_are_joined_over_the_recorded_gap(golden):
    """On 2000 x 1600, where a fifth of the gap is a pixel or more on either side."""
    boxes = [(1400, 200, 1600, 400, 0.7), (1300, 200, 1389, 400, 0.7),
             (1400, 800, 1600, 1000, 0.7), (1300, 800, 1386, 1000, 0.7)]  # fmt: skip
    golden("find/gap", _occluders(_probability(boxes, (1600, 2000))))


def test_a_network_without_a_gate_has_removed_what_it_visibly_changed(golden):
    picture = np.full((200, 240, 3), 0.5, np.float32)
    output = picture.copy()
    for column, steps in ((10, 1.7), (70, 2.1), (130, 2.5)):
        output[40:90, column : column + 50] += np.float32(steps / 255)
    output[150:153, 20:23] = output[60:75, 80:95] = 0.5
    output[150:152, 60:64] = 0.9
    golden("find/visible", _told([visible_changes(picture, output, OcclusionRules())]))


def _outlined() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Pictures, and masks that are wrong by a few pixels, too large, too small, on nothing, or on noise."""
    shape, scenes = (220, 260), {}
    discs = {"true": (130, 220, 80), "moved": (134, 223, 80), "larger": (130, 220, 88), "smaller": (130, 220, 75)}
    masks = {name: cv2.circle(np.zeros(shape, np.uint8), (x, y), r, 1, -1) for name, (x, y, r) in discs.items()}
    true = masks.pop("true")
    sharp = np.where(true[..., None] == 1, np.uint8(pictures.SKIN), pictures.flat(*shape))
    faint = np.where(true[..., None] == 1, np.uint8([228, 216, 206]), pictures.flat(*shape))
    for name, mask in masks.items():
        scenes[name] = (pictures.speckled(sharp, 1), mask)
        scenes[f"{name}, faint"] = (pictures.speckled(faint, 2, 3), mask)
    fingers = np.zeros(shape, np.uint8)
    for column in (40, 100, 160, 220):
        cv2.line(fingers, (column, 60), (column, 219), 1, 12)
    shown = np.where(fingers[..., None] == 1, np.uint8(pictures.SKIN), pictures.flat(*shape))
    fingers[100:111] = fingers[160:172] = 0
    scenes["gaps"] = (pictures.speckled(shown, 4), fingers)
    scenes["blank"] = (pictures.flat(*shape), true)
    corner = np.zeros(shape, np.uint8)
    corner[120:, 150:] = 1
    scenes["blank corner"] = (pictures.speckled(pictures.flat(*shape), 3, 1), corner)
    return scenes


@pytest.mark.parametrize("name", _outlined())
def test_an_outline_goes_to_the_recorded_edge(golden, name):
    """A few pixels of some twenty thousand may fall to the other side of a float's rounding."""
    picture, mask = _outlined()[name]
    moved = follow_edges(mask, picture.astype(np.float32) / np.float32(255))
    golden(f"outline/{name}/area", int(moved.sum()), absolute=4)
    golden(f"outline/{name}/parts", grid(moved, 6), absolute=3e-3)
