"""PSNR, the contest's score, all measures of one picture, and their means over many."""

from __future__ import annotations

import math
from collections.abc import Iterable

import cv2
import numpy as np

from metrics.ms_ssim import MINIMUM_SIDE, ms_ssim

MEASURES = ("psnr", "ms_ssim", "score", "psnr_inside", "psnr_outside")

# Equal pictures have an infinite PSNR; in scores and means it counts at most this many dB, so that a score ends at 1.
HIGHEST_PSNR = 100.0


def psnr(result: np.ndarray, clean: np.ndarray, mask: np.ndarray | None = None) -> float:
    """10 log10(255^2 / mean squared error) in dB over all pixels and channels; infinite for equal pictures.

    Args:
        result, clean: uint8 [H, W, 3].
        mask: [H, W]; only the pixels where it is not zero are counted, at least one.
    """
    count = clean.size
    if mask is not None:
        mask = np.ascontiguousarray(mask != 0, np.uint8)
        count = cv2.countNonZero(mask) * 3
    # One pass without a temporary picture; the sum is kept in float64.
    squared_error = cv2.norm(np.ascontiguousarray(result), np.ascontiguousarray(clean), cv2.NORM_L2SQR, mask)
    return 10 * math.log10(255**2 * count / squared_error) if squared_error else math.inf


def counted(measure: str, value: float) -> float:
    """What a value of `measure` counts in a mean or a score: itself, but a PSNR at most `HIGHEST_PSNR` dB."""
    return min(value, HIGHEST_PSNR) if measure.startswith("psnr") else value


def mean(measure: str, values: Iterable[float | None]) -> float | None:
    """The mean of `measure` over the pictures that have it, each as it is `counted`; None when none has."""
    known = [counted(measure, value) for value in values if value is not None]
    return sum(known) / len(known) if known else None


def contest_score(psnr: float, ms_ssim: float) -> float:
    """0.5 x PSNR / 100 + 0.5 x MS-SSIM: 1 for equal pictures."""
    return 0.5 * counted("psnr", psnr) / 100 + 0.5 * ms_ssim


def evaluate(result: np.ndarray, clean: np.ndarray, mask: np.ndarray | None = None) -> dict[str, float | None]:
    """Every measure of one restored picture.

    Args:
        result, clean: uint8 [H, W, 3].
        mask: [H, W], not zero = occluder.

    Returns:
        psnr (dB, infinite for equal pictures), ms_ssim, score, psnr_inside and psnr_outside the mask. None stands for
        what is not defined: ms_ssim and score where a side is under 161 pixels, psnr_inside and psnr_outside without a
        mask or where no pixel lies on that side of it.

    Raises:
        ValueError: pictures of other types or shapes, or of none, or a mask of another size.
    """
    _check(result, clean, mask)
    measures: dict[str, float | None] = dict.fromkeys(MEASURES)
    measures["psnr"] = psnr(result, clean)
    if min(clean.shape[:2]) >= MINIMUM_SIDE:
        measures["ms_ssim"] = ms_ssim(result, clean)
        measures["score"] = contest_score(measures["psnr"], measures["ms_ssim"])
    if mask is not None:
        for name, side in (("psnr_inside", mask != 0), ("psnr_outside", mask == 0)):
            if side.any():
                measures[name] = psnr(result, clean, side)
    return measures


def _check(result: np.ndarray, clean: np.ndarray, mask: np.ndarray | None) -> None:
    for name, picture in (("result", result), ("clean picture", clean)):
        if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3 or not picture.size:
            raise ValueError(
                f"the {name} is {picture.dtype} of shape {picture.shape}, expected uint8, height x width x 3"
            )
    if result.shape != clean.shape:
        raise ValueError(f"the result's shape {result.shape} is not the clean picture's {clean.shape}")
    if mask is not None and mask.shape != clean.shape[:2]:
        raise ValueError(f"the mask's shape {mask.shape} is not the pictures' {clean.shape[:2]}")
