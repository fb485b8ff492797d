"""Writes reference_values.json with pytorch-msssim and scikit-image (needed for this alone, not by the project).

python -m tests.metrics.make_reference_values
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytorch_msssim
import torch
from skimage.metrics import peak_signal_noise_ratio

from tests.metrics.reference_pictures import as_bytes, pairs

TARGET = Path(__file__).with_name("reference_values.json")


def oracle_ms_ssim(result: np.ndarray, clean: np.ndarray, data_range: float) -> float:
    """pytorch-msssim in float64 on height x width x 3 arrays."""
    tensors = [torch.from_numpy(picture.astype(np.float64).transpose(2, 0, 1)[None]) for picture in (result, clean)]
    return float(pytorch_msssim.ms_ssim(*tensors, data_range=data_range))


def oracle_psnr(result: np.ndarray, clean: np.ndarray, data_range: float) -> float | None:
    """scikit-image in float64; None for equal pictures, where it divides by zero."""
    if np.array_equal(result, clean):
        return None
    return float(
        peak_signal_noise_ratio(clean.astype(np.float64), result.astype(np.float64), data_range=data_range)
    )


def reference_values() -> dict[str, dict[str, float | None]]:
    """Name of a pair -> its values, as floats in [0, 1] and as uint8."""
    values = {}
    for name, (result, clean) in pairs().items():
        coarse_result, coarse_clean = as_bytes(result), as_bytes(clean)
        values[name] = {
            "ms_ssim": oracle_ms_ssim(result, clean, 1.0),
            "psnr": oracle_psnr(result, clean, 1.0),
            "ms_ssim_uint8": oracle_ms_ssim(coarse_result, coarse_clean, 255),
            "psnr_uint8": oracle_psnr(coarse_result, coarse_clean, 255),
        }
    return values


if __name__ == "__main__":
    TARGET.write_text(json.dumps(reference_values(), indent=2) + "\n", encoding="utf-8")
