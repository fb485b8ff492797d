"""open_backend: the same numbers from every engine, and a reason for everything that is not used."""

from __future__ import annotations

import importlib.util
import logging
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import paddle
import pytest

from inference.engines import choice, onnx_runtime, openvino_cpu
from inference.engines.base import BackendError
from inference.engines.cache import make
from inference.engines.choice import PRECISIONS, open_backend
from inference.engines.graphs import NAME, NafnetGraph
from models.weights import save_weights
from tests.inference.small import SETTINGS, eager, small_weights, tile
from utils.machine import DeviceError, available_cores

ROOT = Path(__file__).resolve().parents[3]
ONNX_ENGINES = {
    "onnxruntime": (onnx_runtime, "OnnxRuntimeEngine"),
    "openvino": (openvino_cpu, "OpenVinoEngine"),
}


@pytest.fixture(autouse=True)
def no_gpu_shows(monkeypatch):
    """The tests say the same on a machine with a GPU that its packages cannot use."""
    monkeypatch.setattr(choice, "gpu_shows", lambda: False)


@pytest.mark.parametrize("gate", [True, False])
@pytest.mark.parametrize("backend", ["paddle", "onnxruntime", "openvino"])
def test_every_engine_gives_the_eager_networks_numbers_at_every_size(backend, gate):
    weights = small_weights(gate=gate)
    opened, reference = open_backend(weights, SETTINGS, backend, "fp32", "cpu", 2), eager(weights)
    assert (opened.name, opened.precision, opened.device) == (backend, "fp32", "cpu")
    assert opened.gated == gate
    assert "24x24, 12x12, 6x6" in opened.tlc
    for height, width in [(1, 1), (37, 29), (5, 90), (90, 5), (23, 24)]:
        output, expected = opened(tile(height, width)), reference(tile(height, width))
        assert output.dtype == np.float32
        assert output.shape == (1, 4 if gate else 3, height, width)
        np.testing.assert_allclose(output, expected, atol=1e-4)


def test_auto_takes_the_first_of_the_order_and_fp32():
    opened = open_backend(small_weights(), SETTINGS)
    assert (opened.name, opened.precision, opened.device) == (next(iter(PRECISIONS["cpu"])), "fp32", "cpu")


@pytest.mark.parametrize(("said", "given", "expected"), [("1", None, 1), ("1", 3, 3), ("many", None, None)])
@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_every_engine_takes_the_threads_that_the_environment_says(monkeypatch, backend, said, given, expected):
    seen = []
    place = ONNX_ENGINES[backend]
    engine = getattr(place[0], place[1])
    monkeypatch.setattr(*place, lambda *arguments: seen.append(arguments[-1]) or engine(*arguments))
    monkeypatch.setenv("OMP_NUM_THREADS", said)
    open_backend(small_weights(), SETTINGS, backend, threads=given)
    assert seen == [expected or available_cores()]


@pytest.mark.parametrize(
    ("backend", "device", "said"),
    [("auto", "auto", 1), ("onnxruntime", "auto", 1), ("openvino", "auto", 0), ("auto", "cpu", 0)],
)
def test_a_gpu_that_no_installed_package_can_use_is_no_silent_miss(monkeypatch, caplog, backend, device, said):
    monkeypatch.setattr(choice, "gpu_shows", lambda: True)
    assert open_backend(small_weights(), SETTINGS, backend, device=device).device == "cpu"
    assert caplog.text.count("GPU of this machine is not used") == said


def hide(monkeypatch, *packages: str) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name in packages else find(name))


def test_packages_that_are_not_installed_are_passed_over_without_a_warning(monkeypatch, caplog):
    hide(monkeypatch, "openvino", "onnxruntime")
    caplog.set_level(logging.INFO, "inference")
    assert open_backend(small_weights(), SETTINGS).name == "paddle"
    assert "openvino is not installed" in caplog.text
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
    with pytest.raises(BackendError, match="package openvino is not installed"):
        open_backend(small_weights(), SETTINGS, "openvino")


@pytest.mark.parametrize("fault", ["raises", "wrong", "nan"])
def test_an_engine_that_fails_or_lies_is_named_and_the_next_one_taken(monkeypatch, caplog, fault):
    hide(monkeypatch, "openvino")
    call = onnx_runtime.OnnxRuntimeEngine.__call__

    def broken(self, tile):
        if fault == "raises":
            raise RuntimeError("illegal instruction")
        return call(self, tile) + np.float32(0.05 if fault == "wrong" else np.nan)

    monkeypatch.setattr(onnx_runtime.OnnxRuntimeEngine, "__call__", broken)
    said = "illegal instruction" if fault == "raises" else "wrong numbers"
    assert open_backend(small_weights(), SETTINGS).name == "paddle"
    warning = next(record for record in caplog.records if record.levelno == logging.WARNING)
    assert said in warning.getMessage()
    assert "onnxruntime fp32 on cpu is not used" in warning.getMessage()
    with pytest.raises(BackendError, match=said):
        open_backend(small_weights(), SETTINGS, "onnxruntime")


def test_unknown_names_and_combinations_say_what_there_is():
    weights = small_weights()
    with pytest.raises(BackendError, match=r"backend 'torch'.*auto, paddle, onnxruntime, openvino"):
        open_backend(weights, SETTINGS, "torch")
    with pytest.raises(BackendError, match=r"precision 'int8'.*auto, fp32, bf16, fp16"):
        open_backend(weights, SETTINGS, "auto", "int8")
    with pytest.raises(DeviceError, match="expected auto, cpu, gpu"):
        open_backend(weights, SETTINGS, "auto", "auto", "cuda")
    with pytest.raises(BackendError, match=r"openvino .*gpu.*no such combination; there is openvino on cpu: fp32, bf"):
        open_backend(weights, SETTINGS, "openvino", "auto", "gpu")
    with pytest.raises(BackendError, match=r"paddle on gpu: fp32, bf16, fp16; paddle on cpu: fp32"):
        open_backend(weights, SETTINGS, "paddle", "bf16", "cpu")


def test_weights_that_do_not_fit_are_an_error_at_once(caplog):
    weights = small_weights(seed=3)
    weights.params.pop("intro.bias")
    with pytest.raises(ValueError, match=r"missing intro\.bias"):
        open_backend(weights, SETTINGS)
    assert caplog.text == ""


@pytest.fixture
def weights():
    return small_weights()


def test_a_working_gpu_is_taken_first(weights, pretend_gpu, caplog):
    opened = open_backend(weights, SETTINGS)
    assert (opened.name, opened.device, opened.precision) == ("paddle", "gpu:0", "fp32")
    assert pretend_gpu[-1] == "gpu:0"
    assert open_backend(weights, SETTINGS, precision="fp16", device="gpu").precision == "fp16"
    assert caplog.text == ""


def test_a_gpu_that_does_not_work_is_a_warning_for_auto_and_an_error_when_named(
    weights, pretend_gpu, caplog, monkeypatch
):
    def forward(self, x):
        raise RuntimeError("ExternalError: no kernel image is available")

    monkeypatch.setattr(paddle.nn.Conv2D, "forward", forward)
    assert open_backend(weights, SETTINGS, "onnxruntime").device == "cpu"
    assert caplog.text == ""
    opened = open_backend(weights, SETTINGS)
    assert opened.device == "cpu"
    assert "no kernel image" in caplog.text
    with pytest.raises(DeviceError, match="no kernel image"):
        open_backend(weights, SETTINGS, "paddle", device="gpu:0")
    with pytest.raises(DeviceError, match="gpu:2 is not there"):
        open_backend(weights, SETTINGS, "paddle", device="gpu:2")
    with pytest.raises(DeviceError, match=r"no kernel image.*CUDAExecutionProvider"):
        open_backend(weights, SETTINGS, device="gpu")


def test_with_an_exported_file_neither_paddle_nor_the_other_engine_is_imported(tmp_path):
    weights = small_weights()
    save_weights(tmp_path / "model.pdparams", weights)
    make(NafnetGraph(weights, SETTINGS)).save(tmp_path / NAME)
    code = (
        "import sys, numpy as np\n"
        "from configs.schema import PredictConfig\n"
        "from models.weights import load_weights\n"
        "from inference.engines.choice import open_backend\n"
        "weights = load_weights(sys.argv[1])\n"
        "opened = open_backend(weights, PredictConfig.from_dict(weights.predict), 'onnxruntime')\n"
        "opened(np.zeros((1, 3, 9, 7), np.float32))\n"
        "assert not {'paddle', 'openvino', 'onnx'} & set(sys.modules), 'imported'\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "UNCOVER_CACHE": str(tmp_path / "none")}
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "model.pdparams")], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "none").exists()
