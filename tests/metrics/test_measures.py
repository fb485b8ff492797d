"""PSNR, MS-SSIM, score and `evaluate` on hand-made cases; refusals; memory and time at full size."""

from __future__ import annotations

import math
import subprocess
import sys
import time
from importlib import import_module

import numpy as np
import pytest

from metrics import contest_score, evaluate, ms_ssim, psnr
from metrics.ms_ssim import halve
from tests.metrics.reference_pictures import as_bytes, noise, page


def test_psnr_by_hand():
    clean = np.zeros((4, 5, 3), np.uint8)
    result = clean.copy()
    result[0, 0, 0] = 30
    assert psnr(result, clean, 255) == pytest.approx(10 * math.log10(255**2 / (900 / 60)))
    assert psnr(clean, clean, 255) == math.inf
    assert psnr(clean[..., 0], clean[..., 0], 255) == math.inf


def test_psnr_of_mixed_types_is_exact():
    clean = as_bytes(page(40, 30))
    result = clean.astype(np.float64) + 2.5
    assert psnr(result, clean, 255) == pytest.approx(20 * math.log10(255 / 2.5), abs=1e-9)
    assert psnr(result.astype(np.float32), clean, 255) == pytest.approx(20 * math.log10(255 / 2.5), abs=1e-5)


def test_psnr_does_not_wrap_around_in_uint8():
    white, black = np.full((3, 3), 255, np.uint8), np.zeros((3, 3), np.uint8)
    assert psnr(white, black, 255) == psnr(black, white, 255) == pytest.approx(0)


def test_psnr_inside_a_mask_looks_at_nothing_else():
    clean = as_bytes(page(60, 50))
    result = clean.copy()
    mask = np.zeros((60, 50), np.uint8)
    mask[10:30, :20] = 255  # any value but 0 counts
    result[mask == 0] ^= 255
    result[10:30, :20] = np.where(clean[10:30, :20] > 127, clean[10:30, :20] - 7, clean[10:30, :20] + 7)
    assert psnr(result, clean, 255, mask) == pytest.approx(20 * math.log10(255 / 7))
    assert psnr(result, clean, 255, mask > 0) == pytest.approx(20 * math.log10(255 / 7))
    assert psnr(result, clean, 255, mask == 0) < 10


def test_psnr_works_on_views():
    picture = as_bytes(noise((50, 60, 3), 1))
    clean, result = picture[::2, ::-1], picture[1::2, ::-1]
    assert psnr(result, clean, 255) == pytest.approx(psnr(result.copy(), clean.copy(), 255))


def test_ms_ssim_of_grey_and_of_equal_channels_agree():
    clean = page(170, 180, 1)[..., 0]
    result = np.clip(clean + 0.2 * (noise(clean.shape, 2) - 0.5), 0, 1)
    grey = ms_ssim(result, clean, 1.0)
    assert 0.5 < grey < 0.999
    for channels in (1, 3, 4):
        stacked = ms_ssim(np.stack([result] * channels, -1), np.stack([clean] * channels, -1), 1.0)
        assert stacked == pytest.approx(grey, abs=1e-6)


def test_ms_ssim_does_not_depend_on_the_strips(monkeypatch):
    clean, result = page(301, 163), noise((301, 163, 3), 4)
    whole = []
    for rows in (7, 64, 1000):
        # By import_module, since the package's attribute of that name is the function.
        monkeypatch.setattr(import_module("metrics.ms_ssim"), "_STRIP_ROWS", rows)
        whole.append(ms_ssim(result, clean, 1.0))
    assert whole == pytest.approx([whole[0]] * 3, abs=1e-6)


@pytest.mark.parametrize("shape", [(6, 8), (7, 8), (6, 9), (7, 9)])
def test_halving_counts_zeros_in_front_of_odd_sides(shape):
    picture = noise(shape, 3)
    padded = np.pad(picture, [(side % 2, 0) for side in shape])
    expected = padded.reshape(padded.shape[0] // 2, 2, padded.shape[1] // 2, 2).mean(axis=(1, 3))
    np.testing.assert_allclose(halve(picture), expected, atol=1e-6)


def test_score():
    assert contest_score(37.0, 0.95) == pytest.approx(0.66)
    assert contest_score(math.inf, 1.0) == contest_score(100.0, 1.0) == 1.0
    # Published rows of one contest photo: the input as it is, and Telea inpainting with the true mask.
    assert contest_score(24.0, 0.9914) == pytest.approx(0.616, abs=5e-4)
    assert contest_score(55.1, 0.9996) == pytest.approx(0.776, abs=1e-3)


def test_evaluate_gives_every_measure():
    clean = as_bytes(page(200, 180))
    result = clean.copy()
    result[50:90, :40] = (200, 150, 120)
    mask = np.zeros((200, 180), np.uint8)
    mask[50:90, :40] = 1
    measures = evaluate(result, clean, mask)
    assert list(measures) == ["psnr", "ms_ssim", "score", "psnr_inside", "psnr_outside"]
    assert measures["psnr"] == psnr(result, clean, 255)
    assert measures["ms_ssim"] == ms_ssim(result, clean, 255)
    assert measures["score"] == contest_score(measures["psnr"], measures["ms_ssim"])
    assert measures["psnr_inside"] == psnr(result, clean, 255, mask)
    assert measures["psnr_outside"] == math.inf
    # All of the error lies inside, on 1600 of 36000 pixels.
    assert measures["psnr"] - measures["psnr_inside"] == pytest.approx(10 * math.log10(36000 / 1600))


def test_evaluate_says_none_where_nothing_is_defined():
    clean = as_bytes(page(160, 300))
    full = np.ones((160, 300), np.uint8)
    assert evaluate(clean, clean) == {
        "psnr": math.inf, "ms_ssim": None, "score": None, "psnr_inside": None, "psnr_outside": None
    }
    assert evaluate(clean, clean, full)["psnr_inside"] == math.inf
    assert evaluate(clean, clean, full)["psnr_outside"] is None
    assert evaluate(clean, clean, 1 - full)["psnr_inside"] is None
    larger = as_bytes(page(161, 161))
    assert evaluate(larger, larger)["score"] == 1.0


BYTES = as_bytes(page(170, 165))
FLOATS = page(170, 165)


@pytest.mark.parametrize("measure", [psnr, ms_ssim])
@pytest.mark.parametrize(
    ("result", "clean", "data_range", "message"),
    [
        (BYTES[:-1], BYTES, 255, r"the result's shape \(169, 165, 3\) is not the clean picture's"),
        (BYTES[None], BYTES[None], 255, "expected height x width"),
        (BYTES[:0], BYTES[:0], 255, "none of them 0"),
        (BYTES, BYTES, 1.0, r"uint8, whose data_range is 255, not 1\.0"),
        (BYTES, BYTES, 0, "data_range is 0"),
        (FLOATS, FLOATS, 255, r"but data_range is 255: pass data_range=1\.0"),
        (FLOATS * 255, FLOATS * 255, 1.0, r"outside \[0, data_range\] = \[0, 1\]"),
        (FLOATS, FLOATS - 0.5, 1.0, "outside"),
        (FLOATS * np.float32("nan"), FLOATS, 1.0, "the result holds NaN"),
        (FLOATS, np.where(FLOATS > 0.8, np.float32("inf"), FLOATS), 1.0, "the clean picture holds NaN or infinite"),
        (BYTES > 9, BYTES > 9, 1.0, "values of type bool"),
        (BYTES * 1j, BYTES * 1j, 255, "values of type complex"),
    ],
)
def test_pairs_that_cannot_be_compared_are_refused(measure, result, clean, data_range, message):
    with pytest.raises(ValueError, match=message):
        measure(result, clean, data_range)


def test_masks_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="the mask's shape"):
        psnr(BYTES, BYTES, 255, np.ones((165, 170), np.uint8))
    with pytest.raises(ValueError, match="selects no pixel"):
        psnr(BYTES, BYTES, 255, np.zeros((170, 165), np.uint8))
    with pytest.raises(ValueError, match="the mask's shape"):
        evaluate(BYTES, BYTES, np.ones((165, 170), np.uint8))


def test_too_small_for_ms_ssim_is_refused():
    with pytest.raises(ValueError, match="at least 161 pixels, got 300 x 160"):
        ms_ssim(as_bytes(page(160, 300)), as_bytes(page(160, 300)), 255)


def test_a_contest_photo_takes_seconds_and_little_memory():
    code = (
        "import resource, sys, numpy as np\n"
        "from metrics import evaluate\n"
        "clean = np.random.default_rng(0).integers(0, 256, (2811, 3770, 3), dtype=np.uint8)\n"
        "result, mask = clean // 2, np.ones((2811, 3770), np.uint8)\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "assert evaluate(result, clean, mask)['score'] > 0.3\n"
        "print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)\n"
    )
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=120)
    # 1.5 s and about 0.3 GB on two idle cores; the bounds leave room for a busy machine.
    assert time.perf_counter() - start < 40
    assert int(done.stdout) < 600
