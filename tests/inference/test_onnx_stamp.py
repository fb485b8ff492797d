"""The stamp: ordinary ONNX metadata that is read without onnx, and that tells a whole file from a torn one."""

from __future__ import annotations

import onnx
import onnxruntime
import pytest

from inference.engines import cache as onnx_files
from inference.engines.cache import read_stamp, stamp
from tests.inference.small import SETTINGS, small_weights

NOTES = {"weights": "abc", "long": "x" * 70_000, "accents": "épreuve ±", "empty": ""}


@pytest.fixture(scope="module")
def model() -> bytes:
    from inference.engines.onnx_graph import build_onnx

    return build_onnx(small_weights(), SETTINGS)


def test_notes_come_back_here_in_onnx_and_in_onnxruntime(model):
    stamped = stamp(model, NOTES)
    notes = read_stamp(stamped)
    assert {key: notes[key] for key in NOTES} == NOTES
    read = onnx.load_from_string(stamped)
    onnx.checker.check_model(read)
    assert {entry.key: entry.value for entry in read.metadata_props}.items() >= NOTES.items()
    assert read.graph == onnx.load_from_string(model).graph
    session = onnxruntime.InferenceSession(stamped, providers=["CPUExecutionProvider"])
    assert session.get_modelmeta().custom_metadata_map.items() >= NOTES.items()


def test_metadata_that_was_there_before_is_read_too(model):
    read = onnx.load_from_string(model)
    onnx.helper.set_model_props(read, {"before": "1"})
    assert read_stamp(stamp(read.SerializeToString(), {"after": "2"})).items() >= {"before": "1", "after": "2"}.items()


def test_a_torn_a_changed_and_an_unstamped_file_have_no_stamp(model):
    stamped = stamp(model, NOTES)
    for length in (0, 1, 50, len(stamped) // 2, len(stamped) - 1):
        assert read_stamp(stamped[:length]) is None
    for position in (0, 1000, len(model) + 5, len(stamped) - 1):
        changed = bytearray(stamped)
        changed[position] ^= 1
        assert read_stamp(bytes(changed)) is None
    assert read_stamp(stamped + b"\0") is None
    assert read_stamp(model) is None


def test_a_whole_file_with_other_notes_is_not_taken_for_one_of_ours(model):
    assert onnx_files.OnnxFile.of(stamp(model, {"weights": "abc"})) is None
    made = onnx_files.OnnxFile.of(onnx_files.make(small_weights(gate=False), SETTINGS))
    assert not made.gated
    assert made.size == onnx_files.ANY_SIZE
    assert "24x24" in made.tlc
