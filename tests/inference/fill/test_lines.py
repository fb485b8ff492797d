"""Lines that go on under something: drawn where they are, and none from letters, ends, and lines that do not meet."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from inference.fill.lines import LineRules, draw_lines, ruled_lines

HEIGHT, WIDTH = 200, 260
PAPER = 220
RULES = LineRules()
HOLE = cv2.circle(np.zeros((HEIGHT, WIDTH), np.uint8), (130, 100), 45, 1, -1) > 0


def page(*lines: tuple[tuple[float, float], tuple[float, float], int], thickness: int = 1) -> np.ndarray:
    """uint8 [HEIGHT, WIDTH, 3], lines (from, to, grey) on paper with a little noise."""
    picture = np.full((HEIGHT, WIDTH, 3), PAPER, np.uint8)
    for start, stop, grey in lines:
        ends = (tuple(round(16 * value) for value in end) for end in (start, stop))
        cv2.line(picture, *ends, (grey,) * 3, thickness, cv2.LINE_AA, shift=4)
    noise = np.random.default_rng(1).normal(0, 2, picture.shape)
    return np.clip(picture + noise, 0, 255).astype(np.uint8)


def found_in(picture: np.ndarray, rules: LineRules = RULES) -> list:
    blind = np.where(HOLE[..., None], 90, picture)
    return ruled_lines(blind.astype(np.float32) - PAPER, HOLE, rules)


@pytest.mark.parametrize("grey", [20, 160, 250])
@pytest.mark.parametrize(
    ("start", "stop"),
    [((-5, 100), (265, 100)), ((-5, 80.4), (265, 113.7)), ((131, -5), (128, 205)), ((20, -5), (230, 205))],
)
def test_a_line_is_drawn_through_the_hole_where_it_was(start, stop, grey):
    picture = page((start, stop, grey))
    lines = found_in(picture)
    assert len(lines) == 1
    drawn = np.full(picture.shape, PAPER, np.float32)
    paper = drawn.copy()
    draw_lines(drawn, paper, HOLE, lines)
    assert np.array_equal(drawn[~HOLE], paper[~HOLE])
    # Next to the hole's rim the profile is the mean of what follows.
    error, without = (np.abs(made - picture)[HOLE].mean() for made in (drawn, paper))
    noise = np.abs(page() - float(PAPER))[HOLE].mean()
    assert error - noise < 0.5 * (without - noise)


@pytest.mark.parametrize("thickness", [1, 2, 3])
@pytest.mark.parametrize("tilt", [0, 8])
def test_close_rules_stay_apart_and_whole_where_they_cross(thickness, tilt):
    rows = [((-5, y - tilt), (265, y + tilt), 40) for y in (70, 90, 110, 130)]
    columns = [((x + tilt, -5), (x - tilt, 205), 40) for x in (105, 150)]
    picture = page(*rows, *columns, thickness=thickness)
    lines = found_in(picture)
    assert len(lines) == 6
    drawn = np.full(picture.shape, PAPER, np.float32)
    draw_lines(drawn, np.full_like(drawn, PAPER), HOLE, lines)
    dark, truth = drawn.mean(2) < 130, picture.mean(2) < 130
    near = cv2.dilate(truth.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    assert dark[HOLE & truth].mean() > 0.7
    assert not (dark & HOLE & ~near).any()


def test_broad_close_rules_go_on_to_themselves():
    hole = np.zeros((HEIGHT, WIDTH), bool)
    hole[:, 80:180] = True
    picture = page(*[((-5, y), (265, y), 40) for y in range(20, 190, 20)], thickness=3)
    lines = ruled_lines(picture.astype(np.float32) - PAPER, hole, RULES)
    assert max(abs(line.ends[0, 1] - line.ends[1, 1]) for line in lines) < 4


def test_what_the_hole_shows_does_not_matter():
    picture = page(((-5, 60), (265, 66), 60), ((-5, 120), (265, 120), 170)).astype(np.float32)
    made = []
    for tone in (0, 90, 220, 255):
        rest = np.where(HOLE[..., None], tone, picture).astype(np.float32) - PAPER
        made.append([(line.ends.tolist(), line.profiles.tolist()) for line in ruled_lines(rest, HOLE, RULES)])
    assert len(made[0]) == 2
    assert made[1:] == made[:1] * 3


@pytest.mark.parametrize(
    "lines",
    [
        [((-5, 100), (120, 100), 30)],  # ends under the hole
        [((-5, 90), (120, 90), 30), ((140, 112), (265, 112), 30)],  # two that do not meet
        [((-5, 100), (120, 100), 30), ((140, 100), (265, 100), 250)],  # dark here, light there
        [((-5, 100), (265, 100), PAPER - 5)],  # too faint
    ],
)
def test_what_does_not_go_on_is_not_drawn(lines):
    assert not found_in(page(*lines))


def test_a_broad_bar_and_letters_in_rows_are_no_lines():
    assert not found_in(page(((-5, 100), (265, 100), 30), thickness=15))
    picture = page()
    for y in range(20, HEIGHT, 16):
        cv2.putText(picture, "the quick brown fox jumps over it", (2, y), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (30,) * 3, 1)
    assert not found_in(picture)


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (70, 2), (40, 50)])
def test_any_size(shape):
    rest = np.random.default_rng(1).normal(0, 60, (*shape, 3)).astype(np.float32)
    hole = np.zeros(shape, bool)
    hole[:, shape[1] // 3 : shape[1] // 2 + 1] = True
    for line in ruled_lines(rest, hole, LineRules(votes=3, support=2, band=5)):
        assert np.isfinite(line.profiles).all()
