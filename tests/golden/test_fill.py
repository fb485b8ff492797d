"""What goes in the place of fixed masks on drawn pages: paper, straight borders, corners, ruled lines, paste and tone.

Many scenes lie a little beside the border of one rule; the rules alone, tests/inference/fill holds. Numbers are means
of many pixels: single ones may be rounded otherwise elsewhere.
"""

from functools import cache

import cv2
import numpy as np
import pytest

from inference.fill.patches import TONE_RING, PageRules, carry_page_on, match_tone
from inference.paste import PasteRules, Patch, paste
from tests.golden import pictures
from tests.golden.pictures import DESK, INK, PAPER
from tests.golden.recorded_values import grid, psnr

Scene = tuple[np.ndarray, np.ndarray]
# Grey levels, and decibels. The means that are compared are those of a hundred pixels or more.
CLOSE = 0.03
RULES = PasteRules()


def _disc(picture: np.ndarray, radius: int = 70) -> Scene:
    mask = np.zeros(picture.shape[:2], np.uint8)
    cv2.circle(mask, (235, 195), radius, 1, -1)
    return picture, mask


def _blotchy(bend: float, strength: float, middle: int = 230) -> Scene:
    """A corner between two lines, each turned by `bend` from their middle, on paper with large blotches."""
    picture = pictures.flat(380, 420, (200, 180, 160)).astype(np.float64)
    rows, columns = np.mgrid[:380, :420]
    one, other = ((columns - middle) * np.cos(a) + (rows - 190) * np.sin(a) > 0 for a in (0.2 + bend, 0.2 - bend))
    picture[one & other] = (120, 110, 100)
    blotches = np.random.default_rng(3).normal(0, strength, (10, 11, 3))
    picture += cv2.resize(blotches, (420, 380), interpolation=cv2.INTER_CUBIC)
    return _disc(pictures.speckled(picture, 3))


def _step(height: int) -> Scene:
    """A straight border between two tones that differ by `height`, a little off the middle of the mask."""
    picture = pictures.half_plane(pictures.flat(380, 420), 0.3, 278, tuple(value - height for value in PAPER))
    return _disc(pictures.speckled(picture, 5))


def _tip(border: int) -> Scene:
    """A long finger whose tip lies beyond the sheet's edge."""
    picture = pictures.half_plane(pictures.flat(200, 760), 0.05, border, DESK)
    return pictures.speckled(picture, 5), pictures.finger(picture.shape, (600, 90), (0, 90), 24)


def _lines(*lines: tuple[int, int, int, int, int]) -> Scene:
    """Level lines (row, breadth, contrast before the middle, contrast after it, dots missing of twenty)."""
    picture = pictures.flat(380, 420)
    for row, breadth, before, after, missing in lines:
        for columns, contrast in ((slice(0, 235), before), (slice(235, 420), after)):
            stroke = np.array(PAPER, np.int16) - contrast
            picture[row : row + breadth, columns] = np.clip(stroke, 0, 255)
        for start in range(3, 420, 20) if missing else ():
            picture[row : row + breadth, start : start + missing] = PAPER
    return _disc(pictures.speckled(picture, 6, 0.7))


def _marked(share: float, dots: bool) -> Scene:
    """A level line that is fainter by `share` at dots of six in twenty pixels, or has a rim as strong as that."""
    picture = pictures.flat(380, 420).astype(np.float64)
    for row in (160, 210):
        strength = np.where(np.arange(420) % 20 < (6 if dots else 0), share, 1)
        picture[row : row + 3] -= 90 * strength[:, None]
        for rim in () if dots else (row - 3, row - 2, row - 1, row + 3, row + 4, row + 5):
            picture[rim] -= 90 * share
    return _disc(pictures.speckled(picture, 6, 0.7))


def _table() -> Scene:
    picture = pictures.text_page(380, 420, 8)
    for row in range(60, 380, 62):
        cv2.line(picture, (30, row), (400, row), INK, 2)
    for column in range(60, 420, 84):
        cv2.line(picture, (column, 30), (column, 360), INK, 3)
    mask = pictures.finger(picture.shape, (220, 170), (300, 379), 66)
    return picture, mask | pictures.finger(picture.shape, (90, 240), (60, 379), 50)


def _ruled() -> Scene:
    picture = pictures.flat(380, 420)
    for row in range(30, 380, 24):
        cv2.line(picture, (0, row), (419, row + 6), (150, 160, 205), 1, cv2.LINE_AA)
    cv2.line(picture, (70, 0), (64, 379), (205, 120, 120), 2, cv2.LINE_AA)
    return pictures.speckled(picture, 9), pictures.finger(picture.shape, (100, 120), (40, 379), 72)


@cache
def _scenes() -> dict[str, Scene]:
    edge = pictures.half_plane(pictures.text_page(380, 420, 10), 0.12, 330, DESK)
    sheet = pictures.half_plane(pictures.half_plane(_step(0)[0], 0.1, 240, DESK), 0.1 + np.pi / 2, 230, DESK)
    slope = np.clip(np.linspace(225, 150, 420)[None, :, None] + np.zeros((380, 1, 3)), 0, 255)
    return {
        "text": (pictures.text_page(380, 420, 11), pictures.finger((380, 420), (200, 160), (260, 379), 80)),
        "shadow": _disc(pictures.speckled(slope, 12)),
        "edge": (edge, pictures.finger(edge.shape, (300, 190), (419, 260), 76)),
        "corner": _disc(pictures.speckled(sheet, 13)),
        "corner, small": _disc(pictures.speckled(sheet, 13), 34),
        "corner, gained": _blotchy(0.785, 27),
        "corner, not gained": _blotchy(0.6, 27),
        "corner, little gained": _blotchy(0.4, 17.5),
        "blotches, border": _blotchy(0.785, 51),
        "blotches, no border": _blotchy(0.785, 80),
        "corner or line": _blotchy(0.25, 0),
        "line or corner": _blotchy(0.25, 3.5),
        "smaller corner": _blotchy(0.785, 0, 270),
        "smallest corner": _blotchy(0.785, 0, 281),
        "contrast, too low": _step(17),
        "contrast, enough": _step(21),
        "smaller side": _tip(598),
        "smallest side": _tip(608),
        "ruled": _ruled(),
        "table": _table(),
        "alike": _lines((150, 2, 80, 46, 0), (200, 2, 46, 80, 0)),
        "not alike": _lines((150, 2, 80, 33, 0), (200, 2, 33, 80, 0)),
        "faint": _lines((160, 2, 9, 9, 0), (180, 2, 10, 10, 0)),
        "too faint": _lines((160, 2, 6, 6, 0), (180, 2, 5, 5, 0)),
        "dotted": _lines((150, 2, 60, 60, 1), (200, 2, 60, 60, 2)),
        "broken": _lines((150, 2, 60, 60, 4), (200, 2, 60, 60, 5)),
        "broad": _lines((140, 5, 60, 60, 0), (180, 8, 60, 60, 0), (220, 10, 60, 60, 0)),
        "dots, strong enough": _marked(0.58, True),
        "dots, too faint": _marked(0.42, True),
        "rim, faint enough": _marked(0.34, False),
        "rim, too strong": _marked(0.46, False),
        "two masks": (pictures.text_page(380, 420, 14), pictures.finger((380, 420), (70, 90), (0, 60), 50)
                      | pictures.finger((380, 420), (330, 280), (419, 330), 50)),
    }  # fmt: skip


@pytest.mark.parametrize("name", _scenes())
def test_the_page_is_carried_on_as_recorded(golden, name):
    truth, mask = _scenes()[name]
    picture = np.where(mask[..., None] == 1, np.uint8(pictures.SKIN), truth)
    filled = carry_page_on(picture, mask, RULES, PageRules().scaled(max(mask.shape)))
    within = mask == 1
    beyond = cv2.distanceTransform(1 - mask, cv2.DIST_L2, 5) > RULES.reach
    assert np.array_equal(filled[beyond], picture[beyond])
    left, top, width, height = cv2.boundingRect(mask)
    found = filled[within].astype(np.float64)
    told = {
        "psnr": psnr(filled[within], truth[within]),
        "mean": found.mean(0),
        "std": found.std(0),
        "percentiles": np.percentile(found.mean(1), [2, 10, 25, 50, 75, 90, 98]).round(),
        "parts": grid(filled[top : top + height, left : left + width].mean(2), 7),
        "rim": filled[~beyond & ~within].mean(),
    }
    golden(f"fill/{name}", told, absolute=CLOSE)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_a_fill_is_pasted_with_the_recorded_rim(golden, kind):
    """White over black tells how far a fill reaches; enlarged, as into a photo. Which pixels change is exact."""
    mask, white, parts = pictures.finger((120, 150), (60, 70), (90, 119), 24), np.iinfo(kind).max, {}
    rows, columns = np.mgrid[:120, :150]
    pattern = np.dstack([rows % 9 / 8, columns % 7 / 6, (rows + columns) % 11 / 10])
    for name, fill, below in (("pattern", pattern, white // 3), ("white", np.ones((120, 150, 3)), 0)):
        result, changed = np.full((276, 345, 3), below, kind), np.zeros((276, 345), np.uint8)
        paste(result, changed, Patch((0, 120, 0, 150), mask, fill.astype(np.float32)), (120, 150), RULES)
        parts[name] = grid(result.astype(np.float64) / white, 8)
    golden(f"paste/{kind.__name__}/changed", int(changed.sum()), absolute=2)
    golden(f"paste/{kind.__name__}/shares", parts, absolute=1e-4)
    golden(f"paste/{kind.__name__}/steps", np.histogram(result[..., 0] / white, 8, (0, 1))[0], absolute=8)


def test_the_networks_fill_takes_the_recorded_tone(golden):
    """The network's picture is darker here, reddish there, and wrong beside the mask, where it is not to be trusted."""
    truth = pictures.text_page(240, 300, 15).astype(np.float32) / np.float32(255)
    mask = pictures.finger(truth.shape, (140, 90), (170, 239), 60)
    rows, columns = np.mgrid[:240, :300]
    tint = np.dstack([columns / 3000 - 0.06, np.full_like(rows, -0.04, np.float64), rows / 2600 - 0.05])
    restored = (truth + tint).astype(np.float32)
    restored[60:130, 178:184] -= np.float32(0.2)
    restored[90:200, 90:103] -= np.float32(0.09)
    probability = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), 5)
    fill = match_tone(restored, truth, probability, mask, RULES.reach, TONE_RING)
    found = (fill - truth)[mask == 1]
    golden("fill/network", {"mean": found.mean(0), "std": found.std(0)}, absolute=1e-5)
    golden("fill/network/parts", grid((fill - truth) * mask[..., None], 8), absolute=1e-5)
