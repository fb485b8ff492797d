"""Which ONNX file is used: beside the weights, cached or new; never a torn, stale or foreign one."""

from __future__ import annotations

import sys
from dataclasses import replace

import pytest

from inference.engines import cache as export_cache
from inference.engines import cache as onnx_files
from inference.engines.base import BackendError
from inference.engines.choice import open_backend
from models.weights import Weights, load_weights, save_weights
from tests.inference.small import SETTINGS, small_weights


@pytest.fixture
def cache(tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    monkeypatch.setenv(export_cache.FOLDER_VARIABLE, str(folder))
    return folder


@pytest.fixture
def made(monkeypatch):
    """Counts how often a file is made."""
    made, make = [], onnx_files.make
    monkeypatch.setattr(onnx_files, "make", lambda *arguments: made.append(1) or make(*arguments))
    return made


def test_a_file_is_made_once_and_again_for_other_weights_and_windows(cache, made):
    weights = small_weights()
    first = onnx_files.find(weights, SETTINGS)
    assert onnx_files.find(small_weights(), SETTINGS).content == first.content
    # Settings that have nothing to do with the network share it.
    onnx_files.find(weights, replace(SETTINGS, rows=7, long_side=99))
    assert len(made) == 1
    others = [
        onnx_files.find(small_weights(seed=1), SETTINGS),
        onnx_files.find(weights, replace(SETTINGS, tlc_ratio=1.0)),
        onnx_files.find(weights, replace(SETTINGS, tlc_ratio=0.0)),
        onnx_files.find(weights, replace(SETTINGS, tlc_ratio=0.0, tlc_train_size=32)),
    ]
    assert len(made) == 4
    assert len({file.weights for file in [first, *others]}) == 4
    assert len(list(cache.iterdir())) == 4


@pytest.mark.parametrize("damage", [lambda content: content[:-9], lambda content: b"", lambda content: b"x" + content])
def test_a_torn_file_is_made_again_with_a_word(cache, made, caplog, damage):
    weights = small_weights()
    content = onnx_files.find(weights, SETTINGS).content
    (entry,) = cache.iterdir()
    entry.write_bytes(damage(content))
    assert onnx_files.find(weights, SETTINGS).content == content
    assert "torn" in caplog.text
    assert len(made) == 2
    assert onnx_files.find(weights, SETTINGS).content == content
    assert len(made) == 2


def test_a_file_of_other_weights_under_the_right_name_is_not_believed(cache, made):
    onnx_files.find(small_weights(), SETTINGS)
    (entry,) = cache.iterdir()
    entry.write_bytes(onnx_files.make(small_weights(seed=1), SETTINGS))
    assert onnx_files.find(small_weights(), SETTINGS).weights == export_cache.fingerprint(small_weights(), SETTINGS)


def test_the_file_beside_the_weights_is_used_without_a_cache_and_without_onnx(tmp_path, cache, made, monkeypatch):
    save_weights(tmp_path / "w.pdparams", small_weights())
    weights = load_weights(tmp_path / "w.pdparams")
    content = onnx_files.make(weights, SETTINGS)
    (tmp_path / onnx_files.NAME).write_bytes(content)
    made.clear()
    assert onnx_files.find(weights, SETTINGS).content == content
    assert not made
    assert not cache.exists()


def made_by_another_version(weights: Weights, monkeypatch: pytest.MonkeyPatch) -> bytes:
    with monkeypatch.context() as patch:
        patch.setattr(onnx_files, "code_version", lambda *modules: "000000000000")
        return onnx_files.make(weights, SETTINGS)


@pytest.mark.parametrize("fault", ["torn", "other weights", "another version", "one size", "not ours"])
def test_a_file_beside_the_weights_that_does_not_fit_is_left_alone_with_the_reason(
    tmp_path, cache, caplog, monkeypatch, fault
):
    save_weights(tmp_path / "w.pdparams", small_weights())
    weights = load_weights(tmp_path / "w.pdparams")
    content = {
        "torn": lambda: onnx_files.make(weights, SETTINGS)[:-1],
        "other weights": lambda: onnx_files.make(small_weights(seed=1), SETTINGS),
        "another version": lambda: made_by_another_version(weights, monkeypatch),
        "one size": lambda: onnx_files.make(weights, SETTINGS, 32, 32),
        "not ours": lambda: b"something",
    }[fault]()
    (tmp_path / onnx_files.NAME).write_bytes(content)
    found = onnx_files.find(weights, SETTINGS)
    assert found.size == onnx_files.ANY_SIZE
    assert found.weights == export_cache.fingerprint(weights, SETTINGS)
    assert f"{onnx_files.NAME} is not used" in caplog.text
    assert {"one size": "32x32", "not ours": "torn, or"}.get(fault, fault) in caplog.text
    assert (tmp_path / onnx_files.NAME).read_bytes() == content


def test_the_version_is_that_of_the_graph_and_of_the_network(cache, made, monkeypatch):
    first = onnx_files.find(small_weights(), SETTINGS)
    for changed in ("inference/engines/onnx_graph.py", "models/nafnet.py", "models/tlc.py"):
        assert changed in onnx_files._CODE
        others = tuple(module for module in onnx_files._CODE if module != changed)
        with monkeypatch.context() as patch:
            patch.setattr(onnx_files, "_CODE", others)
            assert onnx_files.find(small_weights(), SETTINGS).code != first.code
    assert len(made) == 4


def test_a_window_that_onnxruntime_would_take_all_memory_for_is_refused_with_the_way_out(cache):
    settings = replace(SETTINGS, tlc_ratio=1000.0)
    with pytest.raises(BackendError, match=r"2048 pixels at most, and 16000 are asked for; take tlc_ratio 0"):
        onnx_files.find(small_weights(), settings)
    assert open_backend(small_weights(), settings, device="cpu").name == "paddle"


def test_without_onnx_and_without_a_file_the_way_out_is_named(cache, monkeypatch):
    for module in ("inference.engines.onnx_graph", "inference.engines.onnx_graph"):
        monkeypatch.delitem(sys.modules, module, raising=False)
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(BackendError, match=r"install the package onnx.*python -m inference\.export"):
        onnx_files.find(small_weights(), SETTINGS)
