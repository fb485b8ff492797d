"""The page carried on over what is covered: paper without letters, edges that go on, nothing changed outside."""

from __future__ import annotations

import numpy as np
import pytest

from inference.fill.borders import BorderRules
from inference.fill.lines import LineRules
from inference.fill.patches import PageRules, ToneRules, carry_on, carry_page_on
from inference.paste import PasteRules

HEIGHT, WIDTH = 160, 220
PASTE, RULES = PasteRules(), PageRules()


def covered(page: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(picture, mask): a dark noisy hand from below on a page, uint8 or uint16 [HEIGHT, WIDTH, 3]."""
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[90:, 80:140] = 1
    picture = page.copy()
    noise = np.random.default_rng(1).integers(60, 90, (HEIGHT, WIDTH, 3))
    picture[mask > 0] = (noise * (np.iinfo(page.dtype).max // 255))[mask > 0]
    return picture, mask


def sloping_paper(kind: type) -> np.ndarray:
    slope = np.linspace(200, 225, WIDTH)[None, :, None] * np.ones((HEIGHT, 1, 3))
    return (slope * (np.iinfo(kind).max / 255)).astype(kind)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_plain_paper_with_letters_becomes_plain_paper_and_the_rest_stays(kind):
    paper = sloping_paper(kind)
    page = paper.copy()
    page[6:HEIGHT:16, ::3] = np.iinfo(kind).max // 10  # lines of thin strokes: letters, to the median filter
    picture, mask = covered(page)
    before = picture.copy()
    result = carry_page_on(picture, mask, PASTE, RULES)
    assert np.array_equal(picture, before)
    assert result.dtype == kind
    beyond = PASTE.weight(mask) == 0
    assert np.array_equal(result[beyond], picture[beyond])
    error = np.abs(result.astype(float) - paper)[mask > 0] / np.iinfo(kind).max
    # Navier-Stokes takes the letters that touch the hand a little way in, for its half.
    assert error.mean() < 0.05
    assert np.abs(picture.astype(float) - paper)[mask > 0].mean() / np.iinfo(kind).max > 0.4


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
@pytest.mark.parametrize("sheet_ends", ["below", "in a corner"])
def test_the_edge_of_the_sheet_goes_on_under_the_hand(kind, sheet_ends):
    page = np.full((HEIGHT, WIDTH, 3), 215)
    page[120:] = (120, 70, 40)
    if sheet_ends == "in a corner":
        page[:, 110:] = (120, 70, 40)
    page = (page * (np.iinfo(kind).max // 255)).astype(kind)
    picture, mask = covered(page)
    error = np.abs(carry_page_on(picture, mask, PASTE, RULES).astype(float) - page)[mask > 0] / np.iinfo(kind).max
    one_tone = PageRules(borders=BorderRules(depth=0))
    blurred = np.abs(carry_page_on(picture, mask, PASTE, one_tone).astype(float) - page)[mask > 0] / np.iinfo(kind).max
    assert error.mean() < 0.03
    assert blurred.mean() > 2.5 * error.mean()


def test_sixteen_bits_keep_what_lies_between_the_steps_of_eight_and_are_not_darkened_by_the_way_through_them():
    page = np.full((HEIGHT, WIDTH, 3), 50_000, np.uint16)
    page[:, ::2] += 90
    picture, mask = covered(page)
    beyond = PASTE.weight(mask) == 0
    assert np.array_equal(carry_page_on(picture, mask, PASTE, RULES)[beyond], page[beyond])
    grey = np.full((HEIGHT, WIDTH, 3), 32890, np.uint16)
    picture, mask = covered(grey)
    assert np.abs(carry_page_on(picture, mask, PASTE, RULES).astype(int) - grey).max() <= 129


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (7, 2), (40, 50)])
@pytest.mark.parametrize("part", ["all", "none", "half", "but one pixel"])
def test_any_size_and_any_mask(shape, part):
    picture = np.random.default_rng(1).integers(0, 256, (*shape, 3), np.uint8)
    mask = np.zeros(shape, np.uint8)
    mask[:, : {"none": 0, "half": (shape[1] + 1) // 2}.get(part, shape[1])] = 1
    if part == "but one pixel":
        mask[-1, -1] = 0
    result = carry_page_on(picture, mask, PASTE, RULES)
    assert (result.shape, result.dtype) == (picture.shape, np.uint8)
    if part in ("all", "none") or max(shape) < PASTE.reach:
        assert result is picture


def test_carrying_on_keeps_a_constant_and_takes_the_nearest_most():
    generator = np.random.default_rng(3)
    weights = (generator.random((33, 47)) < 0.05).astype(np.float32)
    constant = np.full((33, 47, 3), 0.3, np.float32)
    assert np.allclose(carry_on(constant, weights), 0.3, atol=1e-5)
    weights = np.zeros((64, 100), np.float32)
    weights[:, :5] = weights[:, -5:] = 1
    values = np.zeros((64, 100, 3), np.float32)
    values[:, 50:] = 1
    row = carry_on(values, weights)[32, :, 0]
    assert row[8] < 0.03
    assert row[-9] > 0.97
    assert abs(row[49:51].mean() - 0.5) < 0.02
    assert (np.diff(row[8:-8]) > -1e-3).all()


def test_lengths_grow_with_the_working_scale_and_never_shrink():
    for rules in (PageRules(), ToneRules()):
        assert rules.scaled(300) == rules.scaled(1024) == rules
        assert rules.scaled(2048).ring == 2 * rules.ring
    double = PageRules().scaled(2048)
    assert (double.text, double.stroke, double.rim, double.around) == (41, 17, 6, 64)
    lines = LineRules().scaled(2.5)
    assert (lines.band, lines.support, lines.reach, lines.slack, lines.contrast) == (120, 75, 10, 5.0, 10.0)
    sides = [getattr(RULES.scaled(side), name) for side in range(1000, 4000, 37) for name in ("text", "stroke")]
    assert all(side % 2 == 1 for side in sides)


def test_fingers_far_apart_are_carried_on_one_by_one():
    page = np.full((HEIGHT, 900, 3), 215, np.uint8)
    page[:, 700:] = (120, 70, 40)
    mask = np.zeros((HEIGHT, 900), np.uint8)
    mask[90:, 80:140] = mask[90:, 670:730] = 1
    picture = np.where(mask[..., None] > 0, 60, page).astype(np.uint8)
    whole = carry_page_on(picture, mask, PASTE, RULES)
    for half in (slice(0, 400), slice(400, 900)):
        alone = carry_page_on(np.ascontiguousarray(picture[:, half]), np.ascontiguousarray(mask[:, half]), PASTE, RULES)
        assert np.array_equal(whole[:, half], alone)
    assert np.abs(whole.astype(int) - page)[mask > 0].mean() < 3


def test_what_a_line_adds_does_not_wrap_round():
    page = np.full((HEIGHT, WIDTH, 3), 252, np.uint8)
    page[110:112] = 255
    page[120:122] = 0
    picture, mask = covered(page)
    inside = carry_page_on(picture, mask, PASTE, RULES)[mask > 0]
    assert inside.min() < 100
    assert np.abs(carry_page_on(picture, mask, PASTE, RULES).astype(int) - page)[mask > 0].mean() < 6
