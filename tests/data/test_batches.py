"""Batches: stage, rate and samples of an iteration, which follow from nothing that came before; what a sample is, by
whom it is made, and what is refused.
"""

import multiprocessing
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest

from configs.load import load_config, parse_config
from configs.schema import Config, ConfigError, ScheduleConfig, Stage
from data.batches import patches
from data.batches.patches import PatchDataset, make_loader, random_orientation
from data.batches.sampling import SampleKey, lr_at, main, samples_at, series_of, stage_at
from data.contest import PATCH_FOLDERS, PatchPaths, write_list
from data.images import BadImageError, read_rgb
from data.synthesis.occluders import CUTOUTS, Occluder, find_occluders, split_sources
from tests.conftest import python
from tests.golden.pictures import save
from utils.child import WorkerKilledError

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


SIZE = 48
KEY = SampleKey(entry=0, patch=32, seed=1, iteration=0, index=0)


def write_trio(folder: Path, number: int, size: int = SIZE) -> PatchPaths:
    """A patch whose every pixel tells its place, with an inverted square as the occluder."""
    rows, columns = np.mgrid[:size, :size]
    clean = np.stack([rows * 5, columns * 5, np.full_like(rows, 20 * number)], 2).astype(np.uint8)
    mask = np.zeros((size, size), np.uint8)
    mask[10:30, 15:40] = 255
    trio = clean, np.where(mask[..., None] > 0, 255 - clean, clean), mask
    return PatchPaths(*(save(folder / part / f"p{number}.png", picture)
                        for part, picture in zip(PATCH_FOLDERS, trio, strict=True)))  # fmt: skip


@pytest.fixture
def prepared(tmp_path: Path) -> Path:
    write_list(tmp_path / "train.txt", [write_trio(tmp_path, number) for number in range(5)])
    return tmp_path / "train.txt"


def config_for(train_list: Path, **data: Any) -> Config:
    stages = [{"iterations": 4, "batch": 3, "patch": 16}, {"iterations": 3, "batch": 2, "patch": 32}]
    return parse_config({
        "output": "unused", "seed": 1, "loss": [{"name": "l1"}], "validation": {"every": 0},
        "data": {"train_list": str(train_list), "crop": SIZE, "workers": 0, **data},
        "train": {"iterations": 7, "stages": stages}, "predict": {"downscale": data.get("downscale", 2)},
    })  # fmt: skip


def load(config: Config, *position: int) -> list[dict[str, Any]]:
    return [{key: value if key == "name" else value.numpy() for key, value in batch.items()}
            for batch in make_loader(config, *position)]


def assert_same(left: list[dict[str, Any]], right: list[dict[str, Any]]) -> None:
    for one, other in zip(left, right, strict=True):
        assert one["name"] == other["name"]
        for key in ("occluded", "clean", "mask"):
            np.testing.assert_array_equal(one[key], other[key])


def test_an_item_is_the_stored_trio_cropped_and_turned_together(prepared: Path) -> None:
    dataset = PatchDataset(config_for(prepared))
    for iteration in range(20):
        occluded, clean, mask = dataset[KEY._replace(iteration=iteration, entry=iteration % 5)]
        assert (occluded.shape, clean.shape, mask.shape) == ((3, 32, 32), (3, 32, 32), (1, 32, 32))
        assert occluded.dtype == clean.dtype == mask.dtype == np.uint8
        rows, columns, blue = clean.astype(int) // [[[5]], [[5]], [[1]]]
        # The place written into each pixel says where the mask and the inverted square have to be.
        inside = (rows >= 10) & (rows < 30) & (columns >= 15) & (columns < 40)
        np.testing.assert_array_equal(mask[0], inside)
        np.testing.assert_array_equal(occluded, np.where(inside, 255 - clean, clean))
        assert (blue == 20 * (iteration % 5)).all()


def test_orientations() -> None:
    rng, picture = np.random.default_rng(0), np.arange(4).reshape(2, 2)
    for flips, rotations, orientations in (1, 1, 8), (1, 0, 4), (0, 1, 4), (0, 0, 1):
        seen = {tuple(random_orientation([picture], rng, flips, rotations)[0].ravel()) for _ in range(200)}
        assert len(seen) == orientations


def test_a_batch_is_floats_and_neither_workers_nor_a_late_start_change_it(prepared: Path, monkeypatch) -> None:
    config = config_for(prepared)
    everything = load(config)
    assert [batch["occluded"].shape for batch in everything] == [(3, 3, 16, 16)] * 4 + [(2, 3, 32, 32)] * 3
    assert {batch[part].dtype.name for batch in everything for part in ("occluded", "clean", "mask")} == {"float32"}
    levels = np.unique(np.concatenate([batch["clean"].ravel() for batch in everything]))
    assert set(levels) <= set(np.arange(256, dtype=np.float32) / np.float32(255))
    assert {Path(name).parent.name for batch in everything for name in batch["name"]} == {"occluded"}
    for start in (1, 4, 5, 7):
        assert_same(load(config, start), everything[start:])
    # As where /dev/shm cannot be written to.
    monkeypatch.setattr("multiprocessing.synchronize.SemLock.__init__", Mock(side_effect=PermissionError))
    for start, workers in ((0, 1), (3, 2), (5, 3)):
        assert_same(load(config_for(prepared, workers=workers), start), everything[start:])


def test_patches_cut_otherwise_than_the_config_says_are_refused(prepared: Path) -> None:
    record = prepared.with_name("preparation.json")
    record.write_text('{"train and val": {"size": 48, "downscale": 2}, "all": {"size": 64, "downscale": 1}}')
    make_loader(config_for(prepared))
    with pytest.raises(ConfigError, match=r"data\.downscale: 1, but the patches of .*train\.txt were cut with 2"):
        make_loader(config_for(prepared, downscale=1))
    everything = prepared.rename(prepared.with_name("all.txt"))
    make_loader(config_for(everything, crop=64, downscale=1))
    for content, told in ((record.read_text(), r"data\.crop: 48, but the patches of .*all\.txt were cut with 64"),
                          ("[1]", r"preparation\.json is not the record")):  # fmt: skip
        record.write_text(content)
        with pytest.raises(ConfigError, match=told):
            make_loader(config_for(everything))


@pytest.mark.parametrize("workers", [0, 2])
def test_a_bad_file_stops_the_loader_and_is_named(prepared: Path, workers: int) -> None:
    config = config_for(prepared, workers=workers)
    trio, small, cut = (write_trio(prepared.parent, number, size) for number, size in enumerate((44, 31, 64)))
    cut.clean.write_bytes(cut.clean.read_bytes()[:60])
    for entry, told in ((small, r"occluded/p1\.png: 31x31 pixels, too small for a patch of 32x32"),
                        (trio._replace(mask=cut.mask), r"p0\.png: pictures of different sizes: 44x44, 44x44, 64x64"),
                        (cut, r"gt/p2\.png")):  # fmt: skip
        write_list(prepared, [entry])
        with pytest.raises(BadImageError, match=told):
            load(config)
    assert not multiprocessing.active_children()


def test_workers_end_with_an_iteration_that_is_given_up_and_a_killed_one_is_told(prepared: Path, monkeypatch) -> None:
    config = config_for(prepared, workers=2)
    # More batches than pipes hold, or a worker could have sent them all before it is killed.
    long = replace(config.train, stages=(replace(config.train.stages[0], iterations=2000),))
    config = replace(config, train=long)
    batches = make_loader(config)
    next(batches)
    assert len(multiprocessing.active_children()) == 2
    batches = make_loader(config)  # The first is given up.
    assert not multiprocessing.active_children()
    next(batches)
    for worker in multiprocessing.active_children():
        worker.kill()
    with pytest.raises(WorkerKilledError, match=r"a data worker \(process \d+\) has ended by SIGKILL.*--auto-resume"):
        list(batches)
    # Not every error comes out of a pipe as it went in.
    monkeypatch.setattr(patches, "read_rgb", Mock(side_effect=UnicodeDecodeError("utf-8", b"\xff", 0, 1, "a fault")))
    with pytest.raises(WorkerKilledError, match=r"a data worker \(process \d+\) has ended by UnicodeDecode.*: a fault"):
        list(make_loader(config))


def test_fresh_occlusion_replaces_the_stored_one_and_prints_belong_to_the_clean_patch(prepared: Path) -> None:
    stored, *pasted = (PatchDataset(config_for(prepared, paste={"probability": share, "printed_photos": printed}))
                       for share, printed in ((0.0, 0.0), (1.0, 0.0), (1.0, 1.0)))  # fmt: skip
    square = np.full((40, 40, 4), 255, np.uint8)
    square[..., :3] = (250, 10, 250)
    for dataset in pasted:
        dataset.style = replace(dataset.style, jpeg_probability=0.0, rim_probability=0.0)
        dataset.choose = lambda rng, kind: Occluder(square, kind, "a square")
        dataset.pictures = lambda rng: rng.integers(0, 256, (40, 40, 3), dtype=np.uint8)
    differ = 0
    for key in (KEY._replace(iteration=iteration) for iteration in range(16)):
        for dataset in pasted:
            occluded, clean, mask = dataset[key]
            outside = np.broadcast_to(mask == 0, clean.shape)
            np.testing.assert_array_equal(occluded[outside], clean[outside])
            assert np.abs(occluded.astype(int) - clean)[~outside].mean() > 25
            assert all(map(np.array_equal, dataset[key], (occluded, clean, mask)))
        assert not np.array_equal(stored[key][2], pasted[0][key][2])
        differ += set(stored[key][1].flat) != set(clean.flat)
    assert differ > 8


def test_pasting_takes_the_bundled_occluders_for_training_whoever_makes_the_batch(prepared: Path) -> None:
    paste = {"probability": 1.0, "printed_photos": 0.3}
    config = config_for(prepared, paste=paste)
    bundled = PatchDataset(config)
    assert max(bundled.choose(np.random.default_rng(0), "hand").rgba.shape) == 48
    held_out = split_sources(find_occluders([CUTOUTS]))[1]
    assert not {entry for entries in bundled.choose.entries.values() for entry in entries} & set(held_out)
    alone = load(config)
    assert_same(load(config_for(prepared, paste=paste, workers=2)), alone)
    assert_same(load(config, 4), alone[4:])
    other_seed = load(replace(config, seed=config.seed + 1))
    assert not any(np.array_equal(one["mask"], other["mask"]) for one, other in zip(alone, other_seed, strict=True))
    with pytest.raises(FileNotFoundError, match="nowhere"):
        make_loader(config_for(prepared, paste={**paste, "occluders": [str(prepared.with_name("nowhere"))]}))
