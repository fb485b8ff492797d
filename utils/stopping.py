"""Turning a request to stop (ctrl-C, SIGTERM of a scheduler) into a flag that a loop can look at."""

from __future__ import annotations

import atexit
import ctypes
import multiprocessing
import os
import signal
import sys
from functools import cache
from types import FrameType
from typing import Any

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
