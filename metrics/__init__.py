"""How good a restored picture is: PSNR, MS-SSIM, the contest's score, all of them at once, and means over many.

MS-SSIM (Wang, Simoncelli and Bovik, Asilomar 2003) is computed as pytorch-msssim does, with the paper's constants.
"""

import math
from collections.abc import Callable, Iterable
from typing import Any

import cv2
import numpy as np

MEASURES = ("psnr", "ms_ssim", "score", "psnr_inside", "psnr_outside")

# Equal pictures have an infinite PSNR; in scores and means it counts at most this many dB, so that a score ends at 1.
HIGHEST_PSNR = 100.0

SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
# The window's weights along one axis, float32, with sum 1.
WINDOW = cv2.getGaussianKernel(11, 1.5)[:, 0].astype(np.float32)
K1, K2 = 0.01, 0.03
# At the coarsest of the five scales the window must still fit: four halvings of 161 give 11.
MINIMUM_SIDE = (len(WINDOW) - 1) * 2 ** (len(SCALE_WEIGHTS) - 1) + 1
# Rows handled at once: few enough to stay in the processor's cache, and the memory stays flat for any picture.
_STRIP_ROWS = 64


def evaluate(result: np.ndarray, clean: np.ndarray, mask: np.ndarray | None = None) -> dict[str, float | None]:
    """Every one of `MEASURES` of a `result` against the `clean` picture, both uint8 [H, W, 3], in dB or in [0, 1].

    None is what is not defined: ms_ssim and score where a side is under 161 pixels, psnr_inside and psnr_outside
    without a `mask` [H, W], not zero on an occluder, or where no pixel lies on that side of it.
    """
    measures: dict[str, float | None] = {**dict.fromkeys(MEASURES), "psnr": psnr(result, clean)}
    if min(clean.shape[:2]) >= MINIMUM_SIDE:
        measures["ms_ssim"] = ms_ssim(result, clean)
        measures["score"] = contest_score(measures["psnr"], measures["ms_ssim"])
    for name, side in (() if mask is None else (("psnr_inside", mask != 0), ("psnr_outside", mask == 0))):
        if side.any():
            measures[name] = psnr(result, clean, side)
    return measures


def psnr(result: np.ndarray, clean: np.ndarray, mask: np.ndarray | None = None) -> float:
    """PSNR in dB of uint8 [H, W, 3] pictures, infinite for equal ones; with a mask [H, W] of what it marks (not 0)."""
    count = clean.size
    if mask is not None:
        mask = np.ascontiguousarray(mask != 0, np.uint8)
        count = cv2.countNonZero(mask) * 3
    # One pass without a temporary picture; the sum is kept in float64.
    squared_error = cv2.norm(np.ascontiguousarray(result), np.ascontiguousarray(clean), cv2.NORM_L2SQR, mask)
    return 10 * math.log10(255**2 * count / squared_error) if squared_error else math.inf


def contest_score(psnr: float, ms_ssim: float) -> float:
    """0.5 x PSNR / 100 + 0.5 x MS-SSIM: 1 for equal pictures."""
    return 0.5 * counted("psnr", psnr) / 100 + 0.5 * ms_ssim


def counted(measure: str, value: float) -> float:
    """What a value of `measure` counts in a mean or a score: itself, but a PSNR at most `HIGHEST_PSNR` dB."""
    return min(value, HIGHEST_PSNR) if measure.startswith("psnr") else value


def mean(measure: str, values: Iterable[float | None]) -> float | None:
    """The mean of `measure` over the pictures that have it, each as it is `counted`; None when none has."""
    known = [counted(measure, value) for value in values if value is not None]
    return sum(known) / len(known) if known else None


def ms_ssim(result: np.ndarray, clean: np.ndarray, mask: np.ndarray | None = None) -> float:
    """MS-SSIM of uint8 [H, W, 3] pictures, sides of MINIMUM_SIDE or more, the mean over the channels; 1 for equal ones.
    With a mask [H, W] a window counts by how far its middle is covered (not zero); NaN where none is at some scale.
    """
    product, covered = np.ones(3), np.ones(clean.shape[:2], np.float32) if mask is None else np.float32(mask != 0)
    for scale, weight in enumerate(SCALE_WEIGHTS):
        if scale > 0:
            result, clean, covered = map(halve, (result, clean, covered))
        # Luminance is compared at the coarsest scale alone.
        at_scale = _mean_similarity(result, clean, covered, with_luminance=scale == len(SCALE_WEIGHTS) - 1)
        product *= np.maximum(at_scale, 0) ** weight
    return float(product.mean())


def halve(picture: np.ndarray) -> np.ndarray:
    """Means of 2 x 2 pixels as float32; an odd side gets a line of zeros in front, which the means count."""
    height, width = picture.shape[:2]
    picture = cv2.copyMakeBorder(np.float32(picture), height % 2, 0, width % 2, 0, cv2.BORDER_CONSTANT, value=0)
    return cv2.resize(picture, (-(-width // 2), -(-height // 2)), interpolation=cv2.INTER_AREA)


def _mean_similarity(result: np.ndarray, clean: np.ndarray, covered: np.ndarray, with_luminance: bool) -> np.ndarray:
    """Mean of `similarity` over all windows inside, for each channel; `covered`: weights [H, W] of their middles."""
    total, weight, margin = np.zeros(3), 0.0, len(WINDOW) // 2
    for top in range(0, len(clean) - 2 * margin, _STRIP_ROWS):
        rows = slice(top, top + _STRIP_ROWS + 2 * margin)
        middles = covered[rows][margin:-margin, margin:-margin]
        if middles.any():
            strips = (np.float32(picture[rows]) / 255 for picture in (result, clean))
            total += cv2.sumElems(similarity(*strips, _blur, with_luminance) * middles[..., None])[:3]
            weight += float(middles.sum(dtype=float))
    return total / weight if weight else np.full(3, math.nan)


def similarity(result: Any, clean: Any, blur: Callable[[Any], Any], with_luminance: bool) -> Any:
    """SSIM, or its contrast-structure part, of windows of float32 arrays or tensors, white = 1; `blur`: their means."""
    # Centred, since variances are small differences of means of squares: float32 is then exact enough.
    result, clean = result - 0.5, clean - 0.5
    result_mean, clean_mean = blur(result), blur(clean)
    covariance = blur(result * clean) - result_mean * clean_mean
    variances = blur(result * result + clean * clean) - (result_mean * result_mean + clean_mean * clean_mean)
    structure = (2 * covariance + K2**2) / (variances + K2**2)
    if not with_luminance:
        return structure
    result_mean, clean_mean = result_mean + 0.5, clean_mean + 0.5
    squares_of_means = result_mean * result_mean + clean_mean * clean_mean
    return structure * ((2 * result_mean * clean_mean + K1**2) / (squares_of_means + K1**2))


def _blur(values: np.ndarray) -> np.ndarray:
    """Gaussian means of the windows that lie inside `values`."""
    margin = len(WINDOW) // 2
    blurred = cv2.sepFilter2D(values, cv2.CV_32F, WINDOW, WINDOW, borderType=cv2.BORDER_REPLICATE)
    return np.ascontiguousarray(blurred[margin:-margin, margin:-margin])
