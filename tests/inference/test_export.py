"""python -m inference.export: right files in place and a table, or everything as it was and exit code 2."""

from __future__ import annotations

import resource
from dataclasses import replace
from pathlib import Path

import numpy as np
import paddle
import pytest

from inference import Restorer, export
from inference.engines import opened
from inference.engines.opened import Graph, make, open_backend
from inference.export import main
from models.weights import Weights, load_weights, save_weights
from tests.inference.small import SETTINGS, eager, small_graph, small_weights, tile
from tests.models.networks import lively_locator

ONNX, LOCATOR = {"model.onnx", "model.onnx.json"}, {"locator.onnx", "locator.onnx.json"}


@pytest.fixture(autouse=True)
def small_static_model(monkeypatch) -> None:
    monkeypatch.setattr(export, "STATIC_SIDE", 32)


@pytest.fixture
def weights_file(tmp_path) -> Path:
    save_weights(tmp_path / "w ü" / "small.pdparams", small_weights())
    return tmp_path / "w ü" / "small.pdparams"


@pytest.fixture
def old(tmp_path) -> Path:
    """A folder with files of an earlier export, which a failed one leaves alone."""
    out = tmp_path / "out"
    (out / "static-32x32").mkdir(parents=True)
    for name in ("static-32x32/old", "model.onnx"):
        (out / name).write_bytes(b"old")
    return out


def is_as_it_was(out: Path) -> bool:
    names = {path.name for path in out.rglob("*")}
    return names == {"model.onnx", "static-32x32", "old"} and (out / "model.onnx").read_bytes() == b"old"


@pytest.fixture(autouse=True)
def made_by_export_only(monkeypatch) -> None:
    monkeypatch.setattr(opened, "make", lambda *arguments: pytest.fail("the file beside the weights is there"))


def test_all_files_are_written_over_those_of_an_earlier_export_checked_and_used(weights_file, old, capsys):
    save_weights(weights_file, replace(small_weights(), locator=lively_locator()))
    for path in old.iterdir():
        path.rename(weights_file.parent / path.name)
    assert main(["--weights", str(weights_file)]) == 0
    printed = [line.rsplit(None, 3) for line in capsys.readouterr().out.splitlines()]
    assert [engine for *_, engine in printed] == ["onnxruntime", "openvino", "paddle", "onnxruntime", "openvino"]
    assert all(0 <= float(difference) < 1e-4 for _, difference, _, _ in printed)
    out = weights_file.parent
    assert not (out / "static-32x32" / "old").exists()
    assert {path.name for path in out.iterdir()} == {weights_file.name, *ONNX, *LOCATOR, "static-32x32"}
    static = paddle.jit.load(str(out / "static-32x32" / "model"))
    found = static(paddle.to_tensor(tile(32, 32))).numpy()
    np.testing.assert_allclose(found, eager(small_weights())(tile(32, 32)), atol=1e-4)
    weights = load_weights(weights_file)
    for graph in (Graph.nafnet(weights, SETTINGS), Graph.locator(weights)):
        opened, reference = open_backend(graph, "onnxruntime"), graph.reference()
        np.testing.assert_allclose(opened(tile(32, 64)), reference(tile(32, 64)), atol=1e-4)


def test_a_locator_alone_is_exported_for_any_size_and_used_or_refused_when_wrong(tmp_path, capsys, monkeypatch):
    file, locator = tmp_path / "locator.pdparams", lively_locator()
    save_weights(file, Weights({}, {}, {"fill": "page", "locator_sides": [64]}, locator=locator))
    locator.params["head.bias"][:] += 1
    other = Graph.locator(Weights({}, {}, locator=locator))
    with monkeypatch.context() as patch:
        patch.setattr(export, "make", lambda graph: make(other))
        assert main(["--weights", str(file)]) == 2
    assert "locator.onnx is wrong" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == [file.name]
    assert main(["--weights", str(file)]) == 0
    assert {path.name for path in tmp_path.iterdir()} == {file.name, *LOCATOR}
    restorer = Restorer(file, "cpu", backend="onnxruntime")
    assert restorer(np.full((60, 80, 3), 200, np.uint8)).image.shape == (60, 80, 3)


@pytest.mark.parametrize(
    ("fault", "words"),
    [("onnx", "model.onnx is wrong: onnxruntime is off by"), ("static", "static-32x32 is wrong: paddle is off by"),
     ("nothing", "onnxruntime cannot run model.onnx: "), ("no engine", "install one of them"),
     ("no weights", "none.pdparams")],
)
def test_a_fault_is_named_and_leaves_the_old_files(weights_file, old, capsys, monkeypatch, fault, words):
    other, trace = small_graph(), paddle.jit.to_static
    other.weights.params["middle_blks.0.conv3.weight"][0, 0] += 1
    if fault == "onnx":
        monkeypatch.setattr(export, "make", lambda graph: make(other))
    elif fault == "static":
        monkeypatch.setattr(paddle.jit, "to_static", lambda head, **options: trace(
            setattr(head, "network", other.reference().network) or head, **options))
    elif fault == "nothing":
        monkeypatch.setattr(export, "make", lambda graph: make(graph)._replace(content=b"nothing"))
    elif fault == "no engine":
        monkeypatch.setattr(export.importlib.util, "find_spec", lambda name: None)
    file = weights_file.with_name("none.pdparams") if fault == "no weights" else weights_file
    assert main(["--weights", str(file), "--out", str(old)]) == 2
    assert words in capsys.readouterr().err
    assert is_as_it_was(old)


@pytest.mark.parametrize(("limit", "file"), [(5_000, "model.onnx.json"), (1_500_000, "static-32x32/model.pdiparams")])
def test_a_full_disk_names_the_file_as_it_would_be_called(weights_file, old, capsys, limit, file):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        code = main(["--weights", str(weights_file), "--out", str(old)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert (code, capsys.readouterr().err) == (2, f"error: {old / file}: File too large\n")
    assert is_as_it_was(old)
