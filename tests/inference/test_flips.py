"""Mirrorings: each is undone, and the mean over them has no preferred side."""

from __future__ import annotations

import numpy as np

from inference.tiles import mean_over_flips


def test_a_function_of_single_pixels_stays_what_it_is():
    tile = np.random.default_rng(1).random((1, 3, 7, 10), dtype=np.float32)
    assert np.allclose(mean_over_flips(lambda values: values * 2)(tile), tile * 2, atol=1e-6)


def test_what_depends_on_the_side_is_averaged_over_all_four_mirrorings():
    """A function that adds its own gradient: mirrored, the gradient falls the other way, and the mean is level."""
    down, right = np.meshgrid(np.arange(6), np.arange(9), indexing="ij")
    gradient = (down * 10 + right).astype(np.float32)
    seen = []

    def function(tile: np.ndarray) -> np.ndarray:
        seen.append(tile.copy())
        return np.concatenate([tile, tile[:, :1]], 1) + gradient

    tile = np.random.default_rng(2).random((1, 3, 6, 9), dtype=np.float32)
    result = mean_over_flips(function)(tile)
    assert result.shape == (1, 4, 6, 9)
    assert np.allclose(result[:, :3] - tile, (5 * 10 + 8) / 2, atol=1e-4)
    assert len(seen) == 4
    for axes, given in zip([(), (3,), (2,), (2, 3)], seen, strict=True):
        assert np.array_equal(given, np.flip(tile, axes))
        assert given.flags.c_contiguous
