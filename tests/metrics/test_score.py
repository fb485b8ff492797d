"""PSNR, MS-SSIM and score: stored values of scikit-image and pytorch-msssim, hand-made cases, memory at full size."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from metrics import contest_score, evaluate, mean, ms_ssim, psnr
from tests.conftest import python
from tests.metrics.reference_pictures import as_bytes, noise, page, pairs

PAIRS = {name: (as_bytes(result), as_bytes(clean)) for name, (result, clean) in pairs().items()}
VALUES = json.loads(Path(__file__).with_name("reference_values.json").read_text(encoding="utf-8"))
BYTES = as_bytes(page(170, 165))


@pytest.mark.parametrize("name", PAIRS)
def test_values_of_the_libraries(name):
    assert ms_ssim(*PAIRS[name]) == pytest.approx(VALUES[name]["bytes"], abs=1e-5)
    expected = VALUES[name]["psnr"]
    assert psnr(*PAIRS[name]) == pytest.approx(math.inf if expected is None else expected, abs=1e-9)


def test_psnr_on_views_and_inside_a_mask():
    picture = as_bytes(noise((60, 80, 3), 1))
    clean, result = picture[::2, ::-1], picture[1::2, ::-1]
    squared, mask = (result.astype(float) - clean) ** 2, noise((30, 80), 2) > 0.7
    for kind, errors in ((None, squared), (mask, squared[mask]), (np.uint8(mask) * 255, squared[mask])):
        assert psnr(result, clean, kind) == pytest.approx(10 * math.log10(255**2 / errors.mean()), abs=1e-9)
    # uint8 does not wrap around.
    black, white = np.zeros((4, 5, 3), np.uint8), np.full((4, 5, 3), 255, np.uint8)
    assert psnr(white, black) == psnr(black, white) == pytest.approx(0)


def test_score_and_means_count_a_psnr_at_most_100_db():
    assert contest_score(37.0, 0.95) == pytest.approx(0.66)
    assert contest_score(math.inf, 1.0) == contest_score(100.0, 1.0) == 1.0
    # Published rows of one contest photo: the input as it is, and Telea inpainting with the true mask.
    assert contest_score(24.0, 0.9914) == pytest.approx(0.616, abs=5e-4)
    assert contest_score(55.1, 0.9996) == pytest.approx(0.776, abs=1e-3)
    for measure in ("psnr", "psnr_inside", "psnr_outside"):
        assert mean(measure, [math.inf, None, 20.0]) == 60.0
    assert mean("ms_ssim", [0.5, None, 1.0]) == 0.75
    assert mean("score", [None]) is mean("score", []) is None


def test_evaluate_gives_every_measure_and_none_where_nothing_is_defined():
    clean = as_bytes(page(200, 180))
    result, mask = clean.copy(), np.zeros((200, 180), np.uint8)
    result[50:90, :40], mask[50:90, :40] = (200, 150, 120), 1
    measures = evaluate(result, clean, mask)
    score = contest_score(measures["psnr"], measures["ms_ssim"])
    assert measures == {"psnr": psnr(result, clean), "ms_ssim": ms_ssim(result, clean), "score": score,
                        "psnr_inside": psnr(result, clean, mask), "psnr_outside": math.inf}  # fmt: skip
    # All of the error lies inside, on 1600 of 36000 pixels.
    assert measures["psnr"] - measures["psnr_inside"] == pytest.approx(10 * math.log10(36000 / 1600))
    small, full = as_bytes(page(160, 300)), np.ones((160, 300), np.uint8)
    nothing = dict.fromkeys(("ms_ssim", "score", "psnr_inside", "psnr_outside"))
    assert evaluate(small, small) == {"psnr": math.inf, **nothing}
    assert evaluate(small, small, full) == {"psnr": math.inf, **nothing, "psnr_inside": math.inf}
    assert evaluate(small, small, 1 - full)["psnr_inside"] is None
    assert evaluate(BYTES[:161, :161], BYTES[:161, :161])["score"] == 1.0


def test_inside_a_mask_ms_ssim_knows_nothing_of_what_is_far_away():
    clean = as_bytes(page(420, 180))
    result, mask = clean.copy(), np.zeros((420, 180))
    mask[:120] = 255
    result[20:60, 50:90] = 0
    inside = ms_ssim(result, clean, mask)
    assert inside < ms_ssim(result, clean) < 1 == ms_ssim(clean, clean, mask)
    result[300:] = 90
    assert ms_ssim(result, clean, mask) == pytest.approx(inside, abs=1e-6)
    assert ms_ssim(result, clean, mask >= 0) == pytest.approx(ms_ssim(result, clean), abs=1e-6)
    assert math.isnan(ms_ssim(result, clean, 0 * mask))


def test_a_contest_photo_takes_seconds_and_little_memory():
    code = """
import resource, numpy as np
from metrics import evaluate
clean = np.random.default_rng(0).integers(0, 256, (2811, 3770, 3), dtype=np.uint8)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
assert evaluate(clean // 2, clean, clean[..., 0])['score'] > 0.3
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""
    # 1.5 s and about 0.3 GB on two idle cores; the bounds leave room for a busy machine.
    assert int(python("-c", code, timeout=60).stdout) < 600
