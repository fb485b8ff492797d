"""A request to stop becomes a flag; a second one acts as usual; forked workers are not stopped by it."""

from __future__ import annotations

import os
import signal
import time

import pytest

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


def test_a_shielded_worker_obeys_its_parent_alone():
    ready, tell = os.pipe()
    worker = os.fork()
    if worker == 0:
        leave_stopping_to_parent()
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGTERM)  # from a stranger: from itself, that is
        time.sleep(0.2)
        os.write(tell, b"alive")
        time.sleep(60)
        os._exit(9)
    assert os.read(ready, 5) == b"alive"
    os.kill(worker, signal.SIGTERM)
    _, status = os.waitpid(worker, 0)
    assert os.waitstatus_to_exitcode(status) == 0


def test_a_forked_worker_ignores_the_signal():
    with StopRequest() as stop:
        worker = os.fork()
        if worker == 0:
            os.kill(os.getpid(), signal.SIGINT)
            os._exit(7 if stop.signal_number is None else 8)
        _, status = os.waitpid(worker, 0)
    assert os.waitstatus_to_exitcode(status) == 7
