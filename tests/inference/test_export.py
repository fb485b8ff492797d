"""python -m inference.export: right files in place and a table, or everything as it was and exit code 1."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from inference import export
from inference.engines import cache as onnx_files
from inference.engines import static
from inference.engines.cache import OnnxFile, fingerprint
from inference.engines.choice import open_backend
from inference.export import main
from models.weights import load_weights, save_weights
from tests.inference.small import SETTINGS, eager, small_weights, tile


@pytest.fixture
def weights_file(tmp_path) -> Path:
    save_weights(tmp_path / "w" / "small.pdparams", small_weights())
    return tmp_path / "w" / "small.pdparams"


@pytest.mark.long
def test_both_files_are_written_checked_and_used(weights_file, capsys, monkeypatch):
    monkeypatch.setattr(export, "STATIC_SIZE", (30, 18))
    assert main(["--weights", str(weights_file)]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].split() == ["file", "size", "engine", "largest", "difference"]
    assert [line.split()[-2] for line in printed[1:]] == ["onnxruntime", "openvino", "inference"]
    assert all(0 <= float(line.split()[-1]) < 1e-4 for line in printed[1:])
    out = weights_file.parent
    assert {path.name for path in out.iterdir()} == {weights_file.name, "model.onnx", "static-32x20"}

    predictor = static.StaticPredictor(out / "static-32x20", "cpu", 1)
    expected = eager(small_weights())(tile(32, 20))
    np.testing.assert_allclose(predictor(tile(32, 20)), expected, atol=1e-4)
    weights = load_weights(weights_file)
    assert OnnxFile.of((out / "model.onnx").read_bytes()).weights == fingerprint(weights, SETTINGS)
    monkeypatch.setattr(onnx_files, "make", lambda *arguments: pytest.fail("the file beside the weights is there"))
    np.testing.assert_allclose(open_backend(weights, SETTINGS, "onnxruntime")(tile(32, 20)), expected, atol=1e-4)


@pytest.mark.long
def test_a_size_is_the_only_one(weights_file, tmp_path, capsys):
    assert main(["--weights", str(weights_file), "--out", str(tmp_path / "out"), "--size", "21x34"]) == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"model.onnx", "static-24x36"}
    assert OnnxFile.of((tmp_path / "out" / "model.onnx").read_bytes()).size == "21x34"
    # A second time over the first.
    assert main(["--weights", str(weights_file), "--out", str(tmp_path / "out"), "--size", "21x34"]) == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"model.onnx", "static-24x36"}


@pytest.mark.long
@pytest.mark.parametrize("broken", ["onnx", "static"])
def test_a_broken_export_is_refused_and_leaves_the_old_files(weights_file, tmp_path, capsys, monkeypatch, broken):
    out = tmp_path / "out"
    (out / "static-24x36").mkdir(parents=True)
    (out / "static-24x36" / "old").write_bytes(b"old")
    (out / "model.onnx").write_bytes(b"old")
    monkeypatch.setattr(export, "_onnx_engines", lambda: ["onnxruntime"])
    if broken == "onnx":
        make = onnx_files.make

        def changed(weights, *rest):
            weights.params["middle_blks.0.conv3.weight"][0, 0] += 1
            return make(weights, *rest)

        monkeypatch.setattr(onnx_files, "make", changed)
    else:
        convert = static.convert_to_local
        monkeypatch.setattr(static, "convert_to_local", lambda network, size, ratio: convert(network, size, ratio / 2))
    assert main(["--weights", str(weights_file), "--out", str(out), "--size", "21x34"]) == 1
    assert "off by" in capsys.readouterr().err
    assert (out / "model.onnx").read_bytes() == b"old"
    assert {path.name for path in out.iterdir()} == {"model.onnx", "static-24x36"}
    assert [path.name for path in (out / "static-24x36").iterdir()] == ["old"]


def test_an_onnx_file_that_nothing_can_check_is_not_written(weights_file, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(export.importlib.util, "find_spec", lambda name: None)
    assert main(["--weights", str(weights_file), "--out", str(tmp_path / "out")]) == 1
    assert "install one of them" in capsys.readouterr().err
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize("size", ["12", "0x5", "ax4", "-3x4", "4x"])
def test_other_sizes_are_refused(size, capsys):
    with pytest.raises(SystemExit):
        main([f"--size={size}"])
    assert "HEIGHTxWIDTH" in capsys.readouterr().err


def test_missing_weights_are_named(tmp_path, capsys):
    assert main(["--weights", str(tmp_path / "none.pdparams")]) == 1
    assert "none.pdparams" in capsys.readouterr().err
