"""Straight borders that pass under an occluder: the sheet's edge against the desk, a box of colour.

As in a binary space partition, the straight line is taken that best divides what is seen around the occluder into two
sides of one colour each, then each side is looked at in the same way. Of all lines it is the one with the least sum of
squared distances from the two mean colours, which a sort along each direction gives for every offset at once. All this
goes by a grid of points; then the line is moved to where the picture itself steps.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import pi
from typing import NamedTuple

import numpy as np

# Directions are tried half round, since the sides of a line are worth the same, then about the best; in radians.
_TURNS = (np.arange(45) * (pi / 45), np.arange(-4, 5) * (pi / 180), np.arange(-4, 5) * (pi / 720))
# Steps are fitted in so many rounds.
_ROUNDS = 8
# Points nearer to each other than this, in pixels along a direction, are equally far.
_APART = 1e-6


@dataclass(frozen=True)
class BorderRules:
    """When a line is a border; colours are points of red, green and blue from 0 to 255."""

    contrast: float = 16.0  # What is less far than this from its mean colour (root mean square) has no border in it
    # Share of that variance that may be left when each side has a colour of its own. It has to be less than a slope
    # of colour from one end to the other leaves, too: a shadow is no border.
    unexplained: float = 0.7
    smallest: float = 0.08  # Share of the points that lies on the smaller side of a line, at least
    smallest_near: float = 0.04  # The same for any border, among the points that are nearest to the occluder
    entry_step: float = 0.35  # Wherever a line is seen the colour steps by this share of what it changes in all
    around: float = 8.0  # A line is moved by no more than this, in pixels,
    fewest_steps: int = 8  # ... to the picture's steps across it, if so many are seen,
    alike_steps: float = 0.5  # ... which differ from their median by less than this share of it,
    straight: float = 1.5  # ... and half of which lie so near to one line, in pixels
    telling: float = 0.1  # An area with less than this share of all that the colours vary is not divided
    depth: int = 3  # Levels of division; 2**depth areas at most, and one at depth 0
    points: int = 2500  # About so many points are looked at, at most: those of a grid
    fewest: int = 60  # A side of fewer points is not divided


class Line(NamedTuple):
    """Points of positive distance, x * cos(angle) + y * sin(angle) - offset, lie beyond it."""

    angle: float
    offset: float

    @property
    def across(self) -> np.ndarray:
        return np.array([np.cos(self.angle), np.sin(self.angle)])

    def distance(self, points: np.ndarray) -> np.ndarray:
        return points @ self.across - self.offset


def straight_areas(
    picture: np.ndarray, sharp: np.ndarray, seen: np.ndarray, near: np.ndarray, areas: np.ndarray, rules: BorderRules
) -> np.ndarray:
    """int32 [h, w]: which of the areas a pixel lies in that are divided by the straight borders which show in what is
    `seen` (bool [h, w]) of a picture (uint8 or float32 [h, w, 3], 0..255, without letters: they make lines themselves).
    `sharp` is the same with its edges where they are; they tell how the borders lie to the pixel. Both sides of a
    border have a share of what is `near` (bool [h, w]). `areas` (int32 [h, w]) are known already, and are divided on.
    """
    height, width = seen.shape
    areas, shown = areas.flatten(), picture[seen].astype(np.float64)
    telling = rules.telling * _squares(shown)
    places = np.stack(np.meshgrid(np.arange(width), np.arange(height)), 2).reshape(-1, 2).astype(np.float64)

    def divide(here: np.ndarray, depth: int) -> None:
        """Gives what lies beyond a border among the pixels `here`, which index `places`, a number of its own."""
        known = here[seen.ravel()[here]]
        colours = picture.reshape(-1, 3)[known].astype(np.float64)
        line = _best_border(places[known], colours, rules) if depth and _squares(colours) >= telling else None
        if line is not None:
            for reach in (rules.around, rules.around / 2):
                line = at_the_edge(line, int(reach), sharp, seen, rules)
            beyond = line.distance(places[here]) > 0
            close = beyond[near.ravel()[here]]
            if min(close.sum(), (~close).sum()) < rules.smallest_near * len(close):
                return
            areas[here[beyond]] = areas.max() + 1
            divide(here[~beyond], depth - 1)
            divide(here[beyond], depth - 1)

    for area in np.unique(areas):
        divide(np.flatnonzero(areas == area), rules.depth)
    return areas.reshape(height, width)


def _squares(colours: np.ndarray) -> float:
    """Sum of squared differences from the mean of colours, [n, 3]."""
    return float(((colours - colours.mean(0)) ** 2).sum()) if len(colours) else 0.0


def _best_border(points: np.ndarray, colours: np.ndarray, rules: BorderRules) -> Line | None:
    """What best divides the colours, where it is a border."""
    chosen = (points % np.ceil(np.sqrt(max(1, len(points)) / rules.points)) == 0).all(1)
    if chosen.sum() < rules.fewest:
        return None
    points, colours = points[chosen], colours[chosen] - colours[chosen].mean(0)
    total = _squares(colours)
    if total < len(points) * rules.contrast**2:
        return None
    line = _best_line(points, colours, rules)
    beyond = line.distance(points) > 0
    left = _squares(colours[beyond]) + _squares(colours[~beyond])
    slope = np.column_stack([np.ones(len(points)), points])
    left_by_slope = ((colours - slope @ np.linalg.lstsq(slope, colours, rcond=None)[0]) ** 2).sum()
    if left > min(rules.unexplained * total, left_by_slope):
        return None
    return line if _shows_where_it_enters(points, colours, line, rules) else None


def _shows_where_it_enters(points: np.ndarray, colours: np.ndarray, line: Line, rules: BorderRules) -> bool:
    """Whether the colours step at the line wherever it is seen: a shadow's end or a spot of colour divides the points
    well, too, and is no border of what lies under the occluder."""
    across = line.distance(points)
    change = colours[across > 0].mean(0) - colours[across <= 0].mean(0)
    spacing = np.sqrt(np.prod(np.ptp(points, axis=0) + 1) / len(points))
    reach = max(rules.around, 3 * spacing)
    near = np.flatnonzero(np.abs(across) <= reach)
    along = points[near] @ np.array([-np.sin(line.angle), np.cos(line.angle)])
    order = np.argsort(along, kind="stable")
    for place in np.split(near[order], np.flatnonzero(np.diff(along[order]) > 2 * reach) + 1):
        far = across[place] > 0
        if min(far.sum(), (~far).sum()) >= 3:
            step = np.median(colours[place[far]], 0) - np.median(colours[place[~far]], 0)
            if step @ change < rules.entry_step * (change @ change):
                return False
    return True


def at_the_edge(line: Line, reach: int, sharp: np.ndarray, seen: np.ndarray, rules: BorderRules) -> Line:
    """The straight line through the greatest steps within `reach` of a line, as far as these steps are alike; the line
    itself where few of them are seen, or they lie on no straight line."""
    height, width = seen.shape
    across = line.across
    along, shifts = np.arange(-height - width, height + width + 1.0), np.arange(-reach, reach + 1.0)
    middles = line.offset * across + along[:, None] * [-across[1], across[0]]
    columns, rows = np.rint(middles[:, None] + shifts[:, None] * across).astype(int).transpose(2, 0, 1)
    shown = (columns >= 0) & (rows >= 0) & (columns < width) & (rows < height)
    shown[shown] = seen[rows[shown], columns[shown]]
    places = np.flatnonzero(shown.all(1))
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
    return Line(float(angle), float((line.offset + start) * np.cos(angle - line.angle)))


def _best_line(points: np.ndarray, colours: np.ndarray, rules: BorderRules) -> Line:
    """For colours whose mean is 0."""
    count, best = len(points), Line(0.0, 0.0)
    margin = max(5, int(rules.smallest * count))
    near = np.arange(1, count)
    for turns in _TURNS:
        angles = best.angle + turns
        along = np.stack([np.cos(angles), np.sin(angles)], 1) @ points.T
        order = np.argsort(along, axis=1, kind="stable")
        along = np.take_along_axis(along, order, axis=1)
        # With a mean of 0 over both sides, the sum of the far one is that of the near one with the other sign.
        sums = np.cumsum(colours[order], axis=1)[:, :-1]
        gain = (sums**2).sum(2) * (1 / near + 1 / (count - near))
        gain[:, : margin - 1] = gain[:, count - margin :] = -1
        # No line passes between two points that lie equally far.
        gain[np.diff(along) <= _APART] = -np.inf
        direction, place = np.unravel_index(int(gain.argmax()), gain.shape)
        best = Line(float(angles[direction]), float(along[direction, place : place + 2].mean()))
    return best
