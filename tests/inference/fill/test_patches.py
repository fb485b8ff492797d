"""What is pasted: the page carried on over what is covered, and the network's own fill in the tone of the page."""

import numpy as np
import pytest

from configs.schema import PredictConfig
from inference.fill import patches
from inference.fill.borders import BorderRules
from inference.fill.crossings import CrossingRules
from inference.fill.lines import LineRules
from inference.fill.paper import PaperRules
from inference.fill.patches import TONE_RING, PageRules, carry_page_on, match_tone, page_patches
from inference.paste import PasteRules
from inference.tiles import Network
from tests.inference.stand_ins import StandIn, paint_red_over, restorer_over
from tests.inference.stand_ins import page as red_page

HEIGHT, WIDTH = 160, 220
PASTE, RULES = PasteRules(), PageRules()


def covered(page: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(picture, mask): a dark noisy hand from below on a page, uint8 or uint16 [HEIGHT, WIDTH, 3]."""
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[90:, 80:140] = 1
    noise = np.random.default_rng(1).integers(60, 90, (HEIGHT, WIDTH, 3)) * (np.iinfo(page.dtype).max // 255)
    return np.where(mask[..., None] > 0, noise, page).astype(page.dtype), mask


def error_of(page: np.ndarray, truth: np.ndarray | None = None, rules: PageRules = RULES) -> float:
    """How far the page carried on is from the page or a truth, as a mean share of white; nothing else changes."""
    picture, mask = covered(page)
    before = picture.copy()
    result = carry_page_on(picture, mask, PASTE, rules)
    assert np.array_equal(picture, before)
    assert result.dtype == page.dtype
    beyond = PASTE.weight(mask) == 0
    assert np.array_equal(result[beyond], picture[beyond])
    truth = page if truth is None else truth
    return float(np.abs(result.astype(float) - truth)[mask > 0].mean() / np.iinfo(page.dtype).max)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_letters_do_not_go_on_and_the_edge_of_the_sheet_does(kind):
    white = np.iinfo(kind).max
    paper = (np.linspace(200, 225, WIDTH)[None, :, None] * np.ones((HEIGHT, 1, 3)) * (white / 255)).astype(kind)
    written = paper.copy()
    written[6:HEIGHT:16, ::3] = white // 10  # lines of thin strokes: letters, to the median filter
    assert error_of(written, paper) < 0.005
    for right in (WIDTH, 110):  # an edge below, a corner
        page = np.full((HEIGHT, WIDTH, 3), 215)
        page[120:] = page[:, right:] = (120, 70, 40)
        page = (page * (white // 255)).astype(kind)
        error = error_of(page)
        assert error < 0.03
        without = PaperRules(borders=BorderRules(depth=0), crossings=CrossingRules(step=np.inf))
        assert error_of(page, rules=PageRules(paper=without)) > 2.5 * error


def test_sixteen_bits_are_not_darkened_by_the_way_through_eight_and_what_a_line_adds_does_not_wrap_round():
    grey = np.full((HEIGHT, WIDTH, 3), 32890, np.uint16)
    picture, mask = covered(grey)
    assert np.abs(carry_page_on(picture, mask, PASTE, RULES).astype(int) - grey).max() <= 129
    page = np.full((HEIGHT, WIDTH, 3), 252, np.uint8)
    page[110:112], page[120:122] = 255, 0
    picture, mask = covered(page)
    assert carry_page_on(picture, mask, PASTE, RULES)[mask > 0].min() < 100
    assert error_of(page) < 6 / 255


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (70, 2), (40, 50)])
@pytest.mark.parametrize("part", ["all", "none", "half", "but one pixel"])
def test_any_size_and_any_mask(shape, part):
    picture = np.random.default_rng(1).integers(0, 256, (*shape, 3), np.uint8)
    mask = np.zeros(shape, np.uint8)
    mask[:, : {"none": 0, "half": (shape[1] + 1) // 2}.get(part, shape[1])] = 1
    mask[-1, -1] &= part != "but one pixel"
    result = carry_page_on(picture, mask, PASTE, RULES)
    assert (result.shape, result.dtype) == (picture.shape, np.uint8)
    assert result is picture or (part in ("half", "but one pixel") and max(shape) >= PASTE.reach)
    seen, restored = np.random.default_rng(1).random((2, *shape, 3), dtype=np.float32)
    fill = match_tone(restored, seen, mask.astype(np.float32), mask, 3, TONE_RING)
    assert (fill.shape, fill.dtype) == ((*shape, 3), np.float32)
    assert np.isfinite(fill).all()
    assert np.array_equal(fill, restored) or 0 < mask.mean() < 1


def test_lengths_grow_with_the_working_scale_and_never_shrink():
    assert RULES.scaled(300) == RULES.scaled(1024) == RULES
    double = PageRules().scaled(2048).paper
    assert (double.stroke, double.text, double.ring, double.ink) == (25, 41, 40, 10)
    lines = LineRules().scaled(2.5)
    assert (lines.piece, lines.support, lines.reach, lines.slack, lines.contrast) == (55, 35, 10, 6.25, 7.0)
    papers = [RULES.scaled(side).paper for side in range(1000, 4000, 37)]
    assert all(paper.text % 2 == paper.stroke % 2 == 1 for paper in papers)


def test_what_is_left_of_a_small_letter_goes_and_a_large_a_faint_and_an_untouched_one_stay():
    page = np.full((HEIGHT, WIDTH, 3), 215, np.uint8)
    cut, whole, large = np.s_[100:108, 134:146], np.s_[120:128, 160:166], np.s_[140:152, 134:150]
    pale, faint = np.s_[112:120, 134:148], np.s_[126:134, 134:148]
    for letter, tone in ((cut, 30), (whole, 30), (large, 30), (pale, 187), (faint, 195)):
        page[letter] = tone
    picture, mask = covered(page)
    (patch,) = page_patches(picture, mask, PASTE)
    top, bottom, left, right = patch.box
    grown = np.zeros_like(mask)
    grown[top:bottom, left:right] = patch.mask
    assert grown[cut].all()
    assert grown[pale][:, 8:].any()
    assert not any(grown[letter][:, 8:].any() for letter in (large, faint))
    assert not grown[whole].any()
    filled = patch.fill[100 - top : 108 - top, 134 - left : 146 - left]
    assert np.abs(filled * 255 - 215).max() < 8


@pytest.mark.parametrize("size", [(900, 1200), (70, 1200), (1, 9), (513, 511)])
@pytest.mark.parametrize("part", ["corner", "all", "two"])
def test_covered_parts_are_painted_in_tiles_of_one_size_with_the_values_of_the_whole_picture(size, part):
    """A network of single pixels that darkens evenly: the tone of the page around undoes it."""
    picture = np.random.default_rng(3).integers(100, 256, (*size, 3), np.uint8)
    mask = np.zeros(size, np.uint8)
    mask[{"corner": np.s_[: size[0] // 3, : size[1] // 3 + 1], "all": np.s_[:, :], "two": np.s_[:, :4]}[part]] = 1
    mask[:, -4:] |= part == "two"
    backend = StandIn(lambda tile: np.concatenate([tile - np.float32(0.02), 0 * tile[:, :1]], 1))
    painted = patches.network_patches(Network(backend), picture, mask, PASTE, side=256, overlap=32)
    assert {shape[2:] for shape in backend.tiles} <= {tuple(min(256, -(-length // 64) * 64) for length in size)}
    for patch in painted:
        place = (slice(*patch.box[:2]), slice(*patch.box[2:]))
        known = not patch.mask.all() and min(size) > 60
        assert np.abs(patch.fill - (picture[place] / 255 - 0.02 * (not known))).max() < (1e-4 if known else 0.021)
        assert np.array_equal(patch.mask, mask[place])
    assert sum(int(patch.mask.sum()) for patch in painted) == mask.sum()


@pytest.mark.parametrize("settings", [{}, {"locate_long_side": 210}, {"locate_long_side": 300, "tile": 128}])
def test_the_network_fills_in_the_pass_that_finds_and_the_page_without_another_one(settings):
    masks = []
    for fill in ("network", "page"):
        backend = StandIn(paint_red_over)
        result = restorer_over(backend, PredictConfig(fill=fill, long_side=0, **settings))(red_page())
        assert np.array_equal(result.image[result.mask == 0], red_page()[result.mask == 0])
        # The page is noise of 110 to 145, and is carried on with as much of it.
        assert abs(result.image[205:295, 155:255].mean() - 128) < 2
        assert np.abs(result.image[205:295, 155:255].astype(int) - 128).max() <= (26 if fill == "page" else 12)
        assert len(backend.tiles) == 1 or (settings and fill == "network")
        assert set(result.seconds) == {"locate", "restore", "compose"}
        masks.append(result.mask)
    # What may be left of a letter goes with the mask.
    assert (masks[1] >= masks[0]).all()
    assert masks[1].sum() < 1.02 * masks[0].sum()


@pytest.mark.parametrize(("fill", "colour"), [("network", (128, 128, 128)), ("page", (230, 20, 20))])
def test_a_wholly_covered_picture_is_filled_with_what_the_network_makes_of_it_or_stays(fill, colour):
    image = np.full((90, 120, 3), (230, 20, 20), np.uint8)
    result = restorer_over(StandIn(paint_red_over), PredictConfig(fill=fill, long_side=0), mode="full")(image)
    assert result.mask.all()
    assert (result.image == colour).all()
