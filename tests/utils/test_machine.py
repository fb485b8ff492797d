"""Threads as the user says, and a GPU that is proved by a convolution: stand-ins play one that fails or lies."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import paddle
import pytest

from utils import machine
from utils.machine import DeviceError, available_cores, resolve_device

ROOT = Path(__file__).resolve().parents[2]


def run(program: str, threads: str | None = None) -> subprocess.CompletedProcess:
    environment = {key: value for key, value in os.environ.items() if key != "OMP_NUM_THREADS"}
    environment |= {"OMP_NUM_THREADS": threads} if threads else {}
    command = [sys.executable, "-c", program]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)


@pytest.mark.parametrize(
    ("said", "asked", "expected"),
    [(None, "", str(available_cores())), ("3", "", "3"), ("many", "", "1"), ("2", "3", "3")],
)
def test_paddle_starts_quietly_with_all_cores_or_what_the_user_says(said, asked, expected):
    program = f"""
from utils.machine import start_paddle
threads = start_paddle({asked})
import gzip, numpy, os, paddle
assert gzip.decompress(gzip.compress(b"x" * 99)) == b"x" * 99
numpy.random.default_rng(0).random()
print(threads, os.environ["OMP_NUM_THREADS"], float(paddle.ones([2, 2]).sum().item()))
"""
    finished = run(program, said)
    assert finished.stdout.split() == [expected, expected, "4.0"]
    assert "WISELY" not in finished.stderr
    assert "ccache" not in finished.stderr


@pytest.mark.parametrize("level", ["", "logging.basicConfig(level=logging.INFO, format='%(message)s')"])
def test_warnings_of_this_project_arrive_as_plain_sentences_and_at_the_level_that_was_set(level):
    lines = run(f"""
import logging
{level}
from utils.machine import start_paddle
start_paddle()
logging.getLogger("utils.training.checkpoint").warning("one is damaged")
logging.getLogger("paddle.base.io").warning("paddle has a word")
logging.getLogger("inference").info("by the way")
""").stderr.splitlines()
    assert lines.count("one is damaged") == 1
    assert any(line.endswith("paddle has a word") for line in lines)
    assert lines.count("by the way") == bool(level)


def test_a_cpu_build_falls_back_quietly_for_auto_and_says_why_for_gpu(monkeypatch, caplog):
    monkeypatch.setattr(paddle, "is_compiled_with_cuda", lambda: False)
    assert resolve_device("auto") == resolve_device("cpu") == "cpu"
    assert caplog.text == ""
    with pytest.raises(DeviceError, match="CPU build"):
        resolve_device("gpu")


def test_a_working_gpu_is_taken_and_one_that_is_not_there_is_named(pretend_gpu, caplog):
    assert resolve_device("auto") == pretend_gpu[-1] == "gpu:0"
    assert resolve_device("gpu:0") == "gpu:0"
    assert resolve_device("cpu") == "cpu"
    assert caplog.text == ""
    with pytest.raises(DeviceError, match="gpu:3 is not there, 1 GPU"):
        resolve_device("gpu:3")


def test_the_convolution_itself_is_right_on_this_machine():
    assert machine._convolution_error() == 0


@pytest.mark.parametrize("answer", ["wrong", "nan", "raises"])
def test_a_gpu_that_cannot_convolve_is_not_taken(pretend_gpu, caplog, monkeypatch, answer):
    convolve = paddle.nn.Conv2D.forward

    def forward(self, x):
        if answer == "raises":
            raise RuntimeError("\n----\nC++ Traceback\n----\nExternalError: no kernel image is available (209)")
        return convolve(self, x) * (0.0 if answer == "wrong" else float("nan"))

    monkeypatch.setattr(paddle.nn.Conv2D, "forward", forward)
    assert resolve_device("auto") == pretend_gpu[-1] == "cpu"
    assert ("no kernel image" if answer == "raises" else "wrong numbers") in caplog.text
    with pytest.raises(DeviceError, match="convolution on gpu:0"):
        resolve_device("gpu")


@pytest.mark.parametrize("name", ["cuda", "gpu:", "gpu:x", "", "auto:1"])
def test_other_words_are_refused(name):
    with pytest.raises(DeviceError, match="expected auto, cpu, gpu"):
        resolve_device(name)


def test_names_are_checked_without_paddle():
    run("import sys, utils.machine as m; m.check_device('gpu:1'); assert 'paddle' not in sys.modules")
    assert [machine.gpu_named(name) for name in ("gpu:3", "gpu", "auto")] == ["gpu:3", "gpu:0", "gpu:0"]


@pytest.mark.parametrize(
    ("packages", "expected"),
    [(("paddlepaddle",), False), (("paddlepaddle-gpu",), True), (("paddlepaddle", "paddlepaddle-gpu"), True),
     ((), True)],
)  # fmt: skip
def test_a_cpu_package_is_known_without_importing_it(monkeypatch, packages, expected):
    def version(name):
        if name not in packages:
            raise metadata.PackageNotFoundError(name)
        return "1"

    monkeypatch.setattr(metadata, "version", version)
    with monkeypatch.context() as patch:
        patch.delitem(sys.modules, "paddle")
        assert machine.may_have_gpu() == expected
    # Once imported, Paddle itself knows best.
    for built in (False, True):
        monkeypatch.setattr(paddle, "is_compiled_with_cuda", lambda built=built: built)
        assert machine.may_have_gpu() == built
