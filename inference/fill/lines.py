"""Thin straight lines that go on under an occluder: the rules of a table, the lines of writing paper, an underline.

A line is carried on when it can be followed straight and steadily on both sides of the hole: a row of letters is not
steady, and of a line that ends under the occluder or at the picture's side nobody knows where it ended.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import pi

import cv2
import numpy as np

_ANGLE_STEP = pi / 360
# OpenCV's remap takes pictures shorter than this.
_LONGEST = 32767
# Pixels between a hole and where a line is followed, since the hole's rim may be oblique.
_RIM = 2


@dataclass(frozen=True)
class LineRules:
    """When a line is carried on; lengths and `votes` are pixels of a picture whose long side is 1024."""

    band: int = 48  # Lines are looked for up to this far from the hole
    votes: int = 36  # Pixels of a line that must lie in that band
    support: int = 30  # A line is followed this far on either side
    contrast: float = 10.0  # Grey levels by which it differs from the paper, at least
    steady: float = 0.9  # Over this share of that way it keeps its contrast
    strength: float = 0.6  # It keeps it where it has more than this share of the median contrast
    alike: float = 2.5  # The contrast of one side is at most this many times that of the other
    reach: int = 4  # Its profile is copied this far to either side of its middle
    thin: float = 0.35  # Share of the middle's contrast that may be left at `reach`; what is broader is no line
    slack: float = 2.0  # Each end is moved by up to this much across the line to where it shows best
    # Places across a line whose contrast is this share of the best one's or more are as good, and the middle of them
    # is taken: a broad line shows equally well over all of its breadth.
    tie: float = 0.95
    tries: int = 150  # So many directions and places are looked at, those with the most votes first; at every scale

    def scaled(self, factor: float) -> LineRules:
        """The same lengths in pixels that are `factor` times smaller."""
        band, votes, support, reach = (
            max(1, round(length * factor)) for length in (self.band, self.votes, self.support, self.reach)
        )
        return replace(self, band=band, votes=votes, support=support, reach=reach, slack=self.slack * factor)


@dataclass(frozen=True)
class RuledLine:
    """A line across a hole."""

    ends: np.ndarray  # float64 [2, 2], x and y where it goes in and where it comes out
    # float32 [2, 4 * reach + 1, 3], how it differs from the paper on the way across it in half pixels, at either end,
    # in grey levels; from the side that lies to the left of the way from the first end to the second (y is down).
    profiles: np.ndarray
    steadiness: float  # How much of its median contrast is left where it is weakest, from 0 to 1


def ruled_lines(rest: np.ndarray, hole: np.ndarray, rules: LineRules) -> list[RuledLine]:
    """Finds the lines that go on across a hole.

    Args:
        rest: float32 [h, w, 3], the picture less its paper, in grey levels; what it has in the hole does not count.
        hole: bool [h, w].

    Returns:
        The steadiest first, no two of which share an end. None in pictures too long for OpenCV's sampling (32767
        pixels).
    """
    if max(hole.shape) >= _LONGEST:
        return []
    rest = np.where(hole[..., None], np.float32(0), rest)
    grey = rest.mean(2)
    distance = cv2.distanceTransform((~hole).astype(np.uint8), cv2.DIST_L2, 5)
    strokes = (np.abs(grey) > rules.contrast) & ~hole & (distance <= rules.band)
    candidates = cv2.HoughLines(strokes.astype(np.uint8) * 255, 1, _ANGLE_STEP, rules.votes)
    followed = []
    for offset, angle in candidates[: rules.tries, 0] if candidates is not None else ():
        for ends in _crossings(float(offset), float(angle), hole, rules.support):
            line = _follow(ends, rest, grey, rules)
            if line is not None:
                followed.append(line)
    # Between close rules some lead from one to the next; those that stay on their own are steadier.
    followed.sort(key=lambda line: -line.steadiness)
    found: list[RuledLine] = []
    for line in followed:
        if not any(_share_an_end(line, other, rules.reach) for other in found):
            found.append(line)
    return found


def draw_lines(page: np.ndarray, paper: np.ndarray, hole: np.ndarray, lines: list[RuledLine]) -> None:
    """Draws lines into the hole, in place of what the page has there.

    Args:
        page: float32 [h, w, 3], changed.
        paper: float32 [h, w, 3], its tone without strokes.
        hole: bool [h, w]; nothing beyond it changes.
        lines: where two cross, a pixel is that of the one that stands out more.
    """
    undrawn, strongest = page.copy(), np.full(hole.shape, -1, np.float32)
    for line in lines:
        box, rows, columns, stroke, share = _brush(line, hole)
        strength = np.abs(stroke).max(1) * share
        stronger = strength > strongest[box][rows, columns]
        rows, columns, stroke, share = rows[stronger], columns[stronger], stroke[stronger], share[stronger]
        strongest[box][rows, columns] = strength[stronger]
        there = undrawn[box][rows, columns]
        page[box][rows, columns] = there + share[:, None] * (paper[box][rows, columns] + stroke - there)


def _brush(
    line: RuledLine, hole: np.ndarray
) -> tuple[tuple[slice, slice], np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(box, rows and columns in it, stroke [n, 3], share [n]): the hole's pixels that a line touches, and how."""
    height, width = hole.shape
    reach = line.profiles.shape[1] // 4
    left, top = np.maximum(np.floor(line.ends.min(0)).astype(int) - reach, 0)
    right, bottom = np.minimum(np.ceil(line.ends.max(0)).astype(int) + reach + 1, (width, height))
    box = (slice(top, bottom), slice(left, right))
    rows, columns = np.nonzero(hole[box])
    from_start = np.stack([columns + left, rows + top], 1) - line.ends[0]
    way = line.ends[1] - line.ends[0]
    length = np.hypot(*way)
    along = from_start @ way / length**2
    across = from_start @ np.array([-way[1], way[0]]) / length
    near = (np.abs(across) < reach) & (along > -1 / length) & (along < 1 + 1 / length)
    rows, columns, along, across = rows[near], columns[near], along[near, None].clip(0, 1), across[near]
    halves = 2 * (across + reach)
    below = np.floor(halves).astype(int)
    part = (halves - below)[:, None]
    first, last = (profile[below] * (1 - part) + profile[below + 1] * part for profile in line.profiles)
    # Outwards the line gives way to what is there.
    share = np.minimum((reach - np.abs(across)) / (reach / 3), 1)
    return box, rows, columns, (first * (1 - along) + last * along).astype(np.float32), share.astype(np.float32)


def _crossings(offset: float, angle: float, hole: np.ndarray, support: int) -> Iterator[np.ndarray]:
    """Where the line x * cos + y * sin = offset crosses the hole with `support` pixels of page on both sides: float64
    [2, 2], the first and the last place in the hole."""
    height, width = hole.shape
    diagonal = int(np.hypot(height, width)) + 1
    steps = np.arange(-diagonal, diagonal + 1)
    normal, forward = np.array([np.cos(angle), np.sin(angle)]), np.array([-np.sin(angle), np.cos(angle)])
    places = offset * normal + steps[:, None] * forward
    pixels = np.rint(places).astype(int)
    inside = ((pixels >= 0) & (pixels < (width, height))).all(1)
    places, pixels = places[inside], pixels[inside]
    covered = hole[pixels[:, 1], pixels[:, 0]]
    borders = np.flatnonzero(np.diff(np.concatenate([[False], covered, [False]])))
    for first, beyond in zip(borders[::2], borders[1::2], strict=True):
        needed = support + _RIM
        room = covered[max(0, first - needed) : first], covered[beyond : beyond + needed]
        if beyond - first >= 2 and all(len(side) == needed and not side.any() for side in room):
            yield places[[first, beyond - 1]]


def _follow(ends: np.ndarray, rest: np.ndarray, grey: np.ndarray, rules: LineRules) -> RuledLine | None:
    """The line through the hole between these places, moved to where it shows best, if it goes on there."""
    way = ends[1] - ends[0]
    length = np.hypot(*way)
    forward, across = way / length, np.array([-way[1], way[0]]) / length
    steps = _RIM + np.arange(1, rules.support + 1)
    # float64 [2, support]: how far along the line the pixels of either side lie, and where they lie on it.
    along = np.stack([-steps, length + steps]).astype(np.float64)
    places = ends[0] + along[..., None] * forward
    shifts = np.linspace(-rules.slack, rules.slack, 9)
    starts, stops = (grid.reshape(-1, 1, 1) for grid in np.meshgrid(shifts, shifts))
    middle = steps.mean()
    moved = starts + (stops - starts) * (along + middle) / (length + 2 * middle)
    values = _sample(grey, places + moved[..., None] * across)
    shown = np.abs(values.mean(2)).min(1)
    ties = np.flatnonzero(shown >= rules.tie * shown.max())
    ways = np.stack([starts.reshape(-1), stops.reshape(-1)], 1)
    best = int(ties[np.hypot(*(ways[ties] - ways[ties].mean(0)).T).argmin()])
    values, moved = values[best], moved[best]
    if not _goes_on(values, rules):
        return None
    widths = np.arange(-2 * rules.reach, 2 * rules.reach + 1) / 2
    around = places[:, :, None] + (moved[..., None] + widths)[..., None] * across
    profiles = _sample(rest, around).mean(1)
    medians = np.median(values, axis=1)[:, None]
    outer = profiles[:, [0, -1]].mean(2) / medians
    if (np.abs(outer) > rules.thin).any():
        return None
    shift = starts[best] + (stops[best] - starts[best]) * (np.array([0, length]) + middle) / (length + 2 * middle)
    steadiness = float((values / medians).min().clip(0, 1))
    return RuledLine(ends + shift.reshape(2, 1) * across, profiles.astype(np.float32), steadiness)


def _goes_on(values: np.ndarray, rules: LineRules) -> bool:
    """Whether the contrasts [2, support] along both sides are those of one line."""
    one, other = medians = np.median(values, axis=1)
    if one * other <= 0 or min(abs(medians)) < rules.contrast or max(one / other, other / one) > rules.alike:
        return False
    return bool(((values / medians[:, None] > rules.strength).mean(1) >= rules.steady).all())


def _sample(plane: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Values between the pixels of [h, w] or [h, w, 3] at places [..., 2] of x and y."""
    table = places.reshape(-1, places.shape[-2], 2).astype(np.float32)
    values = cv2.remap(plane, table, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return values.reshape(*places.shape[:-1], *plane.shape[2:])


def _share_an_end(line: RuledLine, other: RuledLine, reach: int) -> bool:
    """Whether an end of one lies at an end of the other: a line goes on to one line only."""
    gaps = np.hypot(*(line.ends[:, None] - other.ends[None]).transpose(2, 0, 1))
    return bool((gaps <= reach + 1).any())
