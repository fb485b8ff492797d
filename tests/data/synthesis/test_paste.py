"""Where occluders come in, what they touch, and what they leave alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from data.masks import blobs
from data.synthesis.occluders import Occluder
from data.synthesis.paste import paste, paste_occluder, through_jpeg
from data.synthesis.placement import place
from data.synthesis.render import render
from data.synthesis.styles import CONTEST, NATURAL, STYLES, PasteStyle
from tests.data.synthesis.cutouts import SLEEVE, head_rgba, occluder, one_of, page_rgb

PLAIN = PasteStyle(
    hand=CONTEST.hand, head=CONTEST.head, jag_pixels=(4, 4), polygon_pixels=(4.0, 4.0), rim_pixels=(3, 3)
)
HAND, HEAD = occluder("hand"), occluder("head")
BOTH = one_of(HAND, HEAD)


def _without_jpeg(style: PasteStyle) -> PasteStyle:
    return replace(style, jpeg_probability=0.0)


@pytest.mark.parametrize("style", [CONTEST, NATURAL], ids=["contest", "natural"])
@pytest.mark.parametrize("placement", ["page", "patch"])
def test_nothing_changes_outside_the_mask(style: PasteStyle, placement: str) -> None:
    page = page_rgb(400, 300)
    before = page.copy()
    for seed in range(25):
        image, mask = paste(page, BOTH, np.random.default_rng(seed), _without_jpeg(style), placement)
        assert image.dtype == np.uint8
        assert mask.dtype == np.uint8
        assert image.shape == page.shape
        assert set(np.unique(mask)) <= {0, 1}
        np.testing.assert_array_equal(image[mask == 0], page[mask == 0])
        assert mask.any()
        changed = np.any(image != page, 2)
        assert np.count_nonzero(changed) > 0.9 * np.count_nonzero(mask)
    np.testing.assert_array_equal(page, before)


@pytest.mark.parametrize("name", sorted(STYLES))
def test_every_blob_comes_from_outside_the_frame(name: str) -> None:
    page = page_rgb(500, 380)
    for seed in range(30):
        _, mask = paste(page, BOTH, np.random.default_rng(seed), STYLES[name])
        for left, top, width, height, _ in blobs(mask, minimum_area=4):
            touches = left == 0 or top == 0 or left + width == 380 or top + height == 500
            assert touches, f"seed {seed}: a blob floats at {(left, top, width, height)}"


@pytest.mark.parametrize("name", sorted(STYLES))
def test_the_wrist_stays_outside(name: str) -> None:
    page = page_rgb(500, 380)
    hand = occluder("hand", sleeve=6, reserve=0.03)
    style = replace(_without_jpeg(STYLES[name]), blur_probability=0.0, colour_difference=0.0, light_difference=0.0)
    for seed in range(40):
        image, _ = paste(page, one_of(hand), np.random.default_rng(seed), style, kind="hand")
        green = (image[..., 1].astype(int) - image[..., 0] > 120) & (image[..., 1] > 200)
        assert not green.any(), f"seed {seed}: the cut of the wrist is in the picture"
    # The colour can be seen where nothing forbids it.
    shown, _ = paste_occluder(
        page, np.zeros(page.shape[:2], np.uint8), hand, np.random.default_rng(0), PLAIN, _whole(hand, page)
    )
    assert np.all(shown == SLEEVE, 2).any()


def _whole(item: Occluder, page: np.ndarray):
    where = place(item, page.shape[:2], PLAIN.hand, np.random.default_rng(0))
    return replace(where, matrix=np.array([[0.5, 0, 60], [0, 0.5, 60]]), scale=0.5)


def test_contest_areas_borders_and_sizes_are_those_of_the_contest() -> None:
    page = np.full((942, 702, 3), 220, np.uint8)
    areas, borders, head_widths = [], [], []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        kind = "head" if seed % 2 else "hand"
        _, mask = paste(page, BOTH, rng, replace(CONTEST, sliver_probability=0.0), kind=kind)
        areas.append(mask.mean())
        if kind == "head":
            assert mask[-1].any()
            assert not mask[0].any()
            head_widths.append(np.ptp(np.flatnonzero(mask.any(0))) * 3770 / 942)
        else:
            edges = [mask[-1], mask[:, 0], mask[0], mask[:, -1]]
            borders.append(int(np.argmax([np.count_nonzero(edge) for edge in edges])))
    assert min(areas) > 0.008
    assert max(areas) < 0.045
    assert 0.015 < np.mean(areas) < 0.035
    assert 500 < np.median(head_widths) < 850
    assert sum(border in (1, 3) for border in borders) > 0.6 * len(borders)


@pytest.mark.parametrize("fingers", [1, 2])
def test_fingers_without_a_palm_are_as_wide_as_the_contests(fingers: int) -> None:
    rgba = np.zeros((500, 240 * fingers - 60, 4), np.uint8)
    for index in range(fingers):
        rgba[100 * index :, 240 * index : 240 * index + 180] = 255
    item = Occluder(rgba, "hand", "fingers")
    for seed in range(20):
        where = place(item, (3770, 2811), CONTEST.hand, np.random.default_rng(seed))
        assert 149 < 180 * where.scale < 262


def test_a_second_tiny_blob_is_common_in_the_contest_style() -> None:
    page = np.full((942, 702, 3), 220, np.uint8)
    head = Occluder(head_rgba(), "head", "test")
    tiny = 0
    for seed in range(60):
        _, mask = paste(page, one_of(head), np.random.default_rng(seed), CONTEST, kind="head")
        found = blobs(mask)
        tiny += len(found) > 1 and found[-1][4] < 0.003 * mask.size
    assert 0.15 < tiny / 60 < 0.6


def test_the_same_generator_state_gives_the_same_picture() -> None:
    page = page_rgb()
    first = paste(page, BOTH, np.random.default_rng(5), NATURAL, "patch")
    second = paste(page, BOTH, np.random.default_rng(5), NATURAL, "patch")
    other = paste(page, BOTH, np.random.default_rng(6), NATURAL, "patch")
    np.testing.assert_array_equal(first[0], second[0])
    np.testing.assert_array_equal(first[1], second[1])
    assert np.any(first[1] != other[1])


def test_a_patch_may_be_crossed_at_any_edge_and_shows_much_and_little() -> None:
    patch = page_rgb(128, 128)
    coverages, edges = [], np.zeros(4, int)
    for seed in range(80):
        _, mask = paste(patch, BOTH, np.random.default_rng(seed), CONTEST, "patch", count=1)
        coverages.append(mask.mean())
        edges += [mask[0].any(), mask[-1].any(), mask[:, 0].any(), mask[:, -1].any()]
    assert np.min(edges) > 8
    assert np.quantile(coverages, 0.1) < 0.12
    assert np.quantile(coverages, 0.9) > 0.4
    assert np.mean(np.array(coverages) > 0.85) < 0.05


def test_a_window_of_a_photo_shows_what_the_photo_shows_there() -> None:
    item = occluder("hand")
    where = place(item, (600, 450), PLAIN.hand, np.random.default_rng(3))
    page, empty = page_rgb(600, 450), np.zeros((600, 450), np.uint8)
    whole, mask = paste_occluder(page, empty, item, np.random.default_rng(0), PLAIN, where)
    rows, columns = np.nonzero(mask)
    top, left = (int(np.clip(mean - 60, 0, limit - 120)) for mean, limit in ((rows.mean(), 600), (columns.mean(), 450)))
    window = page[top : top + 120, left : left + 120]
    seen = where.in_window(left, top, 120, 120)
    part, part_mask = paste_occluder(
        window, empty[:120, :120], item, np.random.default_rng(0), PLAIN, seen
    )
    expected = mask[top : top + 120, left : left + 120]
    assert 0 < expected.mean() < 1
    # OpenCV rounds the positions of samples to 1/32 pixel, hence not one outline pixel in a hundred more.
    assert np.count_nonzero(part_mask != expected) <= 0.01 * np.count_nonzero(expected)
    both = (part_mask & expected) == 1
    assert np.abs(part[both].astype(int) - whole[top : top + 120, left : left + 120][both]).mean() < 1


def _layer_of(style: PasteStyle, seed: int = 1):
    item = occluder("hand")
    where = place(item, (1200, 900), PLAIN.hand, np.random.default_rng(seed))
    return render(item, where, style, 1.0, np.random.default_rng(seed))


def test_hard_edges_are_binary_and_soft_ones_are_not() -> None:
    hard, soft = _layer_of(PLAIN), _layer_of(replace(PLAIN, soft_edge_probability=1.0))
    assert set(np.unique(hard.alpha)) == {0, 1}
    between = (soft.alpha > 0) & (soft.alpha < 1)
    assert np.count_nonzero(between) > 200
    # Feathered inwards: the cut-out's own white background stays out.
    assert np.count_nonzero((soft.alpha > 0.3) & (hard.alpha == 0)) == 0


def test_jagged_edges_are_stairs_and_rims_widen() -> None:
    plain = _layer_of(PLAIN)
    jagged = _layer_of(replace(PLAIN, jagged_probability=1.0))
    rows, columns = jagged.alpha.shape[0] // 4 * 4, jagged.alpha.shape[1] // 4 * 4
    stairs = jagged.alpha[:rows, :columns].reshape(rows // 4, 4, columns // 4, 4)
    assert np.all(stairs == stairs[:, :1, :, :1])
    rim = _layer_of(replace(PLAIN, rim_probability=1.0))
    assert np.all(rim.alpha >= plain.alpha)
    assert rim.alpha.sum() > plain.alpha.sum() + 3 * 100
    # What the rim shows is the white ground of the cut-out.
    new = (rim.alpha > 0) & (plain.alpha == 0)
    assert np.median(rim.rgb[new].mean(1)) > 235


def test_polygons_keep_holes_and_shape() -> None:
    plain = _layer_of(PLAIN)
    polygon = _layer_of(replace(PLAIN, polygon_probability=1.0))
    assert 0 < np.count_nonzero(polygon.alpha != plain.alpha) < 0.06 * plain.alpha.sum()


def test_ends_of_hair_do_not_float_beside_the_head() -> None:
    rgba = head_rgba()
    rgba[60:66, 5:11] = (60, 40, 30, 255)
    # A hair thinner than the feathering joins them.
    rgba[63, 5:60] = (60, 40, 30, 255)
    style = replace(PLAIN, soft_edge_probability=1.0, feather_pixels=(1.0, 1.0))
    for seed in range(10):
        _, mask = paste(page_rgb(800, 600), one_of(Occluder(rgba, "head", "x")), np.random.default_rng(seed), style)
        assert len(blobs(mask)) == 1


def test_a_cast_shadow_darkens_the_page_and_belongs_to_the_mask() -> None:
    style = replace(PLAIN, shadow_probability=1.0)
    page, empty = np.full((600, 450, 3), 220, np.uint8), np.zeros((600, 450), np.uint8)
    image, mask = paste_occluder(page, empty, occluder("head"), np.random.default_rng(2), style)
    bare, bare_mask = paste_occluder(page, empty, occluder("head"), np.random.default_rng(2), PLAIN)
    shadow = (mask == 1) & (bare_mask == 0)
    assert np.count_nonzero(shadow) > 300
    assert np.all(image[shadow] < 220)
    assert image[shadow].min() > 90
    assert np.all(bare[bare_mask == 0] == 220)


def test_grey_heads_have_no_colour_and_hands_keep_theirs() -> None:
    style = replace(PLAIN, grey_probability=1.0)
    page = np.full((400, 300, 3), 220, np.uint8)
    for kind, colourless in (("head", True), ("hand", False)):
        image, mask = paste(page, BOTH, np.random.default_rng(0), style, kind=kind)
        assert (np.ptp(image[mask == 1].astype(int), axis=1).max() <= 1) == colourless


def test_jpeg_noise_reaches_the_whole_picture_only_where_asked() -> None:
    page = page_rgb()
    noisy, mask = paste(page, BOTH, np.random.default_rng(0), replace(PLAIN, jpeg_probability=1.0), count=0)
    assert not mask.any()
    difference = np.abs(noisy.astype(int) - page)
    assert 0 < difference.mean() < 4
    np.testing.assert_array_equal(paste(page, BOTH, np.random.default_rng(0), PLAIN, count=0)[0], page)
    losses = [np.abs(through_jpeg(page, quality).astype(int) - page).mean() for quality in (100, 60)]
    assert losses[0] < losses[1]


def test_wrong_arguments_say_what_was_expected() -> None:
    page, rng = page_rgb(), np.random.default_rng(0)
    with pytest.raises(ValueError, match="RGB uint8"):
        paste(page.astype(np.float32), BOTH, rng)
    with pytest.raises(ValueError, match="'page' or 'patch'"):
        paste(page, BOTH, rng, placement="corner")


def test_it_copes_with_tiny_pictures_and_thin_cut_outs() -> None:
    sliver = Occluder(np.full((40, 2, 4), 255, np.uint8), "hand", "thin")
    dot = Occluder(np.full((1, 1, 4), 255, np.uint8), "head", "dot")
    for size in ((8, 8), (33, 200), (200, 33)):
        for placement in ("page", "patch"):
            for item in (sliver, dot, HAND, HEAD):
                image, mask = paste(
                    np.full((*size, 3), 200, np.uint8), one_of(item), np.random.default_rng(1), NATURAL, placement
                )
                assert image.shape == (*size, 3)
                assert mask.shape == size
