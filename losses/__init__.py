"""What training minimises: the weighted sum of the terms that a config lists (`configs.schema.LossTerm`).

Pictures are float32 [N, 3, H, W] with white = 1, masks [N, 1, H, W] with 1 = occluder; every term gives a scalar.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict

import numpy as np
import paddle
from paddle.nn import functional as F

from configs.schema import LossTerm
from metrics import SCALE_WEIGHTS, WINDOW, similarity

# No factor of MS-SSIM goes under this, where the measure proper takes 0: x ** w has an infinite slope at 0 and is NaN
# below, and one anticorrelated scale leaves the gradients of the others alive.
SMALLEST_FACTOR = 1e-4


def l1(result: paddle.Tensor, clean: paddle.Tensor) -> paddle.Tensor:
    """Mean absolute error."""
    return (result - clean).abs().mean()


def charbonnier(result: paddle.Tensor, clean: paddle.Tensor, eps: float) -> paddle.Tensor:
    """Mean of sqrt(error^2 + eps^2) (Lai et al., LapSRN, CVPR 2017); equal pictures give `eps`."""
    return ((result - clean).square() + eps**2).sqrt().mean()


def psnr(result: paddle.Tensor, clean: paddle.Tensor) -> paddle.Tensor:
    """Minus the PSNR in dB, at most 80, the mean over the batch's pictures (the loss of Chen et al., NAFNet)."""
    return 10 / math.log(10) * ((result - clean).square().mean(axis=[1, 2, 3]) + 1e-8).log().mean()


def mask_bce(mask_logit: paddle.Tensor, mask: paddle.Tensor) -> paddle.Tensor:
    """Mean binary cross-entropy between the predicted mask, before the sigmoid, and the true one."""
    return F.binary_cross_entropy_with_logits(mask_logit, mask)


def mask_dice(mask_logit: paddle.Tensor, mask: paddle.Tensor) -> paddle.Tensor:
    """1 - Dice overlap per picture, then the mean (Milletari et al., V-Net, 2016): a small occluder counts as much. One
    more pixel above and below the fraction lets a picture without an occluder give 0 when none is predicted.
    """
    probability, axes = F.sigmoid(mask_logit), [1, 2, 3]
    overlap, area = (probability * mask).sum(axis=axes), probability.sum(axis=axes) + mask.sum(axis=axes)
    return (1 - (2 * overlap + 1) / (area + 1)).mean()


def fill(restored: paddle.Tensor, clean: paddle.Tensor, mask: paddle.Tensor, radius: int) -> paddle.Tensor:
    """Mean absolute error of the restored picture before the gate, inside the true mask widened by `radius` pixels: all
    that teaches a network what to paint where its gate is closed. A batch without an occluder gives 0.
    """
    widened = F.max_pool2d(mask, 2 * radius + 1, stride=1, padding=radius)
    return ((restored - clean).abs() * widened).sum() / (widened.sum() * clean.shape[1] + 1)


def ms_ssim(result: paddle.Tensor, clean: paddle.Tensor) -> paddle.Tensor:
    """1 - `metrics.ms_ssim`, mean over pictures and channels, 0 (equal) to 1; `configs` sees to large enough sides."""
    product = None
    for scale, weight in enumerate(SCALE_WEIGHTS):
        if scale > 0:
            # Means of 2 x 2 pixels; an odd side gets a line of zeros in front, which the means count.
            padding = [side % 2 for side in clean.shape[2:]]
            result, clean = (F.avg_pool2d(one, 2, 2, padding, exclusive=False) for one in (result, clean))
        # Luminance is compared at the coarsest scale alone.
        windows = similarity(result, clean, _blur, with_luminance=scale == len(SCALE_WEIGHTS) - 1)
        factor = windows.mean(axis=[2, 3]).clip(min=SMALLEST_FACTOR) ** weight
        product = factor if product is None else product * factor
    return 1 - product.mean()


def _blur(values: paddle.Tensor) -> paddle.Tensor:
    """Gaussian means of the windows that lie inside, by two depthwise convolutions (a GPU's matmul may round to TF32:
    too coarse for variances); [N, C, H, W] -> [N, C, H - 10, W - 10].
    """
    window = np.tile(WINDOW, (values.shape[1], 1, 1, 1))
    for weights in (window.transpose(0, 1, 3, 2), window):
        values = F.conv2d(values, paddle.to_tensor(weights), groups=len(window))
    return values


# By the names of `configs.schema.LossTerm`; the arguments are the term's inputs (see `total_loss`) and own settings.
LOSSES = {term.__name__: term for term in (l1, charbonnier, ms_ssim, psnr, mask_bce, mask_dice, fill)}


def total_loss(
    terms: Sequence[LossTerm], tensors: Mapping[str, paddle.Tensor]
) -> tuple[paddle.Tensor, dict[str, paddle.Tensor]]:
    """(The weighted sum of a config's terms, to call backward on; name -> the term's value without its weight), of
    `clean`, `mask`, `result`, what the network hands out, and of one with a gate `restored` before it and `mask_logit`.
    """
    total, values = paddle.zeros([], dtype="float32"), {}
    for term in terms:
        settings = {key: value for key, value in asdict(term).items() if key not in ("name", "weight")}
        value = LOSSES[term.name](**{name: tensors[name] for name in term.inputs}, **settings)
        values[term.name] = value.detach()
        if term.weight:
            total = total + term.weight * value
    return total, values
