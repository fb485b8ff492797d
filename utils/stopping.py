"""Turning a request to stop (ctrl-C, SIGTERM of a scheduler) into a flag that a loop can look at."""

from __future__ import annotations

import atexit
import multiprocessing
import os
import signal
from functools import cache
from types import FrameType
from typing import Any


class StopRequest:
    """A context in which the first SIGINT or SIGTERM only sets `signal_number`; a second one acts as usual.

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
        self.__exit__()

    @property
    def requested(self) -> bool:
        return self.signal_number is not None

    @property
    def exit_code(self) -> int:
        """What a shell reports for a program that the signal ended: 130 after ctrl-C, 143 after SIGTERM."""
        return 128 + (self.signal_number or 0)


def leave_stopping_to_parent() -> None:
    """Makes a data worker deaf to SIGINT and SIGTERM.

    A terminal sends ctrl-C, and a service manager SIGTERM, to every process of a job. The parent still needs its
    workers then, until its checkpoint is written, and Paddle throws an error into it when one of them dies. A worker
    ends when the parent says so, when it is gone (Paddle's workers look for it), or by `kill_workers_at_exit`.
    """
    for number in StopRequest.SIGNALS:
        signal.signal(number, signal.SIG_IGN)


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
