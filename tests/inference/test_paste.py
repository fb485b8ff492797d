"""Pasting: which boxes; exact outside, the fill inside, an even passage between."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from inference.paste import PasteRules, Patch, add_difference, covered_boxes, paste

RULES = PasteRules(widening=2, feather=2)


def scene(height: int = 90, width: int = 120, factor: float = 3.7):
    generator = np.random.default_rng(height * width)
    image = generator.integers(0, 256, (round(height * factor), round(width * factor), 3), dtype=np.uint8)
    fill = generator.random((height, width, 3), dtype=np.float32)
    mask = np.zeros((height, width), np.uint8)
    mask[height // 2 :, width // 3 : width // 2] = 1
    return image, fill, mask


def paste_whole(image: np.ndarray, fill: np.ndarray, mask: np.ndarray, rules: PasteRules) -> np.ndarray:
    """Pastes a region that is the whole picture; returns what may have changed."""
    changed = np.zeros(image.shape[:2], np.uint8)
    paste(image, changed, Patch((0, mask.shape[0], 0, mask.shape[1]), mask, fill), mask.shape, rules)
    return changed


@pytest.mark.parametrize("factor", [1, 1.3, 3.7])
def test_outside_the_widened_mask_not_one_bit_changes(factor):
    image, fill, mask = scene(factor=factor)
    result = image.copy()
    changed = paste_whole(result, fill, mask, RULES)
    assert changed.shape == image.shape[:2]
    assert np.array_equal(result[changed == 0], image[changed == 0])
    full = cv2.resize(mask, image.shape[1::-1], interpolation=cv2.INTER_NEAREST)
    assert changed[full > 0].all()
    reach = int(np.ceil((RULES.widening + RULES.feather + 2) * factor))
    grown = cv2.dilate(full, np.ones((2 * reach + 1, 2 * reach + 1), np.uint8))
    assert not changed[grown == 0].any()
    assert 0 < changed.mean() < 0.3
    # Inside stands the fill, and nothing of the occluder.
    paste_whole(image, np.full_like(fill, 0.25), mask, RULES)
    assert np.abs(image[full > 0].astype(int) - 64).max() <= 1


def test_the_feather_passes_evenly_from_the_fill_to_the_picture():
    image, mask = np.zeros((60, 100, 3), np.uint8), np.zeros((60, 100), np.uint8)
    mask[:, :40] = 1
    rules = PasteRules(widening=1.5, feather=2.5).scaled(2)
    paste_whole(image, np.ones((60, 100, 3), np.float32), mask, rules)
    row = image[30, :, 0].astype(int)
    assert (row[:42] == 255).all()
    assert (row[48:] == 0).all()
    assert set(-np.diff(row[42:48])) <= set(range(40, 61))


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (7, 1), (5, 5)])
def test_a_wholly_covered_picture_of_any_size_becomes_the_fill_and_an_empty_mask_changes_nothing(shape):
    image, fill = np.zeros((*shape, 3), np.uint8), np.full((*shape, 3), 0.5, np.float32)
    assert not paste_whole(image, fill, np.zeros(shape, np.uint8), RULES).any()
    assert not image.any()
    assert paste_whole(image, fill, np.ones(shape, np.uint8), RULES).all()
    assert (image == 128).all()


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_values_are_those_of_enlarging_the_whole_picture_at_once(kind):
    """Blocks and regions leave no trace: the same values as enlarging everything with OpenCV, and no seam."""
    image, fill, mask = scene(factor=9.3)
    white = np.iinfo(kind).max
    image = image.astype(kind) * kind(white // 255)
    size = image.shape[1::-1]
    enlarged = np.clip(cv2.resize(np.clip(fill, 0, 1), size, interpolation=cv2.INTER_CUBIC), 0, 1) * white
    distance = cv2.distanceTransform(1 - mask, cv2.DIST_L2, 5)
    weight = np.clip((RULES.reach - distance) / RULES.feather, 0, 1).astype(np.float32)
    weight = cv2.resize(weight, size, interpolation=cv2.INTER_LINEAR)[..., None]
    expected = image + weight * (enlarged - image)
    whole, part = image.copy(), image.copy()
    changed = paste_whole(whole, fill, mask, RULES)
    assert np.abs(whole - expected).max() <= (0.51 if kind == np.uint8 else 2)
    assert np.array_equal(changed > 0, weight[..., 0] > 0)
    box = (45 - 7, 90, 40 - 7, 60 + 7)
    again = np.zeros_like(changed)
    place = (slice(*box[:2]), slice(*box[2:]))
    paste(part, again, Patch(box, mask[place], fill[place]), mask.shape, RULES)
    assert np.array_equal(again, changed)
    assert np.abs(part[60 * 9 :].astype(int) - whole[60 * 9 :]).max() <= 1


def test_an_added_difference_keeps_the_pictures_own_detail():
    image = np.random.default_rng(1).integers(50, 200, (700, 531, 3), dtype=np.uint8)
    before = image.copy()
    add_difference(image, np.full((3, 70, 53), 10.2 / 255, np.float32))
    assert np.array_equal(image, before + 10)
    add_difference(image, np.full((3, 70, 53), 2, np.float32))
    assert (image == 255).all()


def mask_of(*boxes: tuple[int, int, int, int]) -> np.ndarray:
    mask = np.zeros((900, 1200), np.uint8)
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
        owner = np.zeros(mask.shape, int)
        for top, bottom, left, right in covered_boxes(mask, 25):
            owner[top:bottom, left:right] += 1
        assert owner.max() <= 1
        rows, columns = np.nonzero(mask)
        for row, column in zip(rows[::97], columns[::97], strict=True):
            assert owner[max(0, row - 25) : row + 26, max(0, column - 25) : column + 26].all()
