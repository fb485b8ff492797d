"""Straight lines that pass under an occluder: the rules of a table, of writing paper and forms, and bars of colour.

Pieces of lines are found by OpenCV's segment detector (R. Grompone von Gioi et al., "LSD: a Line Segment Detector",
IPOL 2012), moved to where they show best and followed both ways: over gaps between fingers, and through the hole where
the same line shows behind it. A bar of colour between two parallel borders is a line as well, a broad one. What is
drawn of them, `inference.fill.strokes` says.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import groupby
from operator import itemgetter

import cv2
import numpy as np

from inference.fill.paper import MEAN

Piece = tuple[np.ndarray, np.ndarray, float]  # Of a line: its start and its way, float64 [2] of x and y, its length
# Segments are looked for at this scale; lines are followed at the full one.
_DETECTED_AT = 0.6
# A line was followed so far beside its middle, in pixels, at most.
_OFF_MIDDLE = 0.3
_OFF, _ON, _HIDDEN = range(3)
# Where a line stops being followed: it ends in sight, is lost in the hole, or leaves the picture.
SEEN, LOST, SIDE = range(3)


@dataclass(frozen=True)
class LineRules:
    """When a line goes on; lengths are pixels of a picture whose long side is 1024, contrasts are grey levels."""

    piece: float = 22.0  # A line shows at least one piece of this length, and this much of it shows in all
    contrast: float = 7.0  # By which a line differs from the paper, at least
    bar_contrast: float = 9.0  # The same for a bar
    kept: float = 0.5  # A line is on where it has more than this share of its median contrast
    alike: float = 2.5  # ... and less than this many times as much
    everywhere: float = 0.9  # Its contrast is what it has over this share of it: letters on it have more
    steady: float = 0.85  # It is on over this share of where it shows
    gap: int = 3  # What is missing for so long does not end it
    support: int = 14  # Behind the hole it must show for so long
    longest: int = 30  # A line that is lost in the hole must show for so long
    reach: int = 4  # Its profile is copied this far to either side of its middle
    thin: float = 0.4  # On both sides, within `reach`, it falls to this share of its contrast: else it is no line
    halo: float = 0.3  # A line lighter than its paper, whose two sides differ by more, is the rim of something dark
    step: float = 1.5  # The same for a dark one: it may divide a bar from the paper
    slack: float = 2.5  # Each end of a piece is moved by up to this much across it
    near: int = 30  # The profile is that of the last so many pixels
    parallel: float = 2.5  # Degrees
    neighbour: float = 150.0  # A neighbour is not farther than this, or three times as far if both begin alike
    as_long: float = 0.33  # ... and shows for this share of what the line shows, at least: letters' feet do not
    upright: float = 0.17  # Of a line more oblique than this (a sine) one neighbour tells only if both begin alike
    agree: float = 10.0  # Neighbours on both sides that end so near to each other are both believed
    snap: float = 12.0  # An end so near to a line that crosses lies on it
    narrowest: float = 7.0  # Of a bar
    broadest: float = 80.0

    def scaled(self, factor: float) -> LineRules:
        """The same lengths in pixels that are `factor` times smaller."""
        names = ("piece", "gap", "support", "longest", "reach", "slack", "near", "neighbour", "agree", "snap",
                 "narrowest", "broadest")  # fmt: skip
        lengths = {name: getattr(self, name) for name in names}
        return replace(self, **{name: type(value)(round(value * factor, 3)) for name, value in lengths.items()})


@dataclass(eq=False)
class Line:
    """A line followed both ways from a place on it; `first` and `last`, as all positions along it, count from there."""

    place: np.ndarray  # float64 [2], x and y
    way: np.ndarray  # The same, of length 1
    first: float
    last: float
    ends: list[int]  # How it stops at `first` and `last`
    limits: tuple[float, float]  # How far the hole hides it there
    crossings: list[tuple[float, float]]  # (from, to) of each hidden stretch behind which it shows again, outwards
    steps: np.ndarray  # Whole positions between the ends where it is in sight, or of these where no letters stand on it
    seen: int  # At so many it is in sight
    steady: float  # Over which share of them it is on
    # float32 [steps, 4 * reach + 1, 3], how the picture differs from the paper across it in half pixels.
    profiles: np.ndarray | None = None
    reach: int = 0

    @property
    def across(self) -> np.ndarray:
        return _across(self.way)

    def end(self, side: int) -> float:
        return self.last if side > 0 else self.first

    def profile(self, position: float, side: int, near: int) -> np.ndarray:
        """float32 [4 * reach + 1, 3]: the median before `position`, coming from the other side; of all for a bar, on
        which letters may stand."""
        back = (position - self.steps) * side
        close = (back > 0) & (back <= near)
        return np.median(self.profiles[close] if close.sum() >= 4 else self.profiles, axis=0)

    def covers(self, shape: tuple[int, int]) -> np.ndarray:
        """bool [h, w]: where it lies, from its first position to its last."""
        ends = self.place + np.array([[self.first], [self.last]]) * self.way
        corners = np.concatenate([ends + self.reach * self.across, ends[::-1] - self.reach * self.across])
        return cv2.fillConvexPoly(np.zeros(shape, np.uint8), np.rint(corners).astype(np.int32), 1) > 0


def find_lines(picture: np.ndarray, rest: np.ndarray, hole: np.ndarray, rules: LineRules) -> list[Line]:
    """Finds thin lines, the longest pieces first, in a picture (float32 [h, w, 3] in [0, 255]) and in what is left of
    it without its paper (`rest`, the same); nothing that lies in the hole (bool [h, w]) counts."""
    rest = np.where(hole[..., None], np.float32(0), rest)
    grey = cv2.transform(rest, MEAN)
    found: list[Line] = []
    for place, way, length in _pieces(grey, rules.piece):
        if any(_lies_on(place + way * length / 2, way, line, rules.reach + 1) for line in found):
            continue
        line = _follow(rest, grey, hole, (place, way, length), rules.reach, rules.contrast, rules)
        if line is not None and not _is_rim(picture, line, rules):
            found.append(line)
    return found


def find_bars(rest: np.ndarray, hole: np.ndarray, rules: LineRules) -> list[Line]:
    """Finds bars of one colour between two parallel borders in `rest`, float32 [h, w, 3]: the picture without letters
    less the page's colour, in grey levels."""
    rest = np.where(hole[..., None], np.float32(0), rest)
    hidden = np.float32(hole)
    grey = cv2.transform(rest, MEAN)
    pieces = _pieces(grey, rules.piece)
    middles = np.array([place + way * length / 2 for place, way, length in pieces]).reshape(-1, 2)
    ways = np.array([way for _, way, _ in pieces]).reshape(-1, 2)
    found: list[Line] = []
    for place, way, length in pieces:
        breadths = (middles - place) @ _across(way)
        is_broad = (np.abs(breadths) >= rules.narrowest) & (np.abs(breadths) <= rules.broadest)
        for index in np.flatnonzero((np.abs(ways @ way) >= 0.999) & is_broad):
            (other, other_way, other_length), breadth = pieces[index], abs(breadths[index])
            # A light bar lies on the other side of a segment than a dark one.
            across = _across(way) * np.sign(breadths[index])
            start, stop = sorted([(other - place) @ way, (other + other_way * other_length - place) @ way])
            start, stop = max(start, 0), min(stop, length)
            if stop - start < max(rules.piece, 0.6 * min(length, other_length)):
                continue
            middle = place + across * breadth / 2
            if any(_lies_on(middle + way * (start + stop) / 2, way, bar, breadth / 2) for bar in found):
                break
            along = middle + np.linspace(start, stop, 24)[:, None] * way
            places = [along + across * shift * (breadth / 2 + 4) for shift in (0, -1, 1)]
            if any(_sample(hidden, place).mean() > 0.5 for place in places[1:]):  # Its outline is no border
                continue
            inside, *beside = (_sample(grey, place) for place in places)
            colour = np.median(inside)
            alike = np.median(np.abs(inside - colour)) <= 0.25 * abs(colour)
            if alike and max(abs(np.median(side)) for side in beside) <= rules.thin * abs(colour):
                reach, piece = round(breadth / 2) + rules.reach, (middle + way * start, way, stop - start)
                bar = _follow(rest, grey, hole, piece, reach, rules.bar_contrast, rules)
                if bar is not None:
                    # What the paper beside it differs from the page's colour by is not the bar's.
                    share = np.linspace(0, 1, bar.profiles.shape[1], dtype=np.float32)[:, None]
                    one, other = np.median(bar.profiles[:, [0, -1]], axis=0)
                    bar.profiles -= one * (1 - share) + other * share
                    found.append(bar)
                    break
    return found


def _across(way: np.ndarray) -> np.ndarray:
    return np.array([-way[1], way[0]])


def _pieces(grey: np.ndarray, shortest: float) -> list[Piece]:
    """The segments in a picture of differences, the longest first."""
    detector = cv2.createLineSegmentDetector(cv2.LSD_REFINE_STD, _DETECTED_AT)
    segments = detector.detect(np.clip(128 + grey, 0, 255).astype(np.uint8))[0]
    if segments is None:
        return []
    starts, stops = segments[:, 0, :2].astype(np.float64), segments[:, 0, 2:].astype(np.float64)
    lengths = np.hypot(*(stops - starts).T)
    order = np.argsort(-lengths, kind="stable")[: (lengths >= shortest).sum()]
    return [(starts[index], (stops[index] - starts[index]) / lengths[index], float(lengths[index])) for index in order]


def _lies_on(place: np.ndarray, way: np.ndarray, line: Line, slack: float) -> bool:
    from_start = place - line.place
    return bool(
        abs(from_start @ line.across) < slack
        and abs(way @ line.way) > 0.995
        and line.first - slack <= from_start @ line.way <= line.last + slack
    )


def _sample(plane: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Values between the pixels of [h, w] or [h, w, 3] at places [..., 2] of x and y."""
    table = places.reshape(-1, places.shape[-2], 2).astype(np.float32)
    values = cv2.remap(plane, table, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return values.reshape(*places.shape[:-1], *plane.shape[2:])


def _moved(
    grey: np.ndarray, place: np.ndarray, way: np.ndarray, steps: np.ndarray, slack: float, rules: LineRules
) -> tuple[np.ndarray, np.ndarray, float]:
    """(place, way, contrast) of the line, each end of these steps moved across it to where it shows best between them:
    by the contrast that it has nearly everywhere, since letters that stand on it have more."""
    across, span = _across(way), steps[[0, -1]]
    along = steps[np.linspace(0, len(steps) - 1, int(np.clip(len(steps), 12, 100))).astype(int)]
    shifts = np.linspace(-slack, slack, 2 * int(np.ceil(2 * slack)) + 1)
    ways = np.stack(np.meshgrid(shifts, shifts), 2).reshape(-1, 2)
    share = (along - span[0]) / (span[1] - span[0])
    moved = ways[:, :1] * (1 - share) + ways[:, 1:] * share
    values = np.sort(_sample(grey, place + along[:, None] * way + moved[..., None] * across), axis=1)
    few = int((1 - rules.everywhere) * len(along))
    light, dark = values[:, few], -values[:, -1 - few]
    shown = np.maximum(light, dark)
    # A broad line shows equally well over all of its breadth: its middle is taken.
    ties = np.flatnonzero(shown >= shown.max() - 0.04 * abs(shown.max()))
    best = ties[np.hypot(*(ways[ties] - ways[ties].mean(0)).T).argmin()]
    start, stop = (place + step * way + shift * across for step, shift in zip(span, ways[best], strict=True))
    way = (stop - start) / np.hypot(*(stop - start))
    return start - span[0] * way, way, float(light[best] if light[best] > dark[best] else -dark[best])


def _follow(
    rest: np.ndarray, grey: np.ndarray, hole: np.ndarray, piece: Piece, reach: int, contrast: float, rules: LineRules
) -> Line | None:
    """The line of which this is a piece, if it is one."""
    place, way, length = piece
    steps = np.arange(length + 1)
    for slack in (rules.slack, rules.slack / 2):
        place, way, level = _moved(grey, place, way, steps, slack, rules)
        if abs(level) < contrast:
            return None
        line = _trace(grey, hole, (place, way, length), level, reach, rules)
        if line is None or line.seen < rules.piece:
            return None
        # Of a longer piece the direction is known better.
        steps = line.steps
    if line.steady < rules.steady:
        return None
    _profile(line, rest, reach)
    # Drawn from beside its middle a rule would be pale and broad, so that each half of it is moved there.
    halves, beside = np.array_split(np.arange(len(line.steps)), 2), np.arange(-2 * reach, 2 * reach + 1) / 2
    shown = [np.median(line.profiles[half], axis=0).mean(1) ** 2 * (np.abs(beside) <= reach / 4) for half in halves]
    shifts = [np.clip(half @ beside / max(half.sum(), 1e-6), -_OFF_MIDDLE, _OFF_MIDDLE) for half in shown]
    slope, start = np.polyfit([line.steps[half].mean() for half in halves], shifts, 1)
    line.place, line.way = line.place + start * line.across, (line.way + slope * line.across) / np.hypot(1, slope)
    _profile(line, rest, reach)
    # It looks like what it is between letters.
    free = (np.abs(line.profiles[:, [0, -1]].mean(2)) <= rules.thin * abs(level)).all(1)
    if free.sum() >= rules.support:
        line.steps, line.profiles = line.steps[free], line.profiles[free]
    shown = np.abs(np.median(line.profiles, axis=0).mean(1))
    for outwards in (np.s_[2 * reach :], np.s_[2 * reach :: -1]):
        side = shown[outwards]
        faint = np.flatnonzero(side <= rules.thin * side[0])
        if not len(faint):
            return None
        # What rises again beyond is none of the line's: the feet of letters on a rule.
        risen = faint[0] + np.flatnonzero(np.diff(side[faint[0] :]) > 0)[:1] + 1
        line.profiles[:, outwards][:, risen[0] if len(risen) else len(side) :] = 0
    return line


def _profile(line: Line, rest: np.ndarray, reach: int) -> None:
    """Looks at what lies up to `reach` beside a line."""
    beside = np.arange(-2 * reach, 2 * reach + 1)[:, None] / 2 * line.across
    line.profiles, line.reach = _sample(rest, (line.place + line.steps[:, None] * line.way)[:, None] + beside), reach


def _trace(grey: np.ndarray, hole: np.ndarray, piece: Piece, level: float, reach: int, rules: LineRules) -> Line | None:
    """Follows a line both ways from the middle of a piece: it is on where it stands out by about `level`, and under
    letters, which leave the paper on one side of it free."""
    (place, way, length), (height, width) = piece, hole.shape
    steps = np.arange(-height - width, height + width + 1.0)
    places = place + steps[:, None] * way
    within = ((places >= 0) & (places <= (width - 1, height - 1))).all(1)
    if not within.any():
        return None
    steps, places = steps[within], places[within]
    columns, rows = np.rint(places).astype(int).T
    hidden = hole[rows, columns]
    one, *middle, other = (_sample(grey, places + shift * _across(way)) / level for shift in (-reach, -1, 0, 1, reach))
    share = np.max(middle, axis=0)
    is_on = (share > rules.kept) & ((share < rules.alike) | (np.minimum(np.abs(one), np.abs(other)) < rules.thin))
    states = np.where(hidden, _HIDDEN, np.where(is_on, _ON, _OFF))
    if not (states == _ON).any():
        return None
    here = int(np.where(states == _ON, np.abs(steps - length / 2), np.inf).argmin())
    first, how_first, back, near = _walk(states[here::-1], steps[here::-1], rules)
    last, how_last, forth, far = _walk(states[here:], steps[here:], rules)
    in_sight = (steps >= first) & (steps <= last) & ~hidden
    ends, limits, seen = [how_first, how_last], (near, far), int(in_sight.sum())
    return Line(place, way, first, last, ends, limits, back + forth, steps[in_sight], seen, is_on[in_sight].mean())


def _walk(states: np.ndarray, steps: np.ndarray, rules: LineRules) -> tuple[float, int, list, float]:
    """Follows a line outwards, from on: its last position, how it stops there, the hidden stretches that it crosses,
    and the position up to which it may go on in hiding."""
    runs = [[state, len(list(group))] for state, group in groupby(states.tolist())]
    for index in range(1, len(runs) - 1):
        # What is missing for a moment is the line's, and beside a hole the hole's.
        by_hole = _HIDDEN in (runs[index - 1][0], runs[index + 1][0])
        if runs[index][0] == _OFF and runs[index][1] <= rules.gap * (1 + by_hole):
            runs[index][0] = _HIDDEN if by_hole else _ON
    joined = [(state, sum(count for _, count in group)) for state, group in groupby(runs, itemgetter(0))]
    behind = [*joined[1:], (None, 0), (None, 0)]
    position, end, crossings = 0, 0, []
    for (state, count), (next_state, shown), (after, _) in zip(joined, behind, behind[1:], strict=False):
        if state == _OFF:
            return float(steps[end]), SEEN, crossings, float(steps[end])
        if state == _HIDDEN:
            # Between two fingers, and at the picture's side, it can show no longer than it does.
            if next_state != _ON or not (shown >= rules.support or after is None or (after == _HIDDEN and shown >= 2)):
                shown = shown if next_state == _ON else 0
                return float(steps[end]), LOST, crossings, float(steps[position + count + shown - 1])
            crossings.append((float(steps[end]), float(steps[position + count])))
        position += count
        end = position - 1 if state == _ON else end
    return float(steps[end]), SIDE, crossings, float(steps[end])


def _is_rim(picture: np.ndarray, line: Line, rules: LineRules) -> bool:
    """Whether a line is what a median leaves beside something broad: its two sides differ as much as it stands out."""
    level = float(np.median(line.profiles[:, 2 * line.reach].mean(1)))
    places = line.place + line.steps[:, None] * line.way
    one, other = (
        np.median(_sample(picture, places + side * (line.reach + 1) * line.across), axis=0) for side in (-1, 1)
    )
    return bool(np.abs(one - other).mean() > (rules.halo if level > 0 else rules.step) * abs(level))
