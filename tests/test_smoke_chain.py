"""The whole road, script by script, as the README has it: from an empty folder to a checked submission."""

from __future__ import annotations

import csv
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from data.contest import read_contest, read_list
from models.weights import load_weights

ROOT = Path(__file__).resolve().parents[1]
# The smoke config in small: enough iterations to get better than doing nothing, few enough for every test run.
SHORT = [
    "train.iterations=170",
    "train.stages=[{iterations: 140, batch: 4, patch: 96}, {iterations: 30, batch: 2, patch: 160}]",
    "train.save_every=70",
    "validation.every=85",
    "validation.pages=2",
]


def run(folder: Path, *command: object, expected: int = 0) -> str:
    """Runs a script of the project in `folder`; returns what it printed, progress bars included."""
    words = [str(word) for word in command]
    script = ["-m", words[0]] if not words[0].endswith(".py") else [str(ROOT / words[0])]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, *script, *words[1:]], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == expected, f"{' '.join(words)}\n{done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr


@pytest.mark.long
def test_from_an_empty_folder_to_a_checked_submission(tmp_path: Path) -> None:
    run(tmp_path, "data.synthesis", "contest", "--groups", 30, "--seed", 0, "--long-side", 512)
    groups = read_contest(tmp_path / "contest")
    assert len(groups) == 30

    run(tmp_path, "data_preparation.py", "contest", "prepared", "--size", 256, "--downscale", 1)
    printed = run(tmp_path, "generate_meta_info.py", "prepared")
    assert "above the threshold of 10" in printed
    train, validation = (read_list(tmp_path / "prepared" / f"{name}.txt") for name in ("train", "val"))
    # Two blobs on one photo may give two patches.
    assert 30 <= len(train) + len(validation) <= 36
    pages = {path.occluded.name.split("_a_")[0] for path in train}
    assert not pages & {path.occluded.name.split("_a_")[0] for path in validation}, "a page is in both sets"

    settings = ["output=run", "data.train_list=prepared/train.txt", "data.val_pages=prepared/val_pages.txt", *SHORT]
    # A run in two processes: the second goes on from the first one's checkpoint and crosses the border of the stages.
    first = ["train.py", "-c", ROOT / "configs" / "smoke.yml", "--device", "cpu", "-o", *settings]
    run(tmp_path, *first, "train.iterations=70", "train.stages=[{iterations: 70, batch: 4, patch: 96}]")
    run(tmp_path, *first, "--resume")
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    losses = [line["loss"] for line in lines if "loss" in line]
    assert sum(losses[-3:]) < 0.8 * sum(losses[:3]), f"nothing was learnt: {losses}"
    assert {line["patch"] for line in lines if "patch" in line} == {96, 160}
    assert load_weights(tmp_path / "run" / "model_last.pdparams").model["gate"]

    weights = ["--weights", "run/model_last.pdparams", "--device", "cpu"]
    run(tmp_path, "predict.py", "contest", "results", "--include", "*_a_?_???.jpg", *weights)
    run(tmp_path, "metrics", "results", "prepared/val_pages.txt", "--csv", "scores.csv")
    with open(tmp_path / "scores.csv", newline="") as file:
        scores = list(csv.DictReader(file))
    assert len(scores) == len(read_list(tmp_path / "prepared" / "val_pages.txt")) + 1, "one row a page, and their mean"
    run(tmp_path, "metrics", "contest", "prepared/val_pages.txt", "--csv", "untouched.csv")
    with open(tmp_path / "untouched.csv", newline="") as file:
        untouched = list(csv.DictReader(file))
    assert [row["name"] for row in untouched] == [row["name"] for row in scores]
    gain = float(scores[-1]["score"]) - float(untouched[-1]["score"])
    assert gain > 0.01, f"restored pages score {gain:+.4f} against the untouched ones"

    report = run(tmp_path, "test_code.build", "--weights", "run/model_last.pdparams", "--out", "submission.zip")
    assert (tmp_path / "submission.zip").is_file()
    assert "6 pictures restored" in report
    assert "names and sizes right" in report
    assert re.search(r"seconds per picture.*\d", report)
