"""The bones of a drawn hand: where fingers lie, how thick they are, and how the palm joins them.

Lengths are in palm widths, x to the right and y downwards; the wrist lies at (0, 0) and fingertips at negative y.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from data.drawing.surfaces import smooth_outline

# knuckle x, knuckle y, length, thickness (radius) at the knuckle, sideways angle in degrees when spread
_FINGERS = (
    (-0.35, -0.93, 0.86, 0.118, -11.0),
    (-0.12, -1.00, 0.98, 0.122, -2.0),
    (0.115, -0.95, 0.90, 0.116, 7.0),
    (0.33, -0.83, 0.68, 0.098, 17.0),
)
# Positions of the two joints along a finger, and the thickness from knuckle to tip.
_JOINTS = (0.44, 0.72)
_STATIONS = (0.0, 0.22, 0.44, 0.58, 0.72, 0.86, 1.0)
_PROFILE = (1.0, 0.95, 0.98, 0.87, 0.88, 0.83, 0.68)


@dataclass(frozen=True)
class Finger:
    """One finger.

    Attributes:
        line: N x 2 centre line from the knuckle to the centre of the tip's ball.
        radii: N, thickness along it.
        joints: positions of the joints, as fractions of the line.
        nail: whether a nail is seen.
    """

    line: np.ndarray
    radii: np.ndarray
    joints: tuple[float, ...]
    nail: bool


@dataclass(frozen=True)
class Hand:
    """A posed hand.

    Attributes:
        fingers: drawn in this order, later ones in front.
        palm: outline of palm and forearm (N x 2), or None where only fingers are seen.
        knuckles: K x 2 knuckle centres, for the tendons on the back of the hand.
        root: y at which the frame cuts the hand off.
        sleeve: y at which a sleeve begins, or None.
        back: the back of the hand is seen, not the palm.
    """

    fingers: tuple[Finger, ...]
    palm: np.ndarray | None
    knuckles: np.ndarray
    root: float
    sleeve: float | None
    back: bool


def bent_finger(
    rng: np.random.Generator, start: np.ndarray, angle: float, length: float, radius: float, thumb: bool, nail: bool
) -> Finger:
    """A finger from `start` towards `angle` (degrees from straight up, to the right), bent a little at its joints."""
    joints = (0.5,) if thumb else _JOINTS
    positions = np.linspace(0, 1, 25)
    bend = np.zeros(25)
    for joint in joints:
        bend += rng.normal(0, 5.0) / (1 + np.exp(-(positions - joint) * 25))
    if thumb:
        bend += rng.uniform(-14, 4) * positions**2
    direction = np.radians(angle + bend)
    steps = np.stack([np.sin(direction), -np.cos(direction)], axis=1) * (length / 24)
    line = start + np.concatenate([np.zeros((1, 2)), np.cumsum(steps[1:], axis=0)])
    profile = np.interp(positions, _STATIONS, _PROFILE)
    if thumb:
        profile = np.interp(positions, (0, 0.3, 0.5, 0.75, 1), (1.12, 0.96, 1.0, 0.98, 0.72))
    kernel = np.float64((1, 2, 3, 2, 1)) / 9
    profile = np.convolve(np.pad(profile, 2, mode="edge"), kernel, mode="valid")
    return Finger(line, profile * radius, joints, nail)


def _palm_outline(rng: np.random.Generator, root: float) -> np.ndarray:
    """Palm and forearm of a right hand seen from the back."""
    wrist, forearm = rng.uniform(0.29, 0.34), rng.uniform(0.33, 0.42)
    far = max(root, 0.0) + 0.6
    points = [
        (-0.46, -0.86), (-0.34, -1.02), (-0.12, -1.09), (0.12, -1.04), (0.33, -0.92), (0.43, -0.78),
        (0.46, -0.5), (0.41, -0.22), (wrist, 0.02), (forearm, far), (-forearm, far), (-wrist, 0.04),
        (-0.43, -0.22), (-0.48, -0.5), (-0.47, -0.7),
    ]  # fmt: skip
    return smooth_outline(np.array(points) + rng.normal(0, 0.006, (len(points), 2)))


def _turned(points: np.ndarray, degrees: float, mirror: bool) -> np.ndarray:
    """Points turned about the wrist, after mirroring."""
    if mirror:
        points = points * (-1, 1)
    sine, cosine = np.sin(np.radians(degrees)), np.cos(np.radians(degrees))
    return points @ np.array([[cosine, sine], [-sine, cosine]])


def pose_hand(rng: np.random.Generator) -> Hand:
    """Draws a pose: a thumb, a few fingers, fingers with their knuckles, a pointing or a whole hand."""
    pose = str(rng.choice(["thumb", "fingers", "grip", "point", "whole"], p=[0.2, 0.22, 0.26, 0.1, 0.22]))
    back = bool(rng.random() < (1.0 if pose == "point" else 0.8))
    spread, lean = rng.uniform(0.1, 1.1), rng.normal(0, 3)
    fingers: list[Finger] = []
    if pose == "thumb":
        thumb = bent_finger(rng, np.array([0.0, 0.0]), rng.normal(0, 6), 1.0, 0.2, True, back)
        fingers.append(thumb)
        shown: list[int] = []
    elif pose == "fingers":
        count = int(rng.choice([1, 2, 3], p=[0.4, 0.4, 0.2]))
        first = int(rng.integers(0, 4 - count))
        shown = list(range(first, first + count))
    else:
        shown = [0, 1, 2, 3]
    foreshortened = rng.uniform(0.8, 1.0)
    for index in shown:
        x, y, length, radius, angle = _FINGERS[index]
        curled = pose == "point" and index > 0
        length *= foreshortened * rng.uniform(0.95, 1.05) * (0.34 if curled else 1)
        start = np.array([x, y + 0.12])
        fingers.append(
            bent_finger(rng, start, spread * angle + lean, length + 0.12, radius, False, back and not curled)
        )
    if pose in ("whole", "grip", "point") and rng.random() < 0.85:
        start = np.array([-0.3, -0.24])
        fingers.append(bent_finger(rng, start, rng.uniform(-48, -18), 0.78, 0.135, True, back and rng.random() < 0.8))
    rng.shuffle(fingers)
    root = {
        "thumb": rng.uniform(-0.3, 0.05),
        "fingers": max(_FINGERS[i][1] for i in shown) + rng.uniform(-0.25, 0.0) if shown else 0.0,
        "grip": rng.uniform(-0.85, -0.35),
        "point": rng.uniform(-0.5, 0.5),
        "whole": rng.uniform(-0.25, 0.75),
    }[pose]
    sleeve = rng.uniform(0.12, root - 0.05) if root > 0.25 and rng.random() < 0.6 else None
    with_palm = pose in ("whole", "grip", "point")
    palm = _palm_outline(rng, root) if with_palm else None
    turn, mirror = rng.normal(0, 9), bool(rng.random() < 0.5)
    return Hand(
        fingers=tuple(
            Finger(_turned(finger.line, turn, mirror), finger.radii, finger.joints, finger.nail) for finger in fingers
        ),
        palm=None if palm is None else _turned(palm, turn, mirror),
        knuckles=_turned(np.array([entry[:2] for entry in _FINGERS]), turn, mirror),
        root=float(root),
        sleeve=None if sleeve is None else float(sleeve),
        back=back,
    )
