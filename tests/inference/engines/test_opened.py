"""Exported networks beside the weights, cached or new, never torn or foreign ones; the engine that is opened over them:
the same numbers from each, and a reason for everything that is not used."""

import logging
import re
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from inference.engines import ONNX_ENGINES, BackendError, OnnxRuntimeEngine, opened
from inference.engines.opened import FOLDER_VARIABLE, Graph, cache_folder, find, make, notes_of, open_backend
from models.weights import load_weights, save_weights
from tests.conftest import ROOT, contents, python
from tests.inference.stand_ins import SETTINGS, eager, small_graph, small_weights, tile
from utils.machine import DeviceError, available_cores


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def made(monkeypatch) -> list:
    """Counts how often a file is made."""
    made = []
    monkeypatch.setattr(opened, "make", lambda *arguments: made.append(1) or make(*arguments))
    return made


@pytest.fixture(autouse=True)
def no_gpu_shows(monkeypatch):
    """The tests say the same on a machine with a GPU that its packages cannot use."""
    monkeypatch.setattr(opened, "gpu_shows", lambda: False)


@pytest.fixture
def graph() -> Graph:
    return small_graph()


def test_a_file_is_made_once_and_again_for_other_weights_and_windows(cache, made):
    first = find(small_graph())
    assert find(small_graph()).content == first.content
    # Settings that have nothing to do with the network share it, and without windows their size as well.
    find(small_graph(replace(SETTINGS, rows=7, long_side=99)))
    assert len(made) == 1
    windows = ({"tlc_ratio": 1.0}, {"tlc_ratio": 0.0}, {"tlc_ratio": 0.0, "tlc_train_size": 32})
    others = [find(small_graph(seed=1)), *(find(small_graph(replace(SETTINGS, **each))) for each in windows)]
    assert len(made) == len({file.fingerprint for file in [first, *others]}) == 4
    assert len(list(cache.glob("*.onnx"))) == len(list(cache.glob("*.onnx.json"))) == 4


def test_the_fingerprint_is_that_of_values_shapes_and_code(monkeypatch):
    first, read = small_graph().fingerprint, Path.read_bytes
    for change in (lambda values: np.nextafter(values, np.float32(9)), lambda values: values.reshape(2, 2)):
        other = small_weights()
        other.params["intro.bias"] = change(other.params["intro.bias"])
        assert Graph.nafnet(other, SETTINGS).fingerprint != first
    engines = (f"inference/engines/{name}" for name in ("__init__", "onnx_graph", "opened"))
    for changed in (ROOT / f"{file}.py" for file in (*engines, "models/nafnet")):
        monkeypatch.setattr(Path, "read_bytes", lambda path, changed=changed: read(path) + b"#" * (path == changed))
        assert small_graph().fingerprint != first


DAMAGE = {
    "short": ("torn, or not", lambda path: path.write_bytes(path.read_bytes()[:-9])),
    "torn notes": ("torn, or of another", lambda path: notes_of(path).write_text(notes_of(path).read_text()[:-9])),
    "no notes": ("is not beside it", lambda path: notes_of(path).unlink()),
    "other notes": ("torn, or of another version", lambda path: notes_of(path).write_text('{"weights": "older"}')),
    "other weights": ("other weights", lambda path: make(small_graph(seed=1)).save(path)),
}


@pytest.mark.parametrize("damage", [None, *DAMAGE])
@pytest.mark.parametrize("beside", [False, True])
def test_a_file_is_used_if_right_and_else_made_again_with_the_reason(tmp_path, cache, made, caplog, beside, damage):
    """In the cache the new one takes its place; beside the weights a wrong one is left alone."""
    save_weights(tmp_path / "w.pdparams", small_weights())
    graph = Graph.nafnet(load_weights(tmp_path / "w.pdparams"), SETTINGS)
    path = tmp_path / "model.onnx" if beside else cache / f"{graph.fingerprint[:24]}-nafnet.onnx"
    make(graph).save(path)
    words, spoil = DAMAGE.get(damage, ("", notes_of))
    spoil(path)
    pattern = "model.onnx*" if beside else "*"
    before = contents(path.parent, pattern)
    assert find(graph).fingerprint == find(graph).fingerprint == graph.fingerprint
    assert len(made) == (damage is not None)
    assert caplog.text.count("is not used") == (0 if damage is None else 1 + beside)
    assert words in caplog.text
    assert (contents(path.parent, pattern) == before) == (beside or damage is None)


def test_what_cannot_be_exported_is_refused_with_the_way_out(cache, monkeypatch, graph):
    """Windows that onnxruntime would take all memory for; no package onnx; too little memory for Paddle."""
    wide = small_graph(replace(SETTINGS, tlc_ratio=1000.0))
    with pytest.raises(BackendError, match=r"2048 pixels at most, and 16000 are asked for; take tlc_ratio 0"):
        find(wide)
    assert open_backend(wide, device="cpu").name == "paddle"
    with monkeypatch.context() as patch:
        patch.delitem(sys.modules, "inference.engines.onnx_graph", raising=False)
        patch.setitem(sys.modules, "onnx", None)
        with pytest.raises(BackendError, match=r"install the package onnx.*python -m inference\.export"):
            find(graph)
    monkeypatch.setattr("utils.machine.available_bytes", lambda: 400_000_000)
    monkeypatch.setattr(Graph, "reference", lambda *arguments: pytest.fail("too late"))
    with pytest.raises(MemoryError, match=r"export the nafnet: .* 500 MB, and 400 MB are available.*inference\.export"):
        open_backend(graph, "onnxruntime")


def test_four_processes_at_once_end_with_one_whole_entry(cache):
    code = """
from types import SimpleNamespace
from inference.engines import opened
graph = SimpleNamespace(name='some', fingerprint='a' * 64, beside=None)
proof = opened.Proof.of(lambda tile: tile, 3, 3)
opened.make = lambda graph: opened.OnnxFile(b'z' * 100000, 'a' * 64, True, '', proof)
for turn in range(41):
    file = opened.find(graph)
    assert file.content == b'z' * 100000 and file.proof.samples.shape == (3, 2, 2)
    if turn % 5 == 4: [path.unlink(missing_ok=True) for path in opened.cache_folder().glob('*')]
"""
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(python, 4 * ["-c"], 4 * [code]))
    assert sorted(path.name for path in cache.iterdir()) == [f"{'a' * 24}-some.onnx", f"{'a' * 24}-some.onnx.json"]


def test_the_place_follows_the_environment_and_where_nothing_can_be_written_it_works_with_a_warning(
    tmp_path, monkeypatch, caplog, graph
):
    places = {"HOME": "/named/.cache/uncover", "XDG_CACHE_HOME": "/named/uncover", FOLDER_VARIABLE: "/named"}
    for variable in places:
        monkeypatch.delenv(variable, raising=False)
    for variable, place in places.items():
        monkeypatch.setenv(variable, "/named")
        assert cache_folder() == Path(place)
    (tmp_path / "a file").write_bytes(b"")
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "a file"))
    assert find(graph).gated
    assert re.search(f"is not kept.*{FOLDER_VARIABLE}", caplog.text)


@pytest.mark.parametrize(("backend", "gate"), [("paddle", False), ("onnxruntime", True), ("openvino", False)])
def test_every_engine_gives_the_eager_networks_numbers_with_the_threads_that_the_environment_says(
    backend, gate, monkeypatch
):
    expected, seen, engine = eager(small_weights(gate=gate))(tile(37, 29)), [], ONNX_ENGINES.get(backend)
    monkeypatch.setitem(ONNX_ENGINES, backend, lambda *arguments: seen.append(arguments[-1]) or engine(*arguments))
    for said, given in (("1", None), ("1", 3), ("many", None))[: 3 if engine else 1]:
        monkeypatch.setenv("OMP_NUM_THREADS", said)
        found = open_backend(small_graph(gate=gate), backend, "fp32", "cpu", given)
    assert seen == ([1, 3, available_cores()] if engine else [])
    assert (found.name, found.precision, found.device, found.gated) == (backend, "fp32", "cpu", gate)
    assert "24x24, 12x12, 6x6" in found.tlc
    np.testing.assert_allclose(found(tile(37, 29)), expected, atol=1e-4)


def test_packages_that_are_not_installed_are_passed_over_without_a_warning(graph, monkeypatch, caplog):
    for name in ONNX_ENGINES:
        monkeypatch.setitem(sys.modules, name, None)
    caplog.set_level(logging.INFO, "inference")
    assert open_backend(graph, device="cpu").name == "paddle"
    assert {(record.levelname, record.getMessage()) for record in caplog.records} == {
        ("INFO", f"{name} fp32 on cpu is not used: {name} is not installed") for name in ONNX_ENGINES
    }
    with pytest.raises(BackendError, match="openvino is not installed"):
        open_backend(graph, "openvino")


@pytest.mark.parametrize(
    ("fault", "said"), [(None, "illegal instruction"), (0.05, "wrong numbers"), (np.nan, "not finite")]
)
def test_an_engine_that_fails_or_lies_is_named_and_the_next_one_taken(graph, monkeypatch, caplog, fault, said):
    monkeypatch.setitem(sys.modules, "openvino", None)
    run = OnnxRuntimeEngine._run

    def broken(self, tile):
        if fault is None:
            raise RuntimeError("illegal instruction")
        return run(self, tile) + np.float32(fault)

    monkeypatch.setattr(OnnxRuntimeEngine, "_run", broken)
    assert open_backend(graph).name == "paddle"
    (warning,) = (record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING)
    assert "onnxruntime fp32 on cpu is not used" in warning
    assert said in warning
    with pytest.raises(BackendError, match=said):
        open_backend(graph, "onnxruntime")


@pytest.mark.parametrize(("arguments", "error", "words"), [
    (("torch",), BackendError, r"backend torch .*no such combination; there is paddle"),
    (("auto", "int8"), BackendError, "precision int8 .*there is paddle on gpu: fp32, bf16, fp16"),
    (("auto", "auto", "cuda"), DeviceError, "expected auto, cpu, gpu"),
    (("openvino", "auto", "gpu"), BackendError, "gpu.*no such combination; .*openvino on cpu: fp32"),
    (("paddle", "bf16", "cpu"), BackendError, "paddle on cpu: fp32")])  # fmt: skip
def test_unknown_names_and_combinations_say_what_there_is(graph, arguments, error, words):
    with pytest.raises(error, match=words):
        open_backend(graph, *arguments)


def test_a_gpu_that_works_is_taken_first_and_one_that_does_not_is_a_warning_for_auto_and_an_error_by_name(
    graph, pretend_gpu, caplog, monkeypatch
):
    monkeypatch.setattr(opened, "gpu_shows", lambda: True)
    found = open_backend(graph)
    assert (found.name, found.device, found.precision, pretend_gpu[-1]) == ("paddle", "gpu:0", "fp32", "gpu:0")
    assert open_backend(graph, precision="fp16", device="gpu").precision == "fp16"
    # Weights that do not fit are an error at once.
    params = {name: values for name, values in graph.weights.params.items() if name != "intro.bias"}
    with pytest.raises(ValueError, match=r"missing intro\.bias"):
        open_backend(replace(graph, weights=replace(graph.weights, params=params)))
    monkeypatch.setattr("paddle.device.cuda.device_count", lambda: 0)
    assert open_backend(graph, "onnxruntime").device == "cpu"
    assert caplog.text == ""
    assert open_backend(graph).device == "cpu"
    assert "gpu:0 is not there" in caplog.text
    for backend, device in (("paddle", "gpu:2"), ("auto", "gpu")):
        with pytest.raises(DeviceError, match="is not there, 0 GPU"):
            open_backend(graph, backend, device=device)


def test_with_an_exported_file_neither_paddle_nor_the_other_engine_is_imported(graph, tmp_path, cache):
    save_weights(tmp_path / "model.pdparams", graph.weights)
    make(graph).save(tmp_path / "model.onnx")
    code = """
import sys, numpy as np
from inference import Restorer
Restorer(sys.argv[1], backend='onnxruntime', mode='full')(np.zeros((9, 7, 3), np.uint8))
print({'paddle', 'openvino', 'onnx'} & set(sys.modules))
"""
    assert python("-c", code, tmp_path / "model.pdparams").stdout == "set()\n"
    assert not cache.exists()
