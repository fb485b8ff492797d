"""Checks on a pair of pictures before anything is measured on them."""

from __future__ import annotations

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
