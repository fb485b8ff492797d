"""The contest's score, and all measures of one picture together."""

from __future__ import annotations

import cv2
import numpy as np

from metrics.ms_ssim import MINIMUM_SIDE, ms_ssim
from metrics.psnr import psnr
from metrics.values import check_pair

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
        ValueError: as `metrics.values.check_pair`, or a mask of another size.
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
