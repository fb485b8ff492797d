"""Pasting: which boxes; exact outside, the fill inside, an even passage between."""

import cv2
import numpy as np
import pytest

from inference.paste import PasteRules, Patch, add_difference, covered_boxes, paste

RULES = PasteRules(widening=2, feather=2)


def scene(factor: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A picture, and a fill and a mask of 90 x 120."""
    generator = np.random.default_rng(10800)
    image = generator.integers(0, 256, (round(90 * factor), round(120 * factor), 3), dtype=np.uint8)
    mask = np.zeros((90, 120), np.uint8)
    mask[45:, 40:60] = 1
    return image, generator.random((90, 120, 3), dtype=np.float32), mask


def paste_whole(image: np.ndarray, fill: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Pastes a region that is the whole picture; returns what may have changed."""
    changed = np.zeros(image.shape[:2], np.uint8)
    paste(image, changed, Patch((0, mask.shape[0], 0, mask.shape[1]), mask, fill), mask.shape, RULES)
    return changed


@pytest.mark.parametrize("factor", [1, 1.3, 3.7])
def test_outside_the_widened_mask_not_one_bit_changes_and_inside_stands_the_fill(factor):
    image, fill, mask = scene(factor)
    result = image.copy()
    changed = paste_whole(result, np.full_like(fill, 0.25), mask)
    assert np.array_equal(result[changed == 0], image[changed == 0])
    full = cv2.resize(mask, image.shape[1::-1], interpolation=cv2.INTER_NEAREST)
    assert changed[full > 0].all()
    assert np.abs(result[full > 0].astype(int) - 64).max() <= 1
    reach = int(np.ceil((RULES.reach + 2) * factor))
    assert not changed[cv2.dilate(full, np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)) == 0].any()


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (5, 5)])
@pytest.mark.parametrize("covered", [0, 1])
def test_a_wholly_covered_picture_of_any_size_becomes_the_fill_and_an_empty_mask_changes_nothing(shape, covered):
    image, fill = np.zeros((*shape, 3), np.uint8), np.full((*shape, 3), 0.5, np.float32)
    assert (paste_whole(image, fill, np.full(shape, covered, np.uint8)) == covered).all()
    assert (image == 128 * covered).all()


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_values_are_those_of_enlarging_the_whole_picture_at_once(kind):
    """Blocks and regions leave no trace: the same values as enlarging everything with OpenCV, and no seam."""
    image, fill, mask = scene(9.3)
    white = np.iinfo(kind).max
    image = image.astype(kind) * kind(white // 255)
    size = image.shape[1::-1]
    enlarged = np.clip(cv2.resize(fill, size, interpolation=cv2.INTER_CUBIC), 0, 1) * white
    weight = cv2.resize(RULES.weight(mask), size, interpolation=cv2.INTER_LINEAR)[..., None]
    whole, part = image.copy(), image.copy()
    changed = paste_whole(whole, fill, mask)
    assert np.abs(whole - (image + weight * (enlarged - image))).max() <= (0.51 if kind == np.uint8 else 2)
    assert np.array_equal(changed > 0, weight[..., 0] > 0)
    box, again = (45 - 7, 90, 40 - 7, 60 + 7), np.zeros_like(changed)
    place = (slice(*box[:2]), slice(*box[2:]))
    paste(part, again, Patch(box, mask[place], fill[place]), mask.shape, RULES)
    assert np.array_equal(again, changed)
    assert np.abs(part[60 * 9 :].astype(int) - whole[60 * 9 :]).max() <= 1


def test_an_added_difference_keeps_the_pictures_own_detail_and_ends_at_white():
    image = np.random.default_rng(1).integers(50, 200, (700, 531, 3), dtype=np.uint8)
    for share, expected in ((10.2, image + 10), (510, np.full_like(image, 255))):
        result = image.copy()
        add_difference(result, np.full((3, 70, 53), share / 255, np.float32))
        assert np.array_equal(result, expected)


def mask_of(*boxes: tuple[int, int, int, int]) -> np.ndarray:
    mask = np.zeros((900, 1200), np.uint8)
    for top, bottom, left, right in boxes:
        mask[top:bottom, left:right] = 1
    return mask


def test_far_blobs_have_their_own_boxes_near_ones_share_one_and_none_overlap():
    mask = mask_of((0, 100, 0, 50), (800, 900, 1000, 1100), (150, 200, 20, 60))
    assert sorted(covered_boxes(mask, 20)) == [(0, 120, 0, 70), (130, 220, 0, 80), (780, 900, 980, 1120)]
    assert sorted(covered_boxes(mask, 40)) == [(0, 240, 0, 100), (760, 900, 960, 1140)]
    generator = np.random.default_rng(8)
    for _ in range(20):
        mask = mask_of(*((top, top + 30, left, left + 40) for top, left in generator.integers(0, 860, (9, 2))))
        owner = np.zeros(mask.shape, np.uint8)
        for top, bottom, left, right in covered_boxes(mask, 25):
            owner[top:bottom, left:right] += 1
        assert owner.max() <= 1
        assert owner[cv2.dilate(mask, np.ones((51, 51), np.uint8)) > 0].all()
