"""Draws what a config makes of a run's iterations, without training, Paddle or data.

    python -m utils.schedule configs/nafnet_phase2_msssim.yml
    python -m utils.schedule configs/smoke.yml -o schedule.warmup=20 --out smoke.png

Over the iterations, a plot each of the learning rate, the patch's side, the batch of each process and the weights of
the loss's terms; dashed lines stand where a stage begins, and at restarts.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path

from configs.load import load_config
from configs.parsing import ConfigError
from configs.schema import Config
from data.batches.sampling import lr_at, stage_at
from utils.command import DONE, command
from utils.files import check_writable
from utils.training.journal import draw_series

# Between two points of a curve lies at most this share of the run.
_STEP = 1 / 2000


def series_of(config: Config) -> tuple[dict[str, list[tuple[float, float]]], dict[int, str]]:
    """Name -> (iteration, value) of all that is drawn, and the words at the iterations where something begins."""
    train, schedule = config.train, config.schedule
    *starts, total = accumulate([0, *(stage.iterations for stage in train.stages)])
    begins = {start: f"stage {number}" for number, start in enumerate(starts)}
    for restart in schedule.restarts:
        begins[restart] = f"{begins[restart]}, restart" if restart in begins else "restart"
    # The last iteration before a change is drawn as well, so that steps are upright.
    steps = {0, total - 1, *range(0, total, max(1, round(total * _STEP)))}
    steps |= {place for at in (*begins, schedule.warmup) for place in (at - 1, at) if 0 <= place < total}
    series: dict[str, list[tuple[float, float]]] = {}
    for iteration in sorted(steps):
        _, stage = stage_at(iteration, train.stages)
        values = {"learning rate": lr_at(iteration, schedule, config.optimizer.learning_rate, total),
                  "patch (pixels)": stage.patch, "batch (patches)": stage.batch,
                  **{f"weight of the loss {term.name}": term.weight for term in config.loss}}  # fmt: skip
        for name, value in values.items():
            series.setdefault(name, []).append((iteration, value))
    return series, dict(sorted(begins.items()))


@command(ConfigError)
def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit code."""
    parser = argparse.ArgumentParser("python -m utils.schedule", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", metavar="CONFIG", help="YAML file, see configs/README.md")
    parser.add_argument("-o", "--override", nargs="+", action="extend", default=[], metavar="KEY=VALUE")
    parser.add_argument("--out", type=Path, default=Path("schedule.png"), metavar="FILE.png",
                        help="the picture (default: schedule.png)")  # fmt: skip
    options = parser.parse_args(arguments)
    if options.out.suffix != ".png":
        parser.error(f"{options.out}: the name must end in .png")
    config = load_config(options.config, options.override)
    check_writable(options.out)
    draw_series(options.out, *series_of(config))
    return DONE
