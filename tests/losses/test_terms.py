"""Pixel and mask losses against their formulas in NumPy, and their gradients."""

from __future__ import annotations

import numpy as np
import paddle
import pytest

from losses.terms import CharbonnierLoss, FillLoss, L1Loss, MaskBCELoss, MaskDiceLoss, PSNRLoss

RESULT, CLEAN = np.random.default_rng(0).random((2, 2, 3, 24, 30)).astype(np.float32)
LOGIT = np.random.default_rng(0).normal(0, 2, (2, 1, 24, 30)).astype(np.float32)
PROBABILITY = 1 / (1 + np.exp(-LOGIT.astype(np.float64)))
# The second picture has no occluder.
MASK = np.zeros((2, 1, 24, 30), np.float32)
MASK[0, 0, 8:14, 0:9] = 1


def value_and_gradient(loss, result, *others):
    result = paddle.to_tensor(result, stop_gradient=False)
    value = loss(result, *map(paddle.to_tensor, others))
    value.backward()
    return float(value), result.grad.numpy()


def test_l1_is_the_mean_absolute_error():
    value, gradient = value_and_gradient(L1Loss(), RESULT, CLEAN)
    assert value == pytest.approx(np.abs(RESULT - CLEAN).mean(), rel=1e-6)
    np.testing.assert_allclose(gradient, np.sign(RESULT - CLEAN) / CLEAN.size, rtol=1e-6)


@pytest.mark.parametrize("eps", [1e-3, 0.1])
def test_charbonnier_squares_eps(eps):
    value, gradient = value_and_gradient(CharbonnierLoss(eps), RESULT, CLEAN)
    root = np.sqrt((RESULT - CLEAN).astype(np.float64) ** 2 + eps**2)
    assert value == pytest.approx(root.mean(), rel=1e-5)
    np.testing.assert_allclose(gradient, (RESULT - CLEAN) / root / CLEAN.size, rtol=1e-4, atol=1e-9)
    value, gradient = value_and_gradient(CharbonnierLoss(eps), CLEAN, CLEAN)
    assert value == pytest.approx(eps, rel=1e-5)
    assert not gradient.any()


def test_psnr_loss_is_minus_the_mean_psnr_of_the_pictures():
    result = RESULT.copy()
    result[1] = CLEAN[1] * 0.9  # two pictures of very different PSNR
    value, gradient = value_and_gradient(PSNRLoss(), result, CLEAN)
    errors = ((result.astype(np.float64) - CLEAN) ** 2).mean(axis=(1, 2, 3))
    assert value == pytest.approx((10 * np.log10(errors)).mean(), abs=1e-3)
    assert np.isfinite(gradient).all()
    assert gradient.any()
    value, gradient = value_and_gradient(PSNRLoss(), CLEAN, CLEAN)
    assert value == pytest.approx(-80, abs=1e-3)
    assert np.isfinite(gradient).all()


def test_bce_is_the_mean_cross_entropy_and_finite_where_a_sure_network_is_wrong():
    expected = -(MASK * np.log(PROBABILITY) + (1 - MASK) * np.log(1 - PROBABILITY)).mean()
    assert value_and_gradient(MaskBCELoss(), LOGIT, MASK)[0] == pytest.approx(expected, rel=1e-5)
    value, gradient = value_and_gradient(MaskBCELoss(), np.full_like(MASK, 200), MASK * 0)
    assert value == pytest.approx(200)
    assert np.isfinite(gradient).all()


def test_dice_is_the_mean_over_the_pictures_and_right_masks_are_0_also_without_an_occluder():
    axes = (1, 2, 3)
    overlap = (PROBABILITY * MASK).sum(axis=axes)
    expected = np.mean(1 - (2 * overlap + 1) / (PROBABILITY.sum(axis=axes) + MASK.sum(axis=axes) + 1))
    assert value_and_gradient(MaskDiceLoss(), LOGIT, MASK)[0] == pytest.approx(expected, rel=1e-5)
    sure = (MASK * 2 - 1) * 50
    assert value_and_gradient(MaskDiceLoss(), sure, MASK)[0] == pytest.approx(0, abs=1e-6)
    assert value_and_gradient(MaskDiceLoss(), -sure, MASK)[0] > 0.95


@pytest.mark.parametrize("radius", [0, 4])
def test_fill_counts_only_the_widened_mask(radius):
    inside = np.zeros_like(MASK)
    inside[0, 0, 8 - radius : 14 + radius, 0 : 9 + radius] = 1
    expected = (np.abs(RESULT - CLEAN) * inside).sum() / (inside.sum() * 3 + 1)
    value, gradient = value_and_gradient(FillLoss(radius), RESULT, CLEAN, MASK)
    assert value == pytest.approx(expected, rel=1e-5)
    np.testing.assert_array_equal(gradient != 0, np.broadcast_to(inside != 0, RESULT.shape))
    assert value_and_gradient(FillLoss(radius), RESULT, CLEAN, MASK * 0)[0] == 0
