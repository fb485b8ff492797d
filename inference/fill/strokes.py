"""What is drawn of lines into a hole: they cross it where they show behind it, or end in it.

A line that is lost in the hole ends where its neighbours end that run beside it (the rows of a table, the lines of a
page), at the frame or column that crosses it there, and otherwise where it was lost.
"""

from collections.abc import Iterator
from math import cos, radians, sin

import numpy as np

from inference.fill.lines import LOST, SEEN, Line, LineRules

# A stroke: its line, where along it that starts and stops, and the two places (position, side from which one comes)
# whose profiles it passes from and to.
Stroke = tuple[Line, float, float, list[tuple[float, float]]]


def strokes_of(lines: list[Line], rules: LineRules) -> list[Stroke]:
    """What is drawn of lines and bars: where they cross a hole, and up to their ends, where those can be told."""
    strokes = [(line, a, b, [(a, np.sign(b - a)), (b, np.sign(a - b))]) for line in lines for a, b in line.crossings]
    return strokes + [(line, a, b, [(a, side), (a, side)]) for line, side, a, b in _find_ends(lines, rules)]


def draw_strokes(page: np.ndarray, hole: np.ndarray, strokes: list[Stroke], near: int) -> None:
    """Draws strokes into the hole (bool [h, w]) of a page (float32 [h, w, 3], the paper, changed); profiles are those
    of the last `near` pixels. Where two cross, a pixel is that of the one that stands out more."""
    paper, strongest = page.copy(), np.zeros(hole.shape, np.float32)
    for line, start, stop, shown in strokes:
        profiles = [line.profile(position, side, near) for position, side in shown]
        # It begins a little before, since the hole's rim may be oblique.
        _stroke(page, paper, hole, strongest, line, (start - shown[0][1] * (1 + 2 * line.reach), stop), profiles)


def _find_ends(lines: list[Line], rules: LineRules) -> Iterator[tuple[Line, int, float, float]]:
    """(line, side, from, to) for each line that was lost and whose end can be told; then its end is known to others.

    In each round those are told that have the nearest neighbours, so that a row hears the next row and not a far one.
    """
    long = [line for line in lines if line.seen >= rules.longest]
    lost = [(line, side) for line in long for side in (-1, 1) if line.ends[side > 0] == LOST]
    while told := [(line, side, *end) for line, side in lost for end in _end_by_others(line, side, lines, rules)]:
        nearest = min(distance for *_, distance in told)
        for line, side, end, distance in told:
            if distance <= 1.5 * nearest:
                yield line, side, line.end(side), end
                line.ends[side > 0] = SEEN
                line.first, line.last = (line.first, end) if side > 0 else (end, line.last)
        lost = [(line, side) for line, side in lost if line.ends[side > 0] == LOST]


def _end_by_others(line: Line, side: int, lines: list[Line], rules: LineRules) -> list[tuple[float, float]]:
    """Where a line ends in the hole by those that run beside it and those that cross it, and how far the nearest of
    those beside it is (infinite without one); nothing if they do not tell."""
    lost_at, limit = line.end(side), line.limits[side > 0] + side * rules.gap
    beside: dict[bool, list[tuple[float, float, bool]]] = {False: [], True: []}
    crossing = []
    for other in lines:
        turn = float(other.way @ line.way)
        if other is line:
            continue
        if abs(turn) > cos(radians(rules.parallel)):
            far_side = side if turn > 0 else -side
            far, near = (other.place + other.end(s) * other.way - line.place for s in (far_side, -far_side))
            distance, end, begin = far @ line.across, far @ line.way, near @ line.way
            alike = abs(begin - line.end(-side)) <= rules.agree and line.ends[side < 0] != LOST
            within = 3 < abs(distance) < rules.neighbour * (3 if alike else 1)
            runs_beside = side * (end - lost_at) > 0 >= side * (begin - lost_at) and side * (limit - end) >= 0
            is_long = other.seen >= rules.as_long * line.seen
            if other.ends[far_side > 0] != LOST and within and runs_beside and is_long:
                beside[distance > 0].append((abs(distance), end, alike))
        elif abs(turn) < sin(radians(3 * rules.parallel)):
            position, on_other = np.linalg.solve(np.stack([line.way, -other.way], 1), other.place - line.place)
            before, behind = other.first - on_other > rules.snap, on_other - other.last > rules.snap
            met = not (before or behind) or (before and other.ends[0] == LOST) or (behind and other.ends[1] == LOST)
            if met and side * (position - lost_at) > -2 and side * (limit - position) >= 0:
                crossing.append(float(position))
    nearest = sorted(min(those) for those in beside.values() if those)
    agree = len(nearest) == 2 and abs(nearest[0][1] - nearest[1][1]) <= rules.agree + 0.05 * sum(n[0] for n in nearest)
    if agree:
        (one, one_end, _), (other, other_end, _) = nearest
        end = (one_end * other + other_end * one) / (one + other)
    elif nearest and (min(abs(line.way)) < rules.upright or nearest[0][2]):
        met = (end for _, end, _ in nearest for position in crossing if abs(position - end) <= rules.snap)
        end = next(met, nearest[0][1])
    else:
        return [(max(crossing, key=lambda position: side * position), np.inf)] if crossing else []
    frame = min(crossing, key=lambda position: abs(position - end), default=end)
    return [(frame if abs(frame - end) <= rules.snap else float(end), nearest[0][0])]


def _stroke(
    page: np.ndarray, paper: np.ndarray, hole: np.ndarray, strongest: np.ndarray, line: Line,
    span: tuple[float, float], profiles: list[np.ndarray],
) -> None:  # fmt: skip
    """Draws the hole's pixels of a line between two positions, its profile passing from the first to the second."""
    height, width = hole.shape
    corners = line.place + np.array(span)[:, None] * line.way
    left, top = np.maximum(np.floor(corners.min(0)).astype(int) - line.reach, 0)
    right, bottom = np.minimum(np.ceil(corners.max(0)).astype(int) + line.reach + 1, (width, height))
    box = (slice(top, max(top, bottom)), slice(left, max(left, right)))
    rows, columns = np.nonzero(hole[box])
    from_start = np.stack([columns + left, rows + top], 1) - line.place
    along, across = from_start @ line.way, from_start @ line.across
    inside = (np.abs(across) < line.reach) & (along >= min(span) - 0.5) & (along <= max(span) + 0.5)
    rows, columns, along, across = rows[inside], columns[inside], along[inside], across[inside]
    share = ((along - span[0]) / (span[1] - span[0] or 1)).clip(0, 1)[:, None]
    halves = 2 * (across + line.reach)
    below = np.floor(halves).astype(int)
    part = (halves - below)[:, None]
    one, other = (profile[below] * (1 - part) + profile[below + 1] * part for profile in profiles)
    stroke = one * (1 - share) + other * share
    strength = np.abs(stroke).max(1)
    wins = strength > strongest[box][rows, columns]
    rows, columns = rows[wins], columns[wins]
    page[box][rows, columns] = paper[box][rows, columns] + stroke[wins]
    strongest[box][rows, columns] = strength[wins]
