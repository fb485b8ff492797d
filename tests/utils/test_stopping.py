"""A request to stop becomes a flag; a second one acts as usual; forked workers are not stopped by it."""

from __future__ import annotations

import multiprocessing
import os
import select
import signal
import sys
import time

import pytest

from utils import parallel as stopping
from utils.parallel import StopRequest, leave_stopping_to_parent


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_is_a_flag(number, code):
    before = signal.getsignal(number)
    with StopRequest() as stop:
        assert not stop.requested
        os.kill(os.getpid(), number)
        assert stop.requested
        assert stop.signal_number == number
        assert stop.exit_code == code
    assert signal.getsignal(number) == before


def test_a_second_ctrl_c_acts_as_usual_and_a_second_sigterm_does_nothing():
    with StopRequest() as stop:
        for _ in range(3):
            os.kill(os.getpid(), signal.SIGTERM)
        assert stop.signal_number == signal.SIGTERM
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


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


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process of its parent's death")
def test_a_shielded_worker_does_not_outlive_a_killed_parent():
    lives, life = os.pipe()
    parent = os.fork()
    if parent == 0:
        if os.fork() == 0:
            leave_stopping_to_parent()
            os.write(life, b"!")
        time.sleep(60)
        os._exit(9)
    os.close(life)
    assert os.read(lives, 1) == b"!"
    os.kill(parent, signal.SIGKILL)
    os.waitpid(parent, 0)
    # The end of the pipe: nobody is left who could write into it.
    assert select.select([lives], [], [], 20)[0]
    assert os.read(lives, 1) == b""


def test_a_forked_worker_ignores_the_signal():
    with StopRequest() as stop:
        worker = os.fork()
        if worker == 0:
            os.kill(os.getpid(), signal.SIGINT)
            os._exit(7 if stop.signal_number is None else 8)
        _, status = os.waitpid(worker, 0)
    assert os.waitstatus_to_exitcode(status) == 7
