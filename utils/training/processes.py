"""The processes of one training run: who this one is, on which device, how they agree and stop.

Several trainers are started by `python -m paddle.distributed.launch`, which speaks through the environment.
"""

import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import paddle
import paddle.distributed

from utils.machine import DeviceError


class Processes(NamedTuple):
    """The place of this process, `rank`, among the `world` that train together; only rank 0 writes files and talks."""

    rank: int = 0
    world: int = 1

    @property
    def first(self) -> bool:
        return self.rank == 0

    def total(self, values: Sequence[float]) -> list[float]:
        """The sum of each value over all processes; each of them gets this answer."""
        values = [float(value) for value in values]
        if self.world == 1:
            return values
        tensor = paddle.to_tensor(values, dtype="float64")
        paddle.distributed.all_reduce(tensor)
        return tensor.tolist()


def _launched() -> int:
    """The number of processes, as Paddle's launcher tells it."""
    return int(os.environ.get("PADDLE_TRAINERS_NUM", "1"))


def device_of_process(asked: str) -> str:
    """The launcher's card, if there is one and none is `asked` for by name; DeviceError: one card for several."""
    if asked in ("auto", "gpu"):
        # With `--gpus 1` the launcher leaves all cards visible and names this one, for a single process as well.
        card = os.environ.get("FLAGS_selected_gpus", "").split(",")[0]  # noqa: SIM112 - Paddle spells it so
        return f"gpu:{card}" if card else asked
    if asked.startswith("gpu:") and _launched() > 1:
        raise DeviceError(f"device {asked}: {_launched()} processes would share this one card; choose the cards with "
                          "--gpus of paddle.distributed.launch and leave out --device, or start one process")
    return asked


def join_processes(device: str) -> Processes:
    """Connects to the other processes of the launcher, by NCCL on GPUs and gloo on CPUs; without it there are none."""
    if _launched() == 1:
        return Processes()
    if device == "cpu":
        # Otherwise a GPU build would put every process back on the card that the launcher chose.
        os.environ["PADDLE_DISTRI_BACKEND"] = "gloo"
    paddle.distributed.init_parallel_env()
    return Processes(paddle.distributed.get_rank(), paddle.distributed.get_world_size())


@contextmanager
def stop_requests() -> Iterator[list[int]]:
    """A context in which SIGINT and SIGTERM only join the list that it yields. A second SIGINT acts as usual; a second
    SIGTERM means nothing: Paddle's launcher sends three within a second, and then gives half a minute.
    """
    received: list[int] = []

    def note(number: int, _: object) -> None:
        received.append(number)
        signal.signal(signal.SIGINT, before[signal.SIGINT])

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
