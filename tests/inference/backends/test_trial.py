"""Exports are run in another process: what it says, and what is said when it dies."""

from __future__ import annotations

import sys

import pytest

from inference.engines import cache as onnx_files
from inference.engines.base import BackendError, Proof
from inference.engines.trial import main, try_export
from tests.inference.small import SETTINGS, eager, small_weights


@pytest.fixture(scope="module")
def proofs() -> list[Proof]:
    return [Proof.of(eager(small_weights()), *size, whole=True) for size in ((1, 1), (31, 53))]


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "é ü" / "model.onnx"
    path.parent.mkdir()
    path.write_bytes(onnx_files.make(small_weights(), SETTINGS))
    return path


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_the_right_file_differs_by_rounding_only(engine, file, proofs, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert try_export(engine, file, proofs) < 1e-4


def test_a_changed_weight_is_seen(file, proofs):
    weights = small_weights()
    weights.params["intro.weight"][0, 0, 0, 0] += 1
    file.write_bytes(onnx_files.make(weights, SETTINGS))
    assert try_export("onnxruntime", file, proofs) > 1e-3


def test_a_file_that_cannot_be_opened_is_named_with_the_engines_words(file, proofs):
    file.write_bytes(b"nothing")
    with pytest.raises(BackendError, match=r"onnxruntime cannot run model\.onnx: .*[Pp]rotobuf"):
        try_export("onnxruntime", file, proofs)


@pytest.mark.parametrize(
    ("script", "said"), [("kill -SEGV $$", "SIGSEGV"), ("echo 'the reason' >&2; exit 3", "the reason"), ("exit 3", "3")]
)
def test_a_process_that_dies_is_no_end_of_this_one(script, said, file, proofs, monkeypatch, tmp_path):
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\n{script}\n")
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    with pytest.raises(BackendError, match=said):
        try_export("onnxruntime", file, proofs)


def test_the_command_prints_the_difference_last(file, proofs, tmp_path, capsys):
    (tmp_path / "proofs.txt").write_text("\n".join(proof.to_text() for proof in proofs))
    assert main(["onnxruntime", str(file), "--proofs", str(tmp_path / "proofs.txt"), "--threads", "1"]) == 0
    assert float(capsys.readouterr().out.split()[-1]) < 1e-4
