"""Deterministic pairs of pictures on which the reference values were computed.

`python -m tests.metrics.reference_pictures` writes reference_values.json with pytorch-msssim and scikit-image.
"""

import json
from pathlib import Path

import numpy as np


def page(height: int, width: int, channels: int = 3) -> np.ndarray:
    """A page-like picture in [0, 1], float32 height x width x channels: light paper, dark lines, a shaded block."""
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float64)
    paper = 0.85 + 0.1 * np.sin(rows / 97) * np.cos(columns / 71)
    lines = 0.6 * ((rows % 24 < 9) & (np.sin(columns * (1 + rows // 24 % 5)) > 0))
    block = 0.3 * ((rows > height * 0.6) & (columns < width * 0.4)) * np.cos(columns / 5) ** 2
    grey = np.clip(paper - lines - block, 0, 1)
    tint = np.array([1.0, 0.93, 0.82, 0.9])[:channels]
    return (grey[..., None] * tint).astype(np.float32)


def noise(shape: tuple[int, ...], seed: int) -> np.ndarray:
    """Uniform values in [0, 1), float32."""
    return np.random.default_rng(seed).random(shape).astype(np.float32)


def pairs() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Name -> (result, clean), float32 height x width x 3 in [0, 1]."""
    small, odd, wide = page(161, 161), page(203, 187), page(256, 320)
    covered = odd.copy()
    covered[60:140, :70] = (0.8, 0.55, 0.45)
    return {
        "slight noise, smallest size": (np.clip(small + 0.1 * (noise(small.shape, 1) - 0.5), 0, 1), small),
        "odd sides, covered corner": (covered, odd),
        "darker": (wide * np.float32(0.8), wide),
        "blurred in steps": (np.repeat(np.repeat(wide[::2, ::2], 2, axis=0), 2, axis=1), wide),
        "noise against noise": (noise((175, 210, 3), 2), noise((175, 210, 3), 3)),
        "inverted": (1 - odd, odd),
        "flat against flat": (np.full_like(small, 0.4), np.full_like(small, 0.6)),
        "flat against page": (np.full_like(odd, 0.5), odd),
        "equal": (wide, wide),
    }


def as_bytes(picture: np.ndarray) -> np.ndarray:
    """The same picture as uint8."""
    return (picture * 255 + 0.5).astype(np.uint8)


if __name__ == "__main__":
    import pytorch_msssim
    import torch
    from skimage.metrics import peak_signal_noise_ratio

    def oracle(pair: tuple[np.ndarray, np.ndarray], white: float) -> float:
        """MS-SSIM, computed in float64."""
        tensors = [torch.from_numpy(picture.astype(np.float64).transpose(2, 0, 1)[None]) for picture in pair]
        return float(pytorch_msssim.ms_ssim(*tensors, data_range=white))

    values = {}
    for name, pair in pairs().items():
        # MS-SSIM as the losses see it, on floats in [0, 1], and as the metrics do; PSNR on bytes, none for equal ones.
        result, clean = both = tuple(map(as_bytes, pair))
        psnr = None if np.array_equal(*both) else peak_signal_noise_ratio(clean, result)
        values[name] = {"floats": oracle(pair, 1.0), "bytes": oracle(both, 255), "psnr": psnr}
    Path(__file__).with_name("reference_values.json").write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
