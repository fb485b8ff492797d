"""A request to stop becomes a flag; a second one acts as usual; forked workers are not stopped by it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time

import pytest

from utils import stopping
from utils.stopping import StopRequest, leave_stopping_to_parent


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_the_first_signal_is_a_flag_and_the_second_acts_as_before(number, code):
    before = signal.getsignal(number)
    with StopRequest() as stop:
        assert stop.signal_number is None
        os.kill(os.getpid(), number)
        assert stop.signal_number == number
        assert stop.exit_code == code
        assert signal.getsignal(number) == before
    assert signal.getsignal(number) == before


def test_handlers_are_put_back_when_nothing_happened():
    before = [signal.getsignal(number) for number in StopRequest.SIGNALS]
    with StopRequest():
        assert [signal.getsignal(number) for number in StopRequest.SIGNALS] != before
    assert [signal.getsignal(number) for number in StopRequest.SIGNALS] == before


def sleep_shielded(ready) -> None:
    leave_stopping_to_parent()
    for number in StopRequest.SIGNALS:
        os.kill(os.getpid(), number)
    ready.set()
    time.sleep(60)


def test_a_shielded_worker_survives_both_signals_and_is_killed_at_exit():
    context = multiprocessing.get_context("fork")
    ready = context.Event()
    worker = context.Process(target=sleep_shielded, args=(ready,), daemon=True)
    worker.start()
    assert ready.wait(20)
    assert worker.is_alive()
    before = signal.getsignal(signal.SIGCHLD)
    stopping._kill_children()
    signal.signal(signal.SIGCHLD, before)
    worker.join(20)
    assert worker.exitcode == -signal.SIGKILL


def test_a_forked_worker_ignores_the_signal():
    with StopRequest() as stop:
        worker = os.fork()
        if worker == 0:
            os.kill(os.getpid(), signal.SIGINT)
            os._exit(7 if stop.signal_number is None else 8)
        _, status = os.waitpid(worker, 0)
    assert os.waitstatus_to_exitcode(status) == 7
