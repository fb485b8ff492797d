"""The paper under an occluder: its tone, its light and its grain, without letters and without smears.

Of what surrounds the hole, ink is left out: it is darker than the picture's closing by a disc broader than a stroke.
What is left is a plane of light per colour channel, fitted so that what does not belong to the paper (a picture, a
shadow's end) hardly counts, and what the near paper differs from it, carried on. Across a border that is seen to enter
the hole (`inference.fill.crossings`), or a straight one (`borders`), each side is paper of its own.

Where an occluder lies on gravel, cloth or wood, a piece of the same area from beside the hole is moved there as a
whole, as in shift-map editing (Y. Pritch, E. Kav-Venaki and S. Peleg, ICCV 2009), but with one shift for a hole, the
one that fits its rim best; a hole for which no piece is large enough is halved.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import cv2
import numpy as np

from inference.fill.borders import BorderRules, straight_areas
from inference.fill.crossings import CrossingRules, joined_areas, nearest

# An area of which less than this many pixels show, or than this share of all that shows, is none of its own.
_FEWEST_SEEN, _LEAST_SHARE = 30, 0.01
# A plane of light is fitted to at most about so many pixels, in so many rounds.
_FEW, _ROUNDS = 20_000, 6
# As a matrix for OpenCV: the mean of three channels.
MEAN = np.full((1, 3), 1 / 3, np.float32)
# Below this many pixels a side, what is left of a hole stays as it is; shifts are looked for on a copy so many times
# smaller.
_SMALLEST, _COARSE = 12, 4


@dataclass(frozen=True)
class PaperRules:
    """Where paper is looked at; lengths are pixels of a picture whose long side is 1024, the rest grey levels."""

    ring: float = 20.0  # From where pixels stay as they are up to this much farther out
    around: float = 32.0  # Borders of the sheet are looked for up to this much farther out
    stroke: int = 13  # A stroke is narrower than this; odd
    text: int = 21  # Side of the median filter before borders are looked for; odd
    ink: float = 10.0  # Ink is darker than what is common by this much
    blotch: float = 8.0  # What differs from the plane of light by more is not quite paper
    rough: float = 8.0  # What differs from its plane of light by more, as a median and without ink, may be texture
    alike: float = 0.5  # ... if neighbourhoods differ among each other by less than this share of that
    toned: float = 2.0  # ... and their kurtosis is higher, Sarle's coefficient of bimodality no higher than this:
    bimodal: float = 0.62  # ... two tones are letters on paper, or a chequered board,
    even: float = 0.5  # ... and the least rough tenth is at least by this share as rough as the rest
    flat: float = 0.02  # Share of its evidence by which the plane is drawn to level
    remain: float = 12.0  # What is left of a letter goes with it if it is no higher and no wider
    remain_ink: float = 20.0  # As `ink`
    borders: BorderRules = field(default_factory=BorderRules)
    crossings: CrossingRules = field(default_factory=CrossingRules)  # Not scaled: these are looked for on a copy

    def scaled(self, factor: float) -> PaperRules:
        """The same lengths in pixels that are `factor` times smaller."""
        stroke, text = (2 * round(side * factor / 2 - 0.5) + 1 for side in (self.stroke, self.text))
        ring, around, remain = (length * factor for length in (self.ring, self.around, self.remain))
        return replace(self, ring=ring, around=around, remain=remain, stroke=stroke, text=text)


def without_ink(picture: np.ndarray, mask: np.ndarray, rules: PaperRules) -> tuple[np.ndarray, np.ndarray]:
    """(uint8 [h, w, 3], the picture without dark strokes; uint8 [h, w], how much darker it is itself) of a picture, RGB
    uint8 [h, w, 3]; what is covered (mask: uint8 [h, w]) does not count."""
    calm = cv2.GaussianBlur(picture, (0, 0), rules.stroke / 16)
    calm[mask > 0] = 0
    closed = with_strokes_off(calm, cv2.MORPH_CLOSE, rules)
    return closed, np.maximum.reduce(cv2.split(cv2.subtract(closed, calm)))


def with_strokes_off(picture: np.ndarray, operation: int, rules: PaperRules) -> np.ndarray:
    """uint8 [h, w, 3], a calm picture closed (OpenCV's `operation`) over dark strokes, or opened over light ones."""
    side = rules.stroke // 4 * 2 + 1
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    return cv2.resize(cv2.morphologyEx(_half(picture), operation, disc), picture.shape[1::-1])


def coarse_median(picture: np.ndarray, side: int) -> np.ndarray:
    """uint8 [h, w, 3], the median of a picture over squares of about this side."""
    return cv2.resize(cv2.medianBlur(_half(picture), side // 4 * 2 + 1), picture.shape[1::-1])


def _half(picture: np.ndarray) -> np.ndarray:
    """A copy of half the size: broad filters take a sixteenth of their time there."""
    size = tuple((length + 1) // 2 for length in picture.shape[1::-1])
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA)


def _is_ink(darkness: np.ndarray, seen: np.ndarray, by: float) -> np.ndarray:
    """bool [h, w]: what is darker by so much than most of what is seen."""
    return darkness > (np.median(darkness[seen]) if seen.any() else 0) + by


def with_remains(mask: np.ndarray, darkness: np.ndarray, beyond: np.ndarray, rules: PaperRules) -> np.ndarray:
    """The mask (uint8 [h, w]) with what is left of the letters that it cuts, where that is small; `darkness` as
    `without_ink` returns it, `beyond` float32 [h, w], how far a pixel is from the last one that is pasted."""
    ink = (_is_ink(darkness, beyond > 0, rules.remain_ink) & (mask == 0)).astype(np.uint8)
    count, labels, boxes, _ = cv2.connectedComponentsWithStats(ink, connectivity=8)
    small = (boxes[:, cv2.CC_STAT_WIDTH] <= rules.remain) & (boxes[:, cv2.CC_STAT_HEIGHT] <= rules.remain)
    touched = np.zeros(count, bool)
    touched[labels[(beyond <= rules.remain / 8) & (ink > 0)]] = True
    remains = (touched & small)[labels] & (ink > 0)
    side = 2 * round(rules.remain / 12) + 1
    return np.maximum(mask, cv2.dilate(remains.astype(np.uint8), np.ones((side, side), np.uint8)))


def paper_under(
    picture: np.ndarray, inkless: np.ndarray, darkness: np.ndarray, beyond: np.ndarray, near: np.ndarray,
    rules: PaperRules,
) -> tuple[np.ndarray, bool]:  # fmt: skip
    """(float32 [h, w, 3] in [0, 255]: paper, where `near` (bool [h, w]: one blob with its surroundings) is pasted over,
    which is where `beyond` is negative; whether some of it is texture); the other arguments as above."""
    seen = near & (beyond > 0)
    clear = cv2.erode((~_is_ink(darkness, seen, rules.ink)).astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    ring = seen & (beyond <= rules.ring)
    shown = ring & clear if (ring & clear).sum() >= _FEWEST_SEEN else ring
    page, is_rough = picture.astype(np.float32), False
    if not shown.any():
        return page, is_rough
    calm, around = coarse_median(inkless, rules.text), seen & (beyond <= rules.around)
    areas = joined_areas(inkless, beyond, around, rules.ring / PaperRules.ring, rules.crossings)
    areas = without_slivers(straight_areas(calm, inkless, around, shown, areas, rules.borders), shown)
    at_borders = np.ones((2 * round(rules.ring / 8) + 1,) * 2, np.uint8)  # So near to others there is more than grain
    for area in np.unique(areas[near & (beyond < 0)]):
        here = areas == area
        used = shown & here
        light, trust = _light(picture, used, rules)
        paper = light + carry_on(np.where(used[..., None], picture - light, 0), trust)
        filled = here & near & (beyond < 0)
        within = cv2.erode(here.astype(np.uint8), at_borders) > 0
        page[filled] = (paper + _grain(picture - paper, used & within))[filled]
        if _is_texture(picture - light, ring & here, used, rules):
            texture_over(page, filled, here & (beyond > 0), light, round(rules.ring))
            is_rough = True
    return page, is_rough


def without_slivers(areas: np.ndarray, shown: np.ndarray) -> np.ndarray:
    """The areas (int32 [h, w]), those of which hardly anything is `shown` (bool [h, w]) given to the nearest other."""
    counts = np.bincount(areas[shown], minlength=areas.max() + 1)
    known = (counts >= min(max(_FEWEST_SEEN, _LEAST_SHARE * counts.sum()), counts.max()))[areas]
    return areas if known.all() else nearest(areas, known)


def carry_on(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """float32 [h, w, 3], the weighted mean of known values around each pixel, in which near ones count most; 0 where
    `weights` (float32 [h, w] in [0, 1], 0 = not known) knows none.

    The weight of a value falls with about the third power of its distance: that is what a sum of Gaussians makes whose
    width doubles and whose share halves from level to level of a pyramid."""
    height, width = weights.shape
    level = np.dstack([values * weights[..., None], weights])
    total, share = np.zeros_like(level), np.float32(1)
    while True:
        blurred = cv2.GaussianBlur(level, (0, 0), 1.5, borderType=cv2.BORDER_CONSTANT)
        total += share * cv2.resize(blurred, (width, height), interpolation=cv2.INTER_LINEAR)
        if max(level.shape[:2]) <= 4:
            return total[..., :3] / np.maximum(total[..., 3:], np.float32(1e-9))
        half = ((level.shape[1] + 1) // 2, (level.shape[0] + 1) // 2)
        level, share = cv2.resize(level, half, interpolation=cv2.INTER_AREA), share / 2


def _light(picture: np.ndarray, used: np.ndarray, rules: PaperRules) -> tuple[np.ndarray, np.ndarray]:
    """(float32 [h, w, 3], the plane of light through the used pixels; float32 [h, w], how far each is believed)."""
    rows, columns = np.nonzero(used)
    few = slice(None, None, -(-len(rows) // _FEW))
    rows, columns = rows[few], columns[few]
    middle, size = np.array([rows.mean(), columns.mean()]), max(used.shape)
    colours = picture[rows, columns].astype(np.float64)
    terms = np.column_stack([np.ones(len(rows)), (rows - middle[0]) / size, (columns - middle[1]) / size])
    level = np.diag([0.0, 1.0, 1.0]) * len(rows) * rules.flat * 100 / size
    errors = colours - np.median(colours, axis=0)
    for _ in range(_ROUNDS):
        trust = 1 / (1 + (np.abs(errors).max(1) / rules.blotch) ** 2)
        weighted = terms * trust[:, None]
        plane = np.linalg.solve(weighted.T @ terms + level, weighted.T @ colours)
        errors = colours - terms @ plane
    down, across = (np.arange(length) - start for length, start in zip(used.shape, middle, strict=True))
    light = plane[0] + (down / size)[:, None, None] * plane[1] + (across / size)[:, None] * plane[2]
    light = light.astype(np.float32)
    error = np.maximum.reduce(cv2.split(cv2.absdiff(picture.astype(np.float32), light)))
    return light, used / (1 + (error / np.float32(rules.blotch)) ** 2)


def _is_texture(rest: np.ndarray, ring: np.ndarray, inkless: np.ndarray, rules: PaperRules) -> bool:
    """Whether what lies in the ring is rough, not by ink alone, and alike all round: no paper, with letters or pictures
    on it or without."""
    grey, share = cv2.transform(rest, MEAN) * ring, ring.astype(np.float32)
    weight = np.maximum(cv2.GaussianBlur(share, (0, 0), rules.ring / 2.5), 1e-3)
    coarse = cv2.GaussianBlur(grey, (0, 0), rules.ring / 2.5) / weight
    fine = (grey - coarse) * ring
    # Between letters paper is near the plane of light; where a shadow ends, it is far from it and not rough within.
    # Little tells nothing.
    differences = [np.median(np.abs(plane[inkless])) for plane in (grey, fine)]
    square, cube, fourth = (np.mean((grey[ring] - grey[ring].mean()) ** power, dtype=float) for power in (2, 3, 4))
    # The kurtosis is fourth / square**2, the skewness cube / square**1.5.
    is_two_toned = fourth < rules.toned * square**2 or cube**2 / square + square**2 > rules.bimodal * fourth
    if is_two_toned or ring.sum() < 2 * rules.ring**2 or 1.4826 * min(differences) <= rules.rough:
        return False
    rough = np.sqrt(cv2.GaussianBlur(fine**2, (0, 0), rules.ring / 2.5) / weight)[ring]
    is_alike = coarse[ring].std() < rules.alike * fine[ring].std()
    return bool(is_alike and np.quantile(rough, 0.1) > rules.even * np.median(rough))


def _grain(rest: np.ndarray, used: np.ndarray) -> np.ndarray:
    """float32 [h, w, 1]: noise as strong and as coarse as the paper's own; the same for the same hole."""
    grey = cv2.transform(rest, MEAN)
    grey = grey - cv2.GaussianBlur(grey, (0, 0), 2)
    inner = cv2.erode(used.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    if inner.sum() < _FEWEST_SEEN:
        return np.zeros((*used.shape, 1), np.float32)
    strength = 1.4826 * np.median(np.abs(grey[inner]))
    pairs = inner[:, 1:] & inner[:, :-1]
    alike = np.mean((grey[:, 1:] * grey[:, :-1])[pairs]) / max(np.mean(grey[inner] ** 2), 1e-6) if pairs.any() else 0
    noise = np.random.default_rng(0).standard_normal(used.shape).astype(np.float32)
    if alike > 0.05:
        # White noise that was blurred by this width has this likeness of neighbours.
        noise = cv2.GaussianBlur(noise, (0, 0), float(np.sqrt(-0.25 / np.log(min(alike, 0.9)))))
    return (noise * (strength / max(float(noise.std()), 1e-6)))[..., None]


def texture_over(page: np.ndarray, hole: np.ndarray, source: np.ndarray, light: np.ndarray, rim: int) -> None:
    """Copies texture into a hole of `page` (float32 [h, w, 3], changed there).

    `hole`, `source`: bool [h, w], where texture is wanted, and where it may come from; `light`: float32 [h, w, 3], the
    tone that it takes there; `rim`: what a piece must fit is so broad, in pixels."""
    before = page - light
    pieces = _Pieces(before, source, rim)
    count, labels = cv2.connectedComponents(hole.astype(np.uint8), connectivity=8)
    parts = [np.stack(np.nonzero(labels == label)) for label in range(1, count)]
    while parts:
        places = parts.pop()
        shift = pieces.best_shift(places)
        first, size = places.min(1), np.ptp(places, axis=1) + 1
        axis = int(size[0] <= size[1])
        if shift is not None:
            page[tuple(places)] = light[tuple(places)] + before[tuple(places + shift[:, None])]
        elif size[axis] > 2 * _SMALLEST:
            near = places[axis] < first[axis] + size[axis] // 2
            parts += [places[:, near], places[:, ~near]]


class _Pieces:
    """Where pieces may come from, and what they look like: on a small copy, made once for all parts of a hole."""

    def __init__(self, rest: np.ndarray, source: np.ndarray, rim: int) -> None:
        # A rim may reach beyond the picture, where nothing is known.
        self._source, self._rim, self._margin = source, rim, -(-rim // _COARSE)
        seen = np.where(source[..., None], rest, 0)
        self._known, self._values = (_small(plane, self._margin) for plane in (source, seen))
        self._whole = (self._known > 0.99).astype(np.float32)
        self._squares = (self._values**2).sum(2)

    def best_shift(self, places: np.ndarray) -> np.ndarray | None:
        """int [2], down and right from a part of the hole (its pixels, int [2, n] of rows and columns) to where its
        piece lies, all of it in the source; None if there is none."""
        first, last = places.min(1) // _COARSE, places.max(1) // _COARSE + 1
        part = np.zeros((last - first + 2 * self._margin) * _COARSE, np.float32)
        part[tuple(places - (first - self._margin)[:, None] * _COARSE)] = 1
        wanted = _small(part) > 0
        missing = wanted.sum() - _correlation(self._whole, wanted)
        if missing.min() > 0.5:
            return None
        rim = _small(cv2.dilate(part, np.ones((2 * self._rim + 1, 2 * self._rim + 1), np.uint8)))
        here = tuple(slice(start, stop + 2 * self._margin) for start, stop in zip(first, last, strict=True))
        known = rim * self._known[here]
        products = _correlation(self._values, known[..., None] * self._values[here])
        cost = _correlation(self._squares, known) - 2 * products
        # All of the piece must be known, and its rim but for a little.
        covered = _correlation(self._whole, known > 0)
        cost[(missing > 0.5) | (covered < 0.75 * (known > 0).sum())] = np.inf
        best = np.unravel_index(int(cost.argmin()), cost.shape)
        shift = (np.array(best) - first) * _COARSE
        moved = places + shift[:, None]
        inside = np.isfinite(cost[best]) and moved.min() >= 0 and np.less(moved.T, self._source.shape).all()
        return shift if inside and self._source[tuple(moved)].all() else None


def _small(plane: np.ndarray, margin: int = 0) -> np.ndarray:
    """float32 [ceil(h / _COARSE), ceil(w / _COARSE)] or with channels behind: means, beyond the picture of zeros."""
    (height, width), kind = plane.shape[:2], cv2.BORDER_CONSTANT
    whole = cv2.copyMakeBorder(plane.astype(np.float32), 0, -height % _COARSE, 0, -width % _COARSE, kind)
    small = cv2.resize(whole, None, fx=1 / _COARSE, fy=1 / _COARSE, interpolation=cv2.INTER_AREA)
    return cv2.copyMakeBorder(small, margin, margin, margin, margin, kind)


def _correlation(plane: np.ndarray, piece: np.ndarray) -> np.ndarray:
    """float32: sum of plane(x + place) * piece(x), over channels too, for every place where the piece lies within."""
    return cv2.matchTemplate(plane, piece.astype(np.float32), cv2.TM_CCORR)
