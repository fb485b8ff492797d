"""Paddle uses one CPU thread unless it is told otherwise before it is imported."""

from __future__ import annotations

import os


def use_all_cores() -> int:
    """Sets OMP_NUM_THREADS to the number of cores this process may use, unless the user has set it.

    Has to run before the first `import paddle`, which sets the variable to 1. Results repeat bit for bit only at
    the same number of threads.

    Returns:
        The number of threads in force.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    os.environ.setdefault("OMP_NUM_THREADS", str(cores))
    return int(os.environ["OMP_NUM_THREADS"])
