"""Pasting: which boxes; exact outside, the fill inside, an even passage between."""

import cv2
import numpy as np
import pytest

from inference.paste import PasteRules, Patch, add_difference, covered_boxes, paste

RULES = PasteRules(widening=2, feather=2)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
@pytest.mark.parametrize("factor", [1, 1.3, 9.3])
def test_values_are_those_of_enlarging_the_whole_picture_at_once(kind, factor):
    """Blocks and regions leave no trace: the same values as enlarging everything with OpenCV, and no seam."""
    generator, white, mask = np.random.default_rng(10800), np.iinfo(kind).max, np.zeros((90, 120), np.uint8)
    mask[45:, 40:60] = 1
    image = generator.integers(0, white + 1, (round(90 * factor), round(120 * factor), 3), kind)
    fill, size = generator.random((90, 120, 3), np.float32), image.shape[1::-1]
    enlarged = np.clip(cv2.resize(fill, size, interpolation=cv2.INTER_CUBIC), 0, 1) * white
    weight = cv2.resize(RULES.weight(mask), size, interpolation=cv2.INTER_LINEAR)[..., None]
    for top, bottom, left, right in ((0, 90, 0, 120), (45 - 7, 90, 40 - 7, 60 + 7)):
        result, changed, place = image.copy(), np.zeros(image.shape[:2], np.uint8), np.s_[top:bottom, left:right]
        paste(result, changed, Patch((top, bottom, left, right), mask[place], fill[place]), mask.shape, RULES)
        assert np.array_equal(changed > 0, weight[..., 0] > 0)
        assert np.array_equal(result[changed == 0], image[changed == 0])
        away = np.abs(result - (image + weight * (enlarged - image)))[round(60 * factor) * (left > 0) :]
        assert away.max() <= (0.51 if kind == np.uint8 else 2)


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
