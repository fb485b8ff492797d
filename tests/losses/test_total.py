"""The weighted sum: values, gradients, refusals, precision, and that it teaches."""

from __future__ import annotations

import numpy as np
import paddle
import pytest

from configs.schema import CharbonnierTerm, FillTerm, L1Term, MaskBCETerm, MaskDiceTerm, MSSSIMTerm, PSNRTerm
from losses.ms_ssim import MSSSIMLoss
from losses.terms import CharbonnierLoss, FillLoss, MaskBCELoss, MaskDiceLoss
from losses.total import TotalLoss
from tests.metrics.reference_pictures import noise, page

PLAIN = (CharbonnierTerm(weight=2.0), MSSSIMTerm(weight=0.5))
GATED = (MaskBCETerm(weight=0.3), MaskDiceTerm(weight=0.1), FillTerm(radius=2))


@pytest.fixture
def batch():
    """A gated network's step on one 176 px patch with a covered corner."""
    clean = paddle.to_tensor(page(176, 176).transpose(2, 0, 1)[None])
    restored = clean * 0.9 + 0.1 * paddle.to_tensor(noise((1, 3, 176, 176), 1))
    logit = paddle.to_tensor(noise((1, 1, 176, 176), 2) * 4 - 2)
    mask = paddle.zeros([1, 1, 176, 176])
    mask[:, :, 100:, :60] = 1.0
    for tensor in (restored, logit):
        tensor.stop_gradient = False
    result = clean * 0.97 + 0.03 * restored
    return {"result": result, "clean": clean, "restored": restored, "mask_logit": logit, "mask": mask}


def test_the_sum_has_the_weights_and_the_values_have_not(batch):
    total, values = TotalLoss(PLAIN + GATED)(**batch)
    expected = {
        "charbonnier": CharbonnierLoss(1e-3)(batch["result"], batch["clean"]),
        "ms_ssim": MSSSIMLoss()(batch["result"], batch["clean"]),
        "mask_bce": MaskBCELoss()(batch["mask_logit"], batch["mask"]),
        "mask_dice": MaskDiceLoss()(batch["mask_logit"], batch["mask"]),
        "fill": FillLoss(2)(batch["restored"], batch["clean"], batch["mask"]),
    }
    assert list(values) == list(expected)
    weights = {term.name: term.weight for term in PLAIN + GATED}
    for name, value in expected.items():
        assert float(values[name]) == pytest.approx(float(value), rel=1e-6)
        assert values[name].stop_gradient
    weighted = [weights[name] * float(value) for name, value in expected.items()]
    assert float(total) == pytest.approx(sum(weighted), rel=1e-5)
    assert total.shape == []


def test_every_input_that_is_learnt_gets_a_gradient(batch):
    total, _ = TotalLoss(PLAIN + GATED)(**batch)
    total.backward()
    for name in ("restored", "mask_logit"):
        gradient = batch[name].grad.numpy()
        assert np.isfinite(gradient).all()
        assert gradient.any()


def test_a_weight_of_zero_reports_only(batch):
    total, values = TotalLoss([L1Term(), FillTerm(weight=0.0)])(**batch)
    assert float(values["fill"]) > 0
    assert float(total) == float(values["l1"])


def test_pictures_that_paddle_would_broadcast_are_refused(batch):
    loss = TotalLoss([L1Term()])
    with pytest.raises(ValueError, match=r"result has shape \[1, 1, 176, 176\], expected \[1, 3, 176, 176\]"):
        loss(result=batch["mask"], clean=batch["clean"])
    with pytest.raises(ValueError, match=r"mask has shape \[1, 3, 176, 176\], expected \[1, 1, 176, 176\]"):
        loss(result=batch["result"], clean=batch["clean"], mask=batch["clean"])
    with pytest.raises(ValueError, match=r"expected \[N, C, H, W\]"):
        loss(result=batch["result"][0], clean=batch["clean"][0])


def test_half_precision_is_lifted_to_float32(batch):
    halves = {name: tensor.detach().astype("float16") for name, tensor in batch.items()}
    lifted = {name: tensor.astype("float32") for name, tensor in halves.items()}
    from_half, _ = TotalLoss(PLAIN + GATED)(**halves)
    from_single, _ = TotalLoss(PLAIN + GATED)(**lifted)
    assert from_half.dtype == paddle.float32
    assert float(from_half) == float(from_single)


@pytest.mark.parametrize("terms", [[L1Term()], [MSSSIMTerm()], [PSNRTerm()]], ids=["l1", "ms_ssim", "psnr"])
def test_pictures_of_another_range_stop_at_the_first_batch(batch, terms):
    # The fault of the original: pictures in one range, MS-SSIM's constants for another, a thousandth of the gradient.
    loss = TotalLoss(terms)
    for change in (lambda x: x * 255, lambda x: x * 2 - 1, lambda x: x * float("nan")):
        for _ in range(2):
            with pytest.raises(ValueError, match=r"clean values lie in .*, expected \[0, 1\]"):
                loss(change(batch["result"]), change(batch["clean"]))
    loss(batch["result"], batch["clean"])
    # Later batches are not looked at: that would wait for the device.
    loss(batch["result"] * 2, batch["clean"] * 2)


@pytest.mark.parametrize("terms", [PLAIN, [L1Term()], [PSNRTerm()]], ids=["plain", "l1", "psnr"])
def test_following_the_gradient_restores_the_picture(terms):
    clean = paddle.to_tensor(page(161, 161).transpose(2, 0, 1)[None])
    picture = paddle.to_tensor((clean * 0.6 + 0.2).numpy(), stop_gradient=False)
    loss = TotalLoss(terms)
    optimizer = paddle.optimizer.Adam(0.02, parameters=[picture])
    before = float((picture - clean).abs().mean())
    for _ in range(12):
        total, _ = loss(picture, clean)
        total.backward()
        optimizer.step()
        optimizer.clear_grad()
    assert float((picture - clean).abs().mean()) < 0.4 * before
