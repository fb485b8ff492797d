"""Work on many files with several processes."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

import cv2

Task = TypeVar("Task")
Result = TypeVar("Result")


class WorkerKilledError(RuntimeError):
    """A worker process ended without a word; the machine's memory is the usual reason."""


def available_workers() -> int:
    """The number of processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def run_parallel(function: Callable[[Task], Result], tasks: Sequence[Task], workers: int) -> Iterator[Result]:
    """Yields `function(task)` for every task, in the order of the tasks, computed by `workers` processes.

    With one worker, or one task, everything happens in this process. `function` must be importable by name.
    An exception in a worker, or closing the iterator, ends the work; tasks not yet begun are dropped.

    Raises:
        WorkerKilledError: a worker process was killed.
    """
    workers = min(workers, len(tasks))
    if workers <= 1:
        yield from map(function, tasks)
        return
    # Started afresh, not forked: a copy of a process with threads (a progress bar has one) may hang.
    context = multiprocessing.get_context("spawn")
    executor = ProcessPoolExecutor(workers, mp_context=context, initializer=_begin_worker)
    try:
        yield from executor.map(function, tasks)
    except BrokenProcessPool as error:
        raise WorkerKilledError(
            "a worker process was killed, most often for lack of memory; use fewer --workers and run again"
        ) from error
    finally:
        executor.shutdown(cancel_futures=True)


def _begin_worker() -> None:
    # Ctrl-C reaches the whole group; the parent alone answers it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Processes share the processors already.
    cv2.setNumThreads(1)
