"""1 - MS-SSIM (Wang, Simoncelli and Bovik, Asilomar 2003), differentiable; the values of `metrics.ms_ssim`."""

from __future__ import annotations

import numpy as np
import paddle
from paddle import nn
from paddle.nn import functional as F

from metrics.ms_ssim import K1, K2, MINIMUM_SIDE, SCALE_WEIGHTS, WINDOW_SIZE, gaussian_window

# x ** w has an infinite slope at 0, and NaN below: no factor goes under this. The measure proper takes 0 there;
# the small positive number keeps the other scales' gradients alive when one scale is anticorrelated.
SMALLEST_FACTOR = 1e-4


class MSSSIMLoss(nn.Layer):
    """1 - MS-SSIM, the mean over pictures and channels; between 0 (equal) and 1.

    White is 1, as everywhere in training: with the constants of another range the value still looks plausible, but the
    gradient is weak by orders of magnitude.
    """

    def forward(self, result: paddle.Tensor, clean: paddle.Tensor) -> paddle.Tensor:
        """result and clean [N, C, H, W], float32, white = 1; ValueError where a side is under MINIMUM_SIDE = 161."""
        if min(clean.shape[2:]) < MINIMUM_SIDE:
            raise ValueError(
                f"ms_ssim needs patches of at least {MINIMUM_SIDE} x {MINIMUM_SIDE} pixels, got "
                f"{clean.shape[3]} x {clean.shape[2]}: raise the stage's patch size or drop the term"
            )
        product = None
        for scale, weight in enumerate(SCALE_WEIGHTS):
            if scale > 0:
                result, clean = _halve(result), _halve(clean)
            # Luminance is compared at the coarsest scale alone.
            similarity = _mean_similarity(result, clean, with_luminance=scale == len(SCALE_WEIGHTS) - 1)
            factor = similarity.clip(min=SMALLEST_FACTOR) ** weight
            product = factor if product is None else product * factor
        return 1 - product.mean()


def _halve(pictures: paddle.Tensor) -> paddle.Tensor:
    """Means of 2 x 2 pixels; an odd side gets a line of zeros in front, which the means count."""
    padding = [pictures.shape[2] % 2, pictures.shape[3] % 2]
    return F.avg_pool2d(pictures, 2, stride=2, padding=padding, exclusive=False)


def _mean_similarity(result: paddle.Tensor, clean: paddle.Tensor, with_luminance: bool) -> paddle.Tensor:
    """Mean over the windows of SSIM, or of its contrast-structure part alone; values in [0, 1] -> [N, C]."""
    result_mean, squares, products = _blur([result, result * result + clean * clean, result * clean])
    # Blurred apart, since it needs no gradient.
    (clean_mean,) = _blur([clean])
    product_of_means = result_mean * clean_mean
    squares_of_means = result_mean * result_mean + clean_mean * clean_mean
    covariance, variances = products - product_of_means, squares - squares_of_means
    similarity = (2 * covariance + K2**2) / (variances + K2**2)
    if with_luminance:
        similarity = similarity * (2 * product_of_means + K1**2) / (squares_of_means + K1**2)
    return similarity.mean(axis=[2, 3])


def _blur(maps: list[paddle.Tensor]) -> list[paddle.Tensor]:
    """Gaussian means of the windows that lie inside; [N, C, H, W] -> [N, C, H - 10, W - 10] each."""
    stacked = paddle.concat(maps)
    blurred = _blur_by_convolution(stacked) if stacked.place.is_gpu_place() else _blur_by_matmul(stacked)
    return paddle.unbind(blurred.reshape([len(maps), -1, *blurred.shape[1:]]))


def _blur_by_matmul(pictures: paddle.Tensor) -> paddle.Tensor:
    """The window as a banded matrix on either side.

    On a CPU this blur, forward and backward, is 1.7 (1024 px) to 3 times (192 px) faster than Paddle's convolution.
    """
    along_rows = paddle.to_tensor(_band(pictures.shape[2]))
    along_columns = paddle.to_tensor(_band(pictures.shape[3]))
    return paddle.matmul(paddle.matmul(along_rows, pictures), along_columns, transpose_y=True)


def _band(length: int) -> np.ndarray:
    """float32 [length - 10, length]: row i holds the window at columns i .. i + 10."""
    band = np.zeros((length - WINDOW_SIZE + 1, length), np.float32)
    for row in range(len(band)):
        band[row, row : row + WINDOW_SIZE] = gaussian_window()
    return band


def _blur_by_convolution(pictures: paddle.Tensor) -> paddle.Tensor:
    """The window as two depthwise convolutions.

    For GPUs: there a matmul may round its inputs to TF32, whose error is as large as the variances measured here.
    """
    channels = pictures.shape[1]
    window = np.tile(gaussian_window().astype(np.float32), (channels, 1, 1, 1))
    rows_blurred = F.conv2d(pictures, paddle.to_tensor(window.transpose(0, 1, 3, 2)), groups=channels)
    return F.conv2d(rows_blurred, paddle.to_tensor(window), groups=channels)
