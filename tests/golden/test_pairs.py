"""What is made of pairs: synthesised sets, patches and their lists."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import data_preparation
import generate_meta_info
from data.synthesis.__main__ import main as synthesis
from tests.golden import pictures
from tests.golden.recorded_values import sha
from tests.test_data_preparation import add_group


def _pixels(root: Path) -> dict[str, str]:
    names = sorted(path for path in root.rglob("*") if path.suffix in (".jpg", ".png"))
    return {path.relative_to(root).as_posix(): sha(np.asarray(Image.open(path))) for path in names}


@pytest.mark.parametrize("style", ["contest", "natural"])
def test_a_synthesised_set_is_the_recorded_one(golden, tmp_path, style):
    """Bit for bit, as the held-out sets have to be; for any number of workers, tests/data/test_heldout.py."""
    (pages, cutouts), made = pictures.write_sources(tmp_path / "sources", 5, 5), tmp_path / "set"
    options = ["--pages", pages, "--occluders", cutouts, "--groups", 7, "--seed", 4, "--workers", 1]
    options += ["--long-side", 360, "--occlusions-per-page", 2, "--style", style]
    if style == "natural":
        options += ["--printed-photos", 0.5, "--printed-people", 0.5, "--desks", 0.5, "--occluded", 0.8]
    assert synthesis([*map(str, (made, *options))]) == 0
    notes = {path.parent.name: path.read_text("utf-8") for path in sorted(made.rglob("annotation.txt"))}
    groups = json.loads((made / "manifest.json").read_text("utf-8"))["groups"]
    golden(f"synthesis/{style}/annotations", notes)
    golden(f"synthesis/{style}/groups", json.loads(json.dumps(groups).replace(str(tmp_path), "HERE")), relative=1e-6)
    golden(f"synthesis/{style}/pixels", _pixels(made))


def test_preparation_cuts_and_lists_the_recorded_patches(golden, tmp_path):
    root, out = tmp_path / "contest", tmp_path / "out"
    for number in range(5):
        for kind, left in (("hand", 10), ("head", 150)):
            add_group(root, f"train_data_{number + 1}", f"p{number}", 0, (left, 200, 40 + number, 90), kind, number)
    small = ["--size", "64", "--workers", "1"]
    choice = ["--threshold", "234", "--keep-occluded", "0.235", "--workers", "1"]
    for name, more in {"divided": [], "all": ["--all"]}.items():
        assert data_preparation.main([str(root), str(out), *small, *more]) == 0
        assert generate_meta_info.main([str(out), *choice, *more]) == 0
        lists = {path.name: path.read_text("utf-8") for path in sorted(out.glob("*.txt"))}
        golden(f"prepare/{name}/lists", {key: text.replace(str(tmp_path), "HERE") for key, text in lists.items()})
    golden("prepare/patches", _pixels(out))
    halves = ["--size", "48", "--downscale", "2", "--workers", "1"]
    assert data_preparation.main([str(root), str(tmp_path / "halves"), *halves]) == 0
    golden("prepare/halves", _pixels(tmp_path / "halves"))
