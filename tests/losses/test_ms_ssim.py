"""The MS-SSIM loss: reference values on [0, 1] pictures and gradients."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import paddle
import pytest

from losses.ms_ssim import MSSSIMLoss, _blur_by_convolution, _blur_by_matmul
from tests.metrics import reference_pictures
from tests.metrics.reference_pictures import noise, page, pairs

PAIRS = pairs()
VALUES = json.loads(
    Path(reference_pictures.__file__).with_name("reference_values.json").read_text(encoding="utf-8")
)


def _tensor(picture, gradient=False):
    return paddle.to_tensor(np.ascontiguousarray(picture.transpose(2, 0, 1)[None]), stop_gradient=not gradient)


def _value_and_gradient(result, clean):
    result = _tensor(result, gradient=True)
    value = MSSSIMLoss()(result, _tensor(clean))
    value.backward()
    return float(value), result.grad.numpy()[0].transpose(1, 2, 0)


@pytest.mark.parametrize("name", [name for name in PAIRS if name != "inverted"])
def test_value_equals_pytorch_msssim(name):
    result, clean = PAIRS[name]
    loss = MSSSIMLoss()(_tensor(result), _tensor(clean))
    assert float(loss) == pytest.approx(1 - VALUES[name]["floats"], abs=1e-4)


def test_a_batch_is_the_mean_of_its_pictures():
    clean, (first, second) = page(161, 170), (page(161, 170) * np.float32(0.7), noise((161, 170, 3), 4))
    batch = MSSSIMLoss()(
        paddle.concat([_tensor(first), _tensor(second)]), paddle.concat([_tensor(clean), _tensor(clean)])
    )
    apart = [float(MSSSIMLoss()(_tensor(one), _tensor(clean))) for one in (first, second)]
    assert float(batch) == pytest.approx(np.mean(apart), abs=1e-6)


@pytest.mark.parametrize("name", ["inverted", "flat against flat", "flat against page", "equal"])
def test_gradients_are_finite_on_hard_pictures(name):
    result, clean = PAIRS[name]
    value, gradient = _value_and_gradient(result, clean)
    assert 0 <= value <= 1 + 1e-6
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize("level", [0.0, 1.0])
def test_gradients_are_finite_on_black_and_white(level):
    flat = np.full((161, 161, 3), level, np.float32)
    for result, clean in ((flat, flat), (1 - flat, flat), (flat, page(161, 161)), (page(161, 161), flat)):
        _, gradient = _value_and_gradient(result, clean)
        assert np.isfinite(gradient).all()


def test_one_anticorrelated_scale_does_not_silence_the_others():
    # Inverting only what is finer than 32 px makes the finest scale negative; the coarse light must still be learnt.
    rows, columns = np.mgrid[0:192, 0:192].astype(np.float32)
    fine = 0.1 * np.sin(rows * 2.5) * np.sin(columns * 2.5)
    light = 0.3 * np.sin(rows / 40)
    clean = np.repeat((0.5 + light + fine)[..., None], 3, axis=2).astype(np.float32)
    result = np.repeat((0.5 + 0.5 * light - fine)[..., None], 3, axis=2).astype(np.float32)
    value, gradient = _value_and_gradient(result, clean)
    better, _ = _value_and_gradient(result - 0.05 * gradient / np.abs(gradient).max(), clean)
    assert better < value


def test_the_gradient_is_the_slope_of_the_value():
    clean = page(176, 163)
    result = (clean * 0.8 + 0.2 * noise(clean.shape, 8)).astype(np.float32)
    _, gradient = _value_and_gradient(result, clean)
    direction = np.sign(gradient)
    step = 2e-3
    ahead, behind = (
        float(MSSSIMLoss()(_tensor((result + sign * step * direction).astype(np.float32)), _tensor(clean)))
        for sign in (1, -1)
    )
    assert (ahead - behind) / (2 * step) == pytest.approx((gradient * direction).sum(), rel=0.02)


def test_both_blurs_are_the_same():
    pictures = paddle.to_tensor(np.random.default_rng(3).random((2, 6, 37, 52)).astype(np.float32))
    by_matmul, by_convolution = _blur_by_matmul(pictures).numpy(), _blur_by_convolution(pictures).numpy()
    assert by_matmul.shape == (2, 6, 27, 42)
    np.testing.assert_allclose(by_matmul, by_convolution, atol=1e-6)


def test_patches_of_160_are_refused():
    clean = _tensor(page(160, 200))
    with pytest.raises(ValueError, match="at least 161 x 161 pixels, got 200 x 160"):
        MSSSIMLoss()(clean, clean)
