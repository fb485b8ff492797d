from __future__ import annotations

import multiprocessing
import os
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from configs.load import parse_config
from configs.parsing import ConfigError
from configs.schema import Config, PasteConfig, Stage
from data.batches.fresh import FreshOcclusion
from data.batches.patches import PatchDataset, make_loader, random_orientation, shared_memory_suffices
from data.batches.sampling import SampleKey
from data.contest.lists import PatchPaths, read_list, write_list
from data.images import BadImageError
from data.synthesis.occluders import CUTOUTS, Occluder, find_occluders, split_sources
from data.synthesis.paste import STYLES

SIZE = 48
KEY = SampleKey(entry=0, patch=32, seed=1, iteration=0, index=0)


def write_trio(folder: Path, number: int, size: int = SIZE) -> PatchPaths:
    """A patch whose every pixel tells its place, with a grey square as the occluder."""
    rows, columns = np.mgrid[:size, :size]
    clean = np.stack([rows * 5, columns * 5, np.full_like(rows, 20 * number)], 2).astype(np.uint8)
    mask = np.zeros((size, size), np.uint8)
    mask[10:30, 15:40] = 255
    occluded = np.where(mask[..., None] > 0, 255 - clean, clean).astype(np.uint8)
    paths = PatchPaths(*(folder / part / f"p{number}.png" for part in ("gt", "occluded", "mask")))
    for path, picture in zip(paths, (clean, occluded, mask), strict=True):
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(path)
    return paths


@pytest.fixture
def prepared(tmp_path: Path) -> Path:
    write_list(tmp_path / "train.txt", [write_trio(tmp_path, number) for number in range(5)])
    return tmp_path / "train.txt"


def config_for(train_list: Path, **data: Any) -> Config:
    return parse_config(
        {
            "output": "unused",
            "seed": 1,
            "data": {"train_list": str(train_list), "crop": SIZE, "workers": 0, **data},
            "train": {
                "iterations": 7,
                "stages": [{"iterations": 4, "batch": 3, "patch": 16}, {"iterations": 3, "batch": 2, "patch": 32}],
            },
            "loss": [{"name": "l1"}],
            "validation": {"every": 0},
            "predict": {"downscale": data.get("downscale", 2)},
        }
    )


def numbers(batch: dict[str, Any]) -> dict[str, Any]:
    return {key: value if key == "name" else value.numpy() for key, value in batch.items()}


def load(config: Config, *position: int) -> list[dict[str, Any]]:
    return [numbers(batch) for batch in make_loader(config, *position)]


def assert_same(left: list[dict[str, Any]], right: list[dict[str, Any]]) -> None:
    assert len(left) == len(right)
    for one, other in zip(left, right, strict=True):
        assert one["name"] == other["name"]
        for key in ("occluded", "clean", "mask"):
            np.testing.assert_array_equal(one[key], other[key])


def test_item_is_the_stored_trio_cropped_and_turned_together(prepared: Path) -> None:
    dataset = PatchDataset(read_list(prepared))
    seen = set()
    for iteration in range(60):
        item = dataset[KEY._replace(iteration=iteration, entry=iteration % 5)]
        assert {key: (item[key].shape, item[key].dtype) for key in ("occluded", "clean", "mask")} == {
            "occluded": ((3, 32, 32), np.float32),
            "clean": ((3, 32, 32), np.float32),
            "mask": ((1, 32, 32), np.float32),
        }
        rows, columns, blue = np.rint(item["clean"] * 255).astype(int)
        rows, columns = rows // 5, columns // 5
        # The place written into each pixel says where the mask and the inverted square have to be.
        inside = (rows >= 10) & (rows < 30) & (columns >= 15) & (columns < 40)
        np.testing.assert_array_equal(item["mask"][0], inside)
        expected = np.where(inside, 1 - item["clean"], item["clean"])
        np.testing.assert_allclose(item["occluded"], expected, atol=1e-6)
        assert (blue == 20 * (iteration % 5)).all()
        assert item["name"].endswith(f"p{iteration % 5}.png")
        steps = (rows[1, 0] - rows[0, 0], columns[1, 0] - columns[0, 0], rows[0, 1] - rows[0, 0])
        seen.add((*steps, columns[0, 1] - columns[0, 0]))
    assert len(seen) == 8


@pytest.mark.parametrize(
    ("flips", "rotations", "orientations"), [(True, True, 8), (True, False, 4), (False, True, 4), (False, False, 1)]
)
def test_orientations(flips: bool, rotations: bool, orientations: int) -> None:
    rng = np.random.default_rng(0)
    picture = np.arange(4).reshape(2, 2)
    seen = {tuple(random_orientation([picture], rng, flips, rotations)[0].ravel()) for _ in range(200)}
    assert len(seen) == orientations


@pytest.mark.parametrize(("workers", "shared_memory"), [(1, False), (2, True)])
def test_workers_change_nothing(prepared: Path, workers: int, shared_memory: bool) -> None:
    alone = load(config_for(prepared))
    assert [batch["occluded"].shape for batch in alone] == [(3, 3, 16, 16)] * 4 + [(2, 3, 32, 32)] * 3
    assert_same(load(config_for(prepared, workers=workers, shared_memory=shared_memory)), alone)


def test_resuming_in_the_middle_goes_on_with_the_same_batches(prepared: Path) -> None:
    config = config_for(prepared)
    everything = load(config)
    for start in (1, 4, 5, 7):
        assert_same(load(config, start), everything[start:])
    assert_same(load(replace(config, data=replace(config.data, workers=2)), 3), everything[3:])


def test_a_stored_trio_that_is_too_small_or_of_different_sizes_is_named(tmp_path: Path) -> None:
    trio, small, other = (write_trio(tmp_path, number, size) for number, size in enumerate((44, 31, 64)))
    dataset = PatchDataset([trio, small, trio._replace(mask=other.mask)])
    dataset[KEY]
    with pytest.raises(BadImageError, match=r"occluded/p1\.png: 31x31 pixels, too small for a patch of 32x32"):
        dataset[KEY._replace(entry=1)]
    with pytest.raises(BadImageError, match=r"p0\.png: pictures of different sizes: 44x44, 44x44, 64x64"):
        dataset[KEY._replace(entry=2)]


def test_patches_cut_otherwise_than_the_config_says_are_refused(prepared: Path) -> None:
    record = prepared.with_name("preparation.json")
    record.write_text('{"train and val": {"size": 48, "downscale": 2}, "all": {"size": 64, "downscale": 1}}')
    load(config_for(prepared))
    with pytest.raises(ConfigError, match=r"data\.downscale: 1, but the patches of .*train\.txt were cut with 2"):
        make_loader(config_for(prepared, downscale=1))
    everything = prepared.rename(prepared.with_name("all.txt"))
    with pytest.raises(ConfigError, match=r"data\.crop: 48, but the patches of .*all\.txt were cut with 64"):
        make_loader(config_for(everything))
    make_loader(config_for(everything, crop=64, downscale=1))
    record.write_text("[1]")
    with pytest.raises(ConfigError, match=r"preparation\.json is not the record"):
        make_loader(config_for(everything))


@pytest.mark.parametrize("workers", [0, 2])
def test_a_broken_file_stops_the_loader_and_is_named(prepared: Path, workers: int) -> None:
    for path in prepared.parent.glob("gt/*.png"):
        path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(BadImageError, match=r"gt/p\d\.png"):
        load(config_for(prepared, workers=workers))
    assert not multiprocessing.active_children()


def test_workers_end_with_an_iteration_that_is_given_up(prepared: Path) -> None:
    batches = iter(make_loader(config_for(prepared, workers=2)))
    next(batches)
    assert len(multiprocessing.active_children()) == 2
    batches.close()
    assert not multiprocessing.active_children()


def square_occluder(rng: np.random.Generator, kind: str) -> Occluder:
    rgba = np.full((40, 40, 4), 255, np.uint8)
    rgba[..., :3] = (250, 10, 250)
    return Occluder(rgba, kind, "a square")


def test_fresh_occlusion_replaces_the_stored_one(prepared: Path) -> None:
    style = replace(STYLES["contest"], jpeg_probability=0.0, rim_probability=0.0)
    entries = read_list(prepared)
    stored = PatchDataset(entries)
    fresh = PatchDataset(entries, fresh_occlusion=FreshOcclusion(square_occluder, style, 1.0))
    different = 0
    for iteration in range(8):
        key = KEY._replace(iteration=iteration)
        before, item = stored[key], fresh[key]
        outside = np.broadcast_to(item["mask"] == 0, item["clean"].shape)
        np.testing.assert_array_equal(item["occluded"][outside], item["clean"][outside])
        assert item["mask"].any()
        assert np.abs(item["occluded"] - item["clean"])[~outside].mean() > 0.1
        assert_same([fresh[key]], [item])
        different += not np.array_equal(before["mask"], item["mask"])
    assert different == 8


def test_printed_pictures_belong_to_the_clean_patch(prepared: Path) -> None:
    style = replace(STYLES["contest"], jpeg_probability=0.0, rim_probability=0.0)

    def pictures(rng: np.random.Generator) -> np.ndarray:
        return rng.integers(0, 256, (40, 40, 3), dtype=np.uint8)

    patch, mask = np.full((64, 64, 3), 200, np.uint8), np.zeros((64, 64), np.uint8)
    printing = FreshOcclusion(square_occluder, style, 1.0, pictures, printed_photos=1.0)
    rng = np.random.default_rng(0)
    results = [printing(patch, patch, mask, rng) for _ in range(20)]
    assert sum(np.any(clean != 200) for clean, _, _ in results) > 10
    for clean, occluded, covered in results:
        np.testing.assert_array_equal(clean[covered == 0], occluded[covered == 0])
    assert (patch == 200).all()


def test_paste_config(tmp_path: Path) -> None:
    assert FreshOcclusion.from_config(PasteConfig(), 64) is None
    bundled = FreshOcclusion.from_config(PasteConfig(probability=0.5), 64)
    assert max(bundled.choose(np.random.default_rng(0), "hand").rgba.shape) == 96
    held_out = split_sources(find_occluders([CUTOUTS]))[1]
    assert not {entry for entries in bundled.choose.entries.values() for entry in entries} & set(held_out)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        FreshOcclusion.from_config(PasteConfig(probability=0.5, occluders=(str(tmp_path / "nowhere"),)), 64)


def test_batches_with_bundled_occluders_do_not_depend_on_workers_or_order(prepared: Path) -> None:
    paste = {"probability": 1.0, "printed_photos": 0.3}
    alone = load(config_for(prepared, paste=paste))
    assert_same(load(config_for(prepared, paste=paste, workers=2)), alone)
    assert_same(load(config_for(prepared, paste=paste), 4), alone[4:])
    other_seed = load(replace(config_for(prepared, paste=paste), seed=config_for(prepared).seed + 1))
    assert not any(np.array_equal(one["mask"], other["mask"]) for one, other in zip(alone, other_seed, strict=True))


def test_small_shared_memory_is_said_and_gone_without(prepared, monkeypatch, caplog):
    stages = [Stage(iterations=1, batch=8, patch=192)]
    monkeypatch.setattr(os, "statvfs", lambda folder: SimpleNamespace(f_bavail=16384, f_frsize=4096))
    assert not shared_memory_suffices(stages, 1, Path("/nowhere"))
    assert "has 0 MB free" in caplog.text
    assert not shared_memory_suffices(stages, 4)
    assert "has 64 MB free and 4 workers need about 126 MB: going on without" in caplog.text
    caplog.clear()
    assert shared_memory_suffices(stages, 2)
    assert caplog.text == ""
    monkeypatch.setattr(os, "statvfs", lambda folder: SimpleNamespace(f_bavail=1, f_frsize=4096))
    loader = make_loader(config_for(prepared, workers=2))
    assert "going on without shared memory" in caplog.text
    assert not loader.shared_memory
    assert_same([numbers(batch) for batch in loader], load(config_for(prepared)))
