"""Work on many files with several processes, in the order of the files."""

from __future__ import annotations

import multiprocessing
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


def run_parallel(
    function: Callable[[Task], Result],
    tasks: Sequence[Task],
    workers: int,
    prepare: Callable[[], None] | None = None,
) -> Iterator[Result]:
    """Yields `function(task)` for every task, in the order of the tasks, computed by `workers` processes.

    With one worker, or one task, everything happens in this process. `function` must be importable by name.
    `prepare` is called once in each process that works, before its first task. An exception in a worker or in the
    caller, ctrl-C, or closing the iterator ends the work at once: the workers are killed, so tasks must write
    atomically.

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
