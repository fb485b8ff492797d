"""Losses of the gate against their formulas in NumPy."""

from __future__ import annotations

import numpy as np
import paddle
import pytest

from losses.terms import FillLoss, MaskBCELoss, MaskDiceLoss


def _mask(shape=(2, 1, 24, 30)):
    mask = np.zeros(shape, np.float32)
    mask[0, 0, 8:14, 0:9] = 1
    return mask


def _logit(shape=(2, 1, 24, 30)):
    return np.random.default_rng(0).normal(0, 2, shape).astype(np.float32)


def _sigmoid(values):
    return 1 / (1 + np.exp(-values.astype(np.float64)))


def test_bce_is_the_mean_cross_entropy():
    logit, mask = _logit(), _mask()
    probability = _sigmoid(logit)
    expected = -(mask * np.log(probability) + (1 - mask) * np.log(1 - probability)).mean()
    assert float(MaskBCELoss()(paddle.to_tensor(logit), paddle.to_tensor(mask))) == pytest.approx(expected, rel=1e-5)


def test_bce_is_finite_where_a_sure_network_is_wrong():
    logit = paddle.to_tensor(np.full((1, 1, 8, 8), 200, np.float32), stop_gradient=False)
    value = MaskBCELoss()(logit, paddle.zeros([1, 1, 8, 8]))
    value.backward()
    assert float(value) == pytest.approx(200)
    assert np.isfinite(logit.grad.numpy()).all()


def test_dice_is_the_mean_over_the_pictures():
    logit, mask = _logit(), _mask()
    probability = _sigmoid(logit)
    axes = (1, 2, 3)
    overlap = (probability * mask).sum(axis=axes)
    expected = np.mean(1 - (2 * overlap + 1) / (probability.sum(axis=axes) + mask.sum(axis=axes) + 1))
    assert float(MaskDiceLoss()(paddle.to_tensor(logit), paddle.to_tensor(mask))) == pytest.approx(expected, rel=1e-5)


def test_dice_of_a_right_mask_is_zero_also_without_an_occluder():
    mask = _mask()
    assert not mask[1].any()
    sure = paddle.to_tensor((mask * 2 - 1) * 50)
    assert float(MaskDiceLoss()(sure, paddle.to_tensor(mask))) == pytest.approx(0, abs=1e-6)
    assert float(MaskDiceLoss()(-sure, paddle.to_tensor(mask))) > 0.95


@pytest.mark.parametrize("radius", [0, 4])
def test_fill_counts_only_the_widened_mask(radius):
    mask = _mask()
    random = np.random.default_rng(1)
    restored, clean = random.random((2, 2, 3, 24, 30)).astype(np.float32)
    inside = np.zeros_like(mask)
    inside[0, 0, 8 - radius : 14 + radius, 0 : 9 + radius] = 1
    expected = (np.abs(restored - clean) * inside).sum() / (inside.sum() * 3 + 1)
    restored = paddle.to_tensor(restored, stop_gradient=False)
    value = FillLoss(radius)(restored, paddle.to_tensor(clean), paddle.to_tensor(mask))
    value.backward()
    assert float(value) == pytest.approx(expected, rel=1e-5)
    np.testing.assert_array_equal(restored.grad.numpy() != 0, np.broadcast_to(inside != 0, restored.shape))


def test_fill_without_an_occluder_is_zero():
    clean = paddle.ones([1, 3, 16, 16])
    assert float(FillLoss()(clean * 0, clean, paddle.zeros([1, 1, 16, 16]))) == 0
