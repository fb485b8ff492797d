"""PSNR, MS-SSIM and score: stored values of scikit-image and pytorch-msssim, hand-made cases, memory at full size; and
the measures of a fill, counted by hand on small pages, and a step of known height.
"""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from metrics import contest_score, evaluate, mean, ms_ssim, psnr
from metrics.fill import count_ink, seam_step
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


RULES = np.zeros((120, 160), np.uint8)
RULES[60:62, 10:150] = 255
MASK = np.zeros_like(RULES)
MASK[40:80, 50:90] = 1
CLEAN = np.where(RULES[..., None] > 0, np.uint8(90), np.uint8(220)) * np.ones(3, np.uint8)
BLANK = np.full_like(CLEAN, 220)
# Inside by 3 pixels are rows 43 to 76 and columns 53 to 86; ink's own surroundings are rows 56 to 65.
HIDDEN, FREE = 2 * 34, 34 * 34 - 10 * 34


def drawn(top: int, tone: int, left: int = 0, height: int = 2) -> np.ndarray:
    page = BLANK.copy()
    page[top : top + height, left:] = tone
    return page


@pytest.mark.parametrize(("result", "back", "false"), [
    (CLEAN, HIDDEN, 0),
    (BLANK, 0, 0),
    (drawn(61, 190), HIDDEN, 0),  # one lower, and pale
    (drawn(60, 196), 0, 0),  # too pale to be ink
    (drawn(62, 90), HIDDEN, 0),  # within two pixels of both rows
    (drawn(63, 90), HIDDEN // 2, 0),  # of the lower one
    (drawn(64, 90), 0, 0),  # of none, and too near to ink for a blank place
    (drawn(68, 90), 0, 2 * 34),
    (drawn(60, 90, left=72), 2 * (34 - 17), 0),  # and two columns on the left of it
    (drawn(0, 60, height=120), HIDDEN, FREE),  # dark all over
])  # fmt: skip
def test_rules_that_come_back_and_false_ink(result, back, false):
    counts = {"rules": HIDDEN, "rules_back": back, "blank": FREE, "false_ink": false}
    assert count_ink(result, CLEAN, MASK, RULES) == counts
    assert not any(count_ink(result, CLEAN, 0 * MASK, RULES).values())
    assert count_ink(result, CLEAN, MASK, 0 * RULES) == {**counts, "rules": 0, "rules_back": 0}


COVERED = np.zeros((400, 480), np.uint8)
COVERED[150:230, 180:280] = 255


@pytest.mark.parametrize("step", [0, 6, 30])
def test_a_seam_is_the_step_that_the_page_does_not_have_itself(step):
    """On a page that becomes two levels lighter every five columns, and a fill that is `step` levels lighter."""
    page = np.zeros((400, 480, 3), np.uint8) + np.uint8(np.arange(480) // 5 * 0.4 + 50)[:, None]
    page[COVERED > 0] += np.uint8(step)
    assert seam_step(page, COVERED) == pytest.approx(step, abs=0.5)
    # Print does not count, on the fill or beside it.
    page[100:300:8, 100:350] = 0
    assert seam_step(page, COVERED) == pytest.approx(step, abs=0.5)


def test_a_page_with_steps_of_its_own_excuses_one_and_without_page_on_both_sides_there_is_none():
    # A frame that lies where the mask, grown by its width of 80 pixels, ends.
    page, all_of_it, dot = np.full((400, 480, 3), 200, np.uint8), np.ones_like(COVERED), np.zeros_like(COVERED)
    page[70:310, 100:360] = 180
    assert seam_step(page, COVERED) < -10
    dot[30, 30] = 1  # too fine to have an inside
    for mask in (all_of_it, 1 - all_of_it, dot):
        assert seam_step(page, mask) is None
