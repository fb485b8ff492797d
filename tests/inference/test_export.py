"""python -m inference.export: right files in place and a table, or everything as it was and exit code 2."""

import resource
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from inference import Restorer, export
from inference.engines import opened
from inference.engines.opened import Graph, make, open_backend
from inference.export import main
from models.weights import Weights, load_weights, save_weights
from tests.inference.stand_ins import SETTINGS, small_graph, small_weights, tile
from tests.models.networks import lively_locator

ONNX, LOCATOR = {"model.onnx", "model.onnx.json"}, {"locator.onnx", "locator.onnx.json"}


@pytest.fixture
def weights_file(tmp_path) -> Path:
    save_weights(file := tmp_path / "w ü" / "small.pdparams", small_weights())
    return file


@pytest.fixture
def old(tmp_path) -> Path:
    """A folder with files of an earlier export, which a failed one leaves alone."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "model.onnx").write_bytes(b"old")
    return tmp_path / "out"


@pytest.fixture(autouse=True)
def made_by_export_only(monkeypatch) -> None:
    monkeypatch.setattr(opened, "make", lambda *arguments: pytest.fail("the file beside the weights is there"))


def test_all_files_are_written_over_those_of_an_earlier_export_checked_and_used(weights_file, old, capsys):
    save_weights(weights_file, replace(small_weights(), locator=lively_locator()))
    (old / "model.onnx").rename(weights_file.with_name("model.onnx"))
    assert main(["--weights", str(weights_file)]) == 0
    printed = [line.rsplit(None, 3) for line in capsys.readouterr().out.splitlines()]
    assert [engine for *_, engine in printed] == 2 * ["onnxruntime", "openvino"]
    assert all(0 <= float(difference) < 1e-4 for _, difference, _, _ in printed)
    assert {path.name for path in weights_file.parent.iterdir()} == {weights_file.name, *ONNX, *LOCATOR}
    weights = load_weights(weights_file)
    for graph in (Graph.nafnet(weights, SETTINGS), Graph.locator(weights)):
        opened, reference = open_backend(graph, "onnxruntime"), graph.reference()
        np.testing.assert_allclose(opened(tile(32, 64)), reference(tile(32, 64)), atol=1e-4)


def test_a_locator_alone_is_exported_for_any_size_and_used(tmp_path):
    file = tmp_path / "locator.pdparams"
    save_weights(file, Weights({}, {"fill": "page", "locator_sides": [64]}, locator=lively_locator()))
    assert main(["--weights", str(file)]) == 0
    assert {path.name for path in tmp_path.iterdir()} == {file.name, *LOCATOR}
    restorer = Restorer(file, "cpu", backend="onnxruntime")
    assert restorer(np.full((60, 80, 3), 200, np.uint8)).image.shape == (60, 80, 3)


@pytest.mark.parametrize(("fault", "words"), [
    ("other numbers", "onnxruntime cannot run model.onnx: onnxruntime fp32 on cpu gives wrong numbers"),
    ("nothing", "onnxruntime cannot run model.onnx: "), ("no engine", "install one of them"),
    ("no weights", "none.pdparams"), ("full disk", "out/model.onnx.json: File too large\n")])  # fmt: skip
def test_a_fault_is_named_and_leaves_the_old_files(weights_file, old, capsys, monkeypatch, fault, words):
    other, limits = small_graph(), resource.getrlimit(resource.RLIMIT_FSIZE)
    other.weights.params["middle_blks.0.conv3.weight"][0, 0] += 1
    if fault == "other numbers":
        monkeypatch.setattr(export, "make", lambda graph: make(other))
    elif fault == "nothing":
        monkeypatch.setattr(export, "make", lambda graph: make(graph)._replace(content=b"nothing"))
    elif fault == "no engine":
        monkeypatch.setattr(export.importlib.util, "find_spec", lambda name: None)
    elif fault == "full disk":
        resource.setrlimit(resource.RLIMIT_FSIZE, (500, limits[1]))
    file = weights_file.with_name("none.pdparams") if fault == "no weights" else weights_file
    try:
        assert main(["--weights", str(file), "--out", str(old)]) == 2
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert words in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in old.iterdir()} == {"model.onnx": b"old"}
