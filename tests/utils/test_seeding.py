"""Randomness as a function of seed, iteration and rank."""

from __future__ import annotations

import random

import numpy as np
import paddle

from utils.training.schedule import derive_seed, seed_iteration


def draws() -> tuple[float, float, float]:
    return random.random(), float(np.random.random()), float(paddle.rand([1]).numpy()[0])  # noqa: NPY002


def test_the_same_place_gives_the_same_numbers_whatever_came_before():
    seed_iteration(3, 7)
    first = draws()
    draws()
    seed_iteration(3, 8)
    other = draws()
    seed_iteration(3, 7)
    assert draws() == first
    assert all(a != b for a, b in zip(first, other, strict=True))


def test_parts_do_not_add_up_to_the_same_seed():
    seeds = {derive_seed(a, b, c) for a in range(8) for b in range(8) for c in range(4)}
    assert len(seeds) == 8 * 8 * 4
    assert all(0 <= seed < 2**31 for seed in seeds)
    assert derive_seed(1, 2) == derive_seed(1, 2)
