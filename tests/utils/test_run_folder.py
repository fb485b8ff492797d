"""What a run's folder decides: which validation is the best, what a log line averages, who may write."""

from __future__ import annotations

import numpy as np
import pytest

from models.weights import Weights, load_weights
from utils.training.checkpoint import CheckpointError, load_checkpoint
from utils.training.processes import Processes
from utils.training.run_folder import RunFolder, read_metrics


class Learner:
    """Stands for what is trained: one number."""

    def __init__(self, value: float):
        self.value = np.array([value], np.float32)

    def state(self):
        return {"params": {"x": self.value}}

    def weights(self, iteration):
        return Weights({"x": self.value}, {"width": 1}, origin={"iteration": iteration})


def folder(path, processes=Processes(), **config) -> RunFolder:  # noqa: B008 - frozen
    return RunFolder(path, {"seed": 0, **config}, processes, threads=2)


def measures(score: float | None, psnr: float) -> dict[str, float | None]:
    return {"score": score, "psnr": psnr, "ms_ssim": None}


def test_the_best_is_the_highest_score_and_the_first_of_equals(tmp_path):
    run = folder(tmp_path)
    pairs = ((0.6, 20.0), (0.5, 40.0), (0.7, 10.0), (0.7, 50.0))
    answers = [run.record_validation(10 * number, measures(*pair)) for number, pair in enumerate(pairs, 1)]
    assert answers == [True, False, True, False]
    assert run.best == {"measure": "score", "value": 0.7, "iteration": 30}


def test_without_a_score_the_psnr_decides_and_is_never_compared_with_a_score(tmp_path):
    run = folder(tmp_path)
    assert run.record_validation(10, measures(None, 20.0))
    assert not run.record_validation(20, measures(None, 19.0))
    assert run.record_validation(30, measures(0.6, 5.0))
    assert run.best["measure"] == "score"


def test_best_and_last_are_files_of_their_own_and_the_best_is_remembered(tmp_path):
    run = folder(tmp_path)
    run.record_validation(10, measures(0.6, 20.0))
    run.save(10, Learner(1.0), best=True)
    run.save(20, Learner(2.0))
    assert load_weights(tmp_path / "model_best.pdparams").params["x"] == 1
    assert load_weights(tmp_path / "model_last.pdparams").params["x"] == 2
    assert load_checkpoint(tmp_path / "checkpoints" / "best.pdckpt")["iteration"] == 10
    again = folder(tmp_path)
    assert again.find_start(resume="")["iteration"] == 20
    assert again.best == {"measure": "score", "value": 0.6, "iteration": 10}


def test_a_line_is_the_mean_of_its_iterations(tmp_path):
    run = folder(tmp_path)
    run.open(0, "seed: 0\n", ["train.py"])
    run.record_training(2, [{"loss": 1.0}, {"loss": np.float32(2.0)}], learning_rate=0.1)
    run.close()
    assert read_metrics(tmp_path / "metrics.jsonl") == [
        {"kind": "train", "iteration": 2, "loss": 1.5, "learning_rate": 0.1}
    ]


def test_other_processes_write_and_say_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(Processes, "_reduce", lambda self, values, operation: [2 * value for value in values])
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


def test_other_threads_or_processes_are_said_to_change_the_bits(tmp_path, capsys):
    folder(tmp_path).save(5, Learner(1.0))
    RunFolder(tmp_path, {"seed": 0}, Processes(), threads=3).find_start(resume="")
    assert "threads: 2 before, 3 now" in capsys.readouterr().out


def test_auto_starts_when_there_is_nothing_and_a_changed_seed_is_refused(tmp_path):
    assert folder(tmp_path).find_start(resume=None, auto=True) is None
    folder(tmp_path).save(5, Learner(1.0))
    assert folder(tmp_path).find_start(resume=None, auto=True)["iteration"] == 5
    with pytest.raises(CheckpointError, match="seed: 0 in the checkpoint, 1 now"):
        RunFolder(tmp_path, {"seed": 1}, Processes(), threads=2).find_start(resume=None, auto=True)


def with_others(monkeypatch, *others: float) -> Processes:
    """The first of two processes; the other one hands in one of `others` at each exchange, negated where -x is due."""
    answers = iter(others)

    def maximum(self, values):
        other = next(answers)
        return [max(value, other * sign) for value, sign in zip(values, (1, -1)[: len(values)], strict=True)]

    monkeypatch.setattr(Processes, "maximum", maximum)
    return Processes(rank=0, world=2)


@pytest.mark.parametrize(("mine", "other", "named"), [(5, 3, "3 to 5"), (0, 10, "0 to 10")])
def test_processes_that_would_start_apart_are_refused(tmp_path, monkeypatch, mine, other, named):
    if mine:
        folder(tmp_path).save(mine, Learner(1.0))
    run = folder(tmp_path, with_others(monkeypatch, 0, other))
    with pytest.raises(CheckpointError, match=f"different iterations, {named}.*--resume CHECKPOINT"):
        run.find_start(resume=None, auto=True)


def test_processes_that_start_together_start(tmp_path, monkeypatch):
    folder(tmp_path).save(5, Learner(1.0))
    assert folder(tmp_path, with_others(monkeypatch, 0, 5)).find_start(resume="")["iteration"] == 5


def test_a_process_leaves_when_another_one_is_refused_its_start(tmp_path, monkeypatch):
    with pytest.raises(CheckpointError, match="refused by another process"):
        folder(tmp_path, with_others(monkeypatch, 1)).find_start(resume=None)
    # The one that knows the reason says it, after the others were told.
    with pytest.raises(CheckpointError, match="no checkpoint to resume"):
        folder(tmp_path, with_others(monkeypatch, 0)).find_start(resume="")
