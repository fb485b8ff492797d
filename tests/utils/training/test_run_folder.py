"""What a run needs to go on, whole or noticed, and its average; what its folder decides and keeps: start, best
validation, records, and who may write.
"""

import json
import os
import subprocess
import sys
import types
from pathlib import Path
from unittest.mock import Mock, call

import numpy as np
import paddle
import pytest

from models.weights import Weights, arrays_of, save_weights
from utils.training.checkpoint import CheckpointError, MovingAverage, load_checkpoint, save_checkpoint
from utils.training.journal import Journal, read_metrics
from utils.training.processes import Processes
from utils.training.run_folder import RunFolder


class Learner:
    """Stands for what is trained: one number."""

    def __init__(self, value: float):
        self.value = np.array([value], np.float32)

    def state(self):
        return {"params": {"x": self.value}}

    def save_weights(self, path, iteration):
        path.write_text(f"{self.value[0]:g} {iteration}")


def folder(path, processes=Processes(), threads=2, **config) -> RunFolder:  # noqa: B008 - frozen
    return RunFolder(path, {"seed": 0, **config}, processes, threads)


def measures(score: float | None, psnr: float) -> dict[str, float | None]:
    return {"score": score, "psnr": psnr, "ms_ssim": None}


def test_the_best_is_the_highest_score_and_the_first_of_equals_and_is_kept(tmp_path, capsys):
    run = folder(tmp_path)
    # Without a score the PSNR decides, and is never compared with a score.
    pairs = ((None, 20.0), (None, 19.0), (0.6, 15.0), (0.5, 40.0), (0.7, 10.0), (0.7, 50.0))
    answers = [run.record_validation(10 * number, measures(*pair)) for number, pair in enumerate(pairs, 1)]
    assert answers == [True, False, True, False, True, False]
    # What finds nothing is never the best.
    assert not run.record_validation(70, {**measures(0.9, 20.0), "found": 0.0})
    assert run.record_validation(80, {**measures(0.8, 19.0), "found": 0.25})
    assert capsys.readouterr().out.count("(finds nothing yet, not a best)") == 1
    # It has files of its own, and is remembered.
    run.save(80, Learner(1.0), best=True)
    run.save(90, Learner(2.0))
    for name, text, iteration in (("best", "1 80", 80), ("last", "2 90", 90)):
        assert (tmp_path / f"model_{name}.pdparams").read_text() == text
        assert load_checkpoint(tmp_path / "checkpoints" / f"{name}.pdckpt")["iteration"] == iteration
    again = folder(tmp_path)
    assert again.find_start(resume="")["iteration"] == 90
    assert again.best == run.best == {"measure": "score", "value": 0.8, "iteration": 80}


def test_the_last_two_are_kept_and_a_torn_one_gives_way_and_is_set_aside(tmp_path, caplog, monkeypatch):
    for iteration in (1, 2, 3):
        folder(tmp_path).save(iteration, Learner(1.0))
    last, previous = (tmp_path / "checkpoints" / f"{name}.pdckpt" for name in ("last", "previous"))
    assert sorted(last.parent.iterdir()) == [last, previous]
    last.write_bytes(last.read_bytes()[:100])
    assert folder(tmp_path).find_start("")["iteration"] == 2
    assert "last.pdckpt cannot be read" in caplog.text
    assert "last.pdckpt.torn" in caplog.text
    # Another process of the run listed the folder before that, and opens the file after it.
    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "checkpoints", lambda self: [last, previous])
        assert folder(tmp_path, Processes(rank=1)).find_start("")["iteration"] == 2
        # Stopped before the last one has its name, the one before is there.
        patch.setattr(os, "replace", lambda source, target: 1 / 0 if target == last else Path(source).rename(target))
        with pytest.raises(ZeroDivisionError):
            folder(tmp_path).save(4, Learner(1.0))
    assert folder(tmp_path).find_start("")["iteration"] == 2
    # Only torn files are an error, and not a fresh start.
    previous.write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"none of .*previous\.pdckpt can be read"):
        folder(tmp_path).find_start(None, auto=True)


def test_the_folder_explains_itself_and_lines_are_means_as_json_of_which_a_resumed_run_keeps_the_first(tmp_path):
    commands = ["train.py", "-c", "a \udcff.yml"], ["train.py", "--resume"], ["train.py"]
    for command, start, losses in zip(commands, (0, 2, 0), ([1.0, np.float32(2.0)], [0.25], [0.5]), strict=True):
        run = folder(tmp_path)
        run.open(start, "seed: 0\n", command)
        for done in (start + 2, start + 4):
            run.record_training(done, [{"loss": loss} for loss in losses], psnr=float("inf"), other=None)
        run.close()
        expected = [{"kind": "train", "iteration": done, "loss": np.mean(losses), "psnr": None, "other": None}
                    for done in (start + 2, start + 4)]  # fmt: skip
        if start:
            expected.insert(0, {**expected[0], "iteration": 2, "loss": 1.5})
        assert [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()] == expected
    assert (tmp_path / "config.yml").read_text() == "seed: 0\n"
    first, second, _ = (tmp_path / "command.txt").read_bytes().splitlines()
    assert first.endswith(b"train.py -c 'a \xff.yml'")
    assert second.endswith(b"train.py --resume")


def test_other_processes_write_and_say_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(Processes, "total", lambda self, values: [2 * value for value in values])
    run = folder(tmp_path, Processes(rank=1, world=2))
    run.open(0, "seed: 0\n", ["train.py"])
    run.record_training(1, [{"loss": 1.0}])
    run.record_validation(1, measures(0.5, 20.0))
    run.save(1, Learner(1.0), best=True)
    run.save(1, Learner(1.0))
    run.close()
    assert list(tmp_path.iterdir()) == []
    assert capsys.readouterr().out == ""
    # It knows the best all the same, since every process has to decide alike.
    assert run.best["value"] == 0.5


def test_auto_starts_when_there_is_nothing_and_what_changed_is_refused_or_announced(tmp_path, capsys):
    assert folder(tmp_path).find_start(resume=None, auto=True) is None
    kept = {"model": {"width": 8}, "optimizer": {"betas": (0.9,)}, "train": {"ema_decay": 0}}
    folder(tmp_path, **kept, models=1).save(5, Learner(1.0))
    other = {"seed": 1, "model": {"width": 9}, "optimizer": {"betas": (0.8,)}, "train": {"ema_decay": 0.5}}
    with pytest.raises(CheckpointError, match=r"\(seed: 0 in the checkpoint, 1 now; model.width: 8 .* 9 now; "
                       r"optimizer.betas: .*; train\.ema_decay: 0 in the checkpoint, 0\.5 now\)"):  # fmt: skip
        folder(tmp_path, **other, models=2).find_start(resume=None, auto=True)
    changed = folder(tmp_path, threads=3, **kept, models=2)
    assert changed.find_start(resume=None, auto=True)["iteration"] == 5
    said = capsys.readouterr().out
    assert "changed: models was 1, is 2" in said
    assert "threads: 2 before, 3 now" in said


@pytest.mark.parametrize(("saved", "refused", "other", "words"), [
    # The one that knows the reason says it, after the others were told.
    (None, True, 0, "refused by another process"), (None, False, 0, "no checkpoint to resume"),
    (5, False, 3, "different iterations, this one from 5.*--resume CHECKPOINT"), (5, False, 10, "this one from 5"),
    (5, False, 5, None)])  # fmt: skip
def test_processes_that_would_start_apart_or_of_which_one_is_refused_its_start_all_leave(
    tmp_path, monkeypatch, saved, refused, other, words
):
    if saved:
        folder(tmp_path).save(saved, Learner(1.0))
    others = [refused, other, other**2]
    monkeypatch.setattr(Processes, "total", lambda self, values: [*map(sum, zip(values, others, strict=True))])
    run = folder(tmp_path, Processes(rank=0, world=2))
    if words is None:
        assert run.find_start("")["iteration"] == 5
    else:
        with pytest.raises(CheckpointError, match=words):
            run.find_start(None if refused else "")


@pytest.mark.parametrize("line", [b"nonsense", b"\xff\0", b"null", b"[]", b'{"kind": "a"}', b'{"iteration": 1}',
                                  b'{"kind": "a", "iteration": "1"}', b'{"kind": "a", "iteration": 1, "loss": []}',
                                  b"[" * 100_000])  # fmt: skip
def test_a_line_that_is_no_record_is_left_out_at_the_end_and_named_elsewhere(tmp_path, line, caplog):
    good, path = b'{"kind": "a", "iteration": 1}\n', tmp_path / "metrics.jsonl"
    path.write_bytes(good + line)
    assert read_metrics(path) == [{"kind": "a", "iteration": 1}]
    assert "the last line was cut short" in caplog.text
    path.write_bytes(good + line + b"\n" + good)
    with pytest.raises(CheckpointError, match=r"metrics\.jsonl, line 2: not a record of a run"):
        read_metrics(path)


def test_a_folder_that_a_run_writes_is_refused_to_others_until_that_ends_in_whatever_way(tmp_path):
    code = (f"import sys; from utils.training.run_folder import *; run = RunFolder({str(tmp_path / 'run')!r}, {{}}, "
            "Processes(), 1); run.find_start(None, True); print('taken', flush=True); sys.stdin.read()")
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", code], **pipes, text=True) as other:
        assert other.stdout.readline() == "taken\n"
        run = folder(tmp_path / "run")
        with pytest.raises(CheckpointError, match=r"run is written by another run; wait"):
            run.find_start(None, auto=True)
        run.close()
        other.kill()
    assert folder(tmp_path / "run").find_start(None, auto=True) is None
    # Other processes of a run take nothing.
    folder(tmp_path / "new", Processes(rank=1)).find_start(None)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(("module", "broken"), [("visualdl", False), ("tensorboardX", False), (None, False),
                                                ("visualdl", True)])  # fmt: skip
def test_events_go_to_the_viewer_that_works_if_there_is_one(tmp_path, monkeypatch, caplog, module, broken):
    writer = Mock(side_effect=TypeError("Descriptors cannot be created directly") if broken else None)
    there = types.SimpleNamespace(**{"LogWriter" if module == "visualdl" else "SummaryWriter": writer})
    for other in ("visualdl", "tensorboardX"):
        monkeypatch.setitem(sys.modules, other, there if other == module else None)
    journal = Journal(tmp_path)
    journal.record("train", 3, loss=0.5, psnr=float("nan"))
    journal.close()
    used = [call(logdir=str(tmp_path / "events")), call().add_scalar("train/loss", 0.5, 3), call().close()]
    assert writer.mock_calls == (used[:1] if broken else used if module else [])
    assert ("no events for visualdl: it is installed and cannot be used (Desc" in caplog.text) == broken


def test_a_whole_file_comes_back_and_one_of_weights_is_none(tmp_path):
    path, state = tmp_path / "x.pdckpt", {"iteration": 5, "params": {}, "config": {"stages": [{"batch": 2}]}}
    save_checkpoint(path, state)
    assert load_checkpoint(path) == state
    save_weights(path, Weights({}))
    with pytest.raises(CheckpointError, match=r"x\.pdckpt.*train\.init"):
        load_checkpoint(path)


@pytest.mark.parametrize(("part", "value", "words"), [
    ("params", {"x": np.float32([1, np.nan])}, "params: x: 1 of its 2 numbers are NaN"),
    ("ema", [], "ema: expected names"),
    ("ema", {"x": np.float32([np.inf])}, "ema: x: 1 of its 1"),
])  # fmt: skip
def test_weights_that_are_not_finite_are_no_start(tmp_path, part, value, words):
    save_checkpoint(tmp_path / "a.pdckpt", {"iteration": 1, "params": {}, "ema": None, part: value})
    with pytest.raises(CheckpointError, match=rf"a\.pdckpt: {words}.*go on from an earlier"):
        load_checkpoint(tmp_path / "a.pdckpt")


def walk(net: paddle.nn.Layer, rng: np.random.Generator) -> None:
    for tensor in net.state_dict().values():
        tensor.set_value(rng.normal(size=tensor.shape).astype(np.float32))


def test_the_average_follows_the_formula_and_goes_on_bit_for_bit():
    rng = np.random.default_rng(0)
    net = paddle.nn.Sequential(paddle.nn.Conv2D(3, 4, 3), paddle.nn.BatchNorm2D(4))
    walk(net, rng)
    average = MovingAverage(net, 0.9)
    expected = {name: array.astype(np.float64) for name, array in arrays_of(net).items()}
    # Long enough to reach the limit, so that both branches of the decay are tested.
    for iteration in range(100):
        if iteration == 50:
            resumed = MovingAverage(net, 0.9)
            resumed.load_arrays(average.arrays())
        walk(net, rng)
        before = arrays_of(net)
        average.update(iteration)
        if iteration >= 50:
            resumed.update(iteration)
        decay = min(0.9, (1 + iteration) / (10 + iteration))
        for name, array in arrays_of(net).items():
            assert array.tobytes() == before[name].tobytes()
            expected[name] = decay * expected[name] + (1 - decay) * array
    arrays = average.arrays()
    assert arrays.keys() == expected.keys()
    for name, array in arrays.items():
        np.testing.assert_allclose(array, expected[name], atol=1e-6)
        assert array.tobytes() == resumed.arrays()[name].tobytes()
    arrays["9.weight"] = arrays.pop("1.weight")
    with pytest.raises(ValueError, match=r"missing 1\.weight \[4\]; unexpected 9\.weight \[4\]"):
        resumed.load_arrays(arrays)
