"""The GPU is proved by a convolution: stand-ins for Paddle's device calls play a GPU that works, fails or lies."""

from __future__ import annotations

import subprocess
import sys
from importlib import metadata
from pathlib import Path

import paddle
import pytest

from utils import machine as device
from utils.machine import DeviceError, resolve_device


def test_cpu_build_falls_back_quietly_for_auto_and_says_why_for_gpu(monkeypatch, caplog):
    monkeypatch.setattr(paddle, "is_compiled_with_cuda", lambda: False)
    assert resolve_device("auto") == "cpu"
    assert resolve_device("cpu") == "cpu"
    assert caplog.text == ""
    with pytest.raises(DeviceError, match="CPU build"):
        resolve_device("gpu")


def test_a_working_gpu_is_taken(pretend_gpu, caplog):
    assert resolve_device("auto") == "gpu:0"
    assert pretend_gpu[-1] == "gpu:0"
    assert resolve_device("gpu:0") == "gpu:0"
    assert resolve_device("cpu") == "cpu"
    assert caplog.text == ""


def test_the_convolution_itself_is_right_on_this_machine():
    assert device._convolution_error() == 0


@pytest.mark.parametrize("answer", ["wrong", "nan", "raises"])
def test_a_gpu_that_cannot_convolve_is_not_taken(pretend_gpu, caplog, monkeypatch, answer):
    convolve = paddle.nn.Conv2D.forward

    def forward(self, x):
        if answer == "raises":
            raise RuntimeError("\n----\nC++ Traceback\n----\nExternalError: no kernel image is available (209)")
        return convolve(self, x) * (0.0 if answer == "wrong" else float("nan"))

    monkeypatch.setattr(paddle.nn.Conv2D, "forward", forward)
    assert resolve_device("auto") == "cpu"
    assert pretend_gpu[-1] == "cpu"
    assert ("no kernel image" if answer == "raises" else "wrong numbers") in caplog.text
    with pytest.raises(DeviceError, match="convolution on gpu:0"):
        resolve_device("gpu")


def test_a_gpu_that_is_not_there_is_named(pretend_gpu):
    with pytest.raises(DeviceError, match="gpu:3 is not there, 1 GPU"):
        resolve_device("gpu:3")


@pytest.mark.parametrize("name", ["cuda", "gpu:", "gpu:x", "", "auto:1"])
def test_other_words_are_refused(name):
    with pytest.raises(DeviceError, match="expected auto, cpu, gpu"):
        resolve_device(name)


@pytest.mark.parametrize(
    ("packages", "expected"),
    [
        (("paddlepaddle",), False),
        (("paddlepaddle-gpu",), True),
        (("paddlepaddle", "paddlepaddle-gpu"), True),
        ((), True),
    ],
)
def test_a_cpu_package_is_known_without_importing_it(monkeypatch, packages, expected):
    def version(name):
        if name not in packages:
            raise metadata.PackageNotFoundError(name)
        return "1"

    monkeypatch.setattr(metadata, "version", version)
    monkeypatch.delitem(sys.modules, "paddle")
    assert device.may_have_gpu() == expected


def test_an_imported_paddle_knows_best(pretend_gpu, monkeypatch):
    assert device.may_have_gpu()
    monkeypatch.setattr(paddle, "is_compiled_with_cuda", lambda: False)
    assert not device.may_have_gpu()


def test_names_are_checked_without_paddle():
    code = "import sys, utils.machine; utils.machine.check_device('gpu:1'); assert 'paddle' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).resolve().parents[2], check=True)
    assert device.gpu_named("gpu:3") == "gpu:3"
    assert device.gpu_named("gpu") == device.gpu_named("auto") == "gpu:0"
