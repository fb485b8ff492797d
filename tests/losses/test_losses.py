"""Every term against its formula in NumPy or a library's values, its gradient, and the weighted sum that teaches."""

import json
from pathlib import Path

import numpy as np
import paddle
import pytest

from configs.schema import CharbonnierTerm, FillTerm, L1Term, MaskBCETerm, MaskDiceTerm, MSSSIMTerm
from losses import LOSSES, total_loss
from tests.metrics import reference_pictures
from tests.metrics.reference_pictures import noise, page, pairs

RESULT, CLEAN = np.random.default_rng(0).random((2, 2, 3, 24, 30)).astype(np.float32)
LOGIT = np.random.default_rng(0).normal(0, 2, (2, 1, 24, 30)).astype(np.float32)
PROBABILITY = 1 / (1 + np.exp(-LOGIT.astype(np.float64)))
# The second picture has no occluder.
MASK = np.zeros((2, 1, 24, 30), np.float32)
MASK[0, 0, 8:14, 0:9] = 1

PAIRS = pairs()
VALUES = json.loads(Path(reference_pictures.__file__).with_name("reference_values.json").read_text(encoding="utf-8"))
PLAIN = (CharbonnierTerm(weight=2.0), MSSSIMTerm(weight=0.5))
GATED = (MaskBCETerm(weight=0.3), MaskDiceTerm(weight=0.1), FillTerm(radius=2))


def value_and_gradient(name, result, *others, **settings):
    result = paddle.to_tensor(result, stop_gradient=False)
    value = LOSSES[name](result, *map(paddle.to_tensor, others), **settings)
    value.backward()
    gradient = result.grad.numpy()
    assert np.isfinite(gradient).all()
    return float(value), gradient


def ms_ssim(result, clean):
    """Value and gradient of the loss on pictures [H, W, 3]."""
    pictures = (np.ascontiguousarray(one.transpose(2, 0, 1)[None], np.float32) for one in (result, clean))
    value, gradient = value_and_gradient("ms_ssim", *pictures)
    return value, gradient[0].transpose(1, 2, 0)


@pytest.mark.parametrize("eps", [1e-3, 0.1])
def test_charbonnier_squares_eps(eps):
    value, gradient = value_and_gradient("charbonnier", RESULT, CLEAN, eps=eps)
    root = np.sqrt((RESULT - CLEAN).astype(np.float64) ** 2 + eps**2)
    assert value == pytest.approx(root.mean(), rel=1e-5)
    np.testing.assert_allclose(gradient, (RESULT - CLEAN) / root / CLEAN.size, rtol=1e-4, atol=1e-9)
    value, gradient = value_and_gradient("charbonnier", CLEAN, CLEAN, eps=eps)
    assert value == pytest.approx(eps, rel=1e-5)
    assert not gradient.any()


def test_psnr_bce_and_dice_are_their_formulas_and_finite_for_right_masks_wrong_ones_and_equal_pictures():
    result, axes = RESULT.copy(), (1, 2, 3)
    result[1] = CLEAN[1] * 0.9  # two pictures of very different PSNR
    value, gradient = value_and_gradient("psnr", result, CLEAN)
    errors = ((result.astype(np.float64) - CLEAN) ** 2).mean(axis=axes)
    assert value == pytest.approx((10 * np.log10(errors)).mean(), abs=1e-3)
    assert gradient.any()
    assert value_and_gradient("psnr", CLEAN, CLEAN)[0] == pytest.approx(-80, abs=1e-3)
    expected = -(MASK * np.log(PROBABILITY) + (1 - MASK) * np.log(1 - PROBABILITY)).mean()
    assert value_and_gradient("mask_bce", LOGIT, MASK)[0] == pytest.approx(expected, rel=1e-5)
    assert value_and_gradient("mask_bce", np.full_like(MASK, 200), MASK * 0)[0] == pytest.approx(200)
    overlap = (PROBABILITY * MASK).sum(axis=axes)
    expected = np.mean(1 - (2 * overlap + 1) / (PROBABILITY.sum(axis=axes) + MASK.sum(axis=axes) + 1))
    assert value_and_gradient("mask_dice", LOGIT, MASK)[0] == pytest.approx(expected, rel=1e-5)
    sure = (MASK * 2 - 1) * 50  # the second picture has no occluder
    assert value_and_gradient("mask_dice", sure, MASK)[0] == pytest.approx(0, abs=1e-6)
    assert value_and_gradient("mask_dice", -sure, MASK)[0] > 0.95


@pytest.mark.parametrize("radius", [0, 4])
def test_fill_counts_only_the_widened_mask(radius):
    inside = np.zeros_like(MASK)
    inside[0, 0, 8 - radius : 14 + radius, 0 : 9 + radius] = 1
    expected = (np.abs(RESULT - CLEAN) * inside).sum() / (inside.sum() * 3 + 1)
    value, gradient = value_and_gradient("fill", RESULT, CLEAN, MASK, radius=radius)
    assert value == pytest.approx(expected, rel=1e-5)
    np.testing.assert_array_equal(gradient != 0, np.broadcast_to(inside != 0, RESULT.shape))
    assert value_and_gradient("fill", RESULT, CLEAN, MASK * 0, radius=radius)[0] == 0


@pytest.mark.parametrize("name", PAIRS)
def test_ms_ssim_is_the_librarys_and_its_gradient_finite_on_hard_pictures(name):
    value, _ = ms_ssim(*PAIRS[name])
    # The loss keeps a little of an anticorrelated scale.
    expected = pytest.approx(1 - VALUES[name]["floats"], abs=1e-4)
    assert 0 <= value <= 1 + 1e-6 if name == "inverted" else value == expected


@pytest.mark.parametrize("level", [0.0, 1.0])
def test_the_gradient_of_ms_ssim_is_finite_on_black_and_white(level):
    flat, other = np.full((161, 161, 3), level, np.float32), page(161, 161)
    for result, clean in ((flat, flat), (1 - flat, flat), (flat, other), (other, flat)):
        ms_ssim(result, clean)


def test_one_anticorrelated_scale_does_not_silence_the_others():
    # Inverting only what is finer than 32 px makes the finest scale negative; the coarse light must still be learnt.
    rows, columns = np.mgrid[0:192, 0:192].astype(np.float32)
    fine, light = 0.1 * np.sin(rows * 2.5) * np.sin(columns * 2.5), 0.3 * np.sin(rows / 40)
    clean, result = (np.repeat(one[..., None], 3, axis=2) for one in (0.5 + light + fine, 0.5 + 0.5 * light - fine))
    value, gradient = ms_ssim(result, clean)
    assert ms_ssim(result - 0.05 * gradient / np.abs(gradient).max(), clean)[0] < value


@pytest.fixture
def batch():
    """A gated network's step on one 176 px patch with a covered corner."""
    clean = paddle.to_tensor(page(176, 176).transpose(2, 0, 1)[None])
    restored = clean * 0.9 + 0.1 * paddle.to_tensor(noise((1, 3, 176, 176), 1))
    logit, mask = paddle.to_tensor(noise((1, 1, 176, 176), 2) * 4 - 2), paddle.zeros([1, 1, 176, 176])
    mask[:, :, 100:, :60] = 1.0
    restored.stop_gradient = logit.stop_gradient = False
    result = clean * 0.97 + 0.03 * restored
    return {"result": result, "clean": clean, "restored": restored, "mask_logit": logit, "mask": mask}


def test_the_sum_has_the_weights_and_the_values_have_not(batch):
    total, values = total_loss(PLAIN + GATED, batch)
    inputs = {"charbonnier": ("result", "clean"), "ms_ssim": ("result", "clean"), "mask_bce": ("mask_logit", "mask"),
              "mask_dice": ("mask_logit", "mask"), "fill": ("restored", "clean", "mask")}  # fmt: skip
    settings = {"charbonnier": {"eps": 1e-3}, "fill": {"radius": 2}}
    assert list(values) == list(inputs)
    for name, value in values.items():
        alone = LOSSES[name](*(batch[one] for one in inputs[name]), **settings.get(name, {}))
        assert float(value) == pytest.approx(float(alone), rel=1e-6)
        assert value.stop_gradient
    weighted = [term.weight * float(values[term.name]) for term in PLAIN + GATED]
    assert float(total) == pytest.approx(sum(weighted), rel=1e-5)
    assert total.shape == []
    # A weight of zero reports only.
    alone, values = total_loss([L1Term(), FillTerm(weight=0.0)], batch)
    assert float(values["fill"]) > 0
    assert float(alone) == float(values["l1"])
    # Every input that is learnt gets a gradient.
    total.backward()
    gradients = [batch[name].grad.numpy() for name in ("restored", "mask_logit")]
    assert all(np.isfinite(gradient).all() and gradient.any() for gradient in gradients)
