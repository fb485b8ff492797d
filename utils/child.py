"""Work in processes of their own: many tasks at once, or one question whose engine may crash.

`run_parallel` shares tasks out. `ask` runs a function of this project in a fresh process, where memory and threads are
its own; order and answer are JSON in files, so that nothing that libraries print gets between them. `run_child` runs
any command and measures it. The last two tell a child's last words when it fails.
"""

from __future__ import annotations

import importlib
import json
import multiprocessing
import os
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
_ROOT = Path(__file__).resolve().parent.parent
# A child that has not ended by then hangs: the slowest case of the benchmark takes a third of it.
LONGEST_SECONDS = 3 * 3600.0


class WorkerKilledError(RuntimeError):
    """A worker process ended before its work was done; the machine's memory is the usual reason."""


class ChildError(RuntimeError):
    """A child process failed; the message says how it ended (`ending`) and the last of its `words`."""

    def __init__(self, ending: str, words: str) -> None:
        self.ending, self.words = ending, words
        lines = [line.strip() for line in words.splitlines() if line.strip()]
        super().__init__(f"{ending}: {lines[-1]}" if lines else ending)


class Ended(NamedTuple):
    """A child process that ended well: how long it ran, its peak resident memory in 10^9 bytes, what it wrote."""

    seconds: float
    memory_gb: float
    words: str


def run_parallel(function: Callable[[Task], Result], tasks: Sequence[Task], workers: int) -> Iterator[Result]:
    """Yields `function(task)` for every task, in the order of the tasks, computed by `workers` processes.

    With one worker, or one task, everything happens in this process. `function` must be importable by name. An
    exception in a worker or in the caller, ctrl-C, or closing the iterator kills the workers at once, and they end when
    this process is killed, so tasks must write atomically. WorkerKilledError: a worker was killed.
    """
    workers = min(workers, len(tasks))
    if workers <= 1:
        yield from map(function, tasks)
        return
    # Started afresh, not forked: a copy of a process with threads (a progress bar has one) may hang.
    context = multiprocessing.get_context("spawn")
    others = set(multiprocessing.active_children())
    try:
        executor = ProcessPoolExecutor(workers, mp_context=context, initializer=_begin_worker)
    except OSError as error:
        # Their locks lie in /dev/shm, which no message of the system names.
        raise WorkerKilledError(f"workers cannot share locks in /dev/shm ({error.strerror}); use --workers 1, "
                                "or make it writable") from error
    try:
        yield from executor.map(function, tasks)
    except BrokenProcessPool as error:
        raise WorkerKilledError(
            "a worker process was killed, most often for lack of memory; use fewer --workers and run again"
        ) from error
    except BaseException:
        # Workers do not hear ctrl-C: who stops would wait for their tasks, and who presses it twice for ever.
        for process in set(multiprocessing.active_children()) - others:
            process.kill()
        raise
    finally:
        executor.shutdown(cancel_futures=True)


def _begin_worker() -> None:
    # Ctrl-C reaches the whole group; the parent alone answers it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    # Processes share the processors already.
    cv2.setNumThreads(1)


def _end_with_parent() -> None:
    """Otherwise who works for a process that was killed would wait for its next task for ever."""
    multiprocessing.parent_process().join()
    os._exit(1)


def run_child(
    command: Sequence[str], folder: Path, environment: Mapping[str, str], limit: float = LONGEST_SECONDS
) -> Ended:
    """Runs a command in `folder` to its end; ChildError for another exit code than 0, a signal, or `limit` seconds."""
    start = time.perf_counter()
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
        )
        # Ended by its number: asking `process` would take its end away from wait4.
        guard = threading.Timer(limit, os.kill, (process.pid, signal.SIGKILL))
        guard.start()
        try:
            # wait4 tells the use of this very process; getrusage would mix it with every earlier one.
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:
            process.kill()
            process.wait()
            raise
        finally:
            guard.cancel()
        seconds = time.perf_counter() - start
        process.returncode = code = os.waitstatus_to_exitcode(status)
        output.seek(0)
        words = output.read().decode("utf-8", errors="replace")
    if code == -signal.SIGKILL and seconds >= limit:
        raise ChildError(f"ended because it had not come to an end after {limit:g} seconds", words)
    if code:
        raise ChildError(f"ended by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}", words)
    return Ended(seconds, usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e9, words)


def ask(function: str, order: Any, **environment: str) -> Any:
    """What a function of one argument ("package.module:name") makes of `order`, computed in a process of its own.

    Order and answer are JSON values; `environment` is set beside this process's. ChildError: the function raised (the
    message is the last line of the traceback), or its process was ended.
    """
    with tempfile.TemporaryDirectory(prefix="uncover-") as name:
        folder = Path(name)
        write_text(folder / "order.json", json.dumps(order))
        # Found wherever this process was started.
        paths = os.pathsep.join(filter(None, [str(_ROOT), os.environ.get("PYTHONPATH")]))
        command = [sys.executable, "-m", "utils.child", function]
        run_child(command, folder, {**os.environ, "PYTHONPATH": paths, **environment})
        return json.loads((folder / "answer.json").read_text("utf-8"))


if __name__ == "__main__":
    asked_module, _, asked_name = sys.argv[1].partition(":")
    asked = getattr(importlib.import_module(asked_module), asked_name)
    write_text("answer.json", json.dumps(asked(json.loads(Path("order.json").read_text("utf-8")))))
