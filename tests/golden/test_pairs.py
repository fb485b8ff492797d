"""What is made of pairs: synthesised sets, patches and their lists, measures."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import data_preparation
import generate_meta_info
from data.synthesis.__main__ import main as synthesis
from metrics.__main__ import main as metrics
from tests.golden import pictures
from tests.golden.recorded_values import grid, sha


def _value(cell: str) -> float | str:
    return float(cell) if cell.replace(".", "").isdigit() else cell


def _pixels(root: Path) -> dict[str, str]:
    names = sorted(path for path in root.rglob("*") if path.suffix in (".jpg", ".png"))
    return {path.relative_to(root).as_posix(): sha(np.asarray(Image.open(path))) for path in names}


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("sources")
    for index in range(5):
        pictures.save(root / "pages" / f"page{index}.png", pictures.text_page(420 + 10 * index, 320, index))
        pictures.save(root / "cutouts" / "hands" / f"h{index}.png", pictures.hand(300 - 8 * index, 220))
        rgba = pictures.head(260, 220 - 8 * index)
        pictures.save(root / "cutouts" / "heads" / f"k{index}.png", rgba[..., :3])
        pictures.save(root / "cutouts" / "heads" / f"k{index}_mask.png", rgba[..., 3])
    return root


@pytest.mark.parametrize("style", ["contest", "natural"])
def test_a_synthesised_set_is_the_recorded_one_for_any_number_of_workers(golden, sources, tmp_path, style):
    """Bit for bit, as the held-out sets have to be. The means tell whether it was a rounding or more."""
    options = ["--pages", sources / "pages", "--occluders", sources / "cutouts", "--groups", 7, "--seed", 4]
    options += ["--long-side", 360, "--occlusions-per-page", 2, "--style", style]
    if style == "natural":
        options += ["--printed-photos", 0.5, "--printed-people", 0.5, "--desks", 0.5, "--occluded", 0.8]
    for workers in "12":
        assert synthesis([*map(str, (tmp_path / workers, *options)), "--workers", workers]) == 0
    one, two = ({path.relative_to(tmp_path / run): path.read_bytes() for path in (tmp_path / run).rglob("*.*")}
                for run in "12")  # fmt: skip
    assert one == two
    photos = [path for path in sorted((tmp_path / "1").rglob("*.jpg")) if path.parent.name != "gt"]
    golden(f"synthesis/{style}/means", [grid(np.asarray(Image.open(path)), 3) for path in photos], absolute=0.1)
    notes = {path.parent.name: path.read_text("utf-8") for path in sorted((tmp_path / "1").rglob("annotation.txt"))}
    groups = json.loads((tmp_path / "1" / "manifest.json").read_text("utf-8"))["groups"]
    golden(f"synthesis/{style}/annotations", notes)
    golden(f"synthesis/{style}/groups", json.loads(json.dumps(groups).replace(str(sources), "HERE")), relative=1e-6)
    golden(f"synthesis/{style}/pixels", _pixels(tmp_path / "1"))


def test_preparation_cuts_and_lists_the_recorded_patches(golden, tmp_path):
    root, out = pictures.contest(tmp_path / "contest"), tmp_path / "out"
    small = ["--size", "64", "--workers", "1"]
    choice = ["--threshold", "235", "--keep-occluded", "0.33", "--workers", "1"]
    for name, more in {"divided": [], "all": ["--all"]}.items():
        assert data_preparation.main([str(root), str(out), *small, *more]) == 0
        assert generate_meta_info.main([str(out), *choice, *more]) == 0
        lists = {path.name: path.read_text("utf-8") for path in sorted(out.glob("*.txt"))}
        golden(f"prepare/{name}/lists", {key: text.replace(str(tmp_path), "HERE") for key, text in lists.items()})
    golden("prepare/patches", _pixels(out))
    with open(out / "gradients.csv", newline="", encoding="utf-8") as file:
        rows = [[_value(cell) for cell in row] for row in csv.reader(file)]
    golden("prepare/gradients", rows, relative=1e-4)
    halves = ["--size", "48", "--downscale", "2", "--workers", "1"]
    assert data_preparation.main([str(root), str(tmp_path / "halves"), *halves]) == 0
    golden("prepare/halves", _pixels(tmp_path / "halves"))


def test_the_metrics_command_measures_the_recorded_values(golden, tmp_path, capsys):
    """Against a folder, with masks, and against a set in the contest's layout; one result is too small, one missing."""
    pictures.contest(tmp_path / "contest", pages=2)
    for number, strength in enumerate((3, 12)):
        truth, name = pictures.text_page(260, 200, number), f"p{number}_0.png"
        worse = pictures.speckled(truth, 7, strength)
        worse[180:230, 20:90] += np.uint8(20)
        mask = pictures.finger(truth.shape, (60, 150), (30, 259), 40) * 255
        for folder in ("", "train_data_1/hand", "train_data_2/head"):
            pictures.save(tmp_path / "results" / folder / name, worse)
        for folder, picture in (("truth", truth), ("masks", mask)):
            for there, rows in ((name, 260), ("small.png", 100), ("missing.png", 100)):
                pictures.save(tmp_path / folder / there, picture[:rows])
    pictures.save(tmp_path / "results" / "small.png", worse[:100])
    cases = {"folder": ["truth"], "masks": ["truth", "--masks", str(tmp_path / "masks")], "contest": ["contest"]}
    for name, (truths, *more) in cases.items():
        table = tmp_path / f"{name}.csv"
        code = metrics([str(tmp_path / "results"), str(tmp_path / truths), *more, "--csv", str(table)])
        with open(table, newline="", encoding="utf-8") as file:
            rows = [{key: _value(cell) for key, cell in row.items()} for row in csv.DictReader(file)]
        golden(f"metrics/{name}", json.loads(json.dumps(rows).replace(str(tmp_path), "HERE")), absolute=1e-4)
        golden(f"metrics/{name}/printed", {"code": code, "out": capsys.readouterr().out.replace(str(tmp_path), "HERE")})
