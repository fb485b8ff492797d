"""PSNR and MS-SSIM against pytorch-msssim and scikit-image: stored values always, the libraries where they are."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from metrics import ms_ssim, psnr
from tests.metrics.reference_pictures import as_bytes, pairs

PAIRS = pairs()
VALUES = json.loads(Path(__file__).with_name("reference_values.json").read_text(encoding="utf-8"))


def test_the_stored_values_cover_the_pairs():
    assert list(VALUES) == list(PAIRS)


@pytest.mark.parametrize("name", PAIRS)
def test_ms_ssim_equals_pytorch_msssim(name):
    result, clean = PAIRS[name]
    assert ms_ssim(result, clean, 1.0) == pytest.approx(VALUES[name]["ms_ssim"], abs=1e-5)
    assert ms_ssim(as_bytes(result), as_bytes(clean), 255) == pytest.approx(VALUES[name]["ms_ssim_uint8"], abs=1e-5)


@pytest.mark.parametrize("name", PAIRS)
def test_psnr_equals_scikit_image(name):
    result, clean = PAIRS[name]
    for measured, reference in (
        (psnr(result, clean, 1.0), VALUES[name]["psnr"]),
        (psnr(as_bytes(result), as_bytes(clean), 255), VALUES[name]["psnr_uint8"]),
    ):
        assert measured == pytest.approx(math.inf if reference is None else reference, abs=1e-9)


@pytest.mark.parametrize("shape", [(161, 400, 3), (333, 162, 3), (500, 501, 3)])
def test_ms_ssim_equals_the_library_on_random_pictures(shape):
    torch = pytest.importorskip("torch")
    library = pytest.importorskip("pytorch_msssim")
    random = np.random.default_rng(5)
    clean = random.random(shape).astype(np.float32)
    result = (clean + random.normal(0, 0.3, shape)).clip(0, 1).astype(np.float32)
    tensors = [torch.from_numpy(picture.transpose(2, 0, 1)[None].astype(np.float64)) for picture in (result, clean)]
    expected = float(library.ms_ssim(*tensors, data_range=1.0))
    assert ms_ssim(result, clean, 1.0) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.float64])
def test_psnr_equals_the_library_on_random_pictures(dtype):
    library = pytest.importorskip("skimage.metrics")
    random = np.random.default_rng(6)
    white = 1.0 if np.dtype(dtype).kind == "f" else np.iinfo(dtype).max
    clean, result = (random.random((2, 57, 41, 3)) * white).astype(dtype)
    expected = library.peak_signal_noise_ratio(clean, result, data_range=white)
    assert psnr(result, clean, white) == pytest.approx(expected, abs=1e-5)
