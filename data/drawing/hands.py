"""A posed hand becomes a picture: relief, skin, nails, creases and light."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from data.drawing.hand_shapes import Finger, Hand
from data.drawing.surfaces import blurred, filled, fractal_noise, lambert, rounded_relief, skin_colour, wall

SKIN_TONES = (
    (240, 204, 186), (232, 190, 168), (226, 178, 150), (218, 168, 138), (205, 152, 120),
    (186, 132, 100), (160, 108, 80), (128, 84, 62), (98, 64, 48),
)  # fmt: skip
_TONE_WEIGHTS = (0.14, 0.18, 0.18, 0.16, 0.12, 0.08, 0.06, 0.05, 0.03)


@dataclass
class _FingerMap:
    """One finger on the canvas.

    Attributes:
        window: the part of the canvas that the rest covers.
        relief: height in pixels, 0 outside the finger.
        along: place along the finger, 0 at the knuckle and 1 at the centre of the tip's ball.
        across: place across it, -1 and 1 at its sides.
        tip: (right, forward) places in a straight frame at the tip's ball, in radii of the ball.
    """

    window: tuple[slice, slice]
    relief: np.ndarray
    along: np.ndarray
    across: np.ndarray
    tip: tuple[np.ndarray, np.ndarray]


def pick_skin(rng: np.random.Generator) -> np.ndarray:
    """A skin tone, float32 (3,) RGB 0..255, between the table's neighbours."""
    tone = np.float32(SKIN_TONES[int(rng.choice(len(SKIN_TONES), p=_TONE_WEIGHTS))])
    return np.clip(tone * rng.uniform(0.95, 1.05) + rng.normal(0, 3, 3), 30, 250).astype(np.float32)


def _map_finger(finger: Finger, scale: float, origin: np.ndarray, height: int, width: int) -> _FingerMap:
    """Relief of a tapering tube along the finger's line; pixels outside it have relief 0."""
    line, radii = (finger.line - origin) * scale, finger.radii * scale
    low = np.floor((line - radii[:, None]).min(axis=0)).astype(int) - 2
    high = np.ceil((line + radii[:, None]).max(axis=0)).astype(int) + 3
    left, top = max(int(low[0]), 0), max(int(low[1]), 0)
    right, bottom = max(min(int(high[0]), width), left + 1), max(min(int(high[1]), height), top + 1)
    shape = (bottom - top, right - left)
    squared = np.zeros(shape, np.float32)
    along, across = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    for index, (start, end, thick, thin) in enumerate(zip(line[:-1], line[1:], radii[:-1], radii[1:], strict=True)):
        reach = max(thick, thin) + 2
        x0, y0 = (np.floor(np.minimum(start, end) - reach).astype(int) - (left, top)).clip(0)
        x1, y1 = np.ceil(np.maximum(start, end) + reach).astype(int) - (left, top)
        x1, y1 = min(int(x1), shape[1]), min(int(y1), shape[0])
        if x1 <= x0 or y1 <= y0:
            continue
        part = np.s_[y0:y1, x0:x1]
        dx = np.arange(x0 + left, x1 + left, dtype=np.float32)[None, :] - np.float32(start[0])
        dy = np.arange(y0 + top, y1 + top, dtype=np.float32)[:, None] - np.float32(start[1])
        vx, vy = (end - start).astype(np.float32)
        free = (dx * vx + dy * vy) / (vx * vx + vy * vy)
        t = np.clip(free, 0, 1)
        radius = np.float32(thick) + np.float32(thin - thick) * t
        room = radius**2 - (dx - t * vx) ** 2 - (dy - t * vy) ** 2
        better = room > squared[part]
        squared[part][better] = room[better]
        place = (index + t) / (len(line) - 1)
        along[part][better] = place[better]
        side = (dx * vy - dy * vx) / np.float32(np.hypot(vx, vy)) / radius
        across[part][better] = side[better]
    forward = (line[-1] - line[-7]) / np.linalg.norm(line[-1] - line[-7])
    tip_x = (np.arange(left, right, dtype=np.float32) - np.float32(line[-1, 0]))[None, :] / np.float32(radii[-1])
    tip_y = (np.arange(top, bottom, dtype=np.float32) - np.float32(line[-1, 1]))[:, None] / np.float32(radii[-1])
    ahead = tip_x * np.float32(forward[0]) + tip_y * np.float32(forward[1])
    aside = tip_y * np.float32(forward[0]) - tip_x * np.float32(forward[1])
    return _FingerMap((slice(top, bottom), slice(left, right)), np.sqrt(squared), along, across, (aside, ahead))


def _creases(rng: np.random.Generator, finger: Finger, mapped: _FingerMap, back: bool) -> np.ndarray:
    """How deep the skin is folded, 0..1: bundles of wrinkles on the knuckles' backs, two lines on their insides."""
    folds = np.zeros_like(mapped.along)
    for joint in finger.joints:
        count = int(rng.integers(4, 8)) if back else 2
        for _ in range(count):
            middle = joint + rng.normal(0, 0.022 if back else 0.01)
            bow = rng.normal(0, 0.02)
            width = rng.uniform(0.0025, 0.006)
            depth = rng.uniform(0.2, 0.6) if back else rng.uniform(0.5, 1.0)
            reach = rng.uniform(0.5, 0.85)
            distance = mapped.along - middle - bow * mapped.across**2
            folds += depth * np.exp(-((distance / width) ** 2)) * np.clip(1 - (mapped.across / reach) ** 2, 0, 1)
    return np.clip(folds, 0, 1)


def _nail(rng: np.random.Generator, mapped: _FingerMap) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The nail as (coverage, fold around it, free white edge), each 0..1, on the finger's window."""
    aside, ahead = mapped.tip
    middle, half_length, half_width = rng.uniform(-0.3, -0.1), rng.uniform(0.9, 1.08), rng.uniform(0.74, 0.88)
    place = (ahead - middle) / half_length
    # Rounder towards the finger's tip than at the root, where the fold runs nearly straight across.
    power = np.where(place > 0, np.float32(2.2), np.float32(3.2))
    radius = (np.abs(place) ** power + np.abs(aside / half_width) ** power) ** (1 / power)
    coverage = np.clip((1 - radius) / 0.1, 0, 1)
    fold = np.exp(-(((radius - 1.06) / 0.09) ** 2)) * np.clip((0.5 - place) / 0.8, 0, 1)
    edge = coverage * np.clip((place - rng.uniform(0.6, 0.85)) / 0.12, 0, 1)
    return coverage.astype(np.float32), fold.astype(np.float32), edge.astype(np.float32)


def _palm_relief(
    rng: np.random.Generator, hand: Hand, scale: float, origin: np.ndarray, shape: tuple[int, int]
) -> np.ndarray:
    """Relief of palm and forearm, with tendons where the back is seen and pads where the palm is."""
    assert hand.palm is not None
    coverage = filled(*shape, (hand.palm - origin) * scale)
    relief = blurred(rounded_relief(coverage, 0.3 * scale, 0.17 * scale), 0.03 * scale) * (coverage > 0.3)
    lines = np.zeros(shape, np.float32)
    for knuckle in (hand.knuckles - origin) * scale:
        if hand.back:
            wrist = (np.array([0.0, -0.1]) - origin) * scale
            cv2.line(lines, _pixel(knuckle), _pixel(wrist), 1.0, max(1, round(0.03 * scale)), cv2.LINE_AA)
            cv2.circle(lines, _pixel(knuckle), max(1, round(0.05 * scale)), 2.5, -1, cv2.LINE_AA)
        else:
            cv2.circle(
                lines, _pixel(knuckle + np.array([0, 0.12 * scale])), max(1, round(0.09 * scale)), 1.5, -1, cv2.LINE_AA
            )
    return relief + blurred(lines, 0.035 * scale) * np.float32(rng.uniform(0.012, 0.03) * scale) * (coverage > 0.3)


def _palm_creases(
    rng: np.random.Generator, hand: Hand, scale: float, origin: np.ndarray, shape: tuple[int, int]
) -> np.ndarray:
    """The three lines of a palm, 0..1; along the knuckles' row and from it to the wrist."""
    first, last = (hand.knuckles[0] - origin) * scale, (hand.knuckles[3] - origin) * scale
    along, down = last - first, (np.array([0.0, -0.1]) - origin) * scale - (first + last) / 2
    folds = np.zeros(shape, np.float32)
    for course in (
        [(1.15, 0.32), (0.8, 0.32), (0.45, 0.22), (0.28, 0.1)],
        [(-0.12, 0.3), (0.3, 0.38), (0.65, 0.5), (0.9, 0.66)],
        [(-0.12, 0.32), (0.2, 0.5), (0.32, 0.72), (0.3, 0.95)],
    ):
        places = np.array(course) + rng.normal(0, 0.02, (4, 2))
        t = np.linspace(0, 3, 40)
        places = np.stack([np.polyval(np.polyfit(np.arange(4), places[:, axis], 3), t) for axis in (0, 1)], axis=1)
        points = first + places[:, :1] * along + places[:, 1:] * down
        fixed = np.round(points * 16).astype(np.int32)
        cv2.polylines(folds, [fixed], False, rng.uniform(0.5, 0.9), max(1, round(0.012 * scale)), cv2.LINE_AA, shift=4)
    return blurred(folds, 0.006 * scale)


def _pixel(point: np.ndarray) -> tuple[int, int]:
    return round(float(point[0])), round(float(point[1]))


def _sleeve(
    rng: np.random.Generator, hand: Hand, scale: float, origin: np.ndarray, shape: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """A sleeve as (rgb float32 0..255, coverage)."""
    assert hand.sleeve is not None
    top, half = hand.sleeve, rng.uniform(0.42, 0.52)
    lean = hand.knuckles[1, 0] * -0.12
    outline = np.array(
        [
            (-half, top + 0.03),
            (-0.2, top - 0.02),
            (0.2, top - 0.02),
            (half, top + 0.02),
            (half * 1.1, hand.root + 1),
            (-half * 1.1, hand.root + 1),
        ]
    ) + np.array([lean, 0])
    coverage = filled(*shape, (outline - origin) * scale)
    folds = fractal_noise(rng, *shape, coarsest=0.35 * scale, octaves=3) * np.float32(0.025 * scale)
    relief = rounded_relief(coverage, 0.25 * scale, 0.24 * scale) + folds
    diffuse, _ = lambert(blurred(relief, 0.01 * scale), (-0.4, -0.6, 1.0))
    cloth = np.float32(
        rng.choice([(38, 40, 48), (60, 70, 100), (200, 200, 205), (120, 60, 60), (95, 100, 92), (170, 155, 130)])
    )
    weave = 1 + 0.05 * rng.standard_normal(shape, np.float32)
    rgb = cloth * ((0.35 + 0.75 * diffuse) * weave)[..., None]
    seam = (np.arange(shape[0], dtype=np.float32) / scale + origin[1] - top)[:, None]
    rgb *= (1 - 0.35 * np.exp(-(((seam - 0.1) / 0.008) ** 2)))[..., None]
    return rgb, coverage


def render_hand(rng: np.random.Generator, hand: Hand, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Paints a hand about `size` pixels long.

    Returns:
        (rgb float32 H x W x 3 in 0..255, coverage float32 H x W in [0, 1]); the last row is the hand's root.
    """
    low = np.min([(finger.line - finger.radii[:, None]).min(axis=0) for finger in hand.fingers], axis=0)
    high = np.max([(finger.line + finger.radii[:, None]).max(axis=0) for finger in hand.fingers], axis=0)
    if hand.palm is not None:
        visible = hand.palm[hand.palm[:, 1] <= hand.root + 0.1]
        if len(visible):
            low, high = np.minimum(low, visible.min(axis=0)), np.maximum(high, visible.max(axis=0))
    if hand.sleeve is not None:
        low, high = np.minimum(low, (-0.7, low[1])), np.maximum(high, (0.7, high[1]))
    scale = size / max(high[0] - low[0], hand.root - low[1])
    origin = low - 0.02
    height, width = int((hand.root - origin[1]) * scale), int((high[0] + 0.02 - origin[0]) * scale)
    shape = (height, width)

    relief = np.zeros(shape, np.float32)
    if hand.palm is not None:
        relief = _palm_relief(rng, hand, scale, origin, shape)
    palm_relief = relief.copy()
    folds, nail, fold, edge, flush = (np.zeros(shape, np.float32) for _ in range(5))
    if hand.palm is not None and not hand.back:
        folds = _palm_creases(rng, hand, scale, origin, shape)
    for finger in hand.fingers:
        mapped = _map_finger(finger, scale, origin, height, width)
        part = mapped.window
        lift = mapped.relief
        # Fingers grow out of the palm: near the knuckle the two reliefs flow into each other.
        soft = np.float32(0.06 * scale) * np.clip(1 - mapped.along / 0.3, 0, 1) * (palm_relief[part] > 0)
        above = lift - relief[part]
        joined = relief[part] + 0.5 * (above + np.sqrt(above**2 + soft**2))
        on_top = (lift > relief[part]) & (mapped.relief > 0)
        relief[part] = np.where(mapped.relief > 0, joined, relief[part])
        layers = [(folds, _creases(rng, finger, mapped, hand.back))]
        if finger.nail:
            layers += list(zip((nail, fold, edge), _nail(rng, mapped), strict=True))
        else:
            layers += [(layer, np.zeros_like(lift)) for layer in (nail, fold, edge)]
        redness = np.clip((mapped.along - 0.85) / 0.2, 0, 1) * 0.8
        for joint in finger.joints:
            redness = np.maximum(redness, 0.7 * np.exp(-(((mapped.along - joint) / 0.06) ** 2)))
        for layer, values in [*layers, (flush, redness)]:
            layer[part][on_top] = values[on_top]

    coverage = blurred((relief > 0).astype(np.float32), 0.7)
    bumps = fractal_noise(rng, *shape, coarsest=0.03 * scale, octaves=3, persistence=0.7) * np.float32(0.0006 * scale)
    skin_relief = blurred(relief, 0.008 * scale) + bumps * (1 - nail)
    skin_relief -= np.float32(0.012 * scale) * folds + np.float32(0.007 * scale) * fold
    skin_relief += np.float32(0.012 * scale) * blurred(nail, 0.01 * scale)
    light = (rng.uniform(-0.9, 0.9), rng.uniform(-1.0, 0.3), rng.uniform(1.1, 2.0))
    diffuse, gloss = lambert(skin_relief, light)
    # Light does not reach into the gaps between fingers.
    depth = np.clip((blurred(relief, 0.05 * scale) - relief) / np.float32(0.08 * scale), 0, 1)
    diffuse = diffuse * (1 - 0.45 * depth)

    albedo = _skin_albedo(rng, shape, scale, hand.back, flush, folds, fold)
    albedo = _paint_nails(rng, albedo, nail, edge)
    rgb = skin_colour(
        albedo, diffuse, gloss * (0.5 + 0.5 * nail + 0.2 * bumps / np.float32(0.0006 * scale)), rng.uniform(0.02, 0.11)
    )
    if hand.sleeve is not None:
        cloth, cloth_coverage = _sleeve(rng, hand, scale, origin, shape)
        shade = 1 - 0.45 * blurred(cloth_coverage, 0.03 * scale)
        rgb = rgb * shade[..., None] * (1 - cloth_coverage[..., None]) + cloth * cloth_coverage[..., None]
        coverage = np.maximum(coverage, cloth_coverage)
    behind = wall(rng, shape)
    np.copyto(rgb, behind, where=(coverage < 0.02)[..., None])
    return rgb, coverage


def _skin_albedo(
    rng: np.random.Generator, shape: tuple[int, int], scale: float, back: bool,
    flush: np.ndarray, folds: np.ndarray, fold: np.ndarray,
) -> np.ndarray:  # fmt: skip
    """Colour of the skin before light falls on it: tone, blotches, red fingertips and knuckles, dark creases."""
    tone = pick_skin(rng)
    if not back:
        tone = tone * np.float32((1.05, 1.0, 0.98)) + 8
    blotches = fractal_noise(rng, *shape, coarsest=0.3 * scale, octaves=5, persistence=0.65)
    red = fractal_noise(rng, *shape, coarsest=0.25 * scale, octaves=4, persistence=0.6)
    albedo = tone * (1 + 0.035 * blotches[..., None])
    reddening = 0.05 * red + rng.uniform(0.06, 0.2) * blurred(flush, 0.02 * scale)
    albedo = albedo * (1 + reddening[..., None] * np.float32((0.15, -0.75, -0.55)))
    return albedo * (1 - 0.3 * folds - 0.2 * fold)[..., None]


def _paint_nails(rng: np.random.Generator, albedo: np.ndarray, nail: np.ndarray, edge: np.ndarray) -> np.ndarray:
    """Nail beds rosy and a little lighter than the skin; sometimes varnish."""
    if rng.random() < 0.12:
        varnish = np.float32(rng.choice([(150, 20, 50), (190, 60, 90), (60, 20, 40), (225, 150, 160)]))
        return albedo * (1 - nail[..., None]) + varnish * nail[..., None]
    bed = albedo * np.float32((1.03, 0.99, 1.0)) + np.float32((12, 6, 10))
    tipped = bed * (1 - edge[..., None]) + np.float32((238, 228, 215)) * np.float32(0.95) * edge[..., None]
    return albedo * (1 - nail[..., None]) + tipped * nail[..., None]
