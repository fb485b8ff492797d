"""Who trains where, and how it is stopped: the launcher's environment, and signals as flags."""

import os
import signal

import paddle
import pytest

from utils.machine import DeviceError
from utils.training.processes import Processes, device_of_process, join_processes, stop_requests


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


@pytest.mark.parametrize(("world", "card", "asked", "device"), [
    # Without a launcher the user is obeyed.
    *((None, None, asked, asked) for asked in ("auto", "gpu", "cpu", "gpu:2")),
    # The launcher chooses the card of one process as of several, and of several cards the first.
    *((world, "1", asked, "gpu:1") for world in (1, 2) for asked in ("auto", "gpu")), (1, "3,4", "auto", "gpu:3"),
    # Launched on CPUs, nothing is chosen; an explicit device wins over the launcher, but for one shared card.
    (2, None, "auto", "auto"), (1, "1", "gpu:0", "gpu:0"), (1, "1", "cpu", "cpu"), (2, "1", "cpu", "cpu"),
    (2, "1", "gpu:0", None),
])  # fmt: skip
def test_the_device_of_a_process(launched, world, card, asked, device):
    launched(world, card)
    if device is None:
        with pytest.raises(DeviceError, match=r"gpu:0: 2 processes would share .* --gpus"):
            device_of_process(asked)
    else:
        assert device_of_process(asked) == device


@pytest.mark.parametrize(("device", "backend"), [("cpu", "gloo"), ("gpu:1", None)])
def test_processes_on_cpus_are_connected_by_gloo_whatever_the_launcher_chose(launched, monkeypatch, device, backend):
    seen = []
    connect = lambda: seen.append(os.environ.get("PADDLE_DISTRI_BACKEND"))  # noqa: E731
    monkeypatch.setattr(paddle.distributed, "init_parallel_env", connect)
    monkeypatch.setattr(paddle.distributed, "get_rank", lambda: 1)
    monkeypatch.setattr(paddle.distributed, "get_world_size", lambda: 2)
    launched(1, "1")
    assert join_processes(device) == Processes(0, 1)
    launched(2, "1")
    assert join_processes(device) == Processes(1, 2)
    assert seen == [backend]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_noted_and_handlers_are_put_back(number):
    before = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]
    with stop_requests() as received:
        times = 1 + (number == signal.SIGTERM)  # a second SIGTERM does nothing
        for _ in range(times):
            os.kill(os.getpid(), number)
        assert received == [number] * times
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)] == before
