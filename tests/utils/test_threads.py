from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from utils.machine import available_cores

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = """
from utils.machine import start_paddle
threads = start_paddle()
import gzip, numpy, os, paddle
assert gzip.decompress(gzip.compress(b"x" * 99)) == b"x" * 99
numpy.random.default_rng(0).random()
print(threads, os.environ["OMP_NUM_THREADS"], float(paddle.ones([2, 2]).sum().item()))
"""


def start(threads: str | None) -> subprocess.CompletedProcess:
    environment = {key: value for key, value in os.environ.items() if key != "OMP_NUM_THREADS"}
    if threads is not None:
        environment["OMP_NUM_THREADS"] = threads
    return subprocess.run([sys.executable, "-c", PROGRAM], cwd=ROOT, env=environment, capture_output=True, text=True)


@pytest.mark.parametrize(("given", "expected"), [(None, None), ("3", "3"), ("many", "1")])
def test_paddle_starts_quietly_with_all_cores_or_what_the_user_says(given, expected):
    finished = start(given)
    assert finished.returncode == 0, finished.stderr
    expected = expected or str(available_cores())
    assert finished.stdout.split() == [expected, expected, "4.0"]
    assert "WISELY" not in finished.stderr
    assert "ccache" not in finished.stderr


def test_a_number_of_threads_wins_over_the_environment():
    program = PROGRAM.replace("start_paddle()", "start_paddle(3)")
    environment = {**os.environ, "OMP_NUM_THREADS": "2"}
    command = [sys.executable, "-c", program]
    finished = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    assert finished.stdout.split() == ["3", "3", "4.0"]


def test_warnings_of_this_project_arrive_as_plain_sentences():
    program = """
from utils.machine import start_paddle
start_paddle()
import logging, paddle
logging.getLogger("utils.training.checkpoint").warning("one is damaged")
logging.getLogger("paddle.base.io").warning("paddle has a word")
logging.getLogger("inference").info("not asked for")
"""
    finished = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    lines = finished.stderr.splitlines()
    assert lines.count("one is damaged") == 1
    assert any(line.endswith("paddle has a word") for line in lines)
    assert "not asked for" not in finished.stderr


def test_the_level_that_a_command_line_set_stays():
    program = """
import logging
logging.basicConfig(level=logging.INFO, format="%(message)s")
from utils.machine import start_paddle
start_paddle()
logging.getLogger("inference").info("asked for")
"""
    finished = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert finished.stderr.splitlines().count("asked for") == 1


def test_there_is_at_least_one_core():
    assert 1 <= available_cores() <= os.cpu_count()
