"""Writes reference_values.json with pytorch-msssim and scikit-image (not needed by the tests).

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


def oracle(result: np.ndarray, clean: np.ndarray, white: float) -> float:
    """MS-SSIM of height x width x 3 arrays, computed in float64."""
    tensors = [torch.from_numpy(picture.astype(np.float64).transpose(2, 0, 1)[None]) for picture in (result, clean)]
    return float(pytorch_msssim.ms_ssim(*tensors, data_range=white))


if __name__ == "__main__":
    values = {}
    for name, (result, clean) in pairs().items():
        # MS-SSIM as the losses see it, on floats in [0, 1], and as the metrics do; PSNR on bytes, none for equal ones.
        byte_result, byte_clean = as_bytes(result), as_bytes(clean)
        equal = np.array_equal(byte_result, byte_clean)
        values[name] = {
            "floats": oracle(result, clean, 1.0),
            "bytes": oracle(byte_result, byte_clean, 255),
            "psnr": None if equal else float(peak_signal_noise_ratio(byte_clean, byte_result)),
        }
    Path(__file__).with_name("reference_values.json").write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
