"""Peak signal-to-noise ratio."""

from __future__ import annotations

import math

import cv2
import numpy as np

from metrics.values import check_pair


def psnr(result: np.ndarray, clean: np.ndarray, data_range: float, mask: np.ndarray | None = None) -> float:
    """10 log10(data_range^2 / mean squared error) in dB, over all pixels and channels; infinite for equal pictures.

    Args:
        result: height x width or height x width x channels.
        clean: the truth, of the same shape, with values in [0, data_range].
        data_range: the value of white: 255 for uint8, 1.0 for floats in [0, 1].
        mask: height x width; only the pixels where it is not zero are counted.

    Raises:
        ValueError: as `metrics.values.check_pair`; or a mask of another size, or one that selects no pixel.
    """
    check_pair(result, clean, data_range)
    channels = 1 if clean.ndim == 2 else clean.shape[2]
    count = clean.size
    if mask is not None:
        if mask.shape != clean.shape[:2]:
            raise ValueError(f"the mask's shape {mask.shape} is not the pictures' {clean.shape[:2]}")
        mask = np.ascontiguousarray(mask != 0, np.uint8)
        count = cv2.countNonZero(mask) * channels
        if count == 0:
            raise ValueError("the mask selects no pixel, so there is nothing to measure")
    if result.dtype != clean.dtype or clean.dtype not in (np.uint8, np.uint16, np.float32, np.float64):
        result, clean = result.astype(np.float64), clean.astype(np.float64)
    # One pass without a temporary picture; the sum is kept in float64.
    squared_error = cv2.norm(np.ascontiguousarray(result), np.ascontiguousarray(clean), cv2.NORM_L2SQR, mask)
    if squared_error == 0:
        return math.inf
    return 10 * math.log10(data_range**2 * count / squared_error)
