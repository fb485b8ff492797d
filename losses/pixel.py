"""Losses that compare pixel by pixel. All take [N, C, H, W] tensors of one shape and give a scalar."""

from __future__ import annotations

import math

import paddle
from paddle import nn

from losses.value_range import ValueRangeCheck


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
    """Minus the PSNR in dB, the mean over the batch's pictures (the loss of Chen et al., NAFNet, ECCV 2022).

    Args:
        data_range: the value of white; checked against the first clean batch.
    """

    # Caps the PSNR at 80 dB, so that equal pictures have a finite value and gradient.
    SMALLEST_ERROR = 1e-8

    def __init__(self, data_range: float) -> None:
        super().__init__()
        self.check_range = ValueRangeCheck("psnr", data_range)

    def forward(self, result: paddle.Tensor, clean: paddle.Tensor) -> paddle.Tensor:
        self.check_range(clean)
        error = ((result - clean) / self.check_range.data_range).square().mean(axis=[1, 2, 3])
        return 10 / math.log(10) * (error + self.SMALLEST_ERROR).log().mean()
