"""Where occluders come in, what they touch, and what they leave alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from data.masks import blobs
from data.synthesis.occluders import Occluder
from data.synthesis.paste import STYLES, PasteStyle, lay, paste
from data.synthesis.placement import Place, place
from tests.data.synthesis.cutouts import SLEEVE, hand_rgba, one_of, page_rgb
from tests.golden.pictures import head

CONTEST, NATURAL = (replace(STYLES[name], jpeg_probability=0.0) for name in ("contest", "natural"))
PLAIN = PasteStyle(hand=CONTEST.hand, head=CONTEST.head)
HAND, HEAD = Occluder(hand_rgba(), "hand", "a hand"), Occluder(head(260, 220), "head", "a head")
BOTH = one_of(HAND, HEAD)
STYLE = pytest.mark.parametrize("style", [CONTEST, NATURAL], ids=["contest", "natural"])


def _laid(
    where: Place, style: PasteStyle = PLAIN, item: Occluder = HAND, page: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """A page, blue where none is given, with an occluder on it, and its mask."""
    image = np.full((1200, 900, 3), (0, 0, 255), np.uint8) if page is None else page.copy()
    mask = np.zeros(image.shape[:2], np.uint8)
    lay(image, mask, item, where, style, 1.0, np.random.default_rng(1))
    return image, mask


@STYLE
@pytest.mark.parametrize("placement", ["page", "patch"])
def test_nothing_changes_outside_the_mask(style: PasteStyle, placement: str) -> None:
    page = page_rgb(400, 300)
    before = page.copy()
    for seed in range(25):
        image, mask = paste(page, BOTH, np.random.default_rng(seed), style, placement)
        assert (image.dtype, mask.dtype, image.shape) == (np.uint8, np.uint8, page.shape)
        assert set(np.unique(mask)) == {0, 1}
        np.testing.assert_array_equal(image[mask == 0], page[mask == 0])
        assert np.count_nonzero(np.any(image != page, 2)) > 0.9 * np.count_nonzero(mask)
    np.testing.assert_array_equal(page, before)
    # The same state of the generator gives the same picture.
    again = paste(page, BOTH, np.random.default_rng(24), style, placement)
    np.testing.assert_array_equal(image, again[0])
    np.testing.assert_array_equal(mask, again[1])


@STYLE
def test_every_blob_comes_from_outside_the_frame(style: PasteStyle) -> None:
    page = page_rgb(500, 380)
    for seed in range(30):
        _, mask = paste(page, BOTH, np.random.default_rng(seed), style)
        for left, top, width, height, _ in blobs(mask, minimum_area=4):
            touches = left == 0 or top == 0 or left + width == 380 or top + height == 500
            assert touches, f"seed {seed}: a blob floats at {(left, top, width, height)}"


@STYLE
def test_the_wrist_stays_outside(style: PasteStyle) -> None:
    page = page_rgb(500, 380)
    hand = Occluder(hand_rgba(sleeve=12), "hand", "a hand in a sleeve")
    style = replace(style, blur_probability=0.0, colour_difference=0.0, light_difference=0.0)
    for seed in range(40):
        image, _ = paste(page, one_of(hand), np.random.default_rng(seed), style, kind="hand")
        green = (image[..., 1].astype(int) - image[..., 0] > 120) & (image[..., 1] > 200)
        assert not green.any(), f"seed {seed}: the cut of the wrist is in the picture"
    # The colour can be seen where nothing forbids it.
    shown, _ = _laid(Place(np.array([[0.5, 0, 60], [0, 0.5, 60]]), 0.5), item=hand)
    assert np.all(shown == SLEEVE, 2).any()


@pytest.mark.parametrize("kind", ["hand", "head"])
def test_contest_areas_borders_and_sizes_are_those_of_the_contest(kind: str) -> None:
    page, style = np.full((942, 702, 3), 220, np.uint8), replace(CONTEST, sliver_probability=0.0)
    masks = [paste(page, BOTH, np.random.default_rng(seed), style, kind=kind)[1] for seed in range(30)]
    areas = [mask.mean() for mask in masks]
    assert 0.008 < min(areas) < max(areas) < 0.045
    assert 0.015 < np.mean(areas) < 0.035
    if kind == "head":
        assert all(mask[-1].any() and not mask[0].any() for mask in masks)
        assert 500 < np.median([np.ptp(np.flatnonzero(mask.any(0))) * 3770 / 942 for mask in masks]) < 850
    else:
        borders = [np.argmax([mask[-1].sum(), mask[:, 0].sum(), mask[0].sum(), mask[:, -1].sum()]) for mask in masks]
        assert sum(border in (1, 3) for border in borders) > 0.6 * len(borders)


def test_hard_edges_are_binary_and_soft_ones_feathered_inwards() -> None:
    where, rgba = place(HAND, (1200, 900), PLAIN.hand, np.random.default_rng(1)), HAND.rgba.copy()
    rgba[..., :3] = (200, 0, 0)
    red = HAND._replace(rgba=rgba)
    hard, mask = _laid(where, item=red)
    soft, _ = _laid(where, replace(PLAIN, soft_edge_probability=1.0), red)
    assert set(hard[..., 0].flat) == {0, 200}
    assert np.count_nonzero((soft[..., 0] > 10) & (soft[..., 0] < 190)) > 200
    # None of the cut-out's own background shines through.
    assert soft[mask == 0, 0].max() < 60


def test_ends_of_hair_do_not_float_beside_the_head() -> None:
    rgba = HEAD.rgba.copy()
    rgba[60:66, 5:11] = (60, 40, 30, 255)
    # A hair thinner than the feathering joins them.
    rgba[63, 5:60] = (60, 40, 30, 255)
    style = replace(PLAIN, soft_edge_probability=1.0)
    for seed in range(10):
        _, mask = paste(page_rgb(800, 600), one_of(Occluder(rgba, "head", "x")), np.random.default_rng(seed), style)
        assert len(blobs(mask)) == 1


@pytest.mark.parametrize("size", [(8, 8), (33, 200), (200, 33)])
@pytest.mark.parametrize("placement", ["page", "patch"])
def test_it_copes_with_tiny_pictures_and_thin_cut_outs(size: tuple[int, int], placement: str) -> None:
    sliver = Occluder(np.full((40, 2, 4), 255, np.uint8), "hand", "thin")
    dot = Occluder(np.full((1, 1, 4), 255, np.uint8), "head", "dot")
    for item in (sliver, dot, HAND, HEAD):
        page = np.full((*size, 3), 200, np.uint8)
        image, mask = paste(page, one_of(item), np.random.default_rng(1), STYLES["natural"], placement)
        assert (image.shape, mask.shape) == ((*size, 3), size)
