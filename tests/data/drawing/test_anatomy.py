"""Hands and faces have their parts where they belong."""

from __future__ import annotations

import numpy as np
import pytest

from data.drawing.faces import Grid, paint_face
from data.drawing.hand_shapes import Finger, Hand, bent_finger, pose_hand
from data.drawing.hands import render_hand


def _one_finger(nail: bool, back: bool) -> Hand:
    """A straight upright finger of length 1 and thickness 0.12, cut off at its knuckle."""
    line = np.stack([np.zeros(25), -np.linspace(0, 1, 25)], axis=1)
    finger = Finger(line, np.full(25, 0.12), (0.45, 0.75), nail)
    return Hand((finger,), None, np.zeros((4, 2)), root=0.0, sleeve=None, back=back)


def test_a_finger_is_as_wide_as_its_bones_say_and_ends_in_a_ball() -> None:
    hand = _one_finger(nail=False, back=True)
    _, coverage = render_hand(np.random.default_rng(0), hand, 560)
    solid = coverage > 0.5
    scale = 560 / 1.12
    assert solid[280].sum() == pytest.approx(0.24 * scale, rel=0.03)
    assert np.flatnonzero(solid.any(axis=1))[0] == pytest.approx(0.02 * scale, abs=3)
    assert solid[-1].sum() == pytest.approx(0.24 * scale, rel=0.03)


def test_fingers_are_creased_at_their_joints() -> None:
    """Inside of a finger: along its middle, the darkest places are the two joints."""
    joints, rest = [], []
    for seed in range(6):
        hand = _one_finger(nail=False, back=False)
        rgb, coverage = render_hand(np.random.default_rng(seed), hand, 560)
        middle = int(np.flatnonzero(coverage[280] > 0.5).mean())
        profile = rgb[:, middle - 15 : middle + 15, 1].mean(axis=1)
        smooth = np.convolve(profile, np.ones(61) / 61, mode="same")
        dip = (smooth - profile) / smooth
        rows = [round((1.14 - joint) * 500) for joint in (0.45, 0.75)]
        joints += [dip[row - 25 : row + 25].max() for row in rows]
        rest.append(dip[330 + 45 : 520].max())
    assert min(joints) > 0.06
    assert np.mean(joints) > 2 * np.mean(rest)


def test_a_nail_is_smooth_where_skin_is_not() -> None:
    """Fine detail in the middle of the tip, on a finger with a nail and on one without."""
    with_nail, without = [], []
    for seed in range(10):
        for nail, roughness in ((True, with_nail), (False, without)):
            hand = _one_finger(nail=nail, back=True)
            rgb, coverage = render_hand(np.random.default_rng(seed), hand, 560)
            middle = int(np.flatnonzero(coverage[280] > 0.5).mean())
            columns = slice(middle - 12, middle + 12)
            roughness.append(np.abs(np.diff(rgb[60:84, columns], 2, axis=0)).mean())
    assert np.median(with_nail) < 0.8 * np.median(without)


@pytest.mark.parametrize("seed", range(40))
def test_every_pose_shows_fingers_above_its_root(seed: int) -> None:
    hand = pose_hand(np.random.default_rng(seed))
    assert 1 <= len(hand.fingers) <= 5
    assert all(finger.line[:, 1].min() < hand.root - 0.2 for finger in hand.fingers if len(hand.fingers) < 4)
    assert hand.sleeve is None or hand.sleeve < hand.root
    if not hand.back:
        assert not any(finger.nail for finger in hand.fingers)


def test_a_finger_has_its_length_and_thins_towards_the_tip() -> None:
    finger = bent_finger(np.random.default_rng(1), np.zeros(2), 10.0, 0.9, 0.12, thumb=False, nail=True)
    assert np.linalg.norm(np.diff(finger.line, axis=0), axis=1).sum() == pytest.approx(0.9, rel=1e-6)
    assert finger.radii[0] == pytest.approx(0.12, rel=0.02)
    assert finger.radii[-1] < 0.75 * finger.radii[0]


def _grid(scale: int) -> Grid:
    axis = np.arange(-0.6, 0.6, 1 / scale, dtype=np.float32)
    x, y = np.broadcast_arrays(axis[None, :], axis[:, None])
    return Grid(x, y, float(scale), np.array([-0.6, -0.6]))


def test_a_face_has_eyes_with_whites_brows_and_a_mouth() -> None:
    grid = _grid(300)
    tone, hair = np.float32((225, 180, 155)), np.float32((30, 25, 22))
    for seed in range(8):
        rgb, coverage = paint_face(np.random.default_rng(seed), grid, tone, hair, (0.0, -0.3, 1.5))
        assert coverage[180, 180] == 1
        assert coverage[3, 3] == 0
        luma = rgb.mean(axis=2)
        forehead = np.median(luma[_box(grid, 0.0, -0.25)])
        for side in (-1, 1):
            eye = luma[_box(grid, side * 0.152, -0.025, 0.06, 0.02)]
            assert eye.min() < 0.4 * forehead
            assert luma[_box(grid, side * 0.155, -0.12, 0.05, 0.025)].min() < 0.6 * forehead
        mouth = luma[_box(grid, 0.0, 0.265, 0.05, 0.015)]
        assert mouth.min() < 0.65 * forehead


def _box(grid: Grid, x: float, y: float, wide: float = 0.04, high: float = 0.04) -> tuple[slice, slice]:
    """The rows and columns around a place of the face."""
    row, column = (y - grid.origin[1]) * grid.scale, (x - grid.origin[0]) * grid.scale
    down, aside = high * grid.scale, wide * grid.scale
    return slice(int(row - down), int(row + down) + 1), slice(int(column - aside), int(column + aside) + 1)
