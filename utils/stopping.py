"""Turning a request to stop (ctrl-C, SIGTERM of a scheduler) into a flag that a loop can look at."""

from __future__ import annotations

import os
import signal
import threading
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
    """Makes a data worker deaf to SIGINT, and to SIGTERM from anybody but its parent.

    A terminal sends ctrl-C, and a service manager SIGTERM, to every process of a job. The parent still needs its
    workers then, until its checkpoint is written, and Paddle throws an error into it when one of them dies. The
    parent's own SIGTERM ends a worker as before; when the parent is gone, Paddle's worker notices and ends.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if not hasattr(signal, "sigwaitinfo"):
        return
    parent = os.getppid()
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})

    def wait_for_parent() -> None:
        while signal.sigwaitinfo({signal.SIGTERM}).si_pid != parent:
            pass
        os._exit(0)

    threading.Thread(target=wait_for_parent, daemon=True).start()
