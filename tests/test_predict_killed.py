"""predict.py killed at random moments: what has its name is whole, and a run afterwards ends as if nothing had been."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from models.weights import Weights, arrays_of, save_weights
from tests.inference.painted import page
from tests.models.networks import build

ROOT = Path(__file__).resolve().parents[1]
KILLS = 20
# Importing Paddle takes longer than the pictures. One process does it, and gives birth to those that are killed: for
# each line of arguments one, killed after as many seconds as come first.
MOTHER = """
import os, signal, sys, time
import predict
from utils.machine import start_paddle
start_paddle(1)
import inference.folder, inference.restorer
print("ready", flush=True)
for line in sys.stdin:
    seconds, *arguments = line.rstrip("\\n").split("\\t")
    child = os.fork()
    if child == 0:
        os.dup2(2, 1)
        os._exit(predict.main(arguments))
    if float(seconds) < 1e6:
        time.sleep(float(seconds))
        os.kill(child, signal.SIGKILL)
    print(os.waitpid(child, 0)[1], flush=True)
"""


@contextmanager
def mother(log: Path) -> Iterator:
    """Gives a function (seconds or infinity, arguments) -> status of the process, as `os.waitpid` tells it."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with (
        open(log, "wb") as errors,
        subprocess.Popen(
            [sys.executable, "-c", MOTHER], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=errors, text=True, bufsize=1,
        ) as process,
    ):  # fmt: skip

        def run(seconds: float, *arguments: str) -> int:
            process.stdin.write("\t".join([str(seconds), *arguments]) + "\n")
            return int(process.stdout.readline())

        assert process.stdout.readline() == "ready\n"
        yield run


def visible(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not path.name.startswith(".")
    }


@pytest.mark.long
def test_killed_twenty_times_it_leaves_whole_files_only_and_finishes_as_if_undisturbed(tmp_path):
    network = build("tiny")
    arrays = {name: value + np.float32(0.1) for name, value in arrays_of(network).items()}
    save_weights(tmp_path / "tiny.pdparams", Weights(params=arrays, model=network.config))
    for index, suffix in enumerate((".jpg", ".png", ".tif", ".webp") * 6):
        path = tmp_path / "in" / f"sub{index % 2}" / f"p{index:02}{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(page(90 + 5 * index, 120, (20, 30, 60, 70))).save(path)
    weights = ["--weights", str(tmp_path / "tiny.pdparams"), "--mode", "tiles"]
    engine = ["--device", "cpu", "--backend", "paddle", "--threads", "1"]
    options = [*weights, *engine, "--save-mask", "--compare"]
    source, results, undisturbed = (str(tmp_path / name) for name in ("in", "out", "undisturbed"))
    chance = random.Random(0)
    killed = attempts = unfinished = 0
    with mother(tmp_path / "log") as run:
        # The first one also pays for what the system reads from disk once.
        run(float("inf"), source, str(tmp_path / "warm"), *options)
        start = time.perf_counter()
        assert run(float("inf"), source, undisturbed, *options) == 0, (tmp_path / "log").read_text()
        whole_run = time.perf_counter() - start
        expected = visible(tmp_path / "undisturbed")
        assert len(expected) == 3 * 24
        while killed < KILLS:
            attempts += 1
            assert attempts < 5 * KILLS
            # Most of them make everything anew, over results that are there.
            again = ["--overwrite"] if attempts % 4 else []
            status = run(chance.uniform(0.1, 1) * whole_run, source, results, *options, *again)
            if os.waitstatus_to_exitcode(status) == -signal.SIGKILL:
                killed += 1
            elif again:
                # It was through before: a run takes less than it was thought to.
                whole_run *= 0.9
            found = visible(tmp_path / "out")
            assert found.items() <= expected.items()
            unfinished += 0 < len(found) < len(expected)
    # Otherwise nothing was tried.
    assert unfinished
    for path in (tmp_path / "out").rglob(".*"):
        os.utime(path, (0, 0))
    command = [sys.executable, str(ROOT / "predict.py"), source, results, *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert visible(tmp_path / "out") == expected
    assert not list((tmp_path / "out").rglob(".*"))
