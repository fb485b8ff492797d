"""Checks on a pair of pictures before anything is measured on them.

Multi-scale structural similarity (Wang, Simoncelli and Bovik, Asilomar 2003), as pytorch-msssim computes it.

The constants are the paper's and serve `losses.ms_ssim` too.
"""

from __future__ import annotations

import cv2
import numpy as np


def check_pair(result: np.ndarray, clean: np.ndarray, data_range: float) -> None:
    """Refuses a pair that cannot be compared, or whose values do not suit the stated range.

    Args:
        result: height x width or height x width x channels (1 to 4), any real type; floats may overshoot the range.
        clean: the truth, of the same shape; its values must lie in [0, data_range].
        data_range: the value of white: 255 for uint8, 1.0 for floats in [0, 1].

    Raises:
        ValueError: shapes differ, a picture is empty or not finite, or `data_range` is not the clean picture's.
    """
    if result.shape != clean.shape:
        raise ValueError(f"the result's shape {result.shape} is not the clean picture's {clean.shape}")
    if clean.ndim not in (2, 3) or clean.size == 0 or (clean.ndim == 3 and clean.shape[2] > 4):
        raise ValueError(
            f"expected height x width or height x width x channels (1 to 4), none of them 0, got shape {clean.shape}"
        )
    if not data_range > 0:
        raise ValueError(f"data_range is {data_range}, expected the value of white: 255 for uint8, 1.0 for [0, 1]")
    for name, picture in (("result", result), ("clean picture", clean)):
        if picture.dtype == np.uint8 and data_range != 255:
            raise ValueError(f"the {name} is uint8, whose data_range is 255, not {data_range}")
        if picture.dtype.kind not in "uif":
            raise ValueError(f"the {name} has values of type {picture.dtype}, expected integers or floats")
        if picture.dtype.kind == "f" and not np.isfinite(picture).all():
            raise ValueError(f"the {name} holds NaN or infinite values")
    if clean.dtype != np.uint8:
        _check_clean_values(float(clean.min()), float(clean.max()), clean.dtype.kind == "f", data_range)


def _check_clean_values(lowest: float, highest: float, is_float: bool, data_range: float) -> None:
    # Resizing in float32 may overshoot white by a rounding error.
    slack = 1e-6 * data_range if is_float else 0
    if lowest < -slack or highest > data_range + slack:
        raise ValueError(
            f"the clean picture's values lie in [{lowest:g}, {highest:g}], outside [0, data_range] = "
            f"[0, {data_range:g}]: pass the value of white as data_range"
        )
    if is_float and data_range > 1 and 0 < highest <= 1:
        raise ValueError(
            f"the clean picture's values lie in [{lowest:g}, {highest:g}], but data_range is {data_range:g}: "
            "pass data_range=1.0, or the picture in its full range"
        )


SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
WINDOW_SIZE = 11
WINDOW_SIGMA = 1.5
K1, K2 = 0.01, 0.03
# At the coarsest of the five scales the window must still fit: four halvings of 161 give 11.
MINIMUM_SIDE = (WINDOW_SIZE - 1) * 2 ** (len(SCALE_WEIGHTS) - 1) + 1

# Rows handled at once: few enough to stay in the processor's cache, and the memory stays flat for any picture.
_STRIP_ROWS = 64


def gaussian_window() -> np.ndarray:
    """The window's weights along one axis, float64 [WINDOW_SIZE], with sum 1."""
    distance = np.arange(WINDOW_SIZE) - WINDOW_SIZE // 2
    weights = np.exp(-(distance**2) / (2 * WINDOW_SIGMA**2))
    return weights / weights.sum()


def ms_ssim(result: np.ndarray, clean: np.ndarray, data_range: float) -> float:
    """MS-SSIM in [0, 1], the mean over the channels; 1 for equal pictures.

    Args:
        result: height x width or height x width x channels (1 to 4).
        clean: the truth, of the same shape, with values in [0, data_range].
        data_range: the value of white: 255 for uint8, 1.0 for floats in [0, 1].

    Raises:
        ValueError: as `metrics.ms_ssim.check_pair`; or the smaller side is under MINIMUM_SIDE = 161 pixels.
    """
    check_pair(result, clean, data_range)
    if min(clean.shape[:2]) < MINIMUM_SIDE:
        raise ValueError(
            f"MS-SSIM needs sides of at least {MINIMUM_SIDE} pixels, got {clean.shape[1]} x {clean.shape[0]}"
        )
    product = np.ones(1 if clean.ndim == 2 else clean.shape[2])
    for scale, weight in enumerate(SCALE_WEIGHTS):
        if scale > 0:
            result, clean = halve(result), halve(clean)
        # Luminance is compared at the coarsest scale alone.
        similarity = _mean_similarity(result, clean, data_range, with_luminance=scale == len(SCALE_WEIGHTS) - 1)
        product *= np.maximum(similarity, 0) ** weight
    return float(product.mean())


def halve(picture: np.ndarray) -> np.ndarray:
    """Means of 2 x 2 pixels as float32; an odd side gets a line of zeros in front, which the means count."""
    top, left = picture.shape[0] % 2, picture.shape[1] % 2
    picture = _as_float32(picture)
    if top or left:
        picture = cv2.copyMakeBorder(picture, top, 0, left, 0, cv2.BORDER_CONSTANT, value=0)
    return cv2.resize(picture, (picture.shape[1] // 2, picture.shape[0] // 2), interpolation=cv2.INTER_AREA)


def _as_float32(picture: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(picture, np.float32)


def _mean_similarity(result: np.ndarray, clean: np.ndarray, data_range: float, with_luminance: bool) -> np.ndarray:
    """Mean of `_similarity_map` over all windows that lie inside the picture, per channel, float64."""
    height, width = clean.shape[:2]
    channels = 1 if clean.ndim == 2 else clean.shape[2]
    total = np.zeros(channels)
    for top in range(0, height - WINDOW_SIZE + 1, _STRIP_ROWS):
        rows = slice(top, min(top + _STRIP_ROWS + WINDOW_SIZE - 1, height))
        strip = _similarity_map(_as_float32(result[rows]), _as_float32(clean[rows]), data_range, with_luminance)
        total += cv2.sumElems(strip)[:channels]
    return total / ((height - WINDOW_SIZE + 1) * (width - WINDOW_SIZE + 1))


def _similarity_map(result: np.ndarray, clean: np.ndarray, data_range: float, with_luminance: bool) -> np.ndarray:
    """SSIM, or its contrast-structure part alone, of every window inside a strip of float32 pictures.

    Works on sum and difference of the two pictures, since var(a + b) and var(a - b) give the covariance and the sum of
    the variances: four blurs in place of five. Values are scaled to [0, 1] and centred, which keeps float32 exact
    enough.
    """
    stability_1, stability_2 = K1**2, K2**2
    total = cv2.addWeighted(result, 1 / data_range, clean, 1 / data_range, -1.0)
    difference = cv2.addWeighted(result, 1 / data_range, clean, -1 / data_range, 0.0)
    total_mean, difference_mean = _blur(total), _blur(difference)
    total_variance = _blur(cv2.multiply(total, total)) - cv2.multiply(total_mean, total_mean)
    square_of_difference = cv2.multiply(difference_mean, difference_mean)
    difference_variance = _blur(cv2.multiply(difference, difference)) - square_of_difference
    # Twice the covariance over the sum of the variances; both are halves of what stands here, so C2 is doubled.
    structure = cv2.divide(
        total_variance - difference_variance + 2 * stability_2,
        total_variance + difference_variance + 2 * stability_2,
    )
    if not with_luminance:
        return structure
    total_mean += 1
    square_of_total = cv2.multiply(total_mean, total_mean)
    luminance = cv2.divide(
        square_of_total - square_of_difference + 2 * stability_1,
        square_of_total + square_of_difference + 2 * stability_1,
    )
    return cv2.multiply(luminance, structure)


def _blur(values: np.ndarray) -> np.ndarray:
    """Gaussian means of the windows that lie inside `values`."""
    window = gaussian_window().astype(np.float32)
    margin = WINDOW_SIZE // 2
    blurred = cv2.sepFilter2D(values, cv2.CV_32F, window, window, borderType=cv2.BORDER_REPLICATE)
    return np.ascontiguousarray(blurred[margin:-margin, margin:-margin])
