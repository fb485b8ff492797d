"""Straight borders that pass under an occluder: the sheet's edge against the desk, its corner, a box of colour.

As in a binary space partition, the straight line is taken that best divides what is seen around the occluder into two
sides of one colour each, then each side is looked at in the same way. Of all lines it is the one with the least sum of
squared distances from the two mean colours, which a sort along each direction gives for every offset at once. Where one
of the two colours fills a corner between two lines, the best corner is looked for, one line in turn while the other one
stays. All this goes by a grid of points; then each line is moved to where the picture itself steps.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import pi
from typing import NamedTuple

import numpy as np

# Directions are tried all round, then finer and finer about the best; in radians.
_ALL_ROUND = np.arange(90) * (2 * pi / 90)
_REFINEMENTS = (np.arange(-4, 5) * (pi / 180), np.arange(-4, 5) * (pi / 720))
_CORNER_STARTS = np.arange(6) * (2 * pi / 6)
# Corners are looked for by one point of so many; steps are fitted in so many rounds.
_FEW, _ROUNDS = 3, 8
# Points nearer to each other than this, in pixels along a direction, are equally far.
_APART = 1e-6


@dataclass(frozen=True)
class BorderRules:
    """When a line is a border; colours are points of red, green and blue from 0 to 255."""

    contrast: float = 16.0  # What is less far than this from its mean colour (root mean square) has no border in it
    # Share of that variance that may be left when each side has a colour of its own. It has to be less than a slope
    # of colour from one end to the other leaves, too: a shadow is no border.
    unexplained: float = 0.7
    corner: float = 0.03  # A corner is taken in place of a line that leaves this share of the variance, or more
    corner_gain: float = 0.8  # It must leave less than this fraction of what the line leaves
    smallest: float = 0.08  # Share of the points that lies on the smaller side of a line, at least
    smallest_corner: float = 0.15  # The same for a corner, whose lines fit more
    smallest_near: float = 0.04  # The same for any border, among the points that are nearest to the occluder
    entry: float = 8.0  # A line is looked at so far to either side where it is seen, in pixels
    entry_step: float = 0.35  # There the colour steps by this share of what it changes in all, at least
    corner_parts: int = 3  # The lines of a corner do so in each of so many parts of where they are seen
    fewest_steps: int = 8  # A line is moved to the picture's steps across it if so many are seen,
    alike_steps: float = 0.5  # ... which differ from their median by less than this share of it,
    straight: float = 1.5  # ... and half of which lie so near to one line, in pixels
    depth: int = 3  # Levels of division; 2**depth areas at most, and one at depth 0
    points: int = 2500  # About so many points are looked at, at most: those of a grid
    fewest: int = 60  # A side of fewer points is not divided


class _Line(NamedTuple):
    """Points of positive distance, x * cos(angle) + y * sin(angle) - offset, lie beyond it."""

    angle: float
    offset: float

    def distance(self, points: np.ndarray) -> np.ndarray:
        return points @ np.array([np.cos(self.angle), np.sin(self.angle)]) - self.offset


# What lies beyond all of these lines is one side.
_Border = tuple[_Line, ...]


def straight_areas(
    picture: np.ndarray, sharp: np.ndarray, seen: np.ndarray, near: np.ndarray, rules: BorderRules
) -> np.ndarray:
    """int32 [h, w]: which of the areas a pixel lies in that are divided by the straight borders which show in what is
    `seen` (bool [h, w]) of a picture (uint8 or float32 [h, w, 3], 0..255, without letters: they make lines themselves).
    `sharp` is the same with its edges where they are; they tell how the borders lie to the pixel. Both sides of a
    border have a share of what is `near` (bool [h, w]).
    """
    height, width = seen.shape
    areas = np.zeros(height * width, np.int32)
    places = np.stack(np.meshgrid(np.arange(width), np.arange(height)), 2).reshape(-1, 2).astype(np.float64)

    def divide(here: np.ndarray, depth: int) -> None:
        """Gives what lies beyond a border among the pixels `here`, which index `places`, a number of its own."""
        known = here[seen.ravel()[here]]
        colours = picture.reshape(-1, 3)[known].astype(np.float64)
        border = _best_border(places[known], colours, rules) if depth else None
        if border is not None:
            border = _at_the_edges(border, sharp, seen, rules)
            beyond = _beyond(border, places[here])
            close = beyond[near.ravel()[here]]
            if min(close.sum(), (~close).sum()) < rules.smallest_near * len(close):
                return
            areas[here[beyond]] = areas.max() + 1
            divide(here[~beyond], depth - 1)
            divide(here[beyond], depth - 1)

    divide(np.arange(height * width), rules.depth)
    return areas.reshape(height, width)


def _beyond(border: _Border, points: np.ndarray) -> np.ndarray:
    """bool [n] for float64 points [n, 2] of x, y."""
    return np.all([line.distance(points) > 0 for line in border], axis=0)


def _best_border(points: np.ndarray, colours: np.ndarray, rules: BorderRules) -> _Border | None:
    """What best divides the colours, where it is a border."""
    chosen = (points % np.ceil(np.sqrt(max(1, len(points)) / rules.points)) == 0).all(1)
    if chosen.sum() < rules.fewest:
        return None
    points, colours = points[chosen], colours[chosen] - colours[chosen].mean(0)
    total = (colours**2).sum()
    if total < len(points) * rules.contrast**2:
        return None
    border: _Border = (_best_line(points, colours, rules),)
    left = _unexplained(points, colours, border)
    if left >= rules.corner * total:
        corner = _best_corner(points, colours, border)
        left_by_corner = _unexplained(points, colours, corner)
        smaller_side = min(np.bincount(_beyond(corner, points), minlength=2))
        if left_by_corner < rules.corner_gain * left and smaller_side >= rules.smallest_corner * len(points):
            border, left = corner, left_by_corner
    slope = np.column_stack([np.ones(len(points)), points])
    left_by_slope = ((colours - slope @ np.linalg.lstsq(slope, colours, rcond=None)[0]) ** 2).sum()
    if left > min(rules.unexplained * total, left_by_slope):
        return None
    return border if _shows_where_it_enters(points, colours, border, rules) else None


def _shows_where_it_enters(points: np.ndarray, colours: np.ndarray, border: _Border, rules: BorderRules) -> bool:
    """Whether the colours step at each line wherever it is seen: a shadow's end or a spot of colour divides the points
    well, too, and is no border of what lies under the occluder. The lines of a corner, which fit more, step all along.
    """
    beyond = _beyond(border, points)
    change = colours[beyond].mean(0) - colours[~beyond].mean(0)
    spacing = np.sqrt(np.prod(np.ptp(points, axis=0) + 1) / len(points))
    reach = max(rules.entry, 3 * spacing)
    for line in border:
        others = _beyond(tuple(other for other in border if other is not line), points) if len(border) > 1 else True
        across = line.distance(points)
        near = np.flatnonzero((np.abs(across) <= reach) & others)
        along = points[near] @ np.array([-np.sin(line.angle), np.cos(line.angle)])
        order = np.argsort(along, kind="stable")
        places = np.split(near[order], np.flatnonzero(np.diff(along[order]) > 2 * reach) + 1)
        parts = 1 if len(border) == 1 else rules.corner_parts
        for part in (part for place in places for part in np.array_split(place, parts)):
            far = across[part] > 0
            if min(far.sum(), (~far).sum()) >= 3:
                step = np.median(colours[part[far]], 0) - np.median(colours[part[~far]], 0)
                if step @ change < rules.entry_step * (change @ change):
                    return False
    return True


def _at_the_edges(border: _Border, sharp: np.ndarray, seen: np.ndarray, rules: BorderRules) -> _Border:
    """Each line of the border moved to where the picture steps across it, within `entry` and then half of it."""
    for reach in (rules.entry, rules.entry / 2):
        border = tuple(
            _at_the_edge(line, tuple(other for other in border if other is not line), int(reach), sharp, seen, rules)
            for line in border
        )
    return border


def _at_the_edge(
    line: _Line, others: _Border, reach: int, sharp: np.ndarray, seen: np.ndarray, rules: BorderRules
) -> _Line:
    """The straight line through the greatest steps within `reach` of a line, beyond the others, as far as these steps
    are alike; the line itself where few of them are seen, or they lie on no straight line.
    """
    height, width = seen.shape
    across = np.array([np.cos(line.angle), np.sin(line.angle)])
    along, shifts = np.arange(-height - width, height + width + 1.0), np.arange(-reach, reach + 1.0)
    middles = line.offset * across + along[:, None] * [-across[1], across[0]]
    columns, rows = np.rint(middles[:, None] + shifts[:, None] * across).astype(int).transpose(2, 0, 1)
    shown = (columns >= 0) & (rows >= 0) & (columns < width) & (rows < height)
    shown[shown] = seen[rows[shown], columns[shown]]
    places = np.flatnonzero(shown.all(1) & _beyond(others, middles))
    if len(places) < rules.fewest_steps:
        return line
    sums = np.cumsum(sharp[rows[places], columns[places]].astype(np.float64), axis=1)
    before = np.arange(1, len(shifts))
    behind = before[::-1]
    steps = (sums[:, -1:] - sums[:, :-1]) / behind[:, None] - sums[:, :-1] / before[:, None]
    greatest = ((steps**2).sum(2) * before * behind).argmax(1)
    steps = steps[np.arange(len(places)), greatest]
    common = np.median(steps, axis=0)
    alike = np.abs(steps - common).max(1) < rules.alike_steps * np.abs(common).max()
    if alike.sum() < rules.fewest_steps:
        return line
    position, shift = along[places][alike], greatest[alike] + 0.5 - reach
    terms, trust = np.column_stack([np.ones(len(position)), position]), np.ones(len(position))
    for _ in range(_ROUNDS):
        start, slope = np.linalg.lstsq(terms * trust[:, None], shift * trust, rcond=None)[0]
        error = np.abs(shift - start - slope * position)
        trust = 1 / np.hypot(1, error / max(1.0, np.median(error)))
    if np.median(error) > rules.straight:
        return line
    angle = line.angle - np.arctan(slope)
    return _Line(float(angle), float((line.offset + start) * np.cos(angle - line.angle)))


def _unexplained(points: np.ndarray, colours: np.ndarray, border: _Border) -> float:
    """Sum of squared differences from the mean colours of both sides."""
    beyond = _beyond(border, points)
    sides = [colours[side] for side in (beyond, ~beyond) if side.any()]
    return float(sum(((side - side.mean(0)) ** 2).sum() for side in sides))


def _best_line(points: np.ndarray, colours: np.ndarray, rules: BorderRules) -> _Line:
    """For colours whose mean is 0."""
    count = len(points)
    margin = max(5, int(rules.smallest * count))
    near = np.arange(1, count)

    def explained(order: np.ndarray) -> np.ndarray:
        # With a mean of 0 over both sides, the sum of the far one is that of the near one with the other sign.
        sums = np.cumsum(colours[order], axis=1)[:, :-1]
        gain = (sums**2).sum(2) * (1 / near + 1 / (count - near))
        gain[:, : margin - 1] = gain[:, count - margin :] = -1
        return gain

    # Half of the directions will do, since the two sides of a line are worth the same.
    line = _Directions(points, _ALL_ROUND[: len(_ALL_ROUND) // 2]).best(explained)
    for finer in _REFINEMENTS:
        line = _Directions(points, line.angle + finer).best(explained)
    return line


def _best_corner(points: np.ndarray, colours: np.ndarray, border: _Border) -> _Border:
    """The corner that best divides the two colours that `border` has found."""
    beyond = _beyond(border, points)
    far, near = (((colours - colours[side].mean(0)) ** 2).sum(1) for side in (beyond, ~beyond))
    few = slice(None, None, _FEW)
    directions = _Directions(points[few], _ALL_ROUND[::2])
    corners = [_fit_corner(points, worth, directions, few) for worth in (near - far, far - near)]
    return min(corners, key=lambda corner: _unexplained(points, colours, corner))


def _fit_corner(points: np.ndarray, worth: np.ndarray, directions: _Directions, few: slice) -> _Border:
    """Two lines, beyond both of which lies as much worth as possible; each in turn, from several starts, by a few of
    the points, and then finer by all.
    """

    def second(first: _Border, among: _Directions, chosen: slice) -> _Line:
        inside = worth[chosen] * _beyond(first, points[chosen]) if first else worth[chosen]
        # Without the sum up to a place, what is left lies beyond it.
        return among.best(lambda order: inside.sum() - np.cumsum(inside[order][:, :-1], axis=1))

    best, most = (), -np.inf
    for angle in _CORNER_STARTS:
        one = second((), _Directions(points[few], np.array([angle])), few)
        for _ in range(2):
            other = second((one,), directions, few)
            one = second((other,), directions, few)
        value = worth[_beyond((one, other), points)].sum()
        if value > most:
            best, most = (one, other), value
    one, other = best
    for finer in _REFINEMENTS:
        one = second((other,), _Directions(points, one.angle + finer), np.s_[:])
        other = second((one,), _Directions(points, other.angle + finer), np.s_[:])
    return one, other


class _Directions:
    """Points [n, 2] sorted from near to far along each of some directions [d]."""

    def __init__(self, points: np.ndarray, angles: np.ndarray) -> None:
        along = np.stack([np.cos(angles), np.sin(angles)], 1) @ points.T
        self._angles = angles
        self._order = np.argsort(along, axis=1, kind="stable")
        self._along = np.take_along_axis(along, self._order, axis=1)

    def best(self, value: Callable[[np.ndarray], np.ndarray]) -> _Line:
        """The line across one of the directions with the highest value; `value` turns the order of the points, int64
        [d, n], into float64 [d, n - 1], the value of a line between each point and the next.
        """
        # No line passes between two points that lie equally far.
        values = np.where(np.diff(self._along, axis=1) <= _APART, -np.inf, value(self._order))
        direction, place = np.unravel_index(int(values.argmax()), values.shape)
        return _Line(float(self._angles[direction]), float(self._along[direction, place : place + 2].mean()))
