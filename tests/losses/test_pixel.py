"""Pixel losses against their formulas in NumPy, and their gradients."""

from __future__ import annotations

import numpy as np
import paddle
import pytest

from losses.terms import CharbonnierLoss, L1Loss, PSNRLoss
from metrics import psnr


def _pair(shape=(2, 3, 17, 13), seed=0):
    random = np.random.default_rng(seed)
    return random.random((2, *shape)).astype(np.float32)


def _value_and_gradient(loss, result, clean):
    result = paddle.to_tensor(result, stop_gradient=False)
    value = loss(result, paddle.to_tensor(clean))
    value.backward()
    return float(value), result.grad.numpy()


def test_l1_is_the_mean_absolute_error():
    result, clean = _pair()
    value, gradient = _value_and_gradient(L1Loss(), result, clean)
    assert value == pytest.approx(np.abs(result - clean).mean(), rel=1e-6)
    np.testing.assert_allclose(gradient, np.sign(result - clean) / clean.size, rtol=1e-6)


@pytest.mark.parametrize("eps", [1e-3, 0.1])
def test_charbonnier_squares_eps(eps):
    result, clean = _pair()
    value, gradient = _value_and_gradient(CharbonnierLoss(eps), result, clean)
    root = np.sqrt((result - clean).astype(np.float64) ** 2 + eps**2)
    assert value == pytest.approx(root.mean(), rel=1e-5)
    np.testing.assert_allclose(gradient, (result - clean) / root / clean.size, rtol=1e-4, atol=1e-9)


def test_charbonnier_of_equal_pictures_is_eps_with_no_gradient():
    _, clean = _pair()
    value, gradient = _value_and_gradient(CharbonnierLoss(1e-3), clean, clean)
    assert value == pytest.approx(1e-3, rel=1e-5)
    assert not gradient.any()


@pytest.mark.parametrize("white", [1.0, 255.0])
def test_psnr_loss_is_minus_the_mean_psnr_of_the_pictures(white):
    result, clean = _pair()
    clean[0, 0, 0, 0], result[1] = 1, clean[1] * 0.9  # two pictures of very different PSNR
    value, gradient = _value_and_gradient(PSNRLoss(white), result * white, clean * white)
    rows = zip(result.transpose(0, 2, 3, 1), clean.transpose(0, 2, 3, 1), strict=True)
    expected = np.mean([psnr(one, truth, 1.0) for one, truth in rows])
    assert value == pytest.approx(-expected, abs=1e-3)
    assert np.isfinite(gradient).all()
    assert gradient.any()


def test_psnr_loss_of_equal_pictures_is_finite():
    _, clean = _pair()
    value, gradient = _value_and_gradient(PSNRLoss(1.0), clean, clean)
    assert value == pytest.approx(-80, abs=1e-3)
    assert np.isfinite(gradient).all()
