"""Turning a request to stop (ctrl-C, SIGTERM of a scheduler) into a flag that a loop can look at."""

from __future__ import annotations

import os
import signal
from types import FrameType
from typing import Any


class StopRequest:
    """A context in which the first SIGINT or SIGTERM only sets `signal_number`; a second one acts as usual.

    Data workers forked inside the context ignore both signals: a terminal or a scheduler sends them to the whole
    process group, and the loop still needs its workers until the checkpoint is written. They end with their parent.
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
