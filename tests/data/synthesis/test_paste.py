"""Drawn pages, photographs and desks; where occluders come in, what they touch, and what they leave alone."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from scipy import ndimage

from data.synthesis.occluders import Occluder
from data.synthesis.pages import KINDS, draw_sheet
from data.synthesis.paste import STYLES, PasteStyle, lay, paste
from data.synthesis.placement import Place, place
from data.synthesis.scenes import lay_on_desk, photograph
from tests.golden.pictures import hand_rgba, head, text_page

CONTEST, NATURAL = (replace(STYLES[name], jpeg_probability=0.0) for name in ("contest", "natural"))
PLAIN = PasteStyle(hand=CONTEST.hand, head=CONTEST.head)
HAND, HEAD = Occluder(hand_rgba(), "hand", "a hand"), Occluder(head(260, 220), "head", "a head")
PAGE = text_page(500, 380, 0)
STYLE = pytest.mark.parametrize("style", [CONTEST, NATURAL], ids=["contest", "natural"])


def either(rng, kind):
    return HAND if kind == "hand" else HEAD


def pasted(seeds, style, page=PAGE, choose=either, **options):
    return [paste(page, choose, np.random.default_rng(seed), style, **options) for seed in range(seeds)]


def laid(where, style=PLAIN, item=HAND):
    """A blue page with an occluder on it, and its mask."""
    image, mask = np.full((1200, 900, 3), (0, 0, 255), np.uint8), np.zeros((1200, 900), np.uint8)
    lay(image, mask, item, where, style, 1.0, np.random.default_rng(1))
    return image, mask


@STYLE
@pytest.mark.parametrize("placement", ["page", "patch"])
def test_nothing_changes_outside_the_mask(style, placement):
    before = PAGE.copy()
    for image, mask in pasted(25, style, placement=placement):
        assert (image.dtype, mask.dtype, image.shape) == (np.uint8, np.uint8, PAGE.shape)
        assert set(np.unique(mask)) == {0, 1}
        np.testing.assert_array_equal(image[mask == 0], PAGE[mask == 0])
        assert np.count_nonzero(np.any(image != PAGE, 2)) > 0.9 * np.count_nonzero(mask)
        # A whole page's occluders come from outside the frame.
        _, _, (_, *blobs), _ = cv2.connectedComponentsWithStats(mask)
        for left, top, width, height, area in blobs if placement == "page" else ():
            assert area < 4 or left == 0 or top == 0 or left + width == 380 or top + height == 500
    np.testing.assert_array_equal(PAGE, before)
    # The same state of the generator gives the same picture.
    np.testing.assert_array_equal(image, paste(PAGE, either, np.random.default_rng(24), style, placement)[0])


@STYLE
def test_the_wrist_stays_outside(style):
    hand = Occluder(hand_rgba(sleeve=12), "hand", "a hand in a sleeve")
    style = replace(style, blur_probability=0.0, colour_difference=0.0, light_difference=0.0)
    # The colour can be seen where nothing forbids it.
    shown, _ = laid(Place(np.array([[0.5, 0, 60], [0, 0.5, 60]]), 0.5), item=hand)
    for image in (shown, *(image for image, _ in pasted(40, style, choose=lambda rng, kind: hand, kind="hand"))):
        green = (image[..., 1].astype(int) - image[..., 0] > 120) & (image[..., 1] > 200)
        assert green.any() == (image is shown)


@pytest.mark.parametrize("kind", ["hand", "head"])
def test_contest_areas_borders_and_sizes_are_those_of_the_contest(kind):
    page, style = np.full((942, 702, 3), 220, np.uint8), replace(CONTEST, sliver_probability=0.0)
    masks = [mask for _, mask in pasted(30, style, page, kind=kind)]
    areas = [mask.mean() for mask in masks]
    assert 0.008 < min(areas) < max(areas) < 0.045
    assert 0.015 < np.mean(areas) < 0.035
    if kind == "head":
        assert all(mask[-1].any() and not mask[0].any() for mask in masks)
        assert 500 < np.median([np.ptp(np.flatnonzero(mask.any(0))) * 3770 / 942 for mask in masks]) < 850
    else:
        borders = [np.argmax([mask[-1].sum(), mask[:, 0].sum(), mask[0].sum(), mask[:, -1].sum()]) for mask in masks]
        assert sum(border in (1, 3) for border in borders) > 0.6 * len(borders)


def test_hard_edges_are_binary_and_soft_ones_feathered_inwards():
    where, rgba = place(HAND, (1200, 900), PLAIN.hand, np.random.default_rng(1)), HAND.rgba.copy()
    rgba[..., :3] = (200, 0, 0)
    red = HAND._replace(rgba=rgba)
    (hard, mask), (soft, _) = (laid(where, replace(PLAIN, soft_edge_probability=share), red) for share in (0, 1))
    assert set(hard[..., 0].flat) == {0, 200}
    assert np.count_nonzero((soft[..., 0] > 10) & (soft[..., 0] < 190)) > 200
    # None of the cut-out's own background shines through.
    assert soft[mask == 0, 0].max() < 60


def test_ends_of_hair_do_not_float_beside_the_head():
    rgba = HEAD.rgba.copy()
    # A hair thinner than the feathering joins them.
    rgba[60:66, 5:11] = rgba[63, 5:60] = (60, 40, 30, 255)
    style, hairy = replace(PLAIN, soft_edge_probability=1.0), Occluder(rgba, "head", "x")
    for _, mask in pasted(10, style, text_page(800, 600, 0), lambda rng, kind: hairy):
        assert ndimage.label(mask, np.ones((3, 3)))[1] == 1


@pytest.mark.parametrize("size", [(8, 8), (33, 200), (200, 33)])
@pytest.mark.parametrize("placement", ["page", "patch"])
def test_it_copes_with_tiny_pictures_and_thin_cut_outs(size, placement):
    sliver = Occluder(np.full((40, 2, 4), 255, np.uint8), "hand", "thin")
    dot = Occluder(np.full((1, 1, 4), 255, np.uint8), "head", "dot")
    for item in (sliver, dot, HAND, HEAD):
        page = np.full((*size, 3), 200, np.uint8)
        image, mask = paste(page, lambda rng, kind: item, np.random.default_rng(1), STYLES["natural"], placement)  # noqa: B023
        assert (image.shape, mask.shape) == ((*size, 3), size)


@pytest.mark.parametrize("kind", KINDS)
def test_a_page_is_white_paper_with_print_and_the_same_for_the_same_seed(kind):
    page, again, other = (np.array(draw_sheet(np.random.default_rng(seed), 300, 400, kind).image) for seed in (1, 1, 2))
    np.testing.assert_array_equal(page, again)
    assert np.any(page != other)
    assert (page.dtype, page.shape, np.median(page)) == (np.uint8, (400, 300, 3), 255)
    printed = (page < 128).any(2)
    assert 0.01 < printed.mean() < 0.3
    # Print reaches from the head to the foot, and leaves the margins alone.
    rows = np.flatnonzero(printed.any(1))
    assert (rows[0] < 60, rows[-1] > 300, printed[:, :10].any()) == (True, True, False)


@pytest.mark.parametrize("size", [(40, 64), (700, 90), (800, 600)])
def test_any_size_and_any_seed_can_be_drawn(size):
    assert len({draw_sheet(np.random.default_rng(seed), *size).image.tobytes() for seed in range(6)}) == 6


def test_the_desk_shows_round_one_to_four_sides_and_the_page_stays_inside():
    counts, green = set(), np.full((320, 240, 3), (10, 250, 20), np.uint8)
    for seed in range(60):
        paper = (lay_on_desk(green, np.random.default_rng(seed)) == green).all(2)
        # The last three pixels at each border, and the middle third of them.
        strips = [paper[:, :3].T, paper[:3], paper[:, -3:].T, paper[-3:]]
        desk = [not strip[:, strip.shape[1] // 3 : -(strip.shape[1] // 3)].any() for strip in strips]
        counts.add(sum(desk))
        assert 0.6 < paper.mean() < 0.995
        assert paper[80:-80, 60:-60].all()
        # Whatever side shows desk shows all of it: the page does not run out of the picture there.
        assert all(strip.mean() < 0.25 for strip, shown in zip(strips, desk, strict=True) if shown)
        # One sheet, in one piece.
        assert ndimage.label(paper)[1] == 1
    assert counts == {1, 2, 3, 4}


def test_a_photo_of_a_page_has_its_size_and_the_light_of_a_photo():
    white, rng = np.full((400, 300, 3), 255, np.uint8), np.random.default_rng(0)
    white[100:120, 50:250] = 0
    photo = photograph(white, rng, 512)
    assert photo.shape == (512, 384, 3)
    assert 190 < np.median(photo) < 250
    assert photo[140:145, 120:200].max() < 80
    assert np.ptp(photo[300:].mean(2)) > 5
    # What is a photo already keeps its tone.
    assert abs(float(np.median(photograph(PAGE, rng, 400))) - np.median(PAGE)) < 8
    # Strips are cut to a photo's proportions.
    assert photograph(white[:, :60], rng, 600).shape == (600, 400, 3)
    assert photograph(white[:60], rng, 600).shape == (400, 600, 3)
