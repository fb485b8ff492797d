"""Processes of their own for many tasks (`run_parallel`), one that may crash (`ask`), or any command (`run_child`)."""

import json
import multiprocessing
import os
import pkgutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import cv2

from utils.files import write_text

Task = TypeVar("Task")
Result = TypeVar("Result")


class WorkerKilledError(RuntimeError):
    """A worker process ended before its work was done; the machine's memory is the usual reason."""


class ChildError(RuntimeError):
    """A child process failed; the message says how it ended (`ending`) and the last of its `words`."""

    def __init__(self, ending: str, words: str) -> None:
        self.ending, self.words = ending, words
        super().__init__(": ".join([ending, *(line.strip() for line in words.strip().splitlines()[-1:])]))


class Ended(NamedTuple):
    """A child process that ended well: how long it ran, its peak resident memory in 10^9 bytes, what it wrote."""

    seconds: float
    memory_gb: float
    words: str


def run_parallel(function: Callable[[Task], Result], tasks: Sequence[Task], workers: int) -> Iterator[Result]:
    """Yields `function(task)` for every task, in the order of the tasks, computed by `workers` processes.

    With one worker, or one task, all happens in this process; else `function` must be importable by name. An exception,
    ctrl-C, closing the iterator and this process's end kill the workers at once, so tasks must write atomically.
    WorkerKilledError: a worker was killed.
    """
    workers = min(workers, len(tasks))
    if workers <= 1:
        yield from map(function, tasks)
        return
    others = multiprocessing.active_children()
    # Started afresh, not forked: a copy of a process with threads (a progress bar has one) may hang.
    context = multiprocessing.get_context("spawn")
    try:
        executor = ProcessPoolExecutor(workers, mp_context=context, initializer=_begin_worker)
    except OSError as error:
        # No message of the system names the place.
        raise WorkerKilledError(f"workers cannot share locks in /dev/shm ({error.strerror}); use --workers 1, "
                                "or make it writable") from error
    try:
        yield from executor.map(function, tasks)
    except BrokenProcessPool as error:
        killed = "a worker process was killed, most often for lack of memory; use fewer --workers and run again"
        raise WorkerKilledError(killed) from error
    except BaseException:
        # Workers do not hear ctrl-C: who stops would wait for their tasks, and who presses it twice for ever.
        kill_workers(others)
        raise
    finally:
        executor.shutdown(cancel_futures=True)


def _begin_worker() -> None:
    leave_stopping_to_parent()
    # Processes share the processors already.
    cv2.setNumThreads(1)


def leave_stopping_to_parent() -> None:
    """Makes a worker deaf to SIGINT and SIGTERM, which all of a job get; it is ended by its parent, or with it."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    multiprocessing.parent_process().join()
    os._exit(1)


def kill_workers(others: Sequence[multiprocessing.Process] = ()) -> None:
    """Kills this process's children but `others`; at its end (`atexit`) Python would send SIGTERM and wait for ever."""
    for child in {*multiprocessing.active_children()}.difference(others):
        child.kill()


def run_child(command: Sequence[str], folder: str | Path, environment: Mapping[str, str]) -> Ended:
    """Runs a command in `folder` to its end; ChildError for a signal and for another exit code than 0."""
    start = time.perf_counter()
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=output,
                                   stderr=subprocess.STDOUT)  # fmt: skip
        try:
            # wait4 tells the use of this very process; getrusage would mix it with every earlier one.
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:
            process.kill()
            process.wait()
            raise
        seconds = time.perf_counter() - start
        process.returncode = code = os.waitstatus_to_exitcode(status)
        output.seek(0)
        words = output.read().decode("utf-8", errors="replace")
    if code:
        raise ChildError(f"ended by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}", words)
    return Ended(seconds, usage.ru_maxrss * 1024 / 1e9, words)


def ask(function: str, order: Any, **environment: str) -> Any:
    """What a function of one argument ("package.module:name") makes of `order`, computed in a process of its own.

    Order and answer are JSON values, the latter in a file, out of reach of what libraries print; `environment` is set
    beside this process's. ChildError: the function raised (with the last line of the traceback), or was ended.
    """
    # Found wherever this process was started.
    paths = [str(Path(__file__).resolve().parents[1]), os.environ.get("PYTHONPATH")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths)), **environment}
    with tempfile.TemporaryDirectory(prefix="uncover-") as folder:
        run_child([sys.executable, "-m", "utils.child", function, json.dumps(order)], folder, environment)
        return json.loads(Path(folder, "answer.json").read_text("utf-8"))


if __name__ == "__main__":
    write_text("answer.json", json.dumps(pkgutil.resolve_name(sys.argv[1])(json.loads(sys.argv[2]))))
