"""Regions: which boxes, whole blobs, tiles of one size inside the picture, and the values of the whole picture."""

from __future__ import annotations

import numpy as np
import pytest

from inference.fill.network import covered_boxes, cut_out, enlarge_mask, restore
from inference.tiles import Network
from tests.inference.stand_ins import StandIn


def mask_of(*boxes: tuple[int, int, int, int], size: tuple[int, int] = (900, 1200)) -> np.ndarray:
    mask = np.zeros(size, np.uint8)
    for top, bottom, left, right in boxes:
        mask[top:bottom, left:right] = 1
    return mask


def test_far_blobs_have_their_own_boxes_and_near_ones_share_one():
    mask = mask_of((0, 100, 0, 50), (800, 900, 1000, 1100), (150, 200, 20, 60))
    assert sorted(covered_boxes(mask, 20)) == [(0, 120, 0, 70), (130, 220, 0, 80), (780, 900, 980, 1120)]
    assert sorted(covered_boxes(mask, 40)) == [(0, 240, 0, 100), (760, 900, 960, 1140)]
    assert covered_boxes(mask_of(), 10) == []


def test_boxes_never_overlap_and_hold_every_blob_with_its_margin():
    generator = np.random.default_rng(8)
    for _ in range(50):
        mask = mask_of(*((top, top + 30, left, left + 40) for top, left in generator.integers(0, 860, (9, 2))))
        boxes = covered_boxes(mask, 25)
        owner = np.zeros(mask.shape, int)
        for top, bottom, left, right in boxes:
            owner[top:bottom, left:right] += 1
        assert owner.max() <= 1
        rows, columns = np.nonzero(mask)
        for row, column in zip(rows[::97], columns[::97], strict=True):
            assert owner[max(0, row - 25) : row + 26, max(0, column - 25) : column + 26].all()


@pytest.mark.parametrize("size", [(900, 1200), (70, 1200), (1, 9), (513, 511)])
@pytest.mark.parametrize("covered", ["corner", "all", "two"])
def test_a_network_of_single_pixels_gives_the_values_of_the_whole_picture_in_tiles_of_one_size(size, covered):
    picture = np.random.default_rng(3).integers(0, 256, (*size, 3), np.uint8)
    mask = np.zeros(size, np.uint8)
    mask[{"corner": np.s_[: size[0] // 3, : size[1] // 3 + 1], "all": np.s_[:, :], "two": np.s_[:, :4]}[covered]] = 1
    if covered == "two":
        mask[:, -4:] = 1
    backend = StandIn(lambda tile: np.concatenate([1 - tile, tile[:, :1]], 1))
    regions = restore(Network(backend), picture, mask, margin=30, side=256, overlap=32)
    wanted = tuple(min(256, -(-length // 64) * 64) for length in size)
    allowed = {tuple(max(tile, length) if length < 256 else tile for tile, length in zip(wanted, size, strict=True))}
    assert {shape[2:] for shape in backend.tiles} <= allowed
    whole = np.concatenate([1 - picture / 255, picture[..., :1] / 255], 2).transpose(2, 0, 1)
    for region in regions:
        top, bottom, left, right = region.box
        place = (slice(top, bottom), slice(left, right))
        assert np.abs(region.output - whole[(slice(None), *place)]).max() < 1e-6
        assert np.array_equal(region.picture, picture[place])
        assert np.array_equal(region.mask, mask[place])
        assert region.restored.shape == (bottom - top, right - left, 3)
        assert np.array_equal(region.probability, region.output[3])
    assert sum(int(region.mask.sum()) for region in regions) == mask.sum()


def test_what_is_there_already_is_cut_out_without_asking_the_network():
    picture = np.random.default_rng(4).integers(0, 256, (90, 120, 3), np.uint8)
    output = np.random.default_rng(5).random((3, 90, 120), dtype=np.float32)
    (region,) = cut_out(picture, output, mask_of((60, 90, 30, 60), size=(90, 120)), 10)
    assert region.box == (50, 90, 20, 70)
    assert np.array_equal(region.output, output[:, 50:90, 20:70])
    assert np.array_equal(region.probability, region.mask)


def test_an_enlarged_mask_covers_the_same_part():
    mask = mask_of((60, 90, 30, 60), size=(90, 120))
    assert enlarge_mask(mask, (90, 120)) is mask
    large = enlarge_mask(mask, (270, 361))
    assert large.shape == (270, 361)
    assert large.dtype == np.uint8
    assert abs(large.mean() - mask.mean()) < 0.004
    assert large[190:, 95:175].all()
    assert not large[:175].any()
