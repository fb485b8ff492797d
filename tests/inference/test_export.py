"""python -m inference.export: right files in place and a table, or everything as it was and exit code 1."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from inference import export
from inference.engines import cache
from inference.engines.base import BackendError, Proof
from inference.engines.cache import OnnxFile, make
from inference.engines.choice import open_backend
from inference.engines.graphs import NafnetGraph
from inference.export import main
from models.weights import load_weights, save_weights
from tests.inference.small import SETTINGS, eager, small_weights, tile

ONNX = {"model.onnx", "model.onnx.json"}


@pytest.fixture
def weights_file(tmp_path) -> Path:
    save_weights(tmp_path / "w ü" / "small.pdparams", small_weights())
    return tmp_path / "w ü" / "small.pdparams"


@pytest.mark.long
def test_all_files_are_written_checked_and_used(weights_file, capsys, monkeypatch):
    monkeypatch.setattr(export, "STATIC_SIZE", (30, 18))
    assert main(["--weights", str(weights_file)]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].split() == ["file", "engine", "largest", "difference"]
    assert [line.split()[-2] for line in printed[1:]] == ["onnxruntime", "openvino", "paddle"]
    assert all(0 <= float(line.split()[-1]) < 1e-4 for line in printed[1:])
    out = weights_file.parent
    assert {path.name for path in out.iterdir()} == {weights_file.name, *ONNX, "static-32x20"}

    expected = eager(small_weights())(tile(32, 20))
    np.testing.assert_allclose(export._StaticModel(out / "static-32x20")(tile(32, 20)), expected, atol=1e-4)
    weights = load_weights(weights_file)
    monkeypatch.setattr(cache, "make", lambda *arguments: pytest.fail("the file beside the weights is there"))
    np.testing.assert_allclose(open_backend(weights, SETTINGS, "onnxruntime")(tile(32, 20)), expected, atol=1e-4)


@pytest.mark.long
def test_a_size_is_the_only_one_and_a_second_export_goes_over_the_first(weights_file, tmp_path, capsys):
    out = tmp_path / "out"
    (out / "static-24x36").mkdir(parents=True)
    (out / "static-24x36" / "old").write_bytes(b"old")
    assert main(["--weights", str(weights_file), "--out", str(out), "--size", "21x34"]) == 0
    assert {path.name for path in out.iterdir()} == {*ONNX, "static-24x36"}
    assert not (out / "static-24x36" / "old").exists()
    assert OnnxFile.load(out / "model.onnx").size == (21, 34)


@pytest.mark.long
@pytest.mark.parametrize("broken", ["onnx", "static"])
def test_a_broken_export_is_refused_and_leaves_the_old_files(weights_file, tmp_path, capsys, monkeypatch, broken):
    out = tmp_path / "out"
    (out / "static-24x36").mkdir(parents=True)
    (out / "static-24x36" / "old").write_bytes(b"old")
    (out / "model.onnx").write_bytes(b"old")
    other = small_weights()
    other.params["middle_blks.0.conv3.weight"][0, 0] += 1
    if broken == "onnx":
        monkeypatch.setattr(export, "make", lambda graph, *size: make(NafnetGraph(other, SETTINGS), *size))
    else:
        write = export.export_static
        monkeypatch.setattr(export, "export_static", lambda weights, *rest: write(other, *rest))
    assert main(["--weights", str(weights_file), "--out", str(out), "--size", "21x34"]) == 1
    assert "off by" in capsys.readouterr().err
    assert (out / "model.onnx").read_bytes() == b"old"
    assert {path.name for path in out.iterdir()} == {"model.onnx", "static-24x36"}
    assert [path.name for path in (out / "static-24x36").iterdir()] == ["old"]


def test_a_file_that_cannot_be_opened_is_named_with_the_engines_words(tmp_path):
    (tmp_path / "model.onnx").write_bytes(b"nothing")
    with pytest.raises(BackendError, match=r"onnxruntime cannot run model\.onnx: .*[Pp]rotobuf"):
        export._check(tmp_path / "model.onnx", "onnxruntime", [Proof.of(eager(small_weights()), 3, 3)])


def test_an_onnx_file_that_nothing_can_check_is_not_written(weights_file, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(export.importlib.util, "find_spec", lambda name: None)
    assert main(["--weights", str(weights_file), "--out", str(tmp_path / "out")]) == 1
    assert "install one of them" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("size", ["12", "0x5", "ax4", "-3x4", "4x"])
def test_other_sizes_are_refused(size, capsys):
    with pytest.raises(SystemExit):
        main([f"--size={size}"])
    assert "HEIGHTxWIDTH" in capsys.readouterr().err


def test_missing_weights_are_named(tmp_path, capsys):
    assert main(["--weights", str(tmp_path / "none.pdparams")]) == 1
    assert "none.pdparams" in capsys.readouterr().err
