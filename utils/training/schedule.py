"""Learning rate, stage and random seed as pure functions of the iteration: nothing to save, nothing to restore."""

from __future__ import annotations

import math
import random
from bisect import bisect_right
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import paddle

if TYPE_CHECKING:
    from configs.schema import ScheduleConfig, Stage


def stage_at(iteration: int, stages: Sequence[Stage]) -> tuple[int, Stage]:
    """The stage that an iteration (from 0) belongs to, as (index, stage); ValueError outside all of them."""
    first = 0
    for index, stage in enumerate(stages):
        if 0 <= iteration < first + stage.iterations:
            return index, stage
        first += stage.iterations
    raise ValueError(f"iteration {iteration} is outside the {first} iterations of the stages")


def lr_at(iteration: int, schedule: ScheduleConfig, base_lr: float, total: int) -> float:
    """The learning rate of iteration `iteration` (from 0) in a run of `total` iterations; ValueError outside it.

    1. A period begins at 0 and at every restart, and ends where the next one begins, the last at `total`.
    2. Within a period the rate falls from `base_lr` along half a cosine to the period's `eta_min`, which it would
       reach at the first iteration after the period (SGDR, Loshchilov and Hutter 2017, with given restarts).
    3. During the first `warmup` iterations the result is multiplied by a factor that rises linearly to 1.
    """
    if not 0 <= iteration < total:
        raise ValueError(f"iteration {iteration} is outside the run's {total} iterations")
    borders, period = [0, *schedule.restarts, total], bisect_right(schedule.restarts, iteration)
    lowest = schedule.eta_min[period if len(schedule.eta_min) > 1 else 0]
    progress = (iteration - borders[period]) / (borders[period + 1] - borders[period])
    rate = lowest + (base_lr - lowest) * (1 + math.cos(math.pi * progress)) / 2
    return rate * min(1.0, (iteration + 1) / schedule.warmup) if schedule.warmup else rate


def seed_iteration(seed: int, iteration: int, rank: int = 0) -> None:
    """Sets the generators of Python, NumPy and Paddle for one iteration of one process.

    The project's own code draws from generators that it is handed. This covers layers and libraries that draw from
    global state (dropout, for one): because every iteration starts from its own seed, a resumed run draws what an
    uninterrupted one does. The parts are mixed: in `seed + iteration`, run 0 at iteration 1 would be run 1 at 0.
    """
    value = int(np.random.SeedSequence((seed, iteration, rank)).generate_state(1)[0]) & 0x7FFFFFFF
    random.seed(value)
    np.random.seed(value)  # noqa: NPY002 - global state is what libraries draw from
    paddle.seed(value)
