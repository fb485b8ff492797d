"""What an iteration is: its stage, learning rate, samples and their randomness, as pure functions of its number.

Workers, resuming and the number of processes therefore change nothing: iteration 70,000 sees the same pixels whether
the run came there in one go, in five sessions, with eight workers or with none.
"""

import math
from bisect import bisect_right
from collections.abc import Sequence
from functools import lru_cache
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple

import numpy as np

from configs.load import load_config
from configs.schema import Config, ConfigError, ScheduleConfig, Stage
from utils.command import DONE, command, parser_of
from utils.files import check_writable
from utils.training.journal import draw_series

_SCHEDULE = """Draws what a config makes of a run's iterations, without training, Paddle or data.

    python -m utils.schedule configs/nafnet_phase2_msssim.yml
    python -m utils.schedule configs/smoke.yml -o schedule.warmup=20 --out smoke.png

Over the iterations, a plot each of the learning rate, the patch's side, the batch of each process and the weights of
the loss's terms; dashed lines stand where a stage begins, and at restarts.
"""


def stage_at(iteration: int, stages: Sequence[Stage]) -> tuple[int, Stage]:
    """The stage that an iteration (from 0) of the run belongs to, as (index, stage)."""
    index = bisect_right([*accumulate(stage.iterations for stage in stages)], iteration)
    return index, stages[index]


def lr_at(iteration: int, schedule: ScheduleConfig, base_lr: float, total: int) -> float:
    """The learning rate of iteration `iteration` (from 0) in a run of `total` iterations.

    1. A period begins at 0 and at every restart, and ends where the next one begins, the last at `total`.
    2. Within a period the rate falls from `base_lr` along half a cosine to the period's `eta_min`, which it would
       reach at the first iteration after the period (SGDR, Loshchilov and Hutter 2017, with given restarts).
    3. During the first `warmup` iterations the result is multiplied by a factor that rises linearly to 1.
    """
    borders, period = [0, *schedule.restarts, total], bisect_right(schedule.restarts, iteration)
    lowest = schedule.eta_min[period if len(schedule.eta_min) > 1 else 0]
    progress = (iteration - borders[period]) / (borders[period + 1] - borders[period])
    rate = lowest + (base_lr - lowest) * (1 + math.cos(math.pi * progress)) / 2
    return rate * min(1.0, (iteration + 1) / schedule.warmup) if schedule.warmup else rate


class SampleKey(NamedTuple):
    """All that decides one training sample; numbers count from 0."""

    entry: int  # line of the list
    patch: int  # side of the square to cut, in pixels
    seed: int
    iteration: int
    index: int  # place in the batch of all processes together

    def generator(self) -> np.random.Generator:
        """A fresh generator that depends on seed, iteration and index and on nothing else."""
        return np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=(1, self.iteration, self.index)))


@lru_cache(maxsize=4)
def _epoch_order(count: int, seed: int, epoch: int) -> np.ndarray:
    # A stream of its own: the order of an epoch must not repeat what a sample draws.
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(0, epoch))).permutation(count)


def samples_at(iteration: int, stages: Sequence[Stage], count: int, seed: int, rank: int = 0, world: int = 1
               ) -> list[SampleKey]:  # fmt: skip
    """The batch of process `rank` of `world` at one iteration; `stages` count theirs per process.

    All samples of the run are numbered through; every `count` of them, the length of the list, are one epoch, a
    permutation of the list of its own. Two processes with a batch of 2 see what one with a batch of 4 sees.
    """
    number, stage = stage_at(iteration, stages)
    first = sum(earlier.iterations for earlier in stages[:number])
    before = sum(earlier.iterations * earlier.batch for earlier in stages[:number]) + (iteration - first) * stage.batch
    keys = []
    for index in range(rank * stage.batch, (rank + 1) * stage.batch):
        epoch, place = divmod(before * world + index, count)
        entry = int(_epoch_order(count, seed, epoch)[place])
        keys.append(SampleKey(entry, stage.patch, seed, iteration, index))
    return keys


def series_of(config: Config) -> tuple[dict[str, list[tuple[float, float]]], dict[int, str]]:
    """Name -> (iteration, value) of all that is drawn, and the words at the iterations where something begins."""
    train, schedule = config.train, config.schedule
    *starts, total = accumulate([0, *(stage.iterations for stage in train.stages)])
    begins = {start: f"stage {number}" for number, start in enumerate(starts)}
    for restart in schedule.restarts:
        begins[restart] = f"{begins[restart]}, restart" if restart in begins else "restart"
    # The last iteration before a change is drawn as well, so that steps are upright.
    steps = {0, total - 1, *range(0, total, max(1, round(total / 2000)))}
    steps |= {place for at in (*begins, schedule.warmup) for place in (at - 1, at) if 0 <= place < total}
    places = sorted(steps)
    stages = [stage_at(place, train.stages)[1] for place in places]
    curves = {"learning rate": [lr_at(place, schedule, config.optimizer.learning_rate, total) for place in places],
              "patch (pixels)": [stage.patch for stage in stages], "batch (patches)": [stage.batch for stage in stages],
              **{f"weight of the loss {term.name}": [term.weight] * len(places) for term in config.loss}}  # fmt: skip
    series = {name: list(zip(places, values, strict=True)) for name, values in curves.items()}
    return series, dict(sorted(begins.items()))


@command(ConfigError)
def main(arguments: Sequence[str] | None = None) -> int:
    parser = parser_of(_SCHEDULE, "python -m utils.schedule")
    parser.add_argument("config", metavar="CONFIG", help="YAML file, see configs/README.md")
    parser.add_argument("-o", "--override", nargs="+", action="extend", default=[], metavar="KEY=VALUE")
    parser.add_argument("--out", type=Path, default="schedule.png", metavar="FILE.png", help="default: schedule.png")
    options = parser.parse_args(arguments)
    if options.out.suffix != ".png":
        parser.error(f"{options.out}: the name must end in .png")
    config = load_config(options.config, options.override)
    check_writable(options.out)
    draw_series(options.out, *series_of(config))
    return DONE
