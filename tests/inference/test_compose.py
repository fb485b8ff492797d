"""Pasting: exact outside, the fill inside, an even passage between."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from inference.compose import PasteRules, paste_fill

RULES = PasteRules(widening=2, feather=2)


def scene(height: int = 90, width: int = 120, factor: float = 3.7):
    generator = np.random.default_rng(height * width)
    image = generator.integers(0, 256, (round(height * factor), round(width * factor), 3), dtype=np.uint8)
    fill = generator.random((height, width, 3), dtype=np.float32)
    mask = np.zeros((height, width), np.uint8)
    mask[height // 2 :, width // 3 : width // 2] = 1
    return image, fill, mask


@pytest.mark.parametrize("factor", [1, 1.3, 3.7])
def test_outside_the_widened_mask_not_one_bit_changes(factor):
    image, fill, mask = scene(factor=factor)
    result = image.copy()
    changed = paste_fill(result, fill, mask, RULES)
    assert changed.shape == image.shape[:2]
    assert np.array_equal(result[changed == 0], image[changed == 0])
    full = cv2.resize(mask, image.shape[1::-1], interpolation=cv2.INTER_NEAREST)
    assert changed[full > 0].all()
    reach = int(np.ceil((RULES.widening + RULES.feather + 2) * factor))
    grown = cv2.dilate(full, np.ones((2 * reach + 1, 2 * reach + 1), np.uint8))
    assert not changed[grown == 0].any()
    assert 0 < changed.mean() < 0.3


def test_inside_stands_the_fill_and_nothing_of_the_occluder():
    image, _, mask = scene()
    fill = np.full((*mask.shape, 3), 0.25, np.float32)
    paste_fill(image, fill, mask, RULES)
    full = cv2.resize(mask, image.shape[1::-1], interpolation=cv2.INTER_NEAREST)
    assert np.abs(image[full > 0].astype(int) - 64).max() <= 1


def test_the_feather_passes_evenly_from_the_fill_to_the_picture():
    image = np.zeros((60, 100, 3), np.uint8)
    mask = np.zeros((60, 100), np.uint8)
    mask[:, :40] = 1
    paste_fill(image, np.ones((60, 100, 3), np.float32), mask, PasteRules(widening=3, feather=5))
    row = image[30, :, 0].astype(int)
    assert (row[:42] == 255).all()
    assert (row[48:] == 0).all()
    steps = -np.diff(row[42:48])
    assert steps.min() >= 40
    assert steps.max() <= 60


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (7, 1), (5, 5)])
def test_a_wholly_covered_picture_of_any_size_becomes_the_fill(shape):
    image = np.zeros((*shape, 3), np.uint8)
    fill = np.full((*shape, 3), 0.5, np.float32)
    mask = np.ones(shape, np.uint8)
    assert paste_fill(image, fill, mask, RULES).all()
    assert (image == 128).all()


def test_an_empty_mask_changes_nothing():
    image, fill, _ = scene()
    before, mask = image.copy(), np.zeros(fill.shape[:2], np.uint8)
    assert not paste_fill(image, fill, mask, RULES).any()
    assert np.array_equal(image, before)
