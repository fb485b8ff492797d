"""Training under `python -m paddle.distributed.launch`: who I am, on which device, and agreeing on numbers."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

import paddle
import paddle.distributed

from utils.machine import DeviceError


@dataclass(frozen=True)
class Processes:
    """The place of this process among those of one run.

    Attributes:
        rank: 0 .. world - 1; only rank 0 writes files and talks.
        world: how many processes train together.
    """

    rank: int = 0
    world: int = 1

    @property
    def first(self) -> bool:
        return self.rank == 0

    def maximum(self, values: Sequence[float]) -> list[float]:
        """The largest of each value over all processes; every process receives the same answer."""
        return self._reduce(values, paddle.distributed.ReduceOp.MAX)

    def total(self, values: Sequence[float]) -> list[float]:
        """The sum of each value over all processes; every process receives the same answer."""
        return self._reduce(values, paddle.distributed.ReduceOp.SUM)

    def span(self, value: float) -> tuple[float, float]:
        """The smallest and the largest of one value over all processes; every process receives the same answer."""
        highest, negative_lowest = self.maximum([value, -value])
        return -negative_lowest, highest

    def _reduce(self, values: Sequence[float], operation: int) -> list[float]:
        if self.world == 1:
            return [float(value) for value in values]
        tensor = paddle.to_tensor([float(value) for value in values], dtype="float64")
        paddle.distributed.all_reduce(tensor, op=operation)
        return tensor.tolist()


def device_of_process(asked: str) -> str:
    """The device to take in this process, for `utils.machine.resolve_device`.

    Args:
        asked: what the user said. "auto" and "gpu" leave the card to the launcher; "cpu" and "gpu:INDEX" win over it.

    Raises:
        DeviceError: one card was named for several processes.
    """
    if asked in ("auto", "gpu"):
        return launched_gpu() or asked
    if asked.startswith("gpu:") and launched_world() > 1:
        raise DeviceError(
            f"device {asked}: {launched_world()} processes would share this one card; choose the cards with --gpus of "
            "paddle.distributed.launch and leave out --device, or start one process"
        )
    return asked


def launched_gpu() -> str | None:
    """The device ("gpu:INDEX") that the launcher gave to this process; None without a launcher or on CPUs.

    With `--gpus 1` the launcher leaves all cards visible and names this one, for a single process as well.
    """
    index = os.environ.get("FLAGS_selected_gpus", "").split(",")[0]  # noqa: SIM112 - Paddle spells it so
    return f"gpu:{index}" if index else None


def launched_world() -> int:
    """How many processes the launcher started; 1 without a launcher."""
    return int(os.environ.get("PADDLE_TRAINERS_NUM", "1"))


def join_processes(device: str) -> Processes:
    """Connects to the other processes of the launcher; without a launcher, there are none.

    Args:
        device: what `utils.machine.resolve_device` answered. NCCL connects GPUs, gloo CPUs.
    """
    if launched_world() == 1:
        return Processes()
    if device == "cpu":
        # Otherwise a GPU build would put every process back on the card that the launcher chose.
        os.environ["PADDLE_DISTRI_BACKEND"] = "gloo"
    paddle.distributed.init_parallel_env()
    return Processes(paddle.distributed.get_rank(), paddle.distributed.get_world_size())
