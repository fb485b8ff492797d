"""Borders that are seen where they pass under an occluder: the edge of a book on both sides of the fingers on it.

Around the hole, edges are looked for that run into it. Two of them are one border where they part the same colours and
a gentle bend, or a corner, leads from one to the other, as level lines are joined in disocclusion (S. Masnou and
J.-M. Morel, "Level lines based disocclusion", ICIP 1998). One that finds no other goes straight on to the picture's
side or to the first border that it meets. In a room full of things edges meet by chance: there only gentle bends do.

What these borders part are areas. `inference.fill.borders` divides them on by straight lines, for which it needs no
edge to be seen.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import NamedTuple

import cv2
import numpy as np

from inference.fill.borders import BorderRules, Line, at_the_edge

# So near to the hole, in pixels of the copy that is looked at, a border may pass by what is seen.
_GRAZED = 3
# A line is fitted to an edge in so many rounds.
_ROUNDS = 3


@dataclass(frozen=True)
class CrossingRules:
    """Lengths are pixels of a picture whose long side is 1024, colours points from 0 to 255, angles radians."""

    calm: int = 9  # Side of the median filter before edges are looked for; odd
    weak: float = 2.0  # An edge goes on where the colour changes by this much from pixel to pixel,
    strong: float = 4.0  # ... and somewhere by this much
    touch: float = 10.0  # It comes so near to the hole,
    depth: float = 14.0  # ... is seen from so far out at least,
    look: float = 26.0  # ... and so far back it is looked at
    straight: float = 2.0  # It lies so near to a straight line
    beside: tuple[float, float] = (4.0, 11.0)  # The colours of its sides are looked at from here to there
    apart: float = 6.0  # Nearer than this to another of the same way, it is the same
    step: float = 14.0  # They differ by so much,
    lone_step: float = 30.0  # ... and by so much where it finds no other
    alike: float = 0.4  # Of two, those of one side are alike but for this share of the smaller step,
    same_way: float = 0.8  # ... and the steps have so much in common: the cosine between them
    bend: float = 0.4  # A bend leaves the straight connection by no larger angle at either end,
    turn: float = 0.5  # ... and turns by no larger one in all
    level: float = 0.08  # Below this angle it is the straight connection
    corner: float = 0.3  # The sine of a corner's angle is at least this
    leg: float = 250.0  # A corner is no farther than this from either end,
    reach: float = 300.0  # ... and a lone border is no longer than this,
    meeting: float = 160.0  # ... or than this if it ends at another: a shadow's end does, far off
    covered: float = 0.9  # So much of a border lies in the hole
    most: int = 8  # So many are joined at most
    clutter: int = 9  # With more crossings than this around a hole there are no corners and no lone borders


class _Crossing(NamedTuple):
    """Where a border enters the hole, and how: x, y, and a unit vector towards the hole."""

    place: np.ndarray
    way: np.ndarray
    left: np.ndarray  # The colour on this side of the way, and on the other one
    right: np.ndarray

    @property
    def step(self) -> float:
        return float(np.abs(self.left - self.right).max())


def joined_areas(
    picture: np.ndarray, beyond: np.ndarray, seen: np.ndarray, scale: float, rules: CrossingRules
) -> np.ndarray:
    """int32 [h, w]: which of the areas a pixel lies in that are parted by the borders which enter the hole; all 0 where
    none does.

    The picture, RGB uint8 [h, w, 3] without ink, is `scale` times as large as the rules mean; `beyond`: float32 [h, w],
    how far a pixel is from the hole, negative within; `seen`: bool [h, w], what may be looked at."""
    height, width = seen.shape
    size = tuple(max(1, round(length / scale)) for length in (width, height))
    scales = np.array([width, height]) / size
    nearby = cv2.resize(beyond, size) / np.float32(scale)
    shown = (cv2.resize(seen.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0) & (nearby > 0)
    small = nearest(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), shown)
    calm = cv2.medianBlur(small, rules.calm)
    # The first pixel beside the hole is partly covered.
    edges = np.uint8((_edges(calm, rules) > 0) & shown & (nearby > 1))
    found = _crossings(calm, edges, nearby, shown, rules)
    found = [_to_the_pixel(crossing, picture, seen, scales, rules) for crossing in found]
    lines = np.zeros(seen.shape, np.uint8)
    # Of a line, one pixel broad, all goes to the area above or left of it: it is drawn half a pixel towards that.
    for border in _borders(found, edges, nearby, shown | (nearby <= 0), rules):
        cv2.polylines(lines, [np.rint(((border + 0.5) * scales - 1) * 16).astype(np.int32)], False, 1, 1, shift=4)
    if not lines.any():
        return np.zeros(seen.shape, np.int32)
    _, areas = cv2.connectedComponents(((seen | (beyond <= 0)) & (lines == 0)).astype(np.uint8), connectivity=4)
    return nearest(areas, areas > 0) - 1


def nearest(values: np.ndarray, known: np.ndarray) -> np.ndarray:
    """The values [h, w] or [h, w, 3], those that are not known (bool [h, w]) being that of the nearest known pixel."""
    unknown = (~known).astype(np.uint8)
    _, labels = cv2.distanceTransformWithLabels(unknown, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    own = np.zeros((labels.max() + 1, *values.shape[2:]), values.dtype)
    own[labels[known]] = values[known]
    return own[labels]


def _edges(picture: np.ndarray, rules: CrossingRules) -> np.ndarray:
    """uint8 [h, w], not zero on the edges of the colour that changes most."""
    calm = cv2.GaussianBlur(picture.astype(np.float32), (0, 0), 1.2)
    slopes = [cv2.Sobel(calm, cv2.CV_32F, *order, scale=1 / 8) for order in ((1, 0), (0, 1))]
    most = (slopes[0] ** 2 + slopes[1] ** 2).argmax(2)[..., None]
    # As whole numbers, in 64ths.
    slopes = [np.int16(64 * np.take_along_axis(slope, most, 2)[..., 0]) for slope in slopes]
    return cv2.Canny(*slopes, 64 * rules.weak, 64 * rules.strong, L2gradient=True)


def _crossings(
    picture: np.ndarray, edges: np.ndarray, beyond: np.ndarray, seen: np.ndarray, rules: CrossingRules
) -> list[_Crossing]:
    """Where edges (uint8 [h, w], 1 = edge) of a picture that is as large as the rules mean run into the hole."""
    _, edge_of = cv2.connectedComponents(edges, connectivity=8)
    _, end_of = cv2.connectedComponents(edges * (beyond <= rules.touch), connectivity=8)
    rows, columns = np.nonzero(edges)
    places, far = np.stack([columns, rows], 1).astype(np.float64), beyond[rows, columns]
    found: list[_Crossing] = []
    for end in range(1, int(end_of.max()) + 1):
        own = np.flatnonzero(end_of[rows, columns] == end)
        tip = own[far[own].argmin()]
        away = np.hypot(*(places - places[tip]).T)
        back = np.flatnonzero((edge_of[rows, columns] == edge_of[rows[tip], columns[tip]]) & (away <= rules.look))
        # Where edges meet, the one that the tip is a part of is followed.
        line = back[away[back] <= rules.touch]
        for _ in range(_ROUNDS):
            middle = places[line].mean(0)
            way = np.linalg.svd(places[line] - middle, full_matrices=False)[2][0]
            across = np.array([way[1], -way[0]])
            line = back[np.abs((places[back] - middle) @ across) <= rules.straight]
            if len(line) < rules.depth:
                break
        if len(line) < rules.depth or far[line].max() < rules.depth:
            continue
        if way @ (places[tip] - places[line[far[line].argmax()]]) < 0:
            way, across = -way, -across
        place = middle + way * ((places[tip] - middle) @ way)
        sides = [_colour(picture, seen, place, way, sign * across, rules) for sign in (1, -1)]
        enters = (_at(beyond, place + np.arange(2 * rules.touch)[:, None] * way, np.inf) <= 0).any()
        if enters and all(side is not None for side in sides):
            crossing = _Crossing(place, way, *sides)
            known = [other for other in found if np.hypot(*(place - other.place)) < rules.apart]
            if crossing.step >= rules.step and all(way @ other.way < rules.same_way for other in known):
                found.append(crossing)
    return found


def _at(plane: np.ndarray, places: np.ndarray, outside: float) -> np.ndarray:
    """[n] or [n, 3], what a plane ([h, w] or [h, w, 3]) has at places (float [n, 2], x and y); `outside` beyond it."""
    columns, rows = np.rint(places.T).astype(int)
    inside = (columns >= 0) & (rows >= 0) & (columns < plane.shape[1]) & (rows < plane.shape[0])
    values = np.full((len(places), *plane.shape[2:]), outside, plane.dtype)
    values[inside] = plane[rows[inside], columns[inside]]
    return values


def _colour(
    picture: np.ndarray, seen: np.ndarray, place: np.ndarray, way: np.ndarray, across: np.ndarray, rules: CrossingRules
) -> np.ndarray | None:  # fmt: skip
    """float [3], the median on one side of a line; None where hardly anything of it is seen."""
    along, aside = np.arange(0, rules.look, 1.5)[:, None, None], np.arange(*rules.beside, 1.5)[:, None]
    places = (place - along * way + aside * across).reshape(-1, 2)
    colours = _at(picture, places, 0)[_at(seen, places, False)]
    return np.median(colours, axis=0) if len(colours) >= 12 else None


def _to_the_pixel(
    crossing: _Crossing, picture: np.ndarray, seen: np.ndarray, scales: np.ndarray, rules: CrossingRules
) -> _Crossing:
    """The crossing, at the rules' size, moved to where the picture itself steps."""
    place, look = (crossing.place + 0.5) * scales - 0.5, rules.look * scales.mean()
    left, top = np.maximum(np.floor(place - look), 0).astype(int)
    box = np.s_[top : int(place[1] + look) + 2, left : int(place[0] + look) + 2]
    here, across = place - (left, top), np.array([crossing.way[1], -crossing.way[0]])
    line = Line(float(np.arctan2(across[1], across[0])), float(across @ here))
    for reach in (4, 2):
        line = at_the_edge(line, int(reach * scales.mean()), picture[box], seen[box], BorderRules())
    place, way = place - line.across * line.distance(here), np.array([-line.across[1], line.across[0]])
    return crossing._replace(place=(place + 0.5) / scales - 0.5, way=way * np.sign(way @ crossing.way))


def _borders(
    found: list[_Crossing], edges: np.ndarray, beyond: np.ndarray, near: np.ndarray, rules: CrossingRules
) -> list[np.ndarray]:
    """float [n, 2] each, x and y along a border, through all that is `near` (bool [h, w]); none cross in the hole."""
    pairs: list[tuple[float, int, int, np.ndarray]] = []
    few = len(found) <= rules.clutter
    for one, other in combinations(range(len(found)), 2):
        joined = _join(found[one], found[other], few, rules)
        # Nearly all of it lies in the hole, and none beyond the picture.
        far = np.full(1, np.inf) if joined is None else _at(beyond, joined[1], np.inf)
        if np.isfinite(far).all() and (far < _GRAZED).mean() >= rules.covered:
            pairs.append((joined[0], one, other, joined[1]))
    free, taken, borders = set(range(len(found))), np.zeros(beyond.shape, np.uint8), []

    def take(line: np.ndarray, ends: tuple[int, ...]) -> None:
        cv2.polylines(taken, [np.rint(line).astype(np.int32)], False, 1, 3)
        free.difference_update(ends)
        outwards = [found[end].place - np.arange(rules.reach)[:, None] * found[end].way for end in ends]
        # As far as the page is looked at: behind the next finger it may bend.
        page, first = near & (beyond > 0), int(rules.touch)
        tails = [way[first:][_at(page, way[first:], False).argmin()] for way in outwards]
        borders.append(np.vstack([tails[0], line, *tails[1:]]))

    for _, one, other, line in sorted(pairs, key=lambda pair: pair[0]):
        if {one, other} <= free and len(borders) < rules.most:
            drawn = cv2.polylines(np.zeros_like(taken), [np.rint(line).astype(np.int32)], False, 1)
            if not (drawn & taken & (beyond < 0)).any():
                take(line, (one, other))
    for lone in sorted(free) if few else ():
        line = _lone(found[lone], edges, beyond, near, taken, rules) if found[lone].step >= rules.lone_step else None
        if line is not None:
            take(line, (lone,))
    return borders


def _join(one: _Crossing, other: _Crossing, corners: bool, rules: CrossingRules) -> tuple[float, np.ndarray] | None:
    """(how ill two crossings fit, float [n, 2], x and y along the border between them); None where they are no border's
    ends."""
    chord = other.place - one.place
    length, step = np.hypot(*chord), min(one.step, other.step)
    # Who comes from the other side has the first one's left on its right.
    differ = sorted(np.abs(a - b).max() for a, b in ((one.left, other.right), (one.right, other.left)))
    steps = one.left - one.right, other.right - other.left
    alike = steps[0] @ steps[1] >= rules.same_way * np.linalg.norm(steps[0]) * np.linalg.norm(steps[1])
    if length < 4 or not alike or differ[0] > rules.alike * step:
        return None
    misfit = (differ[0] + 0.3 * differ[1]) / step + length / 600
    part = np.linspace(0, 1, max(8, int(length)))[:, None]
    bends = _angle(one.way, chord), _angle(other.way, -chord)
    if max(bends) < rules.bend and _angle(one.way, -other.way) < rules.turn:
        ways = (chord, -chord) if max(bends) < rules.level else (one.way * length, other.way * length)
        handles = one.place + ways[0] / 3, other.place + ways[1] / 3
        line = (1 - part) ** 3 * one.place + 3 * (1 - part) ** 2 * part * handles[0]
        return misfit + sum(bends), line + 3 * (1 - part) * part**2 * handles[1] + part**3 * other.place
    ways = np.column_stack([one.way, -other.way])
    if not corners or abs(np.linalg.det(ways)) < rules.corner:
        return None
    legs = np.linalg.solve(ways, chord)
    if legs.min() <= 0 or legs.max() > rules.leg:
        return None
    corner = one.place + legs[0] * one.way
    return misfit + 0.8, np.vstack([one.place + part * (corner - one.place), corner + part * (other.place - corner)])


def _angle(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.arccos(np.clip(one @ other / (np.hypot(*one) * np.hypot(*other)), -1, 1)))


def _lone(
    crossing: _Crossing, edges: np.ndarray, beyond: np.ndarray, near: np.ndarray, taken: np.ndarray,
    rules: CrossingRules,
) -> np.ndarray | None:  # fmt: skip
    """float [2, 2], straight on to the first border (uint8 [h, w], not zero in `taken`), the picture's side, or past
    where an edge of the page is; None where the page comes first and has none."""
    way = crossing.place + np.arange(rules.reach)[:, None] * crossing.way
    far = _at(beyond, way, np.inf)
    covered, meets = far < _GRAZED, _at(taken, way, 0) > 0
    start = int(covered.argmax())
    ends = [start + int(there[start:].argmax()) if there[start:].any() else len(way) for there in (meets, ~covered)]
    if min(ends) == len(way) or (ends[0] < ends[1] and ends[0] > rules.meeting):
        return None
    if ends[1] <= ends[0] and np.isfinite(far[ends[1]]):
        rows, columns = np.nonzero(edges)
        if not len(rows) or np.hypot(*(np.stack([columns, rows]).T - way[ends[1]]).T).min() > rules.touch:
            return None
        ends = [ends[1] + int(_at(near, way[ends[1] :], False).argmin())]
    return crossing.place + np.array([[0], [min(ends) + 2]]) * crossing.way
