"""Writes reference_values.json with pytorch-msssim (needed for this alone, not by the project).

python -m tests.metrics.make_reference_values
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytorch_msssim
import torch

from tests.metrics.reference_pictures import as_bytes, pairs


def oracle(result: np.ndarray, clean: np.ndarray, white: float) -> float:
    """MS-SSIM of height x width x 3 arrays, computed in float64."""
    tensors = [torch.from_numpy(picture.astype(np.float64).transpose(2, 0, 1)[None]) for picture in (result, clean)]
    return float(pytorch_msssim.ms_ssim(*tensors, data_range=white))


if __name__ == "__main__":
    # The losses see floats in [0, 1], the metrics bytes.
    values = {
        name: {"floats": oracle(result, clean, 1.0), "bytes": oracle(as_bytes(result), as_bytes(clean), 255)}
        for name, (result, clean) in pairs().items()
    }
    Path(__file__).with_name("reference_values.json").write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
