"""What the machine offers: threads of the CPU, memory, a device that computes right, a terminal or a log to draw on.

Paddle, which takes seconds and a few hundred megabytes, is imported when something is asked of it and not before.
"""

import logging
import os
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

# Of the memory that is available, this much may be planned with; the rest is for everything else that runs.
SHARE = 0.7
_SECONDS_BETWEEN_LINES = 10.0
_log = logging.getLogger(__name__)


class DeviceError(RuntimeError):
    """The device that was asked for cannot be used; the message says why and what to do."""


def available_cores() -> int:
    """The number of processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def default_threads() -> int:
    """What the user says by OMP_NUM_THREADS, otherwise the number of cores."""
    said = os.environ.get("OMP_NUM_THREADS", "")
    return int(said) if said.isdecimal() and int(said) > 0 else available_cores()


def start_paddle(threads: int | None = None) -> int:
    """Imports Paddle, before anything else does, with OMP_NUM_THREADS set to `threads`, else as the user has set it, or
    to all cores. Returns the number of threads, at which alone results repeat bit for bit.
    """
    if threads is not None:
        os.environ["OMP_NUM_THREADS"] = str(threads)
    os.environ.setdefault("OMP_NUM_THREADS", str(available_cores()))
    # Paddle 2.6 breaks gzip when it is imported before zlib.
    import zlib  # noqa: F401

    stream, printed, handlers, level = sys.stderr, [], logging.root.handlers[:], logging.root.level
    stream.write = printed.append
    try:
        with warnings.catch_warnings():
            # Paddle looks for a compiler cache that only builders of extensions need.
            warnings.filterwarnings("ignore", message="No ccache found")
            import paddle  # noqa: F401
    finally:
        del stream.write
        # At every import where it may use more than one thread.
        sermon = ("WARNING: OMP_NUM_THREADS set to", "PLEASE USE OMP_NUM_THREADS WISELY")
        stream.write("".join(line for line in "".join(printed).splitlines(True) if not line.startswith(sermon)))
        # Paddle takes over the root logger, through which this project's own warnings go as plain sentences.
        logging.root.handlers[:] = handlers
        logging.root.setLevel(level)
    # Paddle puts 1 in place of a value that is no number.
    return int(os.environ["OMP_NUM_THREADS"])


def resolve_device(name: str = "auto") -> str:
    """Makes the device Paddle's current one and returns it as "cpu" or "gpu:INDEX". "auto" takes the first GPU if a
    convolution there gives the right numbers, otherwise the CPU with a warning; "gpu" insists, with a DeviceError.
    """
    check_device(name)
    import paddle

    device = "cpu" if name == "cpu" else gpu_named(name)
    if device != "cpu" and (problem := _gpu_problem(device)):
        if name != "auto":
            raise DeviceError(f"device {name}: {problem}; use --device cpu to run without it")
        if paddle.is_compiled_with_cuda():
            # A CPU build was installed on purpose; a GPU build that ends on the CPU is a surprise worth a word.
            _log.warning("running on the CPU: %s", problem)
        device = "cpu"
    paddle.device.set_device(device)
    return device


def check_device(name: str) -> None:
    """Refuses what is not "auto", "cpu", "gpu" or "gpu:INDEX", with a `DeviceError`."""
    kind, _, index = name.partition(":")
    if name not in ("auto", "cpu", "gpu") and not (kind == "gpu" and index.isdigit()):
        raise DeviceError(f"device {name!r}: no such kind of device, expected auto, cpu, gpu or gpu:INDEX")


def gpu_named(name: str) -> str:
    """The GPU that a name stands for, as "gpu:INDEX": the first one for "auto" and "gpu"."""
    return f"gpu:{name.partition(':')[2] or 0}"


def gpu_shows() -> bool:
    """Whether the machine shows an NVIDIA GPU (on Linux, or in its Windows subsystem), whatever can be done with it."""
    return any(Path("/dev").glob("nvidia[0-9]*")) or Path("/dev/dxg").exists()


def _gpu_problem(device: str) -> str | None:
    """Why `device` ("gpu:INDEX") cannot be used, or None when a convolution there gives the right numbers."""
    import paddle

    if not paddle.is_compiled_with_cuda():
        return f"this Paddle ({paddle.__version__}) is a CPU build"
    count = paddle.device.cuda.device_count()
    if int(device.partition(":")[2]) >= count:
        return f"{device} is not there, {count} GPU(s) found (is the driver loaded, is CUDA_VISIBLE_DEVICES right?)"
    try:
        paddle.device.set_device(device)
        weight = paddle.arange(9, dtype="float32").reshape([1, 1, 3, 3])
        result = paddle.nn.functional.conv2d(paddle.ones([1, 1, 8, 8]), weight).numpy()
    except Exception as failure:
        # Paddle puts a C++ traceback first and its reason on the line that begins with its own name for the error.
        lines = [line.strip() for line in str(failure).splitlines() if line.strip(" -")]
        reason = next((line for line in lines if "Error:" in line), lines[0] if lines else "no message")
        return f"a convolution on {device} failed ({type(failure).__name__}: {reason})"
    error = np.abs(result - sum(range(9))).max()
    if not error < 1e-2:
        return f"a convolution on {device} gave wrong numbers (off by {error:g}): this build has no kernels for it"
    return None


def progress(*arguments: Any, unit: str, **options: Any) -> tqdm:
    """`tqdm(...)` on standard error: a bar on a terminal, in a log plain lines, one in ten seconds and the last."""
    if sys.stderr.isatty():
        return tqdm(*arguments, file=sys.stderr, unit=unit, **options)
    units = f"{unit}es" if unit.endswith("ch") else f"{unit}s"
    line = "{desc} {n_fmt} of {total_fmt} {unit}, {elapsed} gone, {remaining} to go{postfix}"
    return tqdm(*arguments, file=_Lines(), unit=units, bar_format=line, mininterval=_SECONDS_BETWEEN_LINES,
                maxinterval=_SECONDS_BETWEEN_LINES, **options)  # fmt: skip


class _Lines:
    """Standard error for a tqdm that writes whole lines, where it would draw over what stands there."""

    told = ""

    def write(self, text: str) -> None:
        line = text.strip()
        # "?": nothing has been done yet.
        if line not in ("", self.told) and "? to go" not in line:
            self.told = line
            sys.stderr.write(f"{line}\n")

    def flush(self) -> None:
        sys.stderr.flush()


def available_bytes(root: str = "/") -> int | None:
    """Bytes that this process may still take, by the machine and by its control groups (versions 1 and 2); None where
    the system does not tell (anything but Linux). `root` is where `proc` and `sys` are mounted.
    """
    base = Path(root)
    known = [int(line.split()[1]) * 1024 for line in _lines(base / "proc/meminfo") if line.startswith("MemAvailable:")]
    for line in _lines(base / "proc/self/cgroup"):
        _, kinds, path = line.split(":", 2)
        own, first = Path(path.strip("/")), "memory" in kinds.split(",")
        # Version 1 has a tree for every kind of limit, and other names.
        tree = base / "sys/fs/cgroup" / ("memory" if first else "")
        names = ("limit_in_bytes", "usage_in_bytes") if first else ("max", "current")
        # Every group above has a say. Inside a container the group's own folder may be what is mounted.
        for folder in (tree / group for group in (own, *own.parents)):
            limit, used = ("".join(_lines(folder / f"memory.{name}")) for name in names)
            if limit.isdigit() and used.isdigit():
                stat = dict(line.split() for line in _lines(folder / "memory.stat"))
                cached = int(stat.get("total_inactive_file" if first else "inactive_file", 0))
                known.append(max(0, int(limit) - int(used) + cached))
    return min(known, default=None)


def lack_of_memory(needed: float) -> str | None:
    """Why something of so many bytes would not fit into the machine's memory, or None."""
    available = available_bytes() if needed else None
    if available is None or needed <= SHARE * available:
        return None
    return f"it takes about {needed / SHARE / 1e6:.0f} MB, and {available / 1e6:.0f} MB are available"


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
