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
        lengths = {key: max(1, round(getattr(self, key) * factor)) for key in ("band", "votes", "support", "reach")}
        return replace(self, **lengths, slack=self.slack * factor)


@dataclass(frozen=True)
class RuledLine:
    """A line across a hole."""

    ends: np.ndarray  # float64 [2, 2], x and y where it goes in and where it comes out
    # float32 [2, 4 * reach + 1, 3], how it differs from the paper on the way across it in half pixels, at either end,
    # in grey levels; from the side that lies to the left of the way from the first end to the second (y is down).
    profiles: np.ndarray
    steadiness: float  # How much of its median contrast is left where it is weakest, from 0 to 1


def ruled_lines(rest: np.ndarray, hole: np.ndarray, rules: LineRules) -> list[RuledLine]:
    """The lines that go on across a hole, the steadiest first, no two of which share an end.

    Args:
        rest: float32 [h, w, 3], the picture less its paper, in grey levels; what it has in the hole does not count.
        hole: bool [h, w].
    """
    if max(hole.shape) >= _LONGEST:
        return []
    rest = np.where(hole[..., None], np.float32(0), rest)
    grey = rest.mean(2)
    distance = cv2.distanceTransform((~hole).astype(np.uint8), cv2.DIST_L2, 5)
    strokes = (np.abs(grey) > rules.contrast) & ~hole & (distance <= rules.band)
    candidates = cv2.HoughLines(strokes.astype(np.uint8) * 255, 1, _ANGLE_STEP, rules.votes)
    followed = [
        _follow(ends, rest, grey, rules)
        for offset, angle in (candidates[: rules.tries, 0].tolist() if candidates is not None else ())
        for ends in _crossings(offset, angle, hole, rules.support)
    ]
    found: list[RuledLine] = []
    # Between close rules some lead from one to the next; those that stay on their own are steadier.
    for line in sorted(filter(None, followed), key=lambda line: -line.steadiness):
        # Of the ends of a line and of another, none may lie at the other's: a line goes on to one line only.
        gaps = (np.hypot(*(line.ends[:, None] - other.ends).transpose(2, 0, 1)) for other in found)
        if all((gap > rules.reach + 1).all() for gap in gaps):
            found.append(line)
    return found


def draw_lines(page: np.ndarray, paper: np.ndarray, hole: np.ndarray, lines: list[RuledLine]) -> None:
    """Draws lines over what the page (float32 [h, w, 3], changed) has in the hole (bool [h, w]), on `paper`, its tone
    without strokes; where two cross, a pixel is that of the one that stands out more.
    """
    undrawn, strongest = page.copy(), np.full(hole.shape, -1, np.float32)
    for line in lines:
        reach = line.profiles.shape[1] // 4
        left, top = np.maximum(np.floor(line.ends.min(0)).astype(int) - reach, 0)
        right, bottom = np.ceil(line.ends.max(0)).astype(int) + reach + 1
        rows, columns = np.nonzero(hole[top:bottom, left:right])
        from_start = np.stack([columns + left, rows + top], 1) - line.ends[0]
        way = line.ends[1] - line.ends[0]
        length = np.hypot(*way)
        along = from_start @ way / length**2
        across = from_start @ np.array([-way[1], way[0]]) / length
        near = (np.abs(across) < reach) & (along > -1 / length) & (along < 1 + 1 / length)
        touched, along, across = (rows[near] + top, columns[near] + left), along[near, None].clip(0, 1), across[near]
        halves = 2 * (across + reach)
        below = np.floor(halves).astype(int)
        part = (halves - below)[:, None]
        first, last = (profile[below] * (1 - part) + profile[below + 1] * part for profile in line.profiles)
        stroke = (first * (1 - along) + last * along).astype(np.float32)
        # Outwards the line gives way to what is there.
        share = np.minimum((reach - np.abs(across)) / (reach / 3), 1).astype(np.float32)
        strength = np.abs(stroke).max(1) * share
        drawn = undrawn[touched] + share[:, None] * (paper[touched] + stroke - undrawn[touched])
        stronger = strength > strongest[touched]
        strongest[touched] = np.where(stronger, strength, strongest[touched])
        page[touched] = np.where(stronger[:, None], drawn, page[touched])


def _crossings(offset: float, angle: float, hole: np.ndarray, support: int) -> Iterator[np.ndarray]:
    """Where the line x * cos + y * sin = offset crosses the hole with `support` pixels of page on both sides: float64
    [2, 2], the first and the last place in the hole.
    """
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
    across = np.array([-way[1], way[0]]) / length
    steps = _RIM + np.arange(1, rules.support + 1)
    # float64 [2, support]: how far along the line the pixels of either side lie, and where they lie on it.
    along = np.stack([-steps, length + steps]).astype(np.float64)
    places = ends[0] + along[..., None] * (way / length)
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
    medians = np.median(values, axis=1)[:, None]
    weaker, stronger = sorted(np.abs(medians.ravel()))
    if medians.prod() <= 0 or weaker < rules.contrast or stronger / weaker > rules.alike:
        return None
    shown = values / medians
    if ((shown > rules.strength).mean(1) < rules.steady).any():
        return None
    widths = np.arange(-2 * rules.reach, 2 * rules.reach + 1) / 2
    around = places[:, :, None] + (moved[..., None] + widths)[..., None] * across
    profiles = _sample(rest, around).mean(1)
    if (np.abs(profiles[:, [0, -1]].mean(2) / medians) > rules.thin).any():
        return None
    shift = starts[best] + (stops[best] - starts[best]) * (np.array([0, length]) + middle) / (length + 2 * middle)
    moved_ends = ends + shift.reshape(2, 1) * across
    return RuledLine(moved_ends, profiles.astype(np.float32), float(shown.min().clip(0, 1)))


def _sample(plane: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Values between the pixels of [h, w] or [h, w, 3] at places [..., 2] of x and y."""
    table = places.reshape(-1, places.shape[-2], 2).astype(np.float32)
    values = cv2.remap(plane, table, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return values.reshape(*places.shape[:-1], *plane.shape[2:])
