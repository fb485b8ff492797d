"""The network's own fill: how often it is asked, in which tiles, and that tinted paper is put right."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from configs.schema import PredictConfig
from inference import Restorer
from inference.fill.patches import ToneRules, match_tone, network_patches
from inference.paste import PasteRules
from inference.tiles import Network
from tests.inference.painted import page
from tests.inference.stand_ins import StandIn, paint_red_over

RULES = ToneRules()
HEIGHT, WIDTH = 120, 160


def scene() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(page, what the network saw, its mask probability, the mask): a dark hand from below on a light page."""
    clean = np.full((HEIGHT, WIDTH, 3), 0.8, np.float32)
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[60:, 50:110] = 1
    return clean, np.where(mask[..., None] > 0, np.float32(0.3), clean), mask.astype(np.float32), mask


def test_tone_matching_removes_a_tint_and_a_slope_of_light():
    """The network's paper is lighter and bluish, more so to the right; afterwards it continues the real paper."""
    clean, picture, probability, mask = scene()
    slope = np.linspace(0.01, 0.04, WIDTH, dtype=np.float32)[None, :, None] * np.float32([1, 0.5, 2])
    fill = match_tone(clean + slope, picture, probability, mask, 4, RULES)
    assert np.broadcast_to(slope, clean.shape)[mask > 0].mean() > 0.02
    assert np.abs(fill - clean)[mask > 0].mean() < 0.004
    assert np.abs(fill - clean)[mask > 0].max() < 0.02


def test_what_the_network_removes_beside_the_mask_is_not_taken_for_tone():
    clean, picture, probability, mask = scene()
    picture[50:57, 60:100] = (0.9, 0.1, 0.1)  # a red bar just above the fingers, which the network has wiped away
    fill = match_tone(clean, picture, probability, mask, 2, RULES)
    assert np.abs(fill - clean)[mask > 0].max() < 0.01
    gullible = match_tone(clean, picture, probability, mask, 2, replace(RULES, outlier=1e6))
    assert np.abs(gullible - clean)[mask > 0].max() > 0.1


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (7, 2), (40, 50)])
@pytest.mark.parametrize("covered", ["all", "none", "half"])
def test_any_size_and_any_mask_give_finite_numbers(shape, covered):
    picture, restored = np.random.default_rng(1).random((2, *shape, 3), dtype=np.float32)
    mask = np.zeros(shape, np.uint8)
    mask[:, : {"all": shape[1], "none": 0, "half": (shape[1] + 1) // 2}[covered]] = 1
    fill = match_tone(restored, picture, mask.astype(np.float32), mask, 3, RULES)
    assert (fill.shape, fill.dtype) == ((*shape, 3), np.float32)
    assert np.isfinite(fill).all()
    assert covered == "half" or fill is restored


def test_with_nothing_known_the_networks_fill_stays():
    """The network doubts everything around: nothing there is an example of the page."""
    clean, picture, _, mask = scene()
    restored = clean - np.float32(0.2)
    fill = match_tone(restored, picture, np.ones_like(mask, np.float32), mask, 4, RULES)
    assert np.allclose(fill, restored, atol=1e-6)


@pytest.mark.parametrize("size", [(900, 1200), (70, 1200), (1, 9), (513, 511)])
@pytest.mark.parametrize("covered", ["corner", "all", "two"])
def test_covered_parts_are_painted_in_tiles_of_one_size_with_the_values_of_the_whole_picture(size, covered):
    """A network of single pixels that darkens evenly: the tone of the page around undoes it."""
    picture = np.random.default_rng(3).integers(100, 256, (*size, 3), np.uint8)
    mask = np.zeros(size, np.uint8)
    mask[{"corner": np.s_[: size[0] // 3, : size[1] // 3 + 1], "all": np.s_[:, :], "two": np.s_[:, :4]}[covered]] = 1
    if covered == "two":
        mask[:, -4:] = 1
    backend = StandIn(lambda tile: np.concatenate([tile - np.float32(0.02), 0 * tile[:, :1]], 1))
    patches = network_patches(Network(backend), picture, mask, PasteRules(), side=256, overlap=32)
    wanted = tuple(min(256, -(-length // 64) * 64) for length in size)
    allowed = {tuple(max(tile, length) if length < 256 else tile for tile, length in zip(wanted, size, strict=True))}
    assert {shape[2:] for shape in backend.tiles} <= allowed
    for patch in patches:
        place = (slice(*patch.box[:2]), slice(*patch.box[2:]))
        known = not patch.mask.all() and min(size) > 60
        assert np.abs(patch.fill - (picture[place] / 255 - 0.02 * (not known))).max() < (1e-4 if known else 0.021)
        assert np.array_equal(patch.mask, mask[place])
    assert sum(int(patch.mask.sum()) for patch in patches) == mask.sum()


def restored(fill: str, **settings: object) -> tuple[np.ndarray, np.ndarray, int]:
    """(the part that was red, the mask, how often the network was asked)."""
    backend = StandIn(paint_red_over)
    result = Restorer.from_backend(backend, PredictConfig(fill=fill, long_side=0, **settings))(page())
    assert result.occluders == 1
    assert np.array_equal(result.image[result.mask == 0], page()[result.mask == 0])
    return result.image[205:295, 155:255].astype(int), result.mask, len(backend.tiles)


def test_the_network_fills_in_the_pass_that_finds_and_the_page_without_another_one():
    inside, _, passes = restored("network")
    assert passes == 1
    assert np.abs(inside - 128).max() <= 12
    inside, _, passes = restored("page")
    assert passes == 1
    assert np.abs(inside - 128).mean() < 4


@pytest.mark.parametrize("settings", [{"locate_long_side": 210}, {"locate_long_side": 300, "tile": 128}])
def test_the_page_fills_as_well_where_it_is_found_on_a_smaller_copy(settings):
    inside, mask, passes = restored("page", **settings)
    assert passes == 1
    assert np.abs(inside - 128).mean() < 4
    assert np.array_equal(mask, restored("network", **settings)[1])


@pytest.mark.parametrize(("fill", "colour"), [("network", (128, 128, 128)), ("page", (230, 20, 20))])
def test_a_wholly_covered_picture_is_filled_with_what_the_network_makes_of_it_or_stays(fill, colour):
    image = np.full((90, 120, 3), (230, 20, 20), np.uint8)
    result = Restorer.from_backend(StandIn(paint_red_over), PredictConfig(fill=fill, long_side=0), mode="full")(image)
    assert result.mask.all()
    assert (result.image == colour).all()
