"""open_backend: the same numbers from every engine, finite ones, and a reason for everything that is not used."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import paddle
import pytest

from inference.engines import choice, runtimes
from inference.engines.choice import CheckedBackend, open_backend
from inference.engines.exported import make
from inference.engines.runtimes import ONNX_ENGINES, BackendError
from models.weights import save_weights
from tests.inference.small import eager, small_graph, small_weights, tile
from tests.inference.stand_ins import StandIn
from utils.machine import DeviceError, available_cores


@pytest.fixture(autouse=True)
def no_gpu_shows(monkeypatch):
    """The tests say the same on a machine with a GPU that its packages cannot use."""
    monkeypatch.setattr(choice, "gpu_shows", lambda: False)


@pytest.fixture
def graph():
    return small_graph()


def warnings(caplog) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.mark.parametrize(("backend", "gate"), [("paddle", False), ("onnxruntime", True), ("openvino", False)])
def test_every_engine_gives_the_eager_networks_numbers(backend, gate):
    opened, reference = open_backend(small_graph(gate=gate), backend, "fp32", "cpu", 2), eager(small_weights(gate=gate))
    assert (opened.name, opened.precision, opened.device, opened.gated) == (backend, "fp32", "cpu", gate)
    assert "24x24, 12x12, 6x6" in opened.tlc
    np.testing.assert_allclose(opened(tile(37, 29)), reference(tile(37, 29)), atol=1e-4)


@pytest.mark.parametrize(("said", "given", "expected"), [("1", None, 1), ("1", 3, 3), ("many", None, None)])
@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_every_engine_takes_the_threads_that_the_environment_says(graph, monkeypatch, backend, said, given, expected):
    seen, engine = [], ONNX_ENGINES[backend]
    monkeypatch.setitem(ONNX_ENGINES, backend, lambda *arguments: seen.append(arguments[-1]) or engine(*arguments))
    monkeypatch.setenv("OMP_NUM_THREADS", said)
    open_backend(graph, backend, threads=given)
    assert seen == [expected or available_cores()]


def test_packages_that_are_not_installed_are_passed_over_without_a_warning(graph, monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "openvino", None)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    caplog.set_level(logging.INFO, "inference")
    assert open_backend(graph, device="cpu").name == "paddle"
    assert "openvino is not installed" in caplog.text
    assert warnings(caplog) == []
    with pytest.raises(BackendError, match="openvino is not installed"):
        open_backend(graph, "openvino")


@pytest.mark.parametrize(
    ("fault", "said"), [(None, "illegal instruction"), (0.05, "wrong numbers"), (np.nan, "wrong numbers")]
)
def test_an_engine_that_fails_or_lies_is_named_and_the_next_one_taken(graph, monkeypatch, caplog, fault, said):
    monkeypatch.setitem(sys.modules, "openvino", None)
    call = runtimes.OnnxRuntimeEngine.__call__

    def broken(self, tile):
        if fault is None:
            raise RuntimeError("illegal instruction")
        return call(self, tile) + np.float32(fault)

    monkeypatch.setattr(runtimes.OnnxRuntimeEngine, "__call__", broken)
    assert open_backend(graph).name == "paddle"
    (warning,) = warnings(caplog)
    assert "onnxruntime fp32 on cpu is not used" in warning
    assert said in warning
    with pytest.raises(BackendError, match=said):
        open_backend(graph, "onnxruntime")


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        (("torch",), BackendError, r"backend torch .*no such combination; there is paddle"),
        (("auto", "int8"), BackendError, "precision int8 .*there is paddle on gpu: fp32, bf16, fp16"),
        (("auto", "auto", "cuda"), DeviceError, "expected auto, cpu, gpu"),
        (("openvino", "auto", "gpu"), BackendError, "gpu.*no such combination; .*openvino on cpu: fp32"),
        (("paddle", "bf16", "cpu"), BackendError, "paddle on cpu: fp32"),
    ],
)
def test_unknown_names_and_combinations_say_what_there_is(graph, arguments, error, words):
    with pytest.raises(error, match=words):
        open_backend(graph, *arguments)


def test_weights_that_do_not_fit_are_an_error_at_once(graph, caplog):
    graph.weights.params.pop("intro.bias")
    with pytest.raises(ValueError, match=r"missing intro\.bias"):
        open_backend(graph)
    assert caplog.text == ""


def test_a_working_gpu_is_taken_first(graph, pretend_gpu, caplog, monkeypatch):
    monkeypatch.setattr(choice, "gpu_shows", lambda: True)
    opened = open_backend(graph)
    assert (opened.name, opened.device, opened.precision, pretend_gpu[-1]) == ("paddle", "gpu:0", "fp32", "gpu:0")
    assert open_backend(graph, precision="fp16", device="gpu").precision == "fp16"
    assert caplog.text == ""


def test_a_gpu_that_does_not_work_is_a_warning_for_auto_and_an_error_by_name(graph, pretend_gpu, caplog, monkeypatch):
    def forward(self, x):
        raise RuntimeError("ExternalError: no kernel image is available")

    monkeypatch.setattr(choice, "gpu_shows", lambda: True)
    monkeypatch.setattr(paddle.nn.Conv2D, "forward", forward)
    assert open_backend(graph, "onnxruntime").device == "cpu"
    assert "CUDAExecutionProvider" in caplog.text
    assert open_backend(graph).device == "cpu"
    assert "no kernel image" in caplog.text
    for backend, device, words in (
        ("paddle", "gpu:0", "no kernel image"),
        ("paddle", "gpu:2", "gpu:2 is not there"),
        ("auto", "gpu", r"no kernel image.*CUDAExecutionProvider"),
    ):
        with pytest.raises(DeviceError, match=words):
            open_backend(graph, backend, device=device)


def test_with_an_exported_file_neither_paddle_nor_the_other_engine_is_imported(graph, tmp_path):
    save_weights(tmp_path / "model.pdparams", graph.weights)
    make(graph).save(tmp_path / "model.onnx")
    code = (
        "import sys, numpy as np\n"
        "from inference import Restorer\n"
        "restorer = Restorer(sys.argv[1], backend='onnxruntime', mode='full')\n"
        "restorer(np.zeros((9, 7, 3), np.uint8))\n"
        "assert not {'paddle', 'openvino', 'onnx'} & set(sys.modules), 'imported'\n"
    )
    root, none = Path(choice.__file__).parents[2], tmp_path / "none"
    environment = {**os.environ, "PYTHONPATH": str(root), "UNCOVER_CACHE": str(none)}
    command = [sys.executable, "-c", code, str(tmp_path / "model.pdparams")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert not none.exists()


def test_finite_values_pass_and_others_are_an_error_with_names():
    checked = CheckedBackend(StandIn(lambda tile: tile), True, "none")
    assert (checked.name, checked.precision, checked.gated, checked.tlc) == ("stand-in", "fp32", True, "none")
    np.testing.assert_array_equal(checked(tile(3, 4)), tile(3, 4))
    for value in (np.nan, -np.inf):
        with pytest.raises(FloatingPointError, match=r"stand-in in fp32 on cpu.*3 x 4"):
            CheckedBackend(StandIn(lambda tile, value=value: tile * np.float32(value)), False, "")(tile(3, 4))
