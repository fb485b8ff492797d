"""`python -m metrics`: which result belongs to which truth, the table, the CSV and the exit code."""

import csv
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from data.images import read_rgb
from data.masks import contest_mask_image
from metrics import evaluate
from metrics.__main__ import main
from tests.golden.pictures import save
from tests.metrics.reference_pictures import as_bytes, page

CLEAN = as_bytes(page(170, 200))
MASK = np.zeros((170, 200), np.uint8)
MASK[100:, :50] = 1


def restored(offset: int) -> np.ndarray:
    """The clean page with an even error inside the mask."""
    picture = CLEAN.copy()
    inside = picture[MASK == 1]
    picture[MASK == 1] = np.where(inside > 127, inside - offset, inside + offset)
    return picture


def contest(root: Path, folder: str, lines: list[str]) -> None:
    """One train_data folder; every line is an occlusion without its suffix, such as hand/x."""
    save(root / folder / "gt" / "page.png", CLEAN)
    for line in lines:
        save(root / folder / f"{line}.jpg", CLEAN)
        contest_mask_image(MASK).save(root / folder / f"{line}.png")
    (root / folder / "annotation.txt").write_text("".join(f"gt/page.png {line}.jpg {line}.png\n" for line in lines))


def measure(root: Path, truth: str) -> tuple[int, dict[str, dict[str, str]]]:
    """The exit code and the rows of the table, for `root`/results against `root`/`truth`."""
    code = main([str(root / "results"), str(root / truth), "--csv", str(root / "out" / "table.csv")])
    with open(root / "out" / "table.csv", newline="", encoding="utf-8") as file:
        return code, {row["name"]: row for row in csv.DictReader(file)}


def test_what_is_wrong_is_named_and_sets_the_exit_code(tmp_path, capsys):
    told = {"missing": "results/missing.png: cannot be opened (No such file", "size": "size.png is 199 x 170, ",
            "cut": "cut.png"}  # fmt: skip
    for name in ("good", *told):
        save(tmp_path / "gt" / f"{name}.png", CLEAN)
        save(tmp_path / "results" / f"{name}.png", restored(3))
    for folder, picture in (("gt", CLEAN), ("results", restored(3))):
        save(tmp_path / folder / "small.png", picture[:160])
    (tmp_path / "results" / "missing.png").unlink()
    save(tmp_path / "results" / "size.png", CLEAN[:, :-1])
    cut = tmp_path / "results" / "cut.png"
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])
    code, rows = measure(tmp_path, "gt")
    assert code == 1
    for name, words in told.items():
        assert words in rows[f"{name}.png"]["problem"]
        assert rows[f"{name}.png"]["psnr"] == ""
    assert "gt/size.png is 200 x 170" in rows["size.png"]["problem"]
    assert not rows["good.png"]["problem"]
    assert rows["mean"]["score"] == rows["good.png"]["score"]
    printed = capsys.readouterr()
    assert re.search(r"\ngood\.png +48\.46 +0\.9999 +0\.74..\n", printed.out)
    assert "no MS-SSIM and no score (a side under 161 pixels): small.png" in printed.out
    assert "missing.png" in printed.out
    assert "not measured: 3 of 5" in printed.err


def test_a_contest_folder_or_a_list_of_pages_gives_truth_and_masks_to_every_occlusion(tmp_path):
    offsets = {"page_0_000": 2, "page_0_001": 8}
    contest(tmp_path / "contest", "train_data_1", [f"hand/{name}" for name in offsets])
    for name, offset in offsets.items():
        for folder in ("train_data_1/hand", "hand"):
            save(tmp_path / "results" / folder / f"{name}.jpg", restored(offset))
    annotation = tmp_path / "contest" / "train_data_1" / "annotation.txt"
    paths = [" ".join(f"../contest/train_data_1/{name}" for name in line.split())
             for line in annotation.read_text().splitlines()]
    (tmp_path / "prepared").mkdir()
    (tmp_path / "prepared" / "val_pages.txt").write_text("\n".join(paths))
    for source, folder in {"contest": "train_data_1/hand", "contest/train_data_1": "hand",
                           "contest/train_data_1/annotation.txt": "train_data_1/hand",
                           "prepared/val_pages.txt": "train_data_1/hand"}.items():  # fmt: skip
        code, rows = measure(tmp_path, source)
        assert (code, len(rows)) == (0, 3)
        for name in offsets:
            result = read_rgb(tmp_path / "results" / folder / f"{name}.jpg")
            measured, expected = rows[f"{folder}/{name}.jpg"], evaluate(result, CLEAN, MASK)
            for side in ("psnr_inside", "psnr_outside"):
                assert float(measured[side]) == pytest.approx(expected[side])
    save(tmp_path / "contest/train_data_1/hand/page_0_000.png", MASK[:-1])
    assert "the mask " in measure(tmp_path, "contest")[1]["train_data_1/hand/page_0_000.jpg"]["problem"]


def test_wrong_usage_ends_with_2_and_words_before_anything_is_measured(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("metrics.__main__.measure", lambda *_: pytest.fail("measured"))
    save(tmp_path / "gt" / "a.png", CLEAN)
    (tmp_path / "empty").mkdir()
    gt, nowhere = str(tmp_path / "gt"), str(tmp_path / "nowhere")
    for arguments, message in (
        ([nowhere, gt], "nowhere: no such folder"),
        ([gt, str(tmp_path / "empty")], "empty: expected a folder of clean pictures"),
        ([gt, nowhere], "nowhere: expected a folder of clean pictures"),
        ([gt, gt, "--csv", gt], "Is a directory"),
        ([gt, gt, "--csv", f"{gt}/a.png/table.csv"], "is a file, expected a folder"),
        ([gt, gt, "--csv", "/proc/table.csv"], "c/table.csv: No such file or directory"),
    ):
        try:
            code = main(arguments)
        except SystemExit as stopped:
            code = stopped.code
        assert code == 2
        assert message in capsys.readouterr().err


def test_names_that_are_no_text_stand_in_a_table_that_goes_into_a_pipe(tmp_path):
    names = ["a\nb.png", os.fsdecode(b"p\xff.png"), "页.png"]
    for name in names:
        save(tmp_path / "gt" / name, CLEAN)
    os.mkfifo(tmp_path / "pipe")
    command = [sys.executable, "-m", "metrics", tmp_path / "gt", tmp_path / "gt", "--csv", tmp_path / "pipe"]
    ascii_only = os.environ | {"PYTHONIOENCODING": "ascii"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=ascii_only) as process:
        with open(tmp_path / "pipe", newline="", encoding="utf-8", errors="surrogateescape") as file:
            assert sorted(row["name"] for row in csv.DictReader(file)) == sorted([*names, "mean"])
        assert len(process.stdout.read().splitlines()) == 5
    assert (process.returncode, (tmp_path / "pipe").is_fifo()) == (0, True)
