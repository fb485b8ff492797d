"""Randomness that is a function of (seed, iteration, rank), so that nothing about it has to be saved."""

from __future__ import annotations

import random

import numpy as np
import paddle


def derive_seed(*parts: int) -> int:
    """Mixes non-negative integers into one seed of 31 bits; the same parts always give the same seed.

    Neighbouring parts give unrelated seeds, which `seed + iteration` would not: run 0 at iteration 1 and run 1 at
    iteration 0 would then draw the same numbers.
    """
    return int(np.random.SeedSequence(parts).generate_state(1)[0]) & 0x7FFFFFFF


def seed_iteration(seed: int, iteration: int, rank: int = 0) -> None:
    """Sets the generators of Python, NumPy and Paddle for one iteration of one process.

    The project's own code draws from generators that it is handed. This covers layers and libraries that draw from
    global state (dropout, for one): because every iteration starts from its own seed, a resumed run draws what an
    uninterrupted one does, on any device and in any Paddle version.
    """
    value = derive_seed(seed, iteration, rank)
    random.seed(value)
    np.random.seed(value)  # noqa: NPY002 - global state is what libraries draw from
    paddle.seed(value)
