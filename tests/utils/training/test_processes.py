"""Who trains where, and how it is stopped: the launcher's environment, signals as flags, workers that do not hear."""

from __future__ import annotations

import multiprocessing
import os
import select
import signal
import sys
import time

import paddle
import pytest

from utils.machine import DeviceError
from utils.training import processes
from utils.training.processes import Processes, StopRequest, device_of_process, join_processes, leave_stopping_to_parent


@pytest.fixture
def launched(monkeypatch):
    """Sets what the launcher would: the number of processes and this one's card."""

    def launch(world: int | None, card: str | None) -> None:
        for name, value in (("PADDLE_TRAINERS_NUM", world), ("FLAGS_selected_gpus", card)):
            monkeypatch.setenv(name, str(value))
            if value is None:
                monkeypatch.delenv(name)

    # Set first, so that it is also taken away again after the test.
    monkeypatch.setenv("PADDLE_DISTRI_BACKEND", "")
    monkeypatch.delenv("PADDLE_DISTRI_BACKEND")
    return launch


@pytest.mark.parametrize(
    ("world", "card", "asked", "device"),
    [
        # Without a launcher the user is obeyed.
        *((None, None, asked, asked) for asked in ("auto", "gpu", "cpu", "gpu:2")),
        # The launcher chooses the card of one process as of several, and of several cards the first.
        *((world, "1", asked, "gpu:1") for world in (1, 2) for asked in ("auto", "gpu")),
        (1, "3,4", "auto", "gpu:3"),
        # Launched on CPUs, nothing is chosen; an explicit device wins over the launcher.
        (2, None, "auto", "auto"), (1, "1", "gpu:0", "gpu:0"), (1, "1", "cpu", "cpu"), (2, "1", "cpu", "cpu"),
    ],
)  # fmt: skip
def test_the_device_of_a_process(launched, world, card, asked, device):
    launched(world, card)
    assert device_of_process(asked) == device


def test_one_card_for_several_processes_is_refused(launched):
    launched(2, "1")
    with pytest.raises(DeviceError, match=r"gpu:0: 2 processes would share .* --gpus"):
        device_of_process("gpu:0")


@pytest.mark.parametrize(("device", "backend"), [("cpu", "gloo"), ("gpu:1", None)])
def test_processes_on_cpus_are_connected_by_gloo_whatever_the_launcher_chose(launched, monkeypatch, device, backend):
    seen = []
    connect = lambda: seen.append(os.environ.get("PADDLE_DISTRI_BACKEND"))  # noqa: E731
    monkeypatch.setattr(paddle.distributed, "init_parallel_env", connect)
    monkeypatch.setattr(paddle.distributed, "get_rank", lambda: 1)
    monkeypatch.setattr(paddle.distributed, "get_world_size", lambda: 2)
    launched(1, "1")
    assert join_processes(device) == Processes(0, 1)
    assert seen == []
    launched(2, "1")
    assert join_processes(device) == Processes(1, 2)
    assert seen == [backend]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_is_a_flag_and_handlers_are_put_back(number, code):
    before = [signal.getsignal(each) for each in StopRequest.SIGNALS]
    with StopRequest() as stop:
        assert not stop.requested
        os.kill(os.getpid(), number)
        assert (stop.requested, stop.exit_code) == (True, code)
        if number == signal.SIGTERM:
            os.kill(os.getpid(), number)  # a second one does nothing
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert [signal.getsignal(each) for each in StopRequest.SIGNALS] == before


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process of its parent's death")
def test_a_shielded_worker_survives_both_signals_but_not_its_killed_parent():
    lives, life = os.pipe()
    parent = os.fork()
    if parent == 0:
        if os.fork() == 0:
            leave_stopping_to_parent()
            for number in StopRequest.SIGNALS:
                os.kill(os.getpid(), number)
            os.write(life, b"!")
        time.sleep(600)
        os._exit(9)
    os.close(life)
    assert os.read(lives, 1) == b"!"
    os.kill(parent, signal.SIGKILL)
    os.waitpid(parent, 0)
    # The end of the pipe: nobody is left who could write into it.
    assert select.select([lives], [], [], 120)[0]
    assert os.read(lives, 1) == b""


def test_workers_are_killed_at_exit():
    worker = multiprocessing.get_context("fork").Process(target=time.sleep, args=(600,), daemon=True)
    worker.start()
    processes._kill_children()
    worker.join(120)
    assert worker.exitcode == -signal.SIGKILL
