"""The terms of the loss but MS-SSIM: picture against picture, and what only a gated network gives.

Pictures are float32 [N, 3, H, W] with white = 1, masks [N, 1, H, W] with 1 = occluder; every term gives a scalar. The
parameters of a `forward` are named as in `losses.total.TotalLoss`.
"""

from __future__ import annotations

import math

import paddle
from paddle import nn
from paddle.nn import functional as F


class L1Loss(nn.Layer):
    """Mean absolute error."""

    def forward(self, result: paddle.Tensor, clean: paddle.Tensor) -> paddle.Tensor:
        return (result - clean).abs().mean()


class CharbonnierLoss(nn.Layer):
    """Mean of sqrt(error^2 + eps^2) (Lai et al., LapSRN, CVPR 2017): L1 with a gradient of 0 at 0.

    Args:
        eps: in the units of the values; it is squared inside, so equal pictures give `eps`.
    """

    def __init__(self, eps: float = 1e-3) -> None:
        super().__init__()
        self.eps = eps

    def forward(self, result: paddle.Tensor, clean: paddle.Tensor) -> paddle.Tensor:
        return ((result - clean).square() + self.eps**2).sqrt().mean()


class PSNRLoss(nn.Layer):
    """Minus the PSNR in dB, the mean over the batch's pictures (the loss of Chen et al., NAFNet, ECCV 2022)."""

    # Caps the PSNR at 80 dB, so that equal pictures have a finite value and gradient.
    SMALLEST_ERROR = 1e-8

    def forward(self, result: paddle.Tensor, clean: paddle.Tensor) -> paddle.Tensor:
        error = (result - clean).square().mean(axis=[1, 2, 3])
        return 10 / math.log(10) * (error + self.SMALLEST_ERROR).log().mean()


class MaskBCELoss(nn.Layer):
    """Mean binary cross-entropy between the predicted mask, before the sigmoid, and the true one."""

    def forward(self, mask_logit: paddle.Tensor, mask: paddle.Tensor) -> paddle.Tensor:
        return F.binary_cross_entropy_with_logits(mask_logit, mask)


class MaskDiceLoss(nn.Layer):
    """1 - Dice overlap per picture, then the mean (Milletari et al., V-Net, 2016).

    Unlike the cross-entropy it does not shrink with the occluder's area. A pixel is added above and below the fraction,
    so that a picture without an occluder has a value, 0 when none is predicted.
    """

    def forward(self, mask_logit: paddle.Tensor, mask: paddle.Tensor) -> paddle.Tensor:
        probability = F.sigmoid(mask_logit)
        axes = [1, 2, 3]
        overlap = (probability * mask).sum(axis=axes)
        area = probability.sum(axis=axes) + mask.sum(axis=axes)
        return (1 - (2 * overlap + 1) / (area + 1)).mean()


class FillLoss(nn.Layer):
    """Mean absolute error of the restored picture before the gate, inside the widened true mask.

    Where the gate is closed nothing else teaches the network what to paint. The mean goes over the batch's covered
    values; one value is added to the count, so that a batch without an occluder gives 0.

    Args:
        radius: by how many pixels the mask is widened (a square of 2 radius + 1), so that its rim is learnt too.
    """

    def __init__(self, radius: int = 4) -> None:
        super().__init__()
        self.radius = radius

    def forward(self, restored: paddle.Tensor, clean: paddle.Tensor, mask: paddle.Tensor) -> paddle.Tensor:
        widened = F.max_pool2d(mask, 2 * self.radius + 1, stride=1, padding=self.radius)
        covered_values = widened.sum() * clean.shape[1]
        return ((restored - clean).abs() * widened).sum() / (covered_values + 1)
