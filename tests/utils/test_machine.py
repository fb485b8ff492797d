"""Threads as the user says, a GPU that is proved by a convolution (stand-ins play one that fails or lies), memory."""

import os
import pty
import re
import subprocess
import sys

import paddle
import pytest

from tests.conftest import ROOT, python
from utils.machine import DeviceError, available_bytes, available_cores, resolve_device

GIB = 2**30


@pytest.mark.parametrize(("said", "asked", "expected", "level"), [
    (None, "", str(available_cores()), ""), ("many", "", "1", ""),
    ("2", "3", "3", "level=logging.INFO, format='%(message)s'")])  # fmt: skip
def test_paddle_starts_quietly_with_all_cores_or_what_the_user_says_and_leaves_the_log_alone(
    monkeypatch, said, asked, expected, level
):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    finished = python("-c", f"""
import logging
if {level!r}:
    logging.basicConfig({level})
from utils.machine import start_paddle
threads = start_paddle({asked})
import gzip, numpy, os, paddle
assert gzip.decompress(gzip.compress(b"x" * 99)) == b"x" * 99
numpy.random.default_rng(0).random()
print(threads, os.environ["OMP_NUM_THREADS"], float(paddle.ones([2, 2]).sum().item()))
logging.getLogger("utils.training.checkpoint").warning("one is damaged")
logging.getLogger("paddle.base.io").warning("paddle has a word")
logging.getLogger("inference").info("by the way")
""", env={"OMP_NUM_THREADS": said} if said else {})  # fmt: skip
    assert finished.stdout.split() == [expected, expected, "4.0"]
    lines = finished.stderr.splitlines()
    assert not [line for line in lines if "WISELY" in line or "ccache" in line]
    assert lines.count("one is damaged") == 1
    assert any(line.endswith("paddle has a word") for line in lines)
    assert lines.count("by the way") == bool(level)


COUNT = """
import time
from utils import machine
machine._SECONDS_BETWEEN_LINES = 0.5
with machine.progress(total=40, initial=10, unit="picture", desc="reading") as bar:
    for number in range(30):
        time.sleep(0.05)
        bar.update()
        if number == 3:
            bar.write("a word between")
list(machine.progress([], unit="picture"))
list(machine.progress([0], unit="patch", desc="measuring"))
"""


def test_progress_is_whole_lines_now_and_then_and_the_last_in_a_log_and_on_a_terminal_a_bar_without_colours():
    told = python("-c", COUNT)
    lines = told.stderr.splitlines()
    assert "\r" not in told.stderr
    assert 3 <= len(lines) <= 8
    assert lines.pop().startswith("measuring 1 of 1 patches, ")
    assert all(re.fullmatch(r"reading \d+ of 40 pictures, \d\d:\d\d gone, \d\d:\d\d to go", line) for line in lines)
    assert lines[-1].startswith("reading 40 of 40 pictures")
    assert told.stdout == "a word between\n"
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color"}
    subprocess.run([sys.executable, "-c", COUNT], cwd=ROOT, env=environment, stdout=theirs, stderr=theirs, check=True)
    shown = os.read(ours, 100_000).decode()
    os.close(ours)
    os.close(theirs)
    assert re.search(r"(?s)\r.*40/40", shown)
    assert not re.search(r"\x1b\[[0-9;]*m", shown)


@pytest.mark.parametrize(("cuda", "auto", "asked", "words"), [
    (False, "cpu", "gpu", "CPU build"), (True, "gpu:0", "gpu:3", "gpu:3 is not there, 1 GPU")])  # fmt: skip
def test_a_working_gpu_is_taken_and_what_is_not_there_is_told_to_who_asks_for_it(
    pretend_gpu, monkeypatch, caplog, cuda, auto, asked, words
):
    monkeypatch.setattr(paddle, "is_compiled_with_cuda", lambda: cuda)
    assert resolve_device("auto") == pretend_gpu[-1] == auto
    assert resolve_device(auto) == auto
    assert resolve_device("cpu") == "cpu"
    assert caplog.text == ""
    with pytest.raises(DeviceError, match=words):
        resolve_device(asked)


@pytest.mark.parametrize("answer", ["wrong", "nan", "raises"])
def test_a_gpu_that_cannot_convolve_is_not_taken(pretend_gpu, caplog, monkeypatch, answer):
    convolve = paddle.nn.functional.conv2d

    def answered(x, weight):
        if answer == "raises":
            raise RuntimeError("\n----\nC++ Traceback\n----\nExternalError: no kernel image is available (209)")
        return convolve(x, weight) * (0.0 if answer == "wrong" else float("nan"))

    monkeypatch.setattr(paddle.nn.functional, "conv2d", answered)
    assert resolve_device("auto") == pretend_gpu[-1] == "cpu"
    assert ("no kernel image" if answer == "raises" else "wrong numbers") in caplog.text
    with pytest.raises(DeviceError, match="convolution on gpu:0"):
        resolve_device("gpu")


def test_names_are_checked_without_paddle():
    for name in ("cuda", "gpu:", "gpu:x", "", "auto:1"):
        with pytest.raises(DeviceError, match="expected auto, cpu, gpu"):
            resolve_device(name)
    python("-c", "import sys, utils.machine as m; m.check_device('gpu:1'); assert 'paddle' not in sys.modules")


FREE = {"proc/meminfo": f"MemTotal:       99999999 kB\nMemFree:          100 kB\nMemAvailable:   {8 * 2**20} kB\n"}
JOB = {**FREE, "proc/self/cgroup": "0::/user/job\n"}
GROUPS = "sys/fs/cgroup"
LIMITED = {"max": 4 * GIB, "current": 3 * GIB, "stat": f"anon 1\ninactive_file {GIB}\n"}


@pytest.mark.parametrize(("files", "expected"), [
    (FREE, 8 * GIB),
    ({}, None),
    # What can be reclaimed counts as free; inside a container the group's own folder is what is mounted.
    *(({**JOB, **{f"{place}/memory.{name}": text for name, text in LIMITED.items()}}, 2 * GIB)
      for place in (GROUPS, f"{GROUPS}/user/job")),
    # A group without a limit below one with a limit.
    ({**JOB, f"{GROUPS}/user/job/memory.max": "max\n", f"{GROUPS}/user/job/memory.current": "5\n",
      f"{GROUPS}/user/memory.max": 5 * GIB, f"{GROUPS}/user/memory.current": 2 * GIB}, 3 * GIB),
    # Version 1; a folder of a kind other than memory has no say.
    ({**FREE, "proc/self/cgroup": "9:name=systemd:/\n4:memory:/job\n0::/\n",
      f"{GROUPS}/memory/memory.limit_in_bytes": 2**63 - 4096, f"{GROUPS}/memory/memory.usage_in_bytes": 9 * GIB,
      f"{GROUPS}/memory/job/memory.limit_in_bytes": 4 * GIB, f"{GROUPS}/memory/job/memory.usage_in_bytes": 3 * GIB,
      f"{GROUPS}/memory/job/memory.stat": f"inactive_file 7\ntotal_inactive_file {GIB}\n"}, 2 * GIB),
    # A limit that is passed leaves nothing.
    ({"proc/self/cgroup": "0::/\n", f"{GROUPS}/memory.max": 100, f"{GROUPS}/memory.current": 200}, 0),
])  # fmt: skip
def test_memory_is_what_the_machine_and_every_control_group_above_leave(tmp_path, files, expected):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(str(text))
    assert available_bytes(str(tmp_path)) == expected
    assert available_bytes() is None or 2**20 < available_bytes() < 2**50
