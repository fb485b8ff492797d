"""Which device a launched process takes, and how it joins the others; the launcher speaks through the environment."""

from __future__ import annotations

import os

import paddle
import pytest

from utils.machine import DeviceError
from utils.training.processes import Processes, device_of_process, join_processes


@pytest.fixture
def launched(monkeypatch):
    """Sets what the launcher would: the number of processes and this one's card."""

    def launch(world: int | None, card: str | None) -> None:
        for name, value in (("PADDLE_TRAINERS_NUM", world), ("FLAGS_selected_gpus", card)):
            if value is None:
                monkeypatch.delenv(name, raising=False)
            else:
                monkeypatch.setenv(name, str(value))

    # Set first, so that it is also taken away again after the test.
    monkeypatch.setenv("PADDLE_DISTRI_BACKEND", "")
    monkeypatch.delenv("PADDLE_DISTRI_BACKEND")
    return launch


@pytest.mark.parametrize("asked", ["auto", "gpu", "cpu", "gpu:2"])
def test_without_a_launcher_the_user_is_obeyed(launched, asked):
    launched(None, None)
    assert device_of_process(asked) == asked


@pytest.mark.parametrize("world", [1, 2])
def test_the_launcher_chooses_the_card_of_one_process_as_of_several(launched, world):
    launched(world, "1")
    assert device_of_process("auto") == device_of_process("gpu") == "gpu:1"


def test_of_several_cards_for_one_process_the_first_is_taken(launched):
    launched(1, "3,4")
    assert device_of_process("auto") == "gpu:3"


def test_launched_on_cpus_nothing_is_chosen(launched):
    launched(2, None)
    assert device_of_process("auto") == "auto"


def test_an_explicit_device_wins_over_the_launcher(launched):
    launched(1, "1")
    assert device_of_process("gpu:0") == "gpu:0"
    assert device_of_process("cpu") == "cpu"
    launched(2, "1")
    assert device_of_process("cpu") == "cpu"


def test_one_card_for_several_processes_is_refused(launched):
    launched(2, "1")
    with pytest.raises(DeviceError, match=r"gpu:0: 2 processes would share .* --gpus"):
        device_of_process("gpu:0")


@pytest.mark.parametrize(("device", "backend"), [("cpu", "gloo"), ("gpu:1", None)])
def test_processes_on_cpus_are_connected_by_gloo_whatever_the_launcher_chose(launched, monkeypatch, device, backend):
    seen = []
    def connect():
        seen.append(os.environ.get("PADDLE_DISTRI_BACKEND"))

    monkeypatch.setattr(paddle.distributed, "init_parallel_env", connect)
    monkeypatch.setattr(paddle.distributed, "get_rank", lambda: 1)
    monkeypatch.setattr(paddle.distributed, "get_world_size", lambda: 2)
    launched(2, "1")
    assert join_processes(device) == Processes(1, 2)
    assert seen == [backend]


def test_a_single_process_connects_to_nobody(launched, monkeypatch):
    monkeypatch.setattr(paddle.distributed, "init_parallel_env", lambda: pytest.fail("connected"))
    launched(1, "1")
    assert join_processes("gpu:1") == Processes()


def test_the_span_is_from_the_smallest_to_the_largest(monkeypatch):
    assert Processes().span(7) == (7, 7)
    others = ((3.0, -3.0), (9.0, -9.0))
    maximum = lambda self, values: [max(each) for each in zip(values, *others, strict=True)]  # noqa: E731
    monkeypatch.setattr(Processes, "maximum", maximum)
    assert Processes(0, 3).span(7) == (3, 9)
