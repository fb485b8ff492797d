"""train.py on a handful of tiny patches: resuming bit for bit, stopping in every way, refusing what cannot work."""

import errno
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import paddle
import pytest
import yaml

import predict
import train
from configs.load import load_config
from configs.schema import ConfigError
from data.contest import write_list
from data.images import read_rgb
from models.weights import load_weights
from tests.conftest import ROOT, python, until
from tests.test_generate_meta_info import PRINT, add_patch
from tests.test_killed import mother
from utils.training.checkpoint import load_checkpoint
from utils.training.journal import Journal, read_metrics
from utils.training.processes import Processes

# For `mother`: the script, and what else is imported once for all of its runs.
TRAINING = ("train", "matplotlib.figure", "matplotlib.backends.backend_agg")


def training_set(folder: Path) -> dict:
    """Six striped patches under a hand, their lists, and a config, which it gives back."""
    entries = [add_patch(folder, "all", number, np.roll(PRINT, number, 1), 20 + 4 * number) for number in range(6)]
    write_list(folder / "train.txt", entries)
    write_list(folder / "val_pages.txt", entries[:3])
    return {
        "output": str(folder / "run"), "seed": 3, "model": {"preset": "tiny", "gate": True},
        "data": {"train_list": str(folder / "train.txt"), "val_pages": str(folder / "val_pages.txt"), "crop": 64,
                 "downscale": 1, "workers": 0},
        "train": {"iterations": 10, "ema_decay": 0.9, "log_every": 1, "save_every": 5,
                  "stages": [{"iterations": 6, "batch": 2, "patch": 16}, {"iterations": 4, "batch": 1, "patch": 32}]},
        "optimizer": {"learning_rate": 2e-3, "clip_norm": 0.5},
        "loss": [{"name": "l1"}, {"name": "mask_bce", "weight": 0.3}, {"name": "fill"}],
        "validation": {"every": 0, "pages": 2},
        "predict": {"rows": 1, "columns": 1, "overlap": 0, "tlc_train_size": 32},
    }  # fmt: skip


@pytest.fixture(scope="module")
def prepared(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("prepared")
    (folder / "config.yml").write_text(yaml.safe_dump(training_set(folder)))
    return folder


def command(prepared: Path, output: Path, *overrides: str, flags: tuple[str, ...] = ()) -> list[str]:
    return ["-c", str(prepared / "config.yml"), "-o", f"output={output}", *overrides, "--device", "cpu", *flags]


def last(output: Path) -> dict:
    return load_checkpoint(output / "checkpoints" / "last.pdckpt")


def records(output: Path, kind: str = "train") -> list[dict]:
    return [item for item in read_metrics(output / "metrics.jsonl") if item["kind"] == kind]


def assert_same_training(first: dict, second: dict) -> None:
    """Network, average and optimiser, to the last bit."""
    for part in ("iteration", "params", "ema", "optimizer"):
        np.testing.assert_equal(first[part], second[part])


@pytest.fixture(scope="module")
def straight(prepared) -> Path:
    """Ten iterations without a break, validated twice, never saved before the end."""
    output = prepared / "straight"
    assert train.main(command(prepared, output, "train.save_every=100", "validation.every=5")) == 0
    return output


@pytest.fixture
def fit(straight, prepared, tmp_path, monkeypatch) -> Callable[..., Path]:
    """Trains into a folder, which it gives back; `code` is what the shell is told."""
    # Drawing takes most of such a short run; the one of `straight` has done it.
    monkeypatch.setattr(Journal, "draw", lambda self, path: None)

    def run(*overrides: str, into: str = "run", flags: tuple[str, ...] = (), code: int = 0) -> Path:
        assert train.main(command(prepared, tmp_path / into, *overrides, flags=flags)) == code
        return tmp_path / into

    return run


def straight_and_resumed(fit: Callable[..., Path], *overrides: str) -> Path:
    """Trains in one go, and again from the last checkpoint but one of that; the folder of the first."""
    once = fit(*overrides, into="once")
    half = str(once / "checkpoints" / "previous.pdckpt")
    twice = fit(*overrides, into="twice", flags=("--resume", half))
    assert_same_training(last(once), last(twice))
    return once


@pytest.mark.parametrize(
    ("workers", "every", "kills"),
    # config.yml, command.txt and metrics.jsonl come first; then model_last.pdparams, the checkpoint under its first
    # name and its own, the curves. From the second checkpoint on, the sixth makes the last one the previous one.
    [(2, 5, [(6, False)]), (0, 4, [(4, True), (5, True), (6, False), (5, False), (6, False)])],
)  # fmt: skip
def test_killed_at_file_after_file_a_run_still_ends_the_same(
    fit, prepared, straight, tmp_path, capsys, workers, every, kills
):
    log, output = tmp_path / "log", tmp_path / "run"
    overrides = (f"train.save_every={every}", f"data.workers={workers}")
    arguments = command(prepared, output, *overrides, flags=("--auto-resume",))
    with mother(log, *TRAINING, threads=train.THREADS) as run:
        for kill, half in kills:
            run(*arguments, last=kill, half=half)
        run(*arguments)
    assert f"{'last' if workers else 'previous'}.pdckpt, iteration {every}" in log.read_text()
    assert_same_training(last(straight), last(output))
    losses = [[item["loss"] for item in records(folder)] for folder in (straight, output)]
    assert losses[0] == losses[1]
    assert load_weights(output / "model_last.pdparams").origin["iteration"] == len(losses[0]) == 10
    # Finished: nothing more to do, and nothing is touched, also when less is asked for than is done.
    before = {path: path.stat().st_mtime_ns for path in output.rglob("*.*") if path.name != ".lock"}
    for less, total in (((), 10), (("train.iterations=7", "train.stages.1.iterations=1"), 7)):
        fit(*less, flags=("--auto-resume",))
        assert f"has 10 iterations already, train.iterations is {total}: nothing was done" in capsys.readouterr().out
    assert before == {path: path.stat().st_mtime_ns for path in before}


def test_a_restorer_is_shown_what_was_filled_resumes_and_is_validated_with_the_true_mask(fit, monkeypatch):
    monkeypatch.setattr(train, "fill_patch", Mock(wraps=train.fill_patch))
    run = straight_and_resumed(fit, "model.gate=false", "model.mask_input=true", "predict.fill=network",
                               "loss=[{name: fill, radius: 0}]", "validation.every=10")  # fmt: skip
    assert train.fill_patch.call_count > 10
    assert records(run, "validation")[-1]["psnr_inside"] > 11  # of the untouched hands: 9.4
    weights = load_weights(run / "model_last.pdparams")
    assert (weights.model["mask_input"], weights.params["intro.weight"].shape[1]) == (True, 4)


def test_a_restormer_learns_and_predict_reads_its_file(fit, prepared, tmp_path):
    run = fit("model={network: restormer, preset: restormer_tiny}", "predict.tlc_ratio=0", "loss=[{name: l1}]")
    losses = [item["loss"] for item in records(run)]
    assert losses[5] < losses[0]
    photo, weights = prepared / "all" / "occluded" / "0.png", run / "model_last.pdparams"
    for mode in ("tiles", "full"):
        assert predict.main([str(photo), str(tmp_path / mode), "--weights", str(weights), "--mode", mode]) == 0
        assert read_rgb(tmp_path / mode / "0.png").shape == (64, 64, 3)


def test_the_folder_holds_all_that_a_user_needs(straight):
    assert {"config.yml", "command.txt", "metrics.jsonl", "curves.png", "checkpoints", "model_last.pdparams",
            "model_best.pdparams"} <= {path.name for path in straight.iterdir()}
    checkpoint, weights = last(straight), load_weights(straight / "model_last.pdparams")
    assert (weights.model["gate"], weights.predict["tlc_train_size"]) == (True, 32)
    for name, array in weights.params.items():
        assert array.tobytes() == checkpoint["ema"][name].tobytes()
        assert not np.array_equal(array, checkpoint["params"][name])
    best = max(records(straight, "validation"), key=lambda item: item["psnr"])
    assert checkpoint["best"] == {"measure": "psnr", "value": best["psnr"], "iteration": best["iteration"]}
    assert load_checkpoint(straight / "checkpoints" / "best.pdckpt")["iteration"] == best["iteration"]


@pytest.mark.parametrize(("override", "flags", "named"), [
    ("", ("--resume", "/no/such.pdckpt"), "--resume: /no/such.pdckpt is no file; give"),
    ("output={straight}", (), "{straight}/checkpoints holds the checkpoints of a run: go on with --resume or"),
    ("train.init=/no/weights.pdparams", (), "train.init: /no/weights.pdparams: No such file or directory; make"),
    ("train.init=no.pdparams", (), f"no.pdparams: No such file or directory (looked for from {ROOT}); "),
    ("data.train_list=/no/list.txt", (), "/no/list.txt: cannot be opened (No such file or directory); data_prep"),
    ("validation.every=5 data.val_pages=/no/pages.txt", (), "/no/pages.txt: cannot be opened (No such file or "),
    ("output=/dev/null", (), "error: /dev/null: is a file, expected a folder\n"),
    ("output=/proc/run", (), "error: /proc/run: No such file or directory\n"),
    ("trian.amp=fp16", (), "trian"),
    # The last --device of a command line counts.
    ("", ("--device", "foo"), "device 'foo'")])  # fmt: skip
def test_what_is_missing_or_another_runs_is_named_at_once(fit, straight, capsys, override, flags, named):
    before, words = (straight / "metrics.jsonl").read_bytes(), override.format(straight=straight).split()
    fit(*words, flags=flags, code=2)
    said = capsys.readouterr()
    assert named.format(straight=straight) in said.err
    assert said.err.startswith("error: ")
    assert said.out == ""
    assert (straight / "metrics.jsonl").read_bytes() == before


def test_a_full_disk_ends_the_run_with_the_file_and_leaves_what_was_whole(fit, tmp_path, capsys, monkeypatch):
    fsync, output = os.fsync, tmp_path / "run"

    def full(descriptor):
        # From the second checkpoint on.
        if (output / "checkpoints" / "last.pdckpt").exists():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        fit(code=2)
    assert f"error: {output / 'model_last.pdparams'}: No space left on device\n" in capsys.readouterr().err
    assert last(output)["iteration"] == 5
    assert not list(output.rglob("*.tmp*"))
    # So is a record that does not fit.
    monkeypatch.setattr("utils.training.journal.write_text", lambda path, text: path.symlink_to("/dev/full"))
    output = fit(into="new", code=2)
    assert capsys.readouterr().err.endswith(f"\nerror: {output}/metrics.jsonl: No space left on device\n")


@pytest.mark.parametrize("poison", ["value", "gradient"])
def test_nan_stops_with_iteration_files_and_the_last_good_checkpoint(fit, prepared, capsys, monkeypatch, poison):
    """The seventh call of the loss has a NaN in its value, or only in its gradient."""
    real, calls = train.total_loss, []

    def poisoned(terms, tensors):
        calls.append(terms)
        loss, values = real(terms, tensors)
        if len(calls) == 7:
            # The gradient of sqrt at 0 is infinite, and infinite times 0 is NaN.
            zero = (tensors["result"] * 0).square().sum()
            loss = loss * float("nan") if poison == "value" else loss + zero.sqrt()
        return loss, values

    monkeypatch.setattr(train, "total_loss", poisoned)
    run = fit(code=1)
    message = capsys.readouterr().err
    for words in ("iteration 6", "nan", f"{prepared}/all/occluded/", f"{run}/checkpoints/last"):
        assert words in message
    # The file it names is from before, and whole.
    state = last(run)
    assert state["iteration"] == 5
    assert all(np.isfinite(array).all() for array in state["params"].values())


class Scaler:
    """What `paddle.amp.GradScaler` does on a GPU, perhaps with an overflow in the fourth iteration; off on CPUs."""

    overflow, factor, calls, infinite = False, 2.0**15, 0, False

    def scale(self, loss):
        return loss * self.factor

    def unscale_(self, optimizer):
        self.calls += 1
        self.infinite = self.overflow and self.calls == 4
        with paddle.no_grad():
            for parameter in optimizer._parameter_list:
                parameter.grad.scale_(float("inf") if self.infinite else 1 / self.factor)

    def step(self, optimizer):
        if not self.infinite:
            optimizer.step()

    def update(self):
        self.factor /= 2 if self.infinite else 1

    def state_dict(self):
        return {"scale": np.array([self.factor], np.float32)}


def test_a_loss_scaled_as_for_fp16_trains_the_same_and_passes_over_overflows(fit, straight, capsys, monkeypatch):
    build = train.Learner.__init__
    monkeypatch.setattr(train.Learner, "__init__", lambda self, *rest, **named: (
        build(self, *rest, **named), setattr(self, "scaler", Scaler()))[0])  # fmt: skip
    # A factor of a power of two leaves no trace, if it is taken out again before the clip.
    assert_same_training(last(straight), last(fit("train.amp=fp16", into="same")))
    assert "fp16 needs a GPU" in capsys.readouterr().out
    monkeypatch.setattr(Scaler, "overflow", True)
    run = fit()
    state = last(run)
    assert state["scaler"]["scale"] == 2.0**14
    assert all(np.isfinite(array).all() for array in state["params"].values())
    assert [item["gradient_norm"] is None for item in records(run)] == [number == 3 for number in range(10)]


def test_bf16_is_refused_on_a_card_without_it(prepared, monkeypatch):
    assert paddle.amp.is_bfloat16_supported("cpu") in (True, False)
    config, cards = load_config(prepared / "config.yml", ["train.amp=bf16"]), {"gpu:0": False, "gpu:1": True}
    monkeypatch.setattr(paddle.amp, "is_bfloat16_supported", cards.__getitem__)
    assert train.Learner(config, "gpu:1", Processes(), None).autocast == "bfloat16"
    with pytest.raises(ConfigError, match=r"train\.amp: gpu:0 does not compute in bf16; .*fp16"):
        train.Learner(config, "gpu:0", Processes(), None)


@pytest.mark.parametrize("limit", [0.01, 1e6])
def test_all_gradients_together_are_measured_and_clipped_to_the_norm(fit, limit):
    run = fit("train.iterations=1", "train.stages=[{iterations: 1, batch: 2, patch: 16}]",
              f"optimizer.clip_norm={limit}")  # fmt: skip
    norm = records(run)[0]["gradient_norm"]
    assert norm > 0.1
    # After one step the first moment is (1 - 0.9) times the clipped gradient.
    kept = last(run)["optimizer"].values()
    clipped = np.sqrt(sum(np.square(state["moment1"].astype(np.float64) / 0.1).sum() for state in kept))
    assert clipped == pytest.approx(min(norm, limit), rel=1e-4)


def test_ctrl_c_saves_where_it_stands_and_the_run_can_go_on(fit, straight, capsys, monkeypatch):
    step = train.Learner.step
    with monkeypatch.context() as patch:
        patch.setattr(train.Learner, "step", lambda self, iteration: (
            iteration == 2 and os.kill(os.getpid(), signal.SIGINT), step(self, iteration))[1])  # fmt: skip
        stopped = last(fit(code=130))["iteration"]
    assert stopped in (3, 4)
    assert f"stopped after iteration {stopped} of 10" in capsys.readouterr().out
    assert_same_training(last(straight), last(fit(flags=("--resume",))))


def test_a_request_to_stop_cuts_a_validation_short(fit, monkeypatch):
    monkeypatch.setattr(train, "validate", lambda weights, pages, device, processes, interrupted: (
        os.kill(os.getpid(), signal.SIGTERM), None if interrupted() else {})[1])  # fmt: skip
    assert last(fit("train.save_every=100", "validation.every=3", code=143))["iteration"] == 3


@pytest.mark.parametrize(("shot", "code", "words"), [
    ("group", 143, ""), ("worker", 2, r"error: a data worker \(process \d+\) has ended by SIGKILL, .*--auto-resume")])
def test_a_signal_to_all_saves_and_a_killed_worker_is_a_sentence(prepared, tmp_path, shot, code, words):
    long_run = ("train.iterations=100000", "train.stages=[{iterations: 100000, batch: 1, patch: 16}]",
                "train.save_every=100000", "data.workers=2")
    process = subprocess.Popen(
        [sys.executable, "train.py", *command(prepared, tmp_path, *long_run)], cwd=ROOT, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        metrics = tmp_path / "metrics.jsonl"
        until(lambda: process.poll() is not None or (metrics.exists() and metrics.read_text().count("\n") > 5))
        if shot == "group":
            os.killpg(process.pid, signal.SIGTERM)
        else:
            children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
            os.kill(int(children[-1]), signal.SIGKILL)
        output, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == code, errors
    assert re.search(words, errors), errors
    assert not re.search("Traceback|Exception ignored", errors)
    if shot == "group":
        assert "stopped after iteration" in output
        assert last(tmp_path)["iteration"] >= 5


@pytest.mark.long
def test_two_processes_have_the_curve_of_one_with_the_same_global_batch(fit, prepared, tmp_path):
    """The same samples, the same norms and losses, up to the order of a sum; and only the first process writes."""
    shared = ("train.iterations=50", "loss=[{name: l1}, {name: mask_bce}]")
    stages = "train.stages=[{iterations: 50, batch: %d, patch: 16}]"
    python("-m", "paddle.distributed.launch", "--nproc_per_node", "2", "--log_dir", tmp_path / "log", "train.py",
           *command(prepared, tmp_path / "two", *shared, stages % 2), env={"OMP_NUM_THREADS": "1"})  # fmt: skip
    logs = "\n".join(path.read_text() for path in sorted((tmp_path / "log").glob("workerlog.*")))
    assert logs.count("finished:") == 1
    fit(*shared, stages % 4, into="one")
    two, one = (records(tmp_path / name) for name in ("two", "one"))
    assert len(two) == len(one) == 50
    np.testing.assert_allclose([item["loss"] for item in two], [item["loss"] for item in one], atol=1e-5)
    pair, single = (load_weights(tmp_path / name / "model_last.pdparams").params for name in ("two", "one"))
    for name, array in single.items():
        np.testing.assert_allclose(pair[name], array, atol=2e-4)


def test_a_locator_learns_from_whole_photos_and_goes_on_bit_for_bit(fit, capsys):
    """Its norms' running means belong to a checkpoint as well; finding nothing is never the best."""
    run = straight_and_resumed(
        fit, "model={network: locator}", "data.whole=true", "predict.fill=page", "train.ema_decay=0.5",
        "train.stages=[{iterations: 2, batch: 2, patch: 64}, {iterations: 2, batch: 1, patch: 96}]",
        "train.iterations=4", "train.save_every=2", "loss=[{name: mask_bce}, {name: mask_dice, weight: 0.5}]",
        "data.paste={probability: 0.5}", "validation.every=2", "predict.mask_threshold=1",
    )  # fmt: skip
    assert capsys.readouterr().out.count("(finds nothing yet, not a best)") == 3
    assert not (run / "model_best.pdparams").exists()
    weights = load_weights(run / "model_last.pdparams")
    assert weights.params == {}
    assert weights.locator.model["widths"]
