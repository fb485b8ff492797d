"""Peak signal-to-noise ratio.

The contest's score, and all measures of one picture together.
"""

from __future__ import annotations

import math

import cv2
import numpy as np

from metrics.ms_ssim import MINIMUM_SIDE, check_pair, ms_ssim


def psnr(result: np.ndarray, clean: np.ndarray, data_range: float, mask: np.ndarray | None = None) -> float:
    """10 log10(data_range^2 / mean squared error) in dB, over all pixels and channels; infinite for equal pictures.

    Args:
        result: height x width or height x width x channels.
        clean: the truth, of the same shape, with values in [0, data_range].
        data_range: the value of white: 255 for uint8, 1.0 for floats in [0, 1].
        mask: height x width; only the pixels where it is not zero are counted.

    Raises:
        ValueError: as `metrics.ms_ssim.check_pair`; or a mask of another size, or one that selects no pixel.
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


# Equal pictures have an infinite PSNR; the score counts at most this many dB, so that it ends at 1.
HIGHEST_PSNR = 100.0


def contest_score(psnr: float, ms_ssim: float) -> float:
    """0.5 x PSNR / 100 + 0.5 x MS-SSIM, with the PSNR (dB) cut at 100: 1 for equal pictures."""
    return 0.5 * min(psnr, HIGHEST_PSNR) / 100 + 0.5 * ms_ssim


def evaluate(
    result: np.ndarray, clean: np.ndarray, mask: np.ndarray | None = None, data_range: float = 255
) -> dict[str, float | None]:
    """Every measure of one restored picture.

    Args:
        result: height x width or height x width x channels.
        clean: the truth, of the same shape, with values in [0, data_range].
        mask: height x width, not zero = occluder.
        data_range: the value of white: 255 for uint8 (a float picture in [0, 1] is refused unless 1.0 is passed).

    Returns:
        psnr (dB, infinite for equal pictures), ms_ssim, score, psnr_inside and psnr_outside the mask. None stands for
        what is not defined: ms_ssim and score where a side is under 161 pixels, psnr_inside and psnr_outside without a
        mask or where no pixel lies on that side of it.

    Raises:
        ValueError: as `metrics.ms_ssim.check_pair`, or a mask of another size.
    """
    check_pair(result, clean, data_range)
    measures: dict[str, float | None] = {
        "psnr": psnr(result, clean, data_range),
        "ms_ssim": ms_ssim(result, clean, data_range) if min(clean.shape[:2]) >= MINIMUM_SIDE else None,
        "score": None,
        "psnr_inside": None,
        "psnr_outside": None,
    }
    if measures["ms_ssim"] is not None:
        measures["score"] = contest_score(measures["psnr"], measures["ms_ssim"])
    if mask is not None:
        if mask.shape != clean.shape[:2]:
            raise ValueError(f"the mask's shape {mask.shape} is not the pictures' {clean.shape[:2]}")
        inside = np.ascontiguousarray(mask != 0, np.uint8)
        for name, side in (("psnr_inside", inside), ("psnr_outside", 1 - inside)):
            if cv2.countNonZero(side):
                measures[name] = psnr(result, clean, data_range, side)
    return measures
