"""Losses of a gated network: how well it finds the occluder, and what it would paint there."""

from __future__ import annotations

import paddle
from paddle import nn
from paddle.nn import functional as F


class MaskBCELoss(nn.Layer):
    """Mean binary cross-entropy between the predicted mask's logit and the true mask, both [N, 1, H, W]."""

    def forward(self, mask_logit: paddle.Tensor, mask: paddle.Tensor) -> paddle.Tensor:
        return F.binary_cross_entropy_with_logits(mask_logit, mask)


class MaskDiceLoss(nn.Layer):
    """1 - Dice overlap per picture, then the mean (Milletari et al., V-Net, 2016).

    Unlike the cross-entropy it does not shrink with the occluder's area. A pixel is added above and below the fraction,
    so that a picture without an occluder has a value, 0 when none is predicted. Both tensors are [N, 1, H, W].
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
        """restored and clean [N, C, H, W], mask [N, 1, H, W] with 1 = occluder."""
        widened = F.max_pool2d(mask, 2 * self.radius + 1, stride=1, padding=self.radius)
        covered_values = widened.sum() * clean.shape[1]
        return ((restored - clean).abs() * widened).sum() / (covered_values + 1)
