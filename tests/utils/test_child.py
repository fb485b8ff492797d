"""Work in other processes: order, errors, an end at once; JSON there and back, and a child's last words."""

import errno
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress

import pytest

from tests.conftest import ROOT, until
from utils.child import ChildError, WorkerKilledError, ask, run_child, run_parallel


def double(number):
    return 2 * number, os.getpid()


def fail_on_three(number):
    return {1: 1, 2: 2}[number]


def die(number):
    os.kill(os.getpid(), 9)


def about(name: str) -> list:
    sys.stdout.write("what a library prints is no answer")
    return [os.getpid(), os.environ[name]]


def test_results_come_in_the_order_of_the_tasks_from_other_processes_if_they_pay():
    results = list(run_parallel(double, range(8), workers=2))
    assert [value for value, _ in results] == list(range(0, 16, 2))
    assert os.getpid() not in {process for _, process in results}
    for tasks, workers in (([1], 4), ([1, 2], 1), ([], 3)):
        assert list(run_parallel(double, tasks, workers)) == [(2 * task, os.getpid()) for task in tasks]


def refused(context):
    raise OSError(errno.EROFS, os.strerror(errno.EROFS))


@pytest.mark.parametrize(("function", "error", "words"), [
    (fail_on_three, KeyError, "3"), (die, WorkerKilledError, "--workers"),
    (None, WorkerKilledError, r"in /dev/shm \(Read-only file system\); use --workers 1")])  # fmt: skip
def test_an_error_a_killed_worker_and_locks_that_cannot_be_shared_reach_the_caller_and_end_no_process_of_anothers(
    monkeypatch, function, error, words
):
    another = multiprocessing.get_context("spawn").Process(target=time.sleep, args=(600,), daemon=True)
    another.start()
    if function is None:
        monkeypatch.setattr("multiprocessing.context.BaseContext.SimpleQueue", refused)
    try:
        with pytest.raises(error, match=words):
            list(run_parallel(function or double, range(1, 6), workers=2))
        another.join(0.2)
        assert another.exitcode is None
    finally:
        another.kill()


POOL = """
import time
from pathlib import Path
from utils.child import run_parallel

def sleep(name):
    Path(name).touch()
    time.sleep(600)

if __name__ == "__main__":
    for _ in run_parallel(sleep, ["begun-1", "begun-2", "begun-3"], workers=2):
        pass
"""
# As the data workers of a training are.
FORKED = """
import atexit, multiprocessing, os, signal, time
from pathlib import Path
from utils.child import kill_workers, leave_stopping_to_parent

def sleep(name):
    leave_stopping_to_parent()
    for number in (signal.SIGINT, signal.SIGTERM):
        os.kill(os.getpid(), number)
    Path(name).touch()
    time.sleep(600)

atexit.register(kill_workers)
for name in ("begun-1", "begun-2"):
    multiprocessing.get_context("fork").Process(target=sleep, args=(name,), daemon=True).start()
time.sleep(600)
"""


@pytest.mark.parametrize("program", [POOL, FORKED])
@pytest.mark.parametrize("ending", ["ctrl-C twice", "kill -9"])
def test_the_workers_end_at_once_with_the_work(program, ending, tmp_path):
    (tmp_path / "program.py").write_text(program)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen([sys.executable, "program.py"], cwd=tmp_path, env=environment, start_new_session=True,
                               stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)  # fmt: skip
    try:
        # By then both workers are deaf to ctrl-C and asleep.
        until(lambda: len(list(tmp_path.glob("begun-*"))) == 2)
        if ending == "kill -9":
            process.kill()
        else:
            for _ in range(2):
                os.killpg(process.pid, signal.SIGINT)
                time.sleep(0.1)
        # Its end comes when nobody is left who could write into it.
        process.communicate(timeout=120)
        assert process.returncode
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def test_a_function_answers_in_another_process_wherever_this_one_was_started(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert ask("utils.files:printable", "é\n") == "é\\n"
    pid, variable = ask("tests.utils.test_child:about", "FROM_THE_TEST", FROM_THE_TEST="ü")
    assert pid != os.getpid()
    assert variable == "ü"
    with pytest.raises(ChildError, match=r"^ended with code 1: KeyError: 'NOBODY_SET_THIS'$"):
        ask("tests.utils.test_child:about", "NOBODY_SET_THIS")


@pytest.mark.parametrize(("script", "said"), [
    ("kill -SEGV $$", "ended by SIGSEGV"),
    ("echo first; echo 'the reason' >&2; exit 3", "ended with code 3: the reason"),
    ("exit 3", "ended with code 3"),
])  # fmt: skip
def test_a_process_that_dies_is_no_end_of_this_one(script, said, tmp_path):
    with pytest.raises(ChildError) as told:
        run_child(["/bin/sh", "-c", script], tmp_path, {**os.environ})
    assert str(told.value) == said
    assert told.value.words == ("first\nthe reason\n" if "reason" in said else "")
