"""Borders of which the ends are seen go on under the hole, and what only looks like one does not."""

import cv2
import numpy as np
import pytest

from inference.fill.crossings import CrossingRules, _Crossing, _join, joined_areas
from inference.fill.patches import PageRules, carry_page_on
from inference.paste import PasteRules

HEIGHT, WIDTH = 200, 300
PAGE, DESK, CLOTH = (225, 222, 215), (120, 75, 45), (40, 60, 110)
ROWS, COLUMNS = np.mgrid[:HEIGHT, :WIDTH]
DISC = (COLUMNS - 150) ** 2 + (ROWS - 100) ** 2 <= 50**2
FINGERS = np.maximum(abs(COLUMNS - 150) - 60, 0) ** 2 + np.maximum(80 - ROWS, 0) ** 2 <= 25**2  # From the lower side


def painted(*layers: tuple[np.ndarray, tuple[int, int, int]], noise: float = 3) -> np.ndarray:
    """uint8 [HEIGHT, WIDTH, 3]: the desk, with colours where a layer (bool) is true, and noise."""
    picture = np.full((HEIGHT, WIDTH, 3), DESK, np.float64)
    for where, colour in layers:
        picture[where] = colour
    return np.clip(picture + np.random.default_rng(1).normal(0, noise, picture.shape), 0, 255).astype(np.uint8)


def areas_of(picture: np.ndarray, hole: np.ndarray, scale: float = 1, **rules) -> np.ndarray:
    """What lies under the hole is another colour; it may be seen 32 pixels around, at the rules' size."""
    covered = np.where(hole[..., None], (200, 150, 120), picture).astype(np.uint8)
    beyond = cv2.distanceTransform(1 - np.uint8(hole), cv2.DIST_L2, 5)
    beyond[hole] = -1
    return joined_areas(covered, beyond, (beyond > 0) & (beyond <= 32 * scale), scale, CrossingRules(**rules))


def agreement(areas: np.ndarray, truth: np.ndarray, hole: np.ndarray) -> float:
    """Share of the hole in which two areas are the true two sides (bool)."""
    near = cv2.dilate(np.uint8(hole), np.ones((41, 41), np.uint8)) > 0
    on_page = np.array([truth[near & ~hole & (areas == area)].mean() > 0.5 for area in range(areas.max() + 1)])
    return float((on_page[areas] == truth)[hole].mean())


@pytest.mark.parametrize("corners", [
    [(-9, -9), (165, -9), (158, 110), (-9, 97)],  # of the sheet
    [(-9, -9), (175, -9), (170, 125), (-9, 130)],
    [(135, 260), (140, 90), (340, 80), (340, 260)],
    [(-9, -9), (340, -9), (340, 260), (170, 260), (160, 105), (-9, 85)],  # of the desk
    [(-9, -9), (340, -9), (340, 95), (-9, 115)],  # and a border without one
])  # fmt: skip
@pytest.mark.parametrize("scale", [1, 2])
def test_a_corner_and_a_straight_border_go_on(corners, scale):
    sheet = cv2.fillPoly(np.zeros((HEIGHT, WIDTH), np.uint8), [np.array(corners, np.int32)], 1) > 0
    size = (round(WIDTH * scale), round(HEIGHT * scale))
    picture, large, hole = (cv2.resize(np.uint8(plane), size, interpolation=cv2.INTER_NEAREST)
                            for plane in (painted((sheet, PAGE)), sheet, DISC))  # fmt: skip
    areas = areas_of(picture, hole > 0, scale)
    assert areas.max() == 1
    assert agreement(areas, large > 0, hole > 0) > 0.98


@pytest.mark.parametrize(("rise", "joins"), [(0, True), (18, True), (60, False)])
def test_the_edge_of_a_book_bends_under_the_fingers_on_it(rise, joins):
    edge = 130 - rise * (1 - ((COLUMNS - 150) / 150) ** 2)
    page = edge > ROWS
    areas = areas_of(painted((page, PAGE)), FINGERS)
    assert (areas.max() == 1) == joins
    if joins:
        assert agreement(areas, page, FINGERS) > 0.985


@pytest.mark.parametrize(("right", "joins"), [(PAGE, True), ((150, 150, 170), True), (CLOTH, False)])
def test_two_ends_are_one_border_where_one_side_is_alike_and_the_step_has_the_same_sense(right, joins):
    """As where a page lies in shade on one side of the fingers; beside dark cloth it is another border."""
    page = ROWS < 130
    areas = areas_of(painted((page, PAGE), (page & (COLUMNS > 150), right)), FINGERS, lone_step=np.inf, corner=np.inf)
    assert areas.any() == joins


@pytest.mark.parametrize(("step", "joined", "lone"), [(10, False, False), (20, True, False), (40, True, True)])
def test_a_faint_border_needs_both_ends(step, joined, lone):
    picture = painted((ROWS < 130, tuple(np.array(DESK) + step)), noise=1)
    assert areas_of(picture, FINGERS).any() == joined
    assert areas_of(picture, (ROWS > 80) & (COLUMNS > 60)).any() == lone


@pytest.mark.parametrize("reaches_the_side", [True, False])
def test_a_lone_border_goes_straight_on_to_the_pictures_side_and_never_ends_in_the_page(reaches_the_side):
    sheet = COLUMNS < 150 + ROWS / 20
    hole = (ROWS > 90) & (abs(COLUMNS - 150) < 60) & (reaches_the_side | (ROWS < 160))
    if not reaches_the_side:  # A strip of desk, the end of which is hidden.
        sheet |= (ROWS > 120) | (COLUMNS > 190)
    areas = areas_of(painted((sheet, PAGE)), hole)
    assert areas.any() == reaches_the_side
    if reaches_the_side:
        assert agreement(areas, sheet, hole) > 0.98


@pytest.mark.parametrize("far", [False, True])
def test_a_lone_border_ends_at_another_that_is_not_far(far):
    """A fold that goes down to the lower edge of the page."""
    page, fold = ROWS < 160, COLUMNS > 150
    hole = (ROWS > 70) & (abs(COLUMNS - 150) < 60)
    picture = painted((page, PAGE), (page & fold, (160, 160, 170)))
    areas = areas_of(picture, hole, meeting=30 if far else 160)
    assert areas.max() == (1 if far else 2)
    assert len(np.unique(areas[165:, 95:205])) == 1


def test_in_a_clutter_of_edges_there_are_no_corners_and_no_lone_borders():
    corner = (ROWS < 100) & (COLUMNS < 150)
    assert areas_of(painted((corner, PAGE)), DISC).any()
    assert not areas_of(painted((corner, PAGE)), DISC, clutter=1).any()
    assert areas_of(painted((ROWS < 100, PAGE)), DISC, clutter=1).any()


@pytest.mark.parametrize("kind", ["paper", "noise", "slope", "spots", "all hidden"])
def test_where_no_edge_enters_there_is_one_area(kind):
    noise = np.random.default_rng(2).integers(0, 256, (HEIGHT, WIDTH, 3)).astype(np.uint8)
    slope = np.uint8(90 + COLUMNS / 2)[..., None].repeat(3, 2)
    spots = painted(((ROWS % 40 < 8) & (COLUMNS % 40 < 8), PAGE))
    picture = {"noise": noise, "slope": slope, "spots": spots}.get(kind, painted())
    assert not areas_of(picture, DISC | (kind == "all hidden")).any()


def test_beside_a_border_there_is_no_speckle():
    """Of a strip between two blurred borders nearly all is a step, which is no grain."""
    strip = painted((ROWS < 95, PAGE), ((ROWS >= 95) & (ROWS < 109), (170, 160, 150)), noise=0)
    blurred = cv2.GaussianBlur(strip.astype(np.float32), (0, 0), 1.5)
    strip = np.uint8((blurred + np.random.default_rng(1).normal(0, 1, strip.shape)).clip(0, 255))
    covered = np.where(DISC[..., None], np.uint8((200, 150, 120)), strip)
    page = carry_page_on(covered, np.uint8(DISC), PasteRules(), PageRules())
    assert page[97:107, 120:180].std(axis=(0, 1)).max() < 2.5


def test_the_tail_of_a_border_ends_at_the_next_finger_and_no_part_of_it_is_off_by_a_pixel():
    """Of three fingers the outer ones see the edge from both sides; each border begins where the page shows it."""
    hole = (ROWS > 70) & (COLUMNS % 90 > 40)
    page = ROWS < 130 - 12 * (1 - ((COLUMNS - 150) / 150) ** 2)
    areas = areas_of(painted((page, PAGE), noise=1), hole)
    rows = np.array([np.flatnonzero(~page[:, column])[0] for column in range(45, 270)])
    found = np.array([np.flatnonzero(np.diff(areas[60:190, column]))[:1].sum() + 61 for column in range(45, 270)])
    assert np.abs(found - rows)[hole[100, 45:270]].mean() < 1
    assert abs((found - rows)[hole[100, 45:270]].mean()) < 0.3


@pytest.mark.parametrize("count", [5, 20])
def test_of_many_stripes_no_more_than_eight_borders_are_joined(count):
    stripes = (ROWS * count // HEIGHT) % 2 == 0
    hole = abs(COLUMNS - 150) < 30
    assert areas_of(painted((stripes, PAGE), noise=0), hole).max() <= 8


def crossing(x: float, y: float, angle: float, left=PAGE, right=DESK) -> _Crossing:
    """One that goes into the hole at this angle, in radians, from right to down."""
    way = np.array([np.cos(angle), np.sin(angle)])
    return _Crossing(np.array([x, y], np.float64), way, np.array(left, np.float64), np.array(right, np.float64))


@pytest.mark.parametrize(("one", "other", "kind"), [
    (0.07, 0.07, "straight"), (0.09, 0.07, "bend"),
    (0.24, 0.24, "bend"), (0.26, 0.26, "corner"),  # A turn of 0.48 and 0.52
    (0.38, -0.1, "bend"), (0.42, -0.1, None),  # A turn of 0.28 and 0.32; no corner lies ahead of both
    (0.6, 0.6, "corner"),
])  # fmt: skip
def test_what_leads_from_one_crossing_to_the_other(one, other, kind):
    """Both angles are towards the same side of what connects them."""
    joined = _join(crossing(0, 0, one), crossing(100, 0, np.pi - other, DESK, PAGE), True, CrossingRules())
    found = None
    if joined is not None:
        sags = np.abs(joined[1][:, 1])
        kinks = np.abs(np.diff(joined[1], 2, axis=0)).max()
        found = "straight" if sags.max() < 1e-6 else "corner" if kinks > 0.3 else "bend"
    assert found == kind


@pytest.mark.parametrize(("far", "joins"), [(240, True), (260, False)])
def test_a_corner_is_not_far_off(far, joins):
    joined = _join(crossing(0, 0, 0), crossing(far, 50, -np.pi / 2, DESK, PAGE), True, CrossingRules())
    assert (joined is not None) == joins


@pytest.mark.parametrize(("off", "joins"), [(60, True), (75, False)])
def test_one_side_of_two_crossings_is_alike(off, joins):
    """The step is 170, of which 0.4 is 68."""
    shifted = [tuple(np.array(colour) + off) for colour in (DESK, PAGE)]
    assert (_join(crossing(0, 0, 0), crossing(100, 0, np.pi, *shifted), True, CrossingRules()) is not None) == joins


def test_the_desk_between_two_fingers_is_no_bar_with_their_outlines_for_borders():
    rows, columns = np.mgrid[:400, :600]
    page = np.where((rows < 250)[..., None], PAGE, DESK) + np.random.default_rng(1).normal(0, 2, (400, 600, 1))
    gap = (columns > 280) & (columns < 320)
    mask = np.uint8((rows > 180) & (columns > 200) & (columns < 400) & ~(gap & (rows < 320)))
    covered = np.where(mask[..., None] > 0, (200, 150, 120), page).clip(0, 255).astype(np.uint8)
    filled = carry_page_on(covered, mask, PasteRules(), PageRules())
    assert np.percentile(np.abs(filled - page).max(2)[mask > 0], 97) < 40
