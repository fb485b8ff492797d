"""predict.py as a user runs it: a process of its own, from anywhere, with the shipped weights."""

from __future__ import annotations

import subprocess
import sys
from argparse import ArgumentTypeError
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import predict
from inference.folder import Outcome
from models.presets import build
from models.state import arrays_of
from tests.inference.test_restorer import page
from utils.weights import Weights, save_weights

SCRIPT = Path(predict.__file__).resolve()


def run(*arguments: object, cwd: Path) -> subprocess.CompletedProcess:
    command = [sys.executable, str(SCRIPT), *map(str, arguments), "--device", "cpu"]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


def test_it_restores_a_folder_from_anywhere_and_tells_counts_windows_and_seconds(tmp_path):
    (tmp_path / "in" / "sub").mkdir(parents=True)
    Image.fromarray(page(60, 80, None)).save(tmp_path / "in" / "one.png")
    Image.fromarray(page(50, 40, None)).save(tmp_path / "in" / "sub" / "two.jpg")
    (tmp_path / "in" / "bad.jpg").write_bytes(b"bad")
    (tmp_path / "in" / "notes.txt").write_text("words")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    done = run("../in", "../out", "--save-mask", cwd=elsewhere)
    assert done.returncode == 1, done.stderr
    assert "failed: bad.jpg" in done.stderr
    assert done.stdout.count("TLC windows") == 1
    assert "384x384" in done.stdout
    assert "notes.txt" in done.stdout
    assert "3 pictures" in done.stdout
    assert "1 failed" in done.stdout
    assert "s per picture, slowest" in done.stdout
    for name in ("one.png", "one.png.mask.png", "sub/two.jpg", "sub/two.jpg.mask.png"):
        assert (tmp_path / "out" / name).is_file()
    (tmp_path / "in" / "bad.jpg").unlink()
    again = run(tmp_path / "in", tmp_path / "out", "--tiles", "1x1", "--tlc-ratio", "0", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert "2 skipped" in again.stdout
    assert "--overwrite redoes them" in again.stdout
    assert "TLC off" in again.stdout


def test_options_reach_the_network(tmp_path):
    """An ungated random network changes everything, and differently with other tiles."""
    network = build("tiny")
    arrays = {
        name: value + np.float32(0.3) if name.endswith(("beta", "gamma")) else value
        for name, value in arrays_of(network).items()
    }
    save_weights(tmp_path / "tiny.pdparams", Weights(params=arrays, model=network.config))
    (tmp_path / "in").mkdir()
    Image.fromarray(page(64, 96, None)).save(tmp_path / "in" / "one.png")

    def result(name: str, *options: object) -> np.ndarray:
        folders = [str(tmp_path / "in"), str(tmp_path / name)]
        fixed = ["--weights", str(tmp_path / "tiny.pdparams"), "--device", "cpu"]
        assert predict.main([*folders, *fixed, *map(str, options)]) == 0
        return np.asarray(Image.open(tmp_path / name / "one.png")).astype(int)

    plain = result("plain", "--tiles", "1x1", "--tlc-ratio", 0)
    assert np.abs(plain - page(64, 96, None)).max() > 3
    assert np.abs(plain - result("scaled", "--tiles", "1x1", "--tlc-ratio", 0, "--scale", 0.5)).max() > 1
    assert np.abs(plain - result("tiled", "--tiles", "4", "--overlap", 0, "--tlc-ratio", 0)).max() >= 1
    assert np.abs(plain - result("local", "--tiles", "1x1", "--tlc-ratio", 0.05)).max() >= 1


def test_what_a_result_loses_is_shown(tmp_path):
    network = build("tiny")
    arrays = {name: value + np.float32(0.1) for name, value in arrays_of(network).items()}
    save_weights(tmp_path / "tiny.pdparams", Weights(params=arrays, model=network.config))
    (tmp_path / "in").mkdir()
    Image.fromarray(page(64, 96, None)).quantize(64).save(tmp_path / "in" / "one.png")
    done = run(tmp_path / "in", tmp_path / "out", "--weights", tmp_path / "tiny.pdparams", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "1 restored" in done.stdout
    assert "one.png: restored, but the palette becomes RGB" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere", "out"], "nowhere"),
        (["empty", "out"], "no pictures"),
        (["in", "in"], "overwrite"),
        (["in", "out", "--weights", "none.pdparams"], "none.pdparams"),
    ],
)
def test_what_cannot_work_is_said_before_anything_runs(tmp_path, monkeypatch, capsys, arguments, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    (tmp_path / "empty").mkdir()
    Image.fromarray(page(8, 8, None)).save(tmp_path / "in" / "one.png")
    assert predict.main([*arguments, "--device", "cpu"]) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("text", "expected"), [("2x2", (2, 2)), ("4", (2, 2)), ("1", (1, 1)), ("3X5", (3, 5))])
def test_tiles_are_read(text, expected):
    assert predict.parse_tiles(text) == expected


@pytest.mark.parametrize("text", ["0", "5", "2x", "x2", "2x0", "-4", "many", "2x2x2"])
def test_other_tiles_are_refused(text):
    with pytest.raises(ArgumentTypeError, match="ROWSxCOLUMNS"):
        predict.parse_tiles(text)


@pytest.mark.parametrize("text", ["0", "1.5", "-1", "half", "nan"])
def test_other_scales_are_refused(text):
    with pytest.raises(ArgumentTypeError, match="auto"):
        predict.parse_scale(text)


@pytest.mark.parametrize("text", ["-1", "nan", "inf", "x"])
def test_other_ratios_and_overlaps_are_refused(text):
    with pytest.raises(ArgumentTypeError):
        predict.parse_ratio(text)
    with pytest.raises(ArgumentTypeError):
        predict.parse_count(text)


def test_the_summary_names_the_slowest_and_the_exit_code_follows_failures(capsys):
    states = {"a": ("restored", 1.0), "b": ("untouched", 3.0), "c": ("skipped", 9.0)}
    outcomes = [Outcome(Path(name), status, seconds) for name, (status, seconds) in states.items()]
    assert predict.summarise(outcomes) == 0
    words = capsys.readouterr().out
    assert "3 pictures: 1 restored, 1 untouched, 1 skipped, 0 failed" in words
    assert "2.00 s per picture, slowest 3.00 s (b)" in words
    assert "finished results were kept" in words
    assert "--overwrite" in words
    assert predict.summarise(outcomes[:2]) == 0
    assert "--overwrite" not in capsys.readouterr().out
    assert predict.summarise([*outcomes, Outcome(Path("d"), "failed", 0.1, "bad")]) == 1


def test_ctrl_c_keeps_what_is_done_and_says_how_to_go_on(tmp_path, monkeypatch, capsys):
    Image.fromarray(page(20, 30, None)).save(tmp_path / "one.png")

    def interrupted(*_):
        yield Outcome(Path("one.png"), "restored", 0.5)
        raise KeyboardInterrupt

    monkeypatch.setattr("inference.folder.restore_folder", interrupted)
    assert predict.main([str(tmp_path), str(tmp_path / "out"), "--device", "cpu"]) == 130
    told = capsys.readouterr()
    assert "1 restored" in told.out
    assert "stopped; run it again" in told.err


def test_results_that_cannot_be_written_are_refused_before_the_work(tmp_path, capsys):
    Image.fromarray(page(20, 30, None)).save(tmp_path / "one.png")
    (tmp_path / "taken").write_text("words")
    assert predict.main([str(tmp_path), str(tmp_path / "taken"), "--device", "cpu"]) == 2
    assert "taken: is a file, expected a folder" in capsys.readouterr().err
    assert (tmp_path / "taken").read_text() == "words"
    assert predict.main([str(tmp_path), "/proc/results", "--device", "cpu"]) == 2
    assert "/proc/results: cannot be written to" in capsys.readouterr().err
