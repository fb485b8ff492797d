"""Tasks over processes: order, errors, preparation, and an end at once when somebody stops them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from utils.parallel import WorkerKilledError, run_parallel


def double(number):
    return 2 * number, os.getpid()


def fail_on_three(number):
    if number == 3:
        raise KeyError("three")
    return number


def die(number):
    os.kill(os.getpid(), 9)


def test_results_come_in_the_order_of_the_tasks_from_other_processes():
    results = list(run_parallel(double, range(8), workers=2))
    assert [value for value, _ in results] == list(range(0, 16, 2))
    assert os.getpid() not in {process for _, process in results}


@pytest.mark.parametrize(("tasks", "workers"), [([1], 4), ([1, 2], 1), ([], 3)])
def test_one_worker_or_one_task_needs_no_other_process(tasks, workers):
    assert list(run_parallel(double, tasks, workers)) == [(2 * task, os.getpid()) for task in tasks]


def test_an_error_in_a_worker_and_a_killed_worker_reach_the_caller():
    with pytest.raises(KeyError, match="three"):
        list(run_parallel(fail_on_three, range(6), workers=2))
    with pytest.raises(WorkerKilledError, match="--workers"):
        list(run_parallel(die, range(2), workers=2))


prepared = []


def get_ready():
    prepared.append("ready")


def preparation(task):
    return list(prepared)


@pytest.mark.parametrize("workers", [1, 2])
def test_every_process_is_prepared_once_before_its_first_task(workers):
    prepared.clear()
    assert list(run_parallel(preparation, range(4), workers, get_ready)) == [["ready"]] * 4


INTERRUPTED = """
import time
from pathlib import Path
from utils.parallel import run_parallel

def sleep(name):
    Path(name).touch()
    time.sleep(600)

if __name__ == "__main__":
    for _ in run_parallel(sleep, ["begun-1", "begun-2", "begun-3"], workers=2):
        pass
"""


def test_ctrl_c_twice_ends_the_work_and_the_workers_at_once(tmp_path):
    (tmp_path / "program.py").write_text(INTERRUPTED)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    process = subprocess.Popen([sys.executable, "program.py"], cwd=tmp_path, env=environment, start_new_session=True,
                               stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)  # fmt: skip
    try:
        # By then both workers are deaf to ctrl-C and asleep.
        while len(list(tmp_path.glob("begun-*"))) < 2:
            assert process.poll() is None
            time.sleep(0.02)
        for _ in range(2):
            os.killpg(process.pid, signal.SIGINT)
            time.sleep(0.1)
        # Its end comes when nobody is left who could write into it.
        process.communicate(timeout=120)
        assert process.returncode
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
