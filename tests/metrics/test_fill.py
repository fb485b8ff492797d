"""Measures of a fill: counted by hand on small pages, and a step of known height."""

import numpy as np
import pytest

from metrics.fill import count_ink, seam_step

RULES = np.zeros((120, 160), np.uint8)
RULES[60:62, 10:150] = 255
MASK = np.zeros_like(RULES)
MASK[40:80, 50:90] = 1
CLEAN = np.where(RULES[..., None] > 0, np.uint8(90), np.uint8(220)) * np.ones(3, np.uint8)
BLANK = np.full_like(CLEAN, 220)
# Inside by 3 pixels are rows 43 to 76 and columns 53 to 86; ink's own surroundings are rows 56 to 65.
HIDDEN, FREE = 2 * 34, 34 * 34 - 10 * 34


def drawn(top: int, tone: int, left: int = 0, height: int = 2) -> np.ndarray:
    page = BLANK.copy()
    page[top : top + height, left:] = tone
    return page


@pytest.mark.parametrize(("result", "back", "false"), [
    (CLEAN, HIDDEN, 0),
    (BLANK, 0, 0),
    (drawn(61, 190), HIDDEN, 0),  # one lower, and pale
    (drawn(60, 196), 0, 0),  # too pale to be ink
    (drawn(62, 90), HIDDEN, 0),  # within two pixels of both rows
    (drawn(63, 90), HIDDEN // 2, 0),  # of the lower one
    (drawn(64, 90), 0, 0),  # of none, and too near to ink for a blank place
    (drawn(68, 90), 0, 2 * 34),
    (drawn(60, 90, left=72), 2 * (34 - 17), 0),  # and two columns on the left of it
    (drawn(0, 60, height=120), HIDDEN, FREE),  # dark all over
])  # fmt: skip
def test_rules_that_come_back_and_false_ink(result, back, false):
    counts = {"rules": HIDDEN, "rules_back": back, "blank": FREE, "false_ink": false}
    assert count_ink(result, CLEAN, MASK, RULES) == counts
    assert not any(count_ink(result, CLEAN, 0 * MASK, RULES).values())
    assert count_ink(result, CLEAN, MASK, 0 * RULES) == {**counts, "rules": 0, "rules_back": 0}


COVERED = np.zeros((400, 480), np.uint8)
COVERED[150:230, 180:280] = 255


@pytest.mark.parametrize("step", [0, 6, 30])
def test_a_seam_is_the_step_that_the_page_does_not_have_itself(step):
    """On a page that becomes two levels lighter every five columns, and a fill that is `step` levels lighter."""
    page = np.zeros((400, 480, 3), np.uint8) + np.uint8(np.arange(480) // 5 * 0.4 + 50)[:, None]
    page[COVERED > 0] += np.uint8(step)
    assert seam_step(page, COVERED) == pytest.approx(step, abs=0.5)
    # Print does not count, on the fill or beside it.
    page[100:300:8, 100:350] = 0
    assert seam_step(page, COVERED) == pytest.approx(step, abs=0.5)


def test_a_page_with_steps_of_its_own_excuses_one_and_without_page_on_both_sides_there_is_none():
    # A frame that lies where the mask, grown by its width of 80 pixels, ends.
    page, all_of_it, dot = np.full((400, 480, 3), 200, np.uint8), np.ones_like(COVERED), np.zeros_like(COVERED)
    page[70:310, 100:360] = 180
    assert seam_step(page, COVERED) < -10
    dot[30, 30] = 1  # too fine to have an inside
    for mask in (all_of_it, 1 - all_of_it, dot):
        assert seam_step(page, mask) is None
