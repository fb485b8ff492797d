"""The occlusion gate: what is not covered stays as it is.

The gated network predicts a mask beside the restored picture, and the result is input + mask x (restored - input).
The contest's masks supervise it. A network without the gate returns its restored picture as it is.
"""

from __future__ import annotations

import paddle
import paddle.nn.functional as F

from models.nafnet import NAFNet


def probability(mask_logit: paddle.Tensor) -> paddle.Tensor:
    """[N, 1, H, W] of any value -> [N, 1, H, W] in [0, 1]: how surely each pixel is covered."""
    return F.sigmoid(mask_logit)


def apply_gate(x: paddle.Tensor, restored: paddle.Tensor, mask_logit: paddle.Tensor) -> paddle.Tensor:
    """Blends the restored picture into the input where the mask says so.

    Args:
        x: the input, [N, 3, H, W], RGB in [0, 1].
        restored: the network's picture, [N, 3, H, W].
        mask_logit: the network's mask before the sigmoid, [N, 1, H, W].

    Returns:
        [N, 3, H, W]: `x` where the mask is 0, `restored` where it is 1.
    """
    return x + probability(mask_logit) * (restored - x)


def restore(network: NAFNet, x: paddle.Tensor) -> tuple[paddle.Tensor, paddle.Tensor | None]:
    """Runs a network with or without the gate.

    Args:
        x: [N, 3, H, W], RGB in [0, 1].

    Returns:
        (result [N, 3, H, W], mask probability [N, 1, H, W] or None without a gate); the result is not clipped.
    """
    if not network.gate:
        return network(x), None
    restored, mask_logit = network(x)
    return apply_gate(x, restored, mask_logit), probability(mask_logit)
