"""Trees of arrays come back bit for bit, and nothing in a file is ever run."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from utils.serialization import UnsafeFileError, load_tree, save_tree


def tree():
    rng = np.random.default_rng(0)
    return {
        "arrays": {
            "a.weight": rng.normal(size=(3, 4, 5)).astype(np.float32),
            "half": rng.normal(size=7).astype(np.float16),
            "whole": np.arange(6, dtype=np.int64).reshape(2, 3),
            "scalar": np.array(2.5, np.float32),
            "empty": np.zeros((0, 3), np.uint8),
            "turned": np.asfortranarray(rng.normal(size=(4, 3))),
        },
        "plain": [1, 2.5, "ü", None, True, b"bytes", (1, 2)],
        "state": rng.bit_generator.state,
    }


def same(left, right):
    if isinstance(left, np.ndarray):
        return isinstance(right, np.ndarray) and left.dtype == right.dtype and np.array_equal(left, right)
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    if isinstance(left, list | tuple):
        return type(left) is type(right) and len(left) == len(right) and all(map(same, left, right))
    return type(left) is type(right) and left == right


def test_a_tree_comes_back_bit_for_bit(tmp_path):
    save_tree(tmp_path / "x.pdckpt", tree())
    assert same(tree(), load_tree(tmp_path / "x.pdckpt"))
    # Equal trees give equal bytes, whatever the order in memory.
    array = np.arange(12.0).reshape(3, 4)
    save_tree(tmp_path / "a", {"x": array})
    save_tree(tmp_path / "b", {"x": np.asfortranarray(array)})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize("package", [b"numpy.core", b"numpy._core"])
def test_files_of_numpy_1_and_2_are_read(tmp_path, package):
    content = pickle.dumps({"x": np.arange(3.0), "y": np.float64(2.5)}, protocol=2)
    for name in (b"numpy.core", b"numpy._core"):
        content = content.replace(b"c" + name, b"c" + package)
    (tmp_path / "x").write_bytes(content)
    assert same(load_tree(tmp_path / "x"), {"x": np.arange(3.0), "y": np.float64(2.5)})


class Harmful:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_code_in_a_file_is_refused_and_not_run(tmp_path):
    path = tmp_path / "weights.pdparams"
    path.write_bytes(pickle.dumps({"params": Harmful(tmp_path / "was_run")}))
    with pytest.raises(UnsafeFileError, match=r"weights\.pdparams.*only arrays"):
        load_tree(path)
    assert not (tmp_path / "was_run").exists()


@pytest.mark.parametrize("name", ["os.system", "builtins.eval", "numpy.load", "numpy.core.multiarray.fromfile"])
def test_only_the_names_that_rebuild_arrays_are_allowed(tmp_path, name):
    module, function = name.rsplit(".", 1)
    (tmp_path / "x").write_bytes(f"c{module}\n{function}\n.".encode())
    with pytest.raises(UnsafeFileError, match=function):
        load_tree(tmp_path / "x")


def test_a_torn_file_is_named(tmp_path):
    save_tree(tmp_path / "x.pdckpt", tree())
    content = (tmp_path / "x.pdckpt").read_bytes()
    for length in (0, 1, len(content) // 2, len(content) - 1):
        (tmp_path / "torn.pdckpt").write_bytes(content[:length])
        with pytest.raises(ValueError, match=r"torn\.pdckpt.*cut short"):
            load_tree(tmp_path / "torn.pdckpt")
    with pytest.raises(FileNotFoundError):
        load_tree(tmp_path / "missing")


@pytest.mark.parametrize(
    ("value", "where"),
    [(np.float32(1), "b"), ({1: 2}, "expected str"), (np.array([None]), "object"), ([{"c": object()}], r"b\[0\]\.c")],
)
def test_what_cannot_be_saved_is_named_with_its_place(tmp_path, value, where):
    with pytest.raises(TypeError, match=where):
        save_tree(tmp_path / "x", {"a": 1, "b": value})
    assert not (tmp_path / "x").exists()


def test_files_of_every_numpy_and_protocol_are_read(tmp_path):
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    for protocol in range(2, 6):
        content = pickle.dumps({"weight": array, "rate": np.float64(0.5)}, protocol)
        for name in (b"numpy.core.", b"numpy._core."):
            # As text, the name's length is not written beside it.
            other = content.replace(b"numpy.core.", name) if protocol == 2 else content
            (tmp_path / "x").write_bytes(other)
            assert same(load_tree(tmp_path / "x"), pickle.loads(content))


def test_paddle_reads_our_files_and_we_read_paddles(tmp_path):
    paddle = pytest.importorskip("paddle")
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    save_tree(tmp_path / "ours.pdparams", {"weight": array})
    loaded = paddle.load(str(tmp_path / "ours.pdparams"))
    assert np.array_equal(np.asarray(loaded["weight"]), array)
    paddle.save({"weight": paddle.to_tensor(array)}, str(tmp_path / "theirs.pdparams"))
    theirs = load_tree(tmp_path / "theirs.pdparams")
    assert np.array_equal(theirs["weight"], array)
