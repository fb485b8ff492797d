"""Losses that compare pixel by pixel. All take [N, C, H, W] tensors of one shape and give a scalar.

Losses of a gated network: how well it finds the occluder, and what it would paint there.

The check that a loss with a value range is fed values of that range.
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


class ValueRangeCheck:
    """Looks at the first clean batch and refuses it when `data_range` cannot be its range.

    With the wrong range MS-SSIM still runs and looks plausible, but its constants swamp the picture: on values in
    [0, 1], a range of 255 makes the loss about a thousand times too weak. Later batches are not looked at, because each
    look waits for the device.

    Args:
        name: of the loss, for messages.
        data_range: the value of white.
    """

    def __init__(self, name: str, data_range: float) -> None:
        if not data_range > 0:
            raise ValueError(f"{name}: data_range is {data_range}, expected the value of white, such as 1.0")
        self.name = name
        self.data_range = float(data_range)
        self.passed = False

    def __call__(self, clean: paddle.Tensor) -> None:
        """Checks `clean` unless an earlier call has passed.

        Raises:
            ValueError: values outside [0, data_range]; or data_range > 1 and none of the values above 1.
        """
        if self.passed:
            return
        # amin and amax: Paddle 3.2 warns people away from min and max at their first call.
        lowest, highest = float(clean.amin().item()), float(clean.amax().item())
        # Resizing in float32 may overshoot white by a rounding error; written so that NaN is refused.
        slack = 1e-4 * self.data_range
        if not (lowest >= -slack and highest <= self.data_range + slack):
            raise ValueError(
                f"{self.name}: the clean values lie in [{lowest:g}, {highest:g}], outside [0, data_range] = "
                f"[0, {self.data_range:g}]; set data_range to the value of white in the data"
            )
        if self.data_range > 1 and highest <= 1:
            raise ValueError(
                f"{self.name}: the clean values lie in [{lowest:g}, {highest:g}], so white is 1.0, but data_range is "
                f"{self.data_range:g}; set data_range: 1.0"
            )
        self.passed = True
