"""Lines that go on under something: drawn where they are, and none from letters, ends, and lines that do not meet."""

import cv2
import numpy as np
import pytest

from inference.fill.lines import LOST, SEEN, Line, LineRules, find_bars, find_lines
from inference.fill.strokes import draw_strokes, strokes_of

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


def found_in(picture: np.ndarray, hole: np.ndarray = HOLE, tone: int = 90) -> list[Line]:
    blind = np.where(hole[..., None], tone, picture).astype(np.float32)
    return find_lines(blind, blind - PAPER, hole, RULES)


def drawn(picture: np.ndarray, hole: np.ndarray = HOLE) -> np.ndarray:
    """float32, plain paper with the lines of the picture drawn into the hole."""
    paper = np.full(picture.shape, PAPER, np.float32)
    draw_strokes(paper, hole, strokes_of(found_in(picture, hole), RULES), RULES.near)
    return paper


@pytest.mark.parametrize("grey", [20, 160, 250])
@pytest.mark.parametrize(
    ("start", "stop"),
    [((-5, 100), (265, 100)), ((-5, 80.4), (265, 113.7)), ((131, -5), (128, 205)), ((20, -5), (230, 205))],
)
def test_a_line_is_drawn_through_the_hole_where_it_was(start, stop, grey):
    picture = page((start, stop, grey))
    assert len(found_in(picture)) == 1
    made, paper = drawn(picture), np.full(picture.shape, PAPER, np.float32)
    assert np.array_equal(made[~HOLE], paper[~HOLE])
    # Next to the hole's rim the profile is the median of what follows.
    error, without = (np.abs(image - picture)[HOLE].mean() for image in (made, paper))
    noise = np.abs(page() - float(PAPER))[HOLE].mean()
    assert error - noise < 0.5 * (without - noise)


@pytest.mark.parametrize(("apart", "breadth", "columns"), [(20, 1, False), (20, 2, False), (30, 2, True)])
def test_rules_of_a_scan_come_back_as_dark_and_as_narrow_as_they_are(apart, breadth, columns):
    picture = np.full((HEIGHT, WIDTH, 3), PAPER, np.uint8)
    for more in range(breadth):
        picture[apart + more :: apart] = 60
        picture[:, 70 + more :: 60] = 60 if columns else picture[:, 70 + more :: 60]
    noise = np.random.default_rng(5).normal(0, 2, picture.shape)
    made = drawn(np.clip(picture + noise, 0, 255).astype(np.uint8))
    assert np.abs(made - picture)[HOLE].mean() < 0.8


def test_letters_that_stand_on_a_rule_are_not_carried_on_with_it():
    picture, rule = (page(((-5, 100), (265, 100), 150)) for _ in range(2))
    picture[94:98, np.arange(WIDTH) % 9 < 7] = 150
    made = drawn(picture)
    assert made[:98][HOLE[:98]].min() > PAPER - 5
    assert np.abs(made - rule)[100, 90:170].mean() < 12


def test_a_pale_rule_goes_on_under_handwriting():
    """Ink stands on it over six tenths of its length, and shows four times as much as the rule does."""
    picture, rule = (page(((-5, 104), (265, 100), 190)) for _ in range(2))
    for left in range(4, WIDTH - 8, 14):
        foot = round(103.5 - left * 4 / 270)
        picture[foot - 9 : foot + 1, left : left + 8] = 100
    (line,) = found_in(picture)
    assert line.crossings
    made = drawn(picture)
    assert np.abs(made - rule)[98:107, 90:170].mean() < 4
    assert made[:99][HOLE[:99]].min() > PAPER - 5


def test_what_the_hole_shows_does_not_matter():
    picture = page(((-5, 60), (265, 66), 60), ((-5, 120), (265, 120), 170))
    made = [[(line.crossings, line.profiles.tolist()) for line in found_in(picture, tone=tone)] for tone in (0, 255)]
    assert len(made[0]) == 2
    assert made[0] == made[1]


@pytest.mark.parametrize("lines", [
    [((-5, 100), (120, 100), 30)],  # ends under the hole
    [((-5, 90), (120, 90), 30), ((140, 112), (265, 112), 30)],  # two that do not meet
    [((-5, 100), (120, 100), 30), ((140, 100), (265, 100), 250)],  # dark here, light there
    [((-5, 100), (265, 100), PAPER - 4)],  # too faint
])  # fmt: skip
def test_of_what_does_not_show_on_both_sides_nobody_knows_where_it_ends(lines):
    assert (drawn(page(*lines)) == PAPER).all()


def hidden(*boxes: tuple[int, int, int, int]) -> np.ndarray:
    """bool [HEIGHT, WIDTH], boxes of (top, bottom, left, right)."""
    hole = np.zeros((HEIGHT, WIDTH), bool)
    for top, bottom, left, right in boxes:
        hole[top:bottom, left:right] = True
    return hole


TO_THE_SIDE, ROWS = hidden((60, 150, 100, WIDTH)), (20, 50, 80, 110, 140, 170)


@pytest.mark.parametrize(("hole", "ends", "frame"), [
    # Row -> where it ends. As the rows in sight above and below; at the picture's side.
    (TO_THE_SIDE, dict.fromkeys(ROWS, 190), None),
    (TO_THE_SIDE, dict.fromkeys(ROWS, 265), None),
    # The table's frame, itself drawn through, stands a little beyond.
    (TO_THE_SIDE, dict.fromkeys(ROWS, 190), (201, 20, 170)),
    # Eight pixels of a corner show behind the hole, between the hand and where the rows end: no end of one.
    (hidden((60, 150, 100, 182)), dict.fromkeys(ROWS, 190), None),
    # The near neighbour is heard, and not a far one that is told first.
    (TO_THE_SIDE, {8: 150, 18: 150, 70: 190, 90: 190, 110: 190, 130: 190, 160: 190, 180: 190}, None),
    # Of two that disagree the one that stops at a frame is believed.
    (hidden((60, 150, 100, 180), (90, 120, 180, WIDTH)), {40: 150, 105: 190, 175: 190}, (190, 60, 175)),
])  # fmt: skip
def test_a_line_lost_in_the_hole_ends_where_its_neighbours_end(hole, ends, frame):
    rows = [((20, y), (end, y), 40) for y, end in ends.items()]
    rows += [(frame[:2], frame[::2], 40)] if frame else []
    made = drawn(page(*rows, thickness=2), hole)
    for y in [y for y in ends if hole[y, 100]]:
        last = min(frame[0] if frame else ends[y], np.flatnonzero(hole[y])[-1] + 1)
        dark = made[y - 1 : y + 2, 100:].mean(2).min(0) < 130
        assert dark[: last - 100 - 4].all()
        assert not dark[last - 100 + 4 :].any()


@pytest.mark.parametrize(("length", "end"), [(23, 190), (34, 131)])
def test_a_short_piece_tells_no_long_line_where_it_ends(length, end):
    """A line that shows for 80 pixels, and what may be the feet of letters beside it."""
    rows = [((20, y), (190, y), 40) for y in (30, 66, 170)] + [((97, 54), (97 + length, 54), 40)]
    dark = drawn(page(*rows, thickness=2), TO_THE_SIDE)[65:68, 100:].mean(2).min(0) < 130
    assert abs(int(dark.sum()) - (end - 100)) <= 4


def line(x: float, y: float, stop: float, degrees: float = 0) -> Line:
    """One that was followed from here, where it ends in sight, to a position along it."""
    way = np.array([np.cos(np.radians(degrees)), np.sin(np.radians(degrees))])
    return Line(np.array([x, y]), way, 0, stop, [SEEN, SEEN], (0, 300), [], np.arange(9), int(stop), 1)


@pytest.mark.parametrize(("lines", "ends"), [
    # The first is lost. By one value of the others' place it ends where they do, by the next one it does not.
    (lambda shown: [line(0, 0, shown), line(0, 20, 150)], {32: [150], 28: []}),
    (lambda turn: [line(0, 0, 60), line(0, 20, 150, turn)], {2.2: [150], 2.8: []}),
    (lambda y: [line(0, 0, 60), line(20, y, 130)], {140: [150], 160: []}),
    (lambda y: [line(0, 0, 60), line(0, y, 150)], {440: [150], 460: []}),  # both begin alike
    (lambda shown: [line(0, 0, 90), line(70, 20, shown)], {32: [102], 28: []}),
    (lambda turn: [line(0, 0, 60, turn), line(20, 20, 130, turn)], {9: [153], 10.5: []}),
    (lambda x: [line(0, 0, 60), line(0, 20, 150), line(0, -40, x)], {162: [154], 164: [150]}),  # two agree
    (lambda x: [line(0, 0, 60), line(0, 20, 150), line(x, -50, 100, 90)], {161: [161], 163: [150]}),  # a frame
])  # fmt: skip
def test_whom_a_lost_line_believes(lines, ends):
    for value, end in ends.items():
        lost, *others = lines(value)
        lost.ends[1] = LOST
        stops = [stop for stroke, _, stop, _ in strokes_of([lost, *others], RULES) if stroke is lost]
        assert stops == pytest.approx(end, abs=0.5)


def apart(level: float, rows: int) -> np.ndarray:
    """float32 [HEIGHT, WIDTH, 3], a level line or bar less its paper."""
    return level * np.repeat(hidden((60, 60 + rows, 0, WIDTH))[..., None], 3, 2).astype(np.float32)


@pytest.mark.parametrize(("level", "step", "is_line"), [(40, 11, 1), (40, 13, 0), (-40, 54, 1), (-40, 66, 0)])
def test_a_line_between_two_tones_may_be_the_rim_of_one(level, step, is_line):
    rest = apart(level, 3)
    picture = 100 + rest + step * (np.arange(HEIGHT) > 62)[:, None, None]
    assert len(find_lines(np.float32(picture), rest, hidden(), RULES)) == is_line


@pytest.mark.parametrize(("free", "is_line"), [(180, True), (90, False)])
def test_what_is_crossed_all_along_is_no_rule(free, is_line):
    rest = apart(-30, 3)
    rest[51:72, free:][:, np.arange(WIDTH - free) % 8 < 3] = -100
    assert any(abs(found.way[0]) > 0.9 for found in find_lines(PAPER + rest, rest, hidden(), RULES)) == is_line


@pytest.mark.parametrize(
    ("dark", "rows", "bars"), [(10, 20, 1), (8, 20, 0), (40, 8, 1), (40, 6, 0), (40, 76, 1), (40, 84, 0)]
)
def test_a_bar_stands_out_and_is_broader_than_a_line(dark, rows, bars):
    assert len(find_bars(apart(-dark, rows), hidden((0, HEIGHT, 150, 190)), RULES)) == bars


@pytest.mark.parametrize("tone", [-46, 46])
def test_what_paper_beside_a_bar_differs_from_the_page_is_not_the_bars(tone):
    (bar,) = find_bars(apart(tone, 20) + 6, hidden((0, HEIGHT, 150, 190)), RULES)
    assert bar.crossings
    profile = np.median(bar.profiles, axis=0)
    assert np.abs(profile[[0, -1]]).max() < 1
    assert np.abs(profile[len(profile) // 2] - tone).max() < 4


def test_fingers_do_not_break_a_line():
    fingers = hidden(*((60, HEIGHT, left, left + 22) for left in (60, 90, 120, 150)))  # eight pixels between them
    made = drawn(page(((-5, 100), (265, 103), 40), thickness=2), fingers)
    assert (made.mean(2).min(0)[fingers[100]] < 130).all()


def test_letters_in_rows_are_no_lines():
    picture = page()
    for y in range(20, HEIGHT, 16):
        cv2.putText(picture, "the quick brown fox jumps over it", (2, y), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (30,) * 3, 1)
    assert (drawn(picture) == PAPER).all()
