"""Borders that pass under something: found where they are, and not made up from shadows, noise and little."""

import cv2
import numpy as np
import pytest

from inference.fill.borders import BorderRules, Line, _shows_where_it_enters, at_the_edge, straight_areas

HEIGHT, WIDTH = 150, 200
ONE_AREA = np.zeros((HEIGHT, WIDTH), np.int32)
PAGE, DESK = (225, 222, 215), (120, 75, 45)
POINTS = np.stack(np.meshgrid(np.arange(60.0), np.arange(40.0)), 2).reshape(-1, 2)


def ring(centre: tuple[int, int] = (100, 75), radius: int = 40, width: int = 25) -> np.ndarray:
    """bool [HEIGHT, WIDTH], what is seen around a disc."""
    inner, outer = (cv2.circle(np.zeros((HEIGHT, WIDTH), np.uint8), centre, r, 1, -1) for r in (radius, radius + width))
    return (outer > 0) & (inner == 0)


def sheet(*corners: tuple[int, int]) -> np.ndarray:
    """uint8 [HEIGHT, WIDTH, 3]: a sheet with these corners on a desk, with some noise."""
    picture = np.full((HEIGHT, WIDTH, 3), DESK, np.uint8)
    cv2.fillPoly(picture, [np.array(corners, np.int32)], PAGE)
    noise = np.random.default_rng(1).normal(0, 4, picture.shape)
    return np.clip(picture + noise, 0, 255).astype(np.uint8)


def areas_of(picture: np.ndarray, seen: np.ndarray, **rules) -> np.ndarray:
    return straight_areas(picture, picture, seen, seen, np.zeros(seen.shape, np.int32), BorderRules(**rules))


@pytest.mark.parametrize("corners", [
    [(-9, -9), (209, -9), (209, 70), (-9, 90)],  # one border, not along a side of the picture
    [(80, 160), (110, -9), (209, -9), (209, 160)],
])  # fmt: skip
def test_under_the_hole_the_areas_are_sheet_and_desk(corners):
    picture, seen = sheet(*corners), ring()
    truth = picture[..., 2] > 130
    areas = areas_of(np.where(seen[..., None], picture, 0), seen)
    assert areas.max() >= 1
    shares = np.array([truth[seen & (areas == area)].mean() for area in range(areas.max() + 1)])
    assert ((shares > 0.95) | (shares < 0.05)).all()
    hidden = cv2.circle(np.zeros((HEIGHT, WIDTH), np.uint8), (100, 75), 40, 1, -1) > 0
    assert ((shares > 0.5)[areas] == truth)[hidden].mean() > 0.98


def edge_rows(areas: np.ndarray) -> np.ndarray:
    """At which row the areas change, column by column."""
    return (np.diff(areas, axis=0) != 0).argmax(0)


@pytest.mark.parametrize(("steps", "is_moved"), [("clear", True), ("none", False), ("ragged", False), ("few", False)])
def test_a_border_lies_where_the_picture_steps(steps, is_moved):
    """What was coarsely found is six pixels too low; unless the sharp picture tells better, that stays."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    low = rows > 66 + columns / 10
    picture = np.where(low[..., None], DESK, PAGE).astype(np.uint8)
    moved = rows > {"ragged": 60 + 11 * (columns // 3 % 2)}.get(steps, 60) + columns / 10
    sharp = np.where(moved[..., None], DESK, PAGE).astype(np.uint8) if steps != "none" else picture
    seen = ring()
    sharp[:, 46 if steps == "few" else WIDTH :] = PAGE
    found = edge_rows(straight_areas(picture, sharp, seen, seen, ONE_AREA, BorderRules()))
    assert np.abs(found - (60 if is_moved else 66) - np.arange(WIDTH) / 10).max() <= (1 if is_moved else 3)


def test_a_slope_of_light_noise_and_a_spot_are_no_borders():
    slope = np.repeat(np.linspace(90, 250, WIDTH)[None, :, None], HEIGHT, 0) * np.ones(3)
    spot = cv2.circle(np.full((HEIGHT, WIDTH, 3), PAGE, np.uint8), (148, 75), 4, (0, 0, 0), -1)
    noise = np.random.default_rng(2).integers(0, 256, (HEIGHT, WIDTH, 3))
    edge = sheet((-9, -9), (112, -9), (105, 85), (-9, 72))
    bold, usual, never = {"unexplained": 0.9}, {}, {"depth": 0}
    for picture, rules in ((slope, bold), (noise, bold), (spot, usual), (edge, never)):
        assert not areas_of(np.asarray(picture, np.uint8), ring(), **rules).any()


@pytest.mark.parametrize(("left", "is_border"), [(0.62, True), (0.75, False)])
def test_two_sides_explain_a_good_part_of_what_is_seen(left, is_border):
    """`left` is the share of the variance that is noise."""
    noise = np.random.default_rng(3).normal(0, 20 * np.sqrt(left / (1 - left)), (HEIGHT, WIDTH, 3))
    picture = np.where(np.arange(WIDTH)[:, None] > 100, 170, 130) + noise
    assert areas_of(np.clip(picture, 0, 255).astype(np.uint8), ring()).any() == is_border


@pytest.mark.parametrize(("rows", "is_border"), [(11, False), (13, True)])
def test_a_few_points_have_no_border(rows, is_border):
    picture = np.full((rows, 5, 3), 200, np.uint8)
    picture[:, :3] = 0
    assert areas_of(picture, np.ones((rows, 5), bool)).any() == is_border


@pytest.mark.parametrize(("step", "is_border"), [(0.25, False), (0.33, True)])
def test_at_a_border_the_colours_step_at_once(step, is_border):
    across = POINTS[:, :1] - 30
    colours = 60 * np.where(across > 8, 1, np.where(across > 0, step, 0)) * np.ones(3)
    assert _shows_where_it_enters(POINTS, colours, Line(0.0, 30.0), BorderRules()) == is_border


def test_of_sixteen_areas_eight_are_told_apart():
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    sides = abs(columns - 100) > 50, abs(rows - 75) > 37, columns > 100, rows > 75
    tones = sum(12 * 3**level * np.where(side, 1, -1) for level, side in enumerate(sides))
    assert areas_of(np.repeat(tones[..., None], 3, 2).astype(np.float32), rows >= 0, telling=0).max() == 7


@pytest.mark.parametrize(
    ("columns", "ragged", "is_moved"), [(8, 0, True), (7, 0, False), (60, 1, True), (60, 2, False)]
)
def test_a_line_is_moved_to_enough_steps_that_lie_straight(columns, ragged, is_moved):
    rows = np.arange(HEIGHT)[:, None] + ragged * (np.arange(WIDTH) // 5 % 2 * 2 - 1)
    picture = np.where((rows > 60)[..., None], DESK, PAGE).astype(np.uint8)
    seen = np.zeros((HEIGHT, WIDTH), bool)
    seen[:, 20 : 20 + columns] = True
    line = at_the_edge(Line(np.pi / 2, 64.0), 8, picture, seen, BorderRules())
    assert abs(line.distance(np.array([50.0, 60.5]))) < 1 if is_moved else line == Line(np.pi / 2, 64.0)


def test_nothing_is_divided_of_which_one_side_hardly_shows_near_the_hole():
    picture, seen = sheet((-9, -9), (112, -9), (112, 160), (-9, 160)), ring()
    near = seen & (np.arange(WIDTH) < 116)
    areas = [straight_areas(picture, picture, seen, part, ONE_AREA, BorderRules()).any() for part in (seen, near)]
    assert areas == [True, False]


@pytest.mark.parametrize(("step", "is_divided"), [(35, False), (60, True)])
def test_areas_that_are_known_stay_and_are_divided_where_much_of_the_variance_lies(step, is_divided):
    """A sheet, known from the desk, with a tint on its right half."""
    known = np.int32(np.arange(HEIGHT)[:, None] > 75) + ONE_AREA
    picture = np.where(known[..., None] > 0, DESK, PAGE) - step * ((known == 0) & (np.arange(WIDTH) > 100))[..., None]
    areas = straight_areas(np.uint8(picture), np.uint8(picture), ring(), ring(), known, BorderRules())
    assert np.array_equal(areas[76:], known[76:])
    assert (areas[:76] != 0).any() == is_divided
