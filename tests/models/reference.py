"""NAFNet and its test-time local means written again in NumPy, from the paper, sharing nothing with `models/`.

Everything is float64 and written for reading, not for speed. Arrays are [N, C, H, W].
"""

from __future__ import annotations

import numpy as np

Arrays = dict[str, np.ndarray]


def convolution(x: np.ndarray, params: Arrays, name: str, stride: int = 1, groups: int = 1) -> np.ndarray:
    """Cross-correlation with zero padding that keeps the size for odd kernels, and none for even ones."""
    weight = params[f"{name}.weight"].astype(np.float64)
    kernel = weight.shape[-1]
    border = kernel // 2 if kernel % 2 else 0
    x = np.pad(x, ((0, 0), (0, 0), (border, border), (border, border)))
    height = (x.shape[2] - kernel) // stride + 1
    width = (x.shape[3] - kernel) // stride + 1
    result = np.zeros((x.shape[0], weight.shape[0], height, width))
    for row in range(kernel):
        for column in range(kernel):
            seen = x[:, :, row : row + stride * height : stride, column : column + stride * width : stride]
            if groups == 1:
                result += np.einsum("oi,nihw->nohw", weight[:, :, row, column], seen)
            else:
                result += weight[None, :, 0, row, column, None, None] * seen
    bias = params.get(f"{name}.bias")
    return result if bias is None else result + bias[None, :, None, None]


def layer_norm(x: np.ndarray, params: Arrays, name: str) -> np.ndarray:
    """Mean and biased variance of every pixel over its channels."""
    normed = (x - x.mean(axis=1, keepdims=True)) / np.sqrt(x.var(axis=1, keepdims=True) + 1e-6)
    return normed * params[f"{name}.weight"][None, :, None, None] + params[f"{name}.bias"][None, :, None, None]


def local_mean(x: np.ndarray, window: int | None) -> np.ndarray:
    """Brute force: for each pixel, the mean over the nearest window that lies inside the map; None = everything."""
    height, width = x.shape[-2:]
    rows, columns = min(window or height, height), min(window or width, width)
    result = np.empty(x.shape)
    for i in range(height):
        top = min(max(i - (rows - 1) // 2, 0), height - rows)
        for j in range(width):
            left = min(max(j - (columns - 1) // 2, 0), width - columns)
            result[:, :, i, j] = x[:, :, top : top + rows, left : left + columns].mean(axis=(2, 3))
    return result


def block(x: np.ndarray, params: Arrays, name: str, window: int | None) -> np.ndarray:
    def gate(values: np.ndarray) -> np.ndarray:
        half = values.shape[1] // 2
        return values[:, :half] * values[:, half:]

    y = layer_norm(x, params, f"{name}.norm1")
    y = convolution(y, params, f"{name}.conv1")
    y = gate(convolution(y, params, f"{name}.conv2", groups=y.shape[1]))
    y = y * convolution(local_mean(y, window), params, f"{name}.sca.1")
    y = x + convolution(y, params, f"{name}.conv3") * params[f"{name}.beta"]
    z = gate(convolution(layer_norm(y, params, f"{name}.norm2"), params, f"{name}.conv4"))
    return y + convolution(z, params, f"{name}.conv5") * params[f"{name}.gamma"]


def pixel_shuffle(x: np.ndarray) -> np.ndarray:
    """[N, 4C, H, W] -> [N, C, 2H, 2W]: channel 4c + 2i + j becomes pixel (i, j) of each 2x2 cell."""
    samples, channels, height, width = x.shape
    cells = x.reshape(samples, channels // 4, 2, 2, height, width)
    return cells.transpose(0, 1, 4, 2, 5, 3).reshape(samples, channels // 4, 2 * height, 2 * width)


def nafnet(
    x: np.ndarray, params: Arrays, encoder: list[int], middle: int, decoder: list[int], windows: list[int] | None = None
) -> np.ndarray:
    """[N, 3, H, W] -> [N, outputs, H, W]; the input is added to the first three outputs.

    Args:
        windows: side of the local means on each level, finest first; None for global means.
    """
    levels = len(encoder)
    height, width = x.shape[-2:]
    step = 2**levels
    padded = np.pad(x.astype(np.float64), ((0, 0), (0, 0), (0, -height % step), (0, -width % step)))
    sides = windows or [None] * (levels + 1)

    y = convolution(padded, params, "intro")
    skips = []
    for level, count in enumerate(encoder):
        for index in range(count):
            y = block(y, params, f"encoders.{level}.{index}", sides[level])
        skips.append(y)
        y = convolution(y, params, f"downs.{level}", stride=2)
    for index in range(middle):
        y = block(y, params, f"middle_blks.{index}", sides[levels])
    for index, count in enumerate(decoder):
        level = levels - 1 - index
        y = pixel_shuffle(convolution(y, params, f"ups.{index}.0")) + skips[level]
        for number in range(count):
            y = block(y, params, f"decoders.{index}.{number}", sides[level])
    y = convolution(y, params, "ending")
    y[:, :3] += padded
    return y[:, :, :height, :width]
