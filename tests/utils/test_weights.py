import dataclasses

import numpy as np
import pytest

from models.weights import Weights, load_weights, save_weights
from utils.serialization import load_tree, save_tree

WEIGHTS = Weights(
    params={"intro.weight": np.arange(6, dtype=np.float32).reshape(2, 3)},
    model={"width": 16, "encoder_blocks": [1, 1], "gate": True},
    predict={"rows": 2, "tlc_ratio": 1.5},
    origin={"command": "test"},
)


def test_weights_come_back_with_everything_beside_them(tmp_path):
    save_weights(tmp_path / "model.pdparams", WEIGHTS)
    loaded = load_weights(tmp_path / "model.pdparams")
    assert np.array_equal(loaded.params["intro.weight"], WEIGHTS.params["intro.weight"])
    assert dataclasses.replace(loaded, params={}) == dataclasses.replace(WEIGHTS, params={})


def test_weights_know_their_file_and_take_it_nowhere(tmp_path, monkeypatch):
    save_weights(tmp_path / "a.pdparams", WEIGHTS)
    monkeypatch.chdir(tmp_path)
    loaded = load_weights("a.pdparams")
    assert loaded.file == tmp_path / "a.pdparams"
    assert WEIGHTS.file is None
    save_weights(tmp_path / "b.pdparams", loaded)
    assert (tmp_path / "a.pdparams").read_bytes() == (tmp_path / "b.pdparams").read_bytes()


def test_other_files_are_refused_with_a_way_out(tmp_path):
    save_tree(tmp_path / "plain.pdparams", WEIGHTS.params)
    with pytest.raises(ValueError, match=r"plain\.pdparams.*models\.convert"):
        load_weights(tmp_path / "plain.pdparams")


def test_a_newer_format_is_refused(tmp_path):
    save_weights(tmp_path / "model.pdparams", WEIGHTS)
    save_tree(tmp_path / "new.pdparams", load_tree(tmp_path / "model.pdparams") | {"format": 99})
    with pytest.raises(ValueError, match=r"new\.pdparams.*format 99"):
        load_weights(tmp_path / "new.pdparams")
