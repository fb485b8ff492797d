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


@dataclass(frozen=True)
class LineRules:
    """When a line is carried on; lengths are pixels of a picture whose long side is 1024.

    Attributes:
        band: lines are looked for up to this far from the hole.
        votes: pixels of a line that must lie in that band.
        support: a line is followed this far on either side.
        contrast: grey levels by which it differs from the paper, at least.
        steady: over this share of that way it keeps more than `strength` of its median contrast.
        strength: see `steady`.
        alike: the contrast of one side is at most this many times that of the other.
        reach: its profile is copied this far to either side of its middle.
        thin: share of the middle's contrast that may be left at `reach`; what is broader is no line.
        slack: each end is moved by up to this much across the line to where it shows best.
        tries: so many directions and places are looked at, those with the most votes first.
    """

    band: int = 48
    votes: int = 36
    support: int = 30
    contrast: float = 10.0
    steady: float = 0.9
    strength: float = 0.6
    alike: float = 2.5
    reach: int = 4
    thin: float = 0.35
    slack: float = 2.0
    tries: int = 150

    def scaled(self, factor: float) -> LineRules:
        """The same lengths in pixels that are `factor` times smaller."""
        band, votes, support, reach = (
            round(length * factor) for length in (self.band, self.votes, self.support, self.reach)
        )
        return replace(self, band=band, votes=votes, support=support, reach=reach, slack=self.slack * factor)


@dataclass(frozen=True)
class RuledLine:
    """A line across a hole.

    Attributes:
        ends: float64 [2, 2], x and y where it goes in and where it comes out.
        profiles: float32 [2, 2 * reach + 1, 3], how it differs from the paper on the way across it, at either end, in
            grey levels; from the side that lies to the right of the way from the first end to the second (y is down).
    """

    ends: np.ndarray
    profiles: np.ndarray


def ruled_lines(rest: np.ndarray, hole: np.ndarray, rules: LineRules) -> list[RuledLine]:
    """Finds the lines that go on across a hole.

    Args:
        rest: float32 [h, w, 3], the picture less its paper, in grey levels; what it has in the hole does not count.
        hole: bool [h, w].
    """
    grey = rest.mean(2)
    distance = cv2.distanceTransform((~hole).astype(np.uint8), cv2.DIST_L2, 5)
    strokes = (np.abs(grey) > rules.contrast) & ~hole & (distance <= rules.band)
    candidates = cv2.HoughLines(strokes.astype(np.uint8) * 255, 1, _ANGLE_STEP, rules.votes)
    found: list[RuledLine] = []
    for offset, angle in candidates[: rules.tries, 0] if candidates is not None else ():
        for ends in _crossings(float(offset), float(angle), hole, rules.support):
            line = _follow(ends, rest, grey, hole, rules)
            if line is not None and not any(_same(line, other, rules.reach) for other in found):
                found.append(line)
    return found


def draw_lines(page: np.ndarray, paper: np.ndarray, hole: np.ndarray, lines: list[RuledLine]) -> None:
    """Draws lines into the hole, in place of what the page has there.

    Args:
        page: float32 [h, w, 3], changed.
        paper: float32 [h, w, 3], its tone without strokes.
        hole: bool [h, w]; nothing beyond it changes.
    """
    height, width = hole.shape
    for line in lines:
        reach = line.profiles.shape[1] // 2
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
        rows, columns, along, across = rows[near], columns[near], along[near].clip(0, 1), across[near]
        between = np.floor(across).astype(int)
        part = (across - between)[:, None]
        profiles = [profile[between + reach] * (1 - part) + profile[between + reach + 1] * part
                    for profile in line.profiles]  # fmt: skip
        stroke = profiles[0] * (1 - along[:, None]) + profiles[1] * along[:, None]
        # Outwards it gives way to what is there.
        share = np.minimum((reach - np.abs(across)) / (reach / 3), 1)[:, None]
        there = page[box][rows, columns]
        page[box][rows, columns] = there + share * (paper[box][rows, columns] + stroke - there)


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
        room = covered[max(0, first - support) : first], covered[beyond : beyond + support]
        if beyond - first >= 2 and all(len(side) == support and not side.any() for side in room):
            yield places[[first, beyond - 1]]


def _follow(
    ends: np.ndarray, rest: np.ndarray, grey: np.ndarray, hole: np.ndarray, rules: LineRules
) -> RuledLine | None:
    """The line through the hole between these places, moved to where it shows best, if it goes on there."""
    way = ends[1] - ends[0]
    length = np.hypot(*way)
    forward, across = way / length, np.array([-way[1], way[0]]) / length
    steps = np.arange(1, rules.support + 1)
    # float64 [2, support]: how far along the line the pixels of either side lie, and where they lie on it.
    along = np.stack([-steps, length + steps]).astype(np.float64)
    places = ends[0] + along[..., None] * forward
    shifts = np.linspace(-rules.slack, rules.slack, 9)
    starts, stops = (grid.reshape(-1, 1, 1) for grid in np.meshgrid(shifts, shifts))
    middle = rules.support / 2
    moved = starts + (stops - starts) * (along + middle) / (length + 2 * middle)
    values = _sample(grey, places + moved[..., None] * across)
    best = int(np.abs(values.mean(2)).min(1).argmax())
    values, moved = values[best], moved[best]
    if not _goes_on(values, rules):
        return None
    widths = np.arange(-rules.reach, rules.reach + 1)
    around = places[:, :, None] + (moved[..., None] + widths)[..., None] * across
    profiles = _sample(rest, around).mean(1)
    outer = profiles[:, [0, -1]].mean(2) / np.median(values, axis=1)[:, None]
    if (np.abs(outer) > rules.thin).any():
        return None
    shift = starts[best] + (stops[best] - starts[best]) * (np.array([0, length]) + middle) / (length + 2 * middle)
    return RuledLine(ends + shift.reshape(2, 1) * across, profiles.astype(np.float32))


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


def _same(line: RuledLine, other: RuledLine, reach: int) -> bool:
    """Whether two lines begin and end at the same places, in whatever order."""
    return any(np.hypot(*(line.ends - ends).T).max() <= reach + 1 for ends in (other.ends, other.ends[::-1]))
