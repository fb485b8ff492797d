"""Noise, light and outlines against numbers worked out by hand."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from data.drawing.surfaces import blurred, cut_out, filled, fractal_noise, lambert, rounded_relief, smooth_outline


def test_noise_is_smooth_and_of_unit_size() -> None:
    field = fractal_noise(np.random.default_rng(0), 400, 300, coarsest=20, octaves=1)
    assert field.shape == (400, 300)
    assert abs(field.mean()) < 0.15
    assert 0.8 < field.std() < 1.25
    assert np.abs(np.diff(field, axis=1)).max() < 0.5
    rough = fractal_noise(np.random.default_rng(0), 400, 300, coarsest=20, octaves=5, persistence=0.8)
    assert np.abs(np.diff(rough, axis=1)).mean() > 3 * np.abs(np.diff(field, axis=1)).mean()


@pytest.mark.parametrize(("height", "width"), [(1, 50), (50, 1), (3, 3)])
def test_noise_of_tiny_fields(height: int, width: int) -> None:
    assert np.isfinite(fractal_noise(np.random.default_rng(0), height, width, 10, 5)).all()


def test_a_slope_towards_the_light_is_bright() -> None:
    """A plane that rises to the right by one pixel a pixel faces the left: cosines of 0 and 90 degrees."""
    plane = np.broadcast_to(np.arange(32, dtype=np.float32), (20, 32)).copy()
    towards, _ = lambert(plane, (-1.0, 0.0, 1.0))
    away, _ = lambert(plane, (1.0, 0.0, 1.0))
    flat, gloss = lambert(np.zeros((8, 8), np.float32), (0.0, 0.0, 2.0))
    assert towards[5:-5, 5:-5] == pytest.approx(1.0, abs=1e-5)
    assert away[5:-5, 5:-5] == pytest.approx(0.0, abs=1e-5)
    assert flat == pytest.approx(1.0)
    assert gloss == pytest.approx(1.0)


def test_outlines_pass_through_their_points() -> None:
    points = np.array([(0, 0), (10, 1), (12, 9), (3, 11)])
    curve = smooth_outline(points, steps=5)
    assert curve.shape == (20, 2)
    assert curve[::5] == pytest.approx(points)


def test_a_filled_square_covers_its_area() -> None:
    coverage = filled(40, 40, np.array([(10, 10), (29, 10), (29, 29), (10, 29)]))
    assert coverage.sum() == pytest.approx(20 * 20, rel=0.05)
    assert coverage[20, 20] == 1
    assert coverage[5, 5] == 0


def test_a_slab_is_high_inside_and_low_at_its_rim() -> None:
    relief = rounded_relief(filled(60, 60, np.array([(5, 5), (55, 5), (55, 55), (5, 55)])), rim=10, top=7)
    assert relief[30, 30] == pytest.approx(7)
    assert 0 < relief[30, 6] < 5
    assert relief[2, 2] == 0


def test_a_wide_blur_equals_the_exact_one() -> None:
    """The short cut over a smaller copy changes nothing that could be seen."""
    field = fractal_noise(np.random.default_rng(1), 300, 260, 60, 3)
    difference = np.abs(blurred(field, 20.0) - cv2.GaussianBlur(field, (0, 0), 20.0))
    assert difference[40:-40, 40:-40].max() < 0.05


def test_a_cut_out_is_tight_and_scaled() -> None:
    rgb, coverage = np.full((50, 80, 3), 300.0, np.float32), np.zeros((50, 80), np.float32)
    coverage[10:30, 20:60] = 1
    rgba = cut_out(rgb, coverage, 20)
    assert rgba.shape == (10, 20, 4)
    assert (rgba == 255).all()
