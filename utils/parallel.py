"""Work on many files with several processes.

Turning a request to stop (ctrl-C, SIGTERM of a scheduler) into a flag that a loop can look at.
"""

from __future__ import annotations

import atexit
import ctypes
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import cache
from types import FrameType
from typing import Any, TypeVar

import cv2

Task = TypeVar("Task")
Result = TypeVar("Result")


class WorkerKilledError(RuntimeError):
    """A worker process ended without a word; the machine's memory is the usual reason."""


def run_parallel(
    function: Callable[[Task], Result],
    tasks: Sequence[Task],
    workers: int,
    prepare: Callable[[], None] | None = None,
) -> Iterator[Result]:
    """Yields `function(task)` for every task, in the order of the tasks, computed by `workers` processes.

    With one worker, or one task, everything happens in this process. `function` must be importable by name.
    `prepare` is called once in each process that works, before its first task.
    An exception in a worker or in the caller, ctrl-C, or closing the iterator ends the work at once: the workers are
    killed, so tasks must write atomically.

    Raises:
        WorkerKilledError: a worker process was killed.
    """
    workers = min(workers, len(tasks))
    if workers <= 1:
        if prepare is not None:
            prepare()
        yield from map(function, tasks)
        return
    # Started afresh, not forked: a copy of a process with threads (a progress bar has one) may hang.
    context = multiprocessing.get_context("spawn")
    others = set(multiprocessing.active_children())
    executor = ProcessPoolExecutor(workers, mp_context=context, initializer=_begin_worker, initargs=(prepare,))
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


def _begin_worker(prepare: Callable[[], None] | None) -> None:
    # Ctrl-C reaches the whole group; the parent alone answers it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Processes share the processors already.
    cv2.setNumThreads(1)
    if prepare is not None:
        prepare()


# From linux/prctl.h: the signal that this process receives when its parent dies.
_PR_SET_PDEATHSIG = 1


class StopRequest:
    """A context in which SIGINT and SIGTERM only set `signal_number`; a second SIGINT acts as usual.

    A person who presses ctrl-C twice means it. A second SIGTERM means nothing: Paddle's launcher sends three within a
    second, and then gives half a minute.

    Processes forked inside the context do not act on it; data workers call `leave_stopping_to_parent` as well.
    """

    SIGNALS = (signal.SIGINT, signal.SIGTERM)

    def __init__(self) -> None:
        self.signal_number: int | None = None
        self._process = os.getpid()
        self._before: dict[int, Any] = {}

    def __enter__(self) -> StopRequest:
        self._before = {number: signal.signal(number, self._handle) for number in self.SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._process:
            return
        self.signal_number = number
        signal.signal(signal.SIGINT, self._before[signal.SIGINT])

    @property
    def requested(self) -> bool:
        return self.signal_number is not None

    @property
    def exit_code(self) -> int:
        """What a shell reports for a program that the signal ended: 130 after ctrl-C, 143 after SIGTERM.

        A process that stops because another one of its run was asked to reports 143 as well.
        """
        return 128 + (self.signal_number or signal.SIGTERM)


def leave_stopping_to_parent() -> None:
    """Makes a data worker deaf to SIGINT and SIGTERM.

    A terminal sends ctrl-C, and a service manager SIGTERM, to every process of a job. The parent still needs its
    workers then, until its checkpoint is written, and Paddle throws an error into it when one of them dies. A worker
    ends when the parent says so, when `kill_workers_at_exit` comes to it, and, on Linux, with the parent's death.
    """
    for number in StopRequest.SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    if sys.platform == "linux":
        # Paddle's workers look whether the parent lives, but not while they wait for it to take a batch.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


@cache
def kill_workers_at_exit() -> None:
    """For the parent of such workers, before it starts them: whatever way it ends, it does not wait for them.

    Python's multiprocessing would send SIGTERM at exit and wait for ever.
    """
    atexit.register(_kill_children)


def _kill_children() -> None:
    # Paddle's handler would make an error of every worker's end.
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for child in multiprocessing.active_children():
        if child.daemon:
            child.kill()
