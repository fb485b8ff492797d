"""The records of a run: JSON lines, what a resumed run keeps of them, curves, events."""

from __future__ import annotations

import json
import sys
import types

import numpy as np
import pytest

from data.images import read_rgb
from utils.training.run_folder import Journal, describe_run, read_metrics


def test_lines_are_json_and_flushed_at_once(tmp_path):
    journal = Journal(tmp_path)
    journal.record("train", 10, loss=0.5, psnr=float("inf"), other=None)
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [
        {"kind": "train", "iteration": 10, "loss": 0.5, "psnr": None, "other": None}
    ]
    journal.close()


def test_resume_drops_what_will_be_made_again_and_a_torn_line(tmp_path):
    journal = Journal(tmp_path)
    for iteration in (5, 10, 15):
        journal.record("train", iteration, loss=1.0 / iteration)
    journal.close()
    with open(tmp_path / "metrics.jsonl", "a") as file:
        file.write('{"kind": "train", "iter')
    resumed = Journal(tmp_path, resume_from=10)
    resumed.record("train", 15, loss=0.25)
    resumed.close()
    records = read_metrics(tmp_path / "metrics.jsonl")
    assert [(item["iteration"], item["loss"]) for item in records] == [(5, 0.2), (10, 0.1), (15, 0.25)]


def test_a_new_run_starts_an_empty_file(tmp_path):
    Journal(tmp_path).record("train", 5, loss=1.0)
    Journal(tmp_path).close()
    assert read_metrics(tmp_path / "metrics.jsonl") == []


def test_a_damaged_line_in_the_middle_is_named(tmp_path):
    (tmp_path / "metrics.jsonl").write_text('{"kind": "a", "iteration": 1}\nnonsense\n{"kind": "a", "iteration": 2}\n')
    with pytest.raises(ValueError, match=r"metrics\.jsonl:2"):
        read_metrics(tmp_path / "metrics.jsonl")


def test_curves_are_a_picture_with_something_on_it(tmp_path):
    journal = Journal(tmp_path)
    journal.draw()
    assert not (tmp_path / "curves.png").exists()
    for iteration in range(1, 20):
        journal.record("train", iteration, loss=100.0 / iteration**2, rate=1e-4)
    journal.record("validation", 10, score=0.7)
    journal.draw()
    journal.close()
    picture = read_rgb(tmp_path / "curves.png")
    assert min(picture.shape[:2]) > 200
    assert np.ptp(picture) == 255


@pytest.mark.parametrize(("module", "name"), [("visualdl", "LogWriter"), ("tensorboardX", "SummaryWriter")])
def test_events_go_to_the_viewer_that_is_installed(tmp_path, monkeypatch, module, name):
    calls = []

    class Writer:
        def __init__(self, logdir):
            calls.append(logdir)

        def add_scalar(self, tag, value, step):
            calls.append((tag, value, step))

        def close(self):
            calls.append("closed")

    for other in ("visualdl", "tensorboardX", "torch.utils.tensorboard"):
        monkeypatch.setitem(sys.modules, other, None)
    monkeypatch.setitem(sys.modules, module, types.SimpleNamespace(**{name: Writer}))
    journal = Journal(tmp_path)
    journal.record("train", 3, loss=0.5, psnr=float("nan"))
    journal.close()
    assert calls == [str(tmp_path / "events"), ("train/loss", 0.5, 3), "closed"]


def test_without_a_viewer_nothing_is_missing(tmp_path, monkeypatch):
    for other in ("visualdl", "tensorboardX", "torch.utils.tensorboard"):
        monkeypatch.setitem(sys.modules, other, None)
    journal = Journal(tmp_path)
    journal.record("train", 3, loss=0.5)
    journal.close()
    assert not (tmp_path / "events").exists()


def test_the_folder_explains_itself(tmp_path):
    describe_run(tmp_path, "seed: 1\n", ["train.py", "-c", "a b.yml"])
    describe_run(tmp_path, "seed: 1\n", ["train.py", "--resume"])
    assert (tmp_path / "config.yml").read_text() == "seed: 1\n"
    first, second = (tmp_path / "command.txt").read_text().splitlines()
    assert first.endswith("train.py -c 'a b.yml'")
    assert second.endswith("train.py --resume")


def test_a_broken_viewer_is_a_warning_and_not_the_end(tmp_path, monkeypatch, caplog):
    for other in ("visualdl", "tensorboardX", "torch.utils.tensorboard"):
        monkeypatch.setitem(sys.modules, other, None)

    def import_module(name):
        if name == "visualdl":
            raise TypeError("Descriptors cannot be created directly")
        raise ImportError(name)

    monkeypatch.setattr("utils.training.run_folder.importlib.import_module", import_module)
    journal = Journal(tmp_path)
    journal.record("train", 3, loss=0.5)
    journal.close()
    assert "visualdl" in caplog.text
    assert "Descriptors" in caplog.text
