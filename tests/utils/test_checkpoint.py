"""Checkpoints: what is written comes back, damage is noticed, and a whole file is always there."""

from __future__ import annotations

import numpy as np
import pytest

from utils.training import checkpoint
from utils.training.checkpoint import (
    CheckpointError,
    CheckpointFolder,
    check_resumable,
    differing_keys,
    load_checkpoint,
)


def state(iteration: int) -> dict:
    rng = np.random.default_rng(iteration)
    return {
        "iteration": iteration,
        "params": {"a.weight": rng.normal(size=(3, 4)).astype(np.float32), "count": np.array(7)},
        "best": {"score": 0.5, "iteration": None},
        "config": {"train": {"stages": [{"batch": 2}]}},
    }


def test_everything_comes_back_bit_for_bit(tmp_path):
    checkpoint.save_checkpoint(tmp_path / "x.pdckpt", state(5))
    back = load_checkpoint(tmp_path / "x.pdckpt")
    assert back["iteration"] == 5
    assert back["config"] == state(5)["config"]
    for name, array in state(5)["params"].items():
        assert back["params"][name].tobytes() == array.tobytes()
        assert back["params"][name].dtype == array.dtype


@pytest.mark.parametrize("kept", [0.0, 0.3, 0.999])
def test_torn_file_is_refused_by_name(tmp_path, kept):
    path = tmp_path / "x.pdckpt"
    checkpoint.save_checkpoint(path, state(5))
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept)])
    with pytest.raises(CheckpointError, match=r"x\.pdckpt"):
        load_checkpoint(path)


def test_one_changed_bit_inside_an_array_is_noticed(tmp_path):
    path = tmp_path / "x.pdckpt"
    checkpoint.save_checkpoint(path, state(5))
    content = bytearray(path.read_bytes())
    place = content.index(state(5)["params"]["a.weight"].tobytes())
    content[place + 9] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(CheckpointError, match="checksum"):
        load_checkpoint(path)


def test_weights_are_not_taken_for_a_checkpoint(tmp_path):
    from models.weights import Weights, save_weights

    save_weights(tmp_path / "model.pdparams", Weights(params={}, model={}))
    with pytest.raises(CheckpointError, match=r"train\.init"):
        load_checkpoint(tmp_path / "model.pdparams")


def test_last_and_the_one_before_are_kept(tmp_path):
    folder = CheckpointFolder(tmp_path / "checkpoints")
    assert folder.newest_whole() is None
    for iteration in (1, 2, 3):
        folder.save_last(state(iteration))
    assert load_checkpoint(folder.last)["iteration"] == 3
    assert load_checkpoint(folder.previous)["iteration"] == 2
    assert sorted(path.name for path in folder.folder.iterdir()) == ["last.pdckpt", "previous.pdckpt"]


def test_torn_last_gives_way_to_the_previous_and_is_set_aside(tmp_path, caplog):
    folder = CheckpointFolder(tmp_path)
    for iteration in (1, 2):
        folder.save_last(state(iteration))
    folder.last.write_bytes(folder.last.read_bytes()[:100])
    path, back = folder.newest_whole()
    assert (path, back["iteration"]) == (folder.previous, 1)
    assert "last.pdckpt cannot be read" in caplog.text
    assert "not a whole file of weights or checkpoints" in caplog.text
    assert "last.pdckpt.torn" in caplog.text
    # The next save must not push the torn file over the only whole one.
    folder.save_last(state(3))
    assert load_checkpoint(folder.previous)["iteration"] == 1
    assert load_checkpoint(folder.last)["iteration"] == 3


def test_a_torn_file_that_another_process_has_just_set_aside_is_passed_over(tmp_path, monkeypatch):
    folder = CheckpointFolder(tmp_path)
    for iteration in (1, 2):
        folder.save_last(state(iteration))
    present = folder.present()
    folder.last.replace(f"{folder.last}.torn")
    # This process listed the folder before that, and opens the file after it.
    monkeypatch.setattr(folder, "present", lambda: present)
    path, back = folder.newest_whole(set_aside=False)
    assert (path, back["iteration"]) == (folder.previous, 1)


def test_a_crash_between_writing_and_renaming_leaves_a_whole_one(tmp_path, monkeypatch):
    folder = CheckpointFolder(tmp_path)
    folder.save_last(state(1))
    real_replace = checkpoint.os.replace

    def replace_until_last_is_due(source, target):
        if target == folder.last:
            raise OSError("pulled the plug")
        real_replace(source, target)

    monkeypatch.setattr(checkpoint.os, "replace", replace_until_last_is_due)
    with pytest.raises(OSError, match="plug"):
        folder.save_last(state(2))
    assert folder.newest_whole()[1]["iteration"] == 1


def test_only_torn_files_are_an_error_and_not_a_fresh_start(tmp_path):
    folder = CheckpointFolder(tmp_path)
    folder.save_last(state(1))
    folder.last.write_bytes(b"")
    with pytest.raises(CheckpointError, match="none of last"):
        folder.newest_whole()


def test_differences_are_named_by_their_key():
    saved = {"seed": 1, "optimizer": {"betas": [0.9, 0.999]}, "train": {"stages": [{"batch": 2}], "amp": "none"}}
    now = {"seed": 1, "optimizer": {"betas": (0.9, 0.99)}, "train": {"stages": ({"batch": 2},), "ema": 0.9}}
    assert differing_keys(saved, now) == [
        ("optimizer.betas", [0.9, 0.999], (0.9, 0.99)),
        ("train.amp", "none", None),
        ("train.ema", None, 0.9),
    ]


def test_fixed_keys_are_refused_all_at_once_and_others_pass():
    differences = [("model.width", 16, 32), ("seed", 0, 1), ("models", 1, 2), ("data.workers", 0, 2)]
    both = r"model\.width: 16 in the checkpoint, 32 now; seed: 0 .* 1 now"
    with pytest.raises(CheckpointError, match=both) as refusal:
        check_resumable("last.pdckpt", differences, ("model", "seed"))
    assert "workers" not in str(refusal.value)
    check_resumable("last.pdckpt", differences[2:], ("model", "seed"))
