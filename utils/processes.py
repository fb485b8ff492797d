"""Training in several processes (`python -m paddle.distributed.launch`): who I am, and agreeing on numbers."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

import paddle
import paddle.distributed


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

    def _reduce(self, values: Sequence[float], operation: int) -> list[float]:
        if self.world == 1:
            return [float(value) for value in values]
        tensor = paddle.to_tensor([float(value) for value in values], dtype="float64")
        paddle.distributed.all_reduce(tensor, op=operation)
        return tensor.tolist()


def launched_gpu() -> str | None:
    """The device ("gpu:INDEX") that the launcher gave to this process; None for a single process or CPUs."""
    index = os.environ.get("FLAGS_selected_gpus", "").split(",")[0]  # noqa: SIM112 - Paddle spells it so
    return f"gpu:{index}" if index and int(os.environ.get("PADDLE_TRAINERS_NUM", "1")) > 1 else None


def join_processes() -> Processes:
    """Connects to the other processes of the launcher; without a launcher, there are none.

    The device has to be chosen before. NCCL connects GPUs, gloo CPUs.
    """
    if int(os.environ.get("PADDLE_TRAINERS_NUM", "1")) == 1:
        return Processes()
    paddle.distributed.init_parallel_env()
    return Processes(paddle.distributed.get_rank(), paddle.distributed.get_world_size())
