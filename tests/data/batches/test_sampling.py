"""Stage, rate, samples and seed of an iteration: the write-up's numbers, nothing that depends on what came before."""

import random
from collections import Counter

import numpy as np
import paddle
import pytest

from configs.load import load_config
from configs.schema import ScheduleConfig, Stage
from data.batches.sampling import SampleKey, lr_at, main, samples_at, series_of, stage_at
from data.images import read_rgb
from tests.conftest import python
from utils.training.processes import seed_iteration

STAGES = (Stage(iterations=6, batch=4, patch=64), Stage(iterations=5, batch=2, patch=128))
WRITE_UP, PHASE_2 = load_config("configs/nafnet_phase1_l1.yml"), "configs/nafnet_phase2_msssim.yml"


def test_rates_and_stages_of_the_write_up():
    half, quarter = (2e-4 + 1e-5) / 2, 2e-4 - (2e-4 - 1e-6) * (1 - 0.5**0.5) / 2
    for iteration, expected in ((0, 2e-4), (92_000, half), (183_999, 1e-5), (184_000, 2e-4), (242_000, quarter),
                                (300_000, (2e-4 + 1e-6) / 2), (415_999, 1e-6), (416_000, 2e-4), (599_999, 1e-6)):
        rate = lr_at(iteration, WRITE_UP.schedule, WRITE_UP.optimizer.learning_rate, WRITE_UP.train.iterations)
        assert rate == pytest.approx(expected, rel=1e-7, abs=2e-14)
        first_ones = (184_000, 312_000, 408_000, 480_000, 552_000)
        assert stage_at(iteration, WRITE_UP.train.stages)[0] == sum(iteration >= first for first in first_ones)


def test_one_eta_min_serves_every_period_and_warmup_rises_linearly_and_ends():
    schedule = ScheduleConfig(restarts=(10, 20), eta_min=(1e-5,))
    assert [lr_at(first, schedule, 1e-3, 30) for first in (0, 10, 20)] == [1e-3] * 3
    assert lr_at(9, schedule, 1e-3, 30) == lr_at(19, schedule, 1e-3, 30) == lr_at(29, schedule, 1e-3, 30)
    plain, warm = ScheduleConfig(), ScheduleConfig(warmup=4)
    factors = [lr_at(i, warm, 1e-3, 100) / lr_at(i, plain, 1e-3, 100) for i in range(6)]
    assert factors == pytest.approx([0.25, 0.5, 0.75, 1, 1, 1])


def test_the_same_place_gives_the_same_random_numbers_whatever_came_before():
    def draws(*place: int) -> tuple[float, float, float]:
        seed_iteration(*place)
        return random.random(), float(np.random.random()), float(paddle.rand([1]).numpy()[0])  # noqa: NPY002

    places = [(a, b, c) for a in range(5) for b in range(5) for c in range(2)]
    drawn = [draws(*place) for place in places]
    assert [draws(*place) for place in reversed(places)] == drawn[::-1]
    # Neighbours are no sums: 0 + 1 and 1 + 0 draw apart.
    assert all(len(set(column)) == len(places) for column in zip(*drawn, strict=True))


def batches(rank=0, world=1, stages=STAGES):
    return [samples_at(iteration, stages, 10, 3, rank, world) for iteration in range(11)]


def test_batch_and_patch_follow_the_stage_and_every_epoch_shows_each_patch_once_in_another_order():
    assert [(len(keys), {key.patch for key in keys}) for keys in batches()] == [(4, {64})] * 6 + [(2, {128})] * 5
    entries = [key.entry for keys in batches() for key in keys]
    epochs = [entries[first : first + 10] for first in (0, 10, 20)]
    assert all(Counter(epoch) == Counter(range(10)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 3
    # Two processes share what one would see.
    doubled = tuple(Stage(iterations=s.iterations, batch=2 * s.batch, patch=s.patch) for s in STAGES)
    assert [a + b for a, b in zip(batches(0, 2), batches(1, 2), strict=True)] == batches(stages=doubled)


def test_randomness_depends_on_seed_iteration_and_index_only():
    key = SampleKey(entry=5, patch=64, seed=3, iteration=7, index=1)
    numbers = key.generator().random(4).tolist()
    assert key._replace(entry=6, patch=128).generator().random(4).tolist() == numbers
    for change in ({"seed": 4}, {"iteration": 8}, {"index": 0}, {"iteration": 1, "index": 7}):
        assert key._replace(**change).generator().random(4).tolist() != numbers


def test_the_curves_are_the_runs_and_what_begins_is_marked():
    series, begins = series_of(load_config(PHASE_2, ["schedule.warmup=100"]))
    rates, patches, batches, charbonnier, ms_ssim = map(dict, series.values())
    assert [*series][3:] == ["weight of the loss charbonnier", "weight of the loss ms_ssim"]
    assert [rates[at] for at in (0, 183_999, 184_000)] == pytest.approx([1e-6, 1e-5, 1e-4], rel=1e-3)
    assert [patches[at] for at in (0, 183_999, 184_000, 599_999)] == [192, 192, 256, 1024]
    assert batches[599_999] == charbonnier[0] == ms_ssim[0] == 1
    assert begins[184_000] == "stage 1, restart"
    assert (begins[408_000], begins[416_000]) == ("stage 3", "restart")


def test_the_command_draws_without_paddle_and_names_what_is_wrong(tmp_path, capsys):
    code = "import runpy, sys; sys.modules['paddle'] = None; runpy.run_module('utils.schedule', None, '__main__')"
    assert python("-c", code, PHASE_2, "--out", tmp_path / "a.png").stderr == ""
    assert min(read_rgb(tmp_path / "a.png").shape[:2]) > 400
    assert main([PHASE_2, "-o", "seed=x"]) == 2
    assert capsys.readouterr().err.startswith("error: -o seed=x:")
