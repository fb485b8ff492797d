"""The whole road, script by script, as the README has it: from an empty folder to a checked submission."""

import csv
import json
import re

import pytest

from data.contest import read_contest, read_list
from models.weights import load_weights
from tests.conftest import ROOT, python

# The smoke config in small: enough iterations to get better than doing nothing, few enough for every test run.
SHORT = ["output=run", "data.train_list=prepared/train.txt", "data.val_pages=prepared/val_pages.txt",
         "train.iterations=170", "train.save_every=70", "validation.every=85", "validation.pages=2",
         "train.stages=[{iterations: 140, batch: 4, patch: 96}, {iterations: 30, batch: 2, patch: 160}]"]  # fmt: skip


@pytest.mark.long
def test_from_an_empty_folder_to_a_checked_submission(tmp_path):
    def run(name: str, *arguments: object) -> str:
        script = [ROOT / name] if name.endswith(".py") else ["-m", name]
        done = python(*script, *arguments, cwd=tmp_path)
        return done.stdout + done.stderr

    def scores(folder: str) -> list[dict[str, str]]:
        run("metrics", folder, "prepared/val_pages.txt", "--csv", "scores.csv")
        with open(tmp_path / "scores.csv", newline="") as file:
            return list(csv.DictReader(file))

    run("data.synthesis", "contest", "--groups", 30, "--seed", 0, "--long-side", 512)
    assert len(read_contest(tmp_path / "contest")) == 30
    run("data_preparation.py", "contest", "prepared", "--size", 256, "--downscale", 1)
    assert "above the threshold of 10" in run("generate_meta_info.py", "prepared")
    lists = [read_list(tmp_path / "prepared" / f"{name}.txt") for name in ("train", "val")]
    # Two blobs on one photo may give two patches.
    assert 30 <= sum(map(len, lists)) <= 36
    pages, others = ({path.occluded.name.split("_a_")[0] for path in paths} for paths in lists)
    assert not pages & others, "a page is in both sets"

    # A run in two processes: the second goes on from the first one's checkpoint and crosses the border of the stages.
    first = ["train.py", "-c", ROOT / "configs" / "smoke.yml", "--device", "cpu", "-o", *SHORT]
    run(*first, "train.iterations=70", "train.stages=[{iterations: 70, batch: 4, patch: 96}]")
    run(*first, "--resume")
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    losses = [line["loss"] for line in lines if "loss" in line]
    assert sum(losses[-3:]) < 0.8 * sum(losses[:3]), f"nothing was learnt: {losses}"
    assert {line["patch"] for line in lines if "patch" in line} == {96, 160}
    assert load_weights(tmp_path / "run" / "model_last.pdparams").model["gate"]

    weights = ["--weights", "run/model_last.pdparams"]
    run("predict.py", "contest", "results", "--include", "*_a_?_???.jpg", *weights, "--device", "cpu")
    restored, untouched = scores("results"), scores("contest")
    assert [row["name"] for row in untouched] == [row["name"] for row in restored]
    assert len(restored) == len(read_list(tmp_path / "prepared" / "val_pages.txt")) + 1, "a row a page, and their mean"
    gain = float(restored[-1]["score"]) - float(untouched[-1]["score"])
    assert gain > 0.01, f"restored pages score {gain:+.4f} against the untouched ones"

    report = run("test_code.build", *weights, "--out", "submission.zip")
    assert (tmp_path / "submission.zip").is_file()
    assert "6 pictures restored" in report
    assert "names and sizes right" in report
    assert re.search(r"seconds per picture.*\d", report)
