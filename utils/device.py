"""Which device to run on, found out by running something there.

Paddle is imported when something is asked and not before: it takes seconds and a few hundred megabytes, and engines
that run without it ask nothing.
"""

from __future__ import annotations

import logging
import sys
from importlib import metadata
from pathlib import Path

import numpy as np

_log = logging.getLogger(__name__)


class DeviceError(RuntimeError):
    """The device that was asked for cannot be used; the message says why and what to do."""


def resolve_device(name: str = "auto") -> str:
    """Chooses the device and makes it Paddle's current one.

    Args:
        name: "auto" takes the first GPU if it works and the CPU otherwise; "cpu"; "gpu" or "gpu:INDEX" insist.

    Returns:
        "cpu" or "gpu:INDEX".

    Raises:
        DeviceError: a GPU was asked for by name and does not work, or `name` is none of the above.

    A GPU counts as working when a real convolution on it gives the right numbers: a Paddle build without kernels for
    the card imports, lists the card and passes `paddle.utils.run_check()`. When "auto" turns a GPU down, a warning
    says why.
    """
    check_device(name)
    import paddle

    if name != "cpu":
        candidate = gpu_named(name)
        problem = gpu_problem(candidate)
        if problem is None:
            paddle.device.set_device(candidate)
            return candidate
        if name != "auto":
            raise DeviceError(f"device {name}: {problem}; use --device cpu to run without it")
        if paddle.is_compiled_with_cuda():
            # A CPU build was installed on purpose; a GPU build that ends on the CPU is a surprise worth a word.
            _log.warning("running on the CPU: %s", problem)
    paddle.device.set_device("cpu")
    return "cpu"


def check_device(name: str) -> None:
    """Refuses what is not "auto", "cpu", "gpu" or "gpu:INDEX", with a `DeviceError`."""
    kind, _, index = name.partition(":")
    if name not in ("auto", "cpu", "gpu") and not (kind == "gpu" and index.isdigit()):
        raise DeviceError(f"device {name!r}: no such kind of device, expected auto, cpu, gpu or gpu:INDEX")


def gpu_named(name: str) -> str:
    """The GPU that a name stands for, as "gpu:INDEX": the first one for "auto" and "gpu"."""
    return f"gpu:{name.partition(':')[2] or 0}"


def may_have_gpu() -> bool:
    """Whether Paddle could have a GPU, as far as can be told without importing it: False for its CPU package."""
    if "paddle" in sys.modules:
        return sys.modules["paddle"].is_compiled_with_cuda()
    # Installed side by side, the two packages overwrite each other: only Paddle itself knows which one is there.
    return _installed("paddlepaddle-gpu") or not _installed("paddlepaddle")


def gpu_shows() -> bool:
    """Whether the machine shows an NVIDIA GPU, whatever the installed packages can do with it; Linux only."""
    return any(Path("/dev").glob("nvidia[0-9]*"))


def _installed(package: str) -> bool:
    try:
        metadata.version(package)
    except metadata.PackageNotFoundError:
        return False
    return True


def gpu_problem(device: str) -> str | None:
    """Why `device` ("gpu:INDEX") cannot be used, or None when a convolution there gives the right numbers."""
    import paddle

    if not paddle.is_compiled_with_cuda():
        return f"this Paddle ({paddle.__version__}) is a CPU build"
    count, index = paddle.device.cuda.device_count(), int(device.partition(":")[2])
    if index >= count:
        return f"{device} is not there, {count} GPU(s) found (is the driver loaded, is CUDA_VISIBLE_DEVICES right?)"
    before = paddle.device.get_device()
    try:
        paddle.device.set_device(device)
        error = _convolution_error()
    except Exception as failure:
        # Whatever a driver or a missing kernel raises, the answer is the same: not usable, for this reason.
        paddle.device.set_device(before)
        return f"a convolution on {device} failed ({type(failure).__name__}: {_first_line(failure)})"
    paddle.device.set_device(before)
    if not error < 1e-2:
        return f"a convolution on {device} gave wrong numbers (off by {error:g}): this build has no kernels for it"
    return None


def _convolution_error() -> float:
    """Largest error of a 3x3 convolution on the current device; its input and answer are small whole numbers."""
    import paddle

    image = (np.arange(64, dtype=np.float32) % 7).reshape(1, 1, 8, 8)
    layer = paddle.nn.Conv2D(1, 1, 3, bias_attr=False)
    layer.weight.set_value(np.ones((1, 1, 3, 3), np.float32))
    expected = np.lib.stride_tricks.sliding_window_view(image[0, 0], (3, 3)).sum((2, 3))
    with paddle.no_grad():
        result = layer(paddle.to_tensor(image)).numpy()[0, 0]
    return float(np.abs(result - expected).max())


def _first_line(failure: Exception) -> str:
    lines = [line.strip() for line in str(failure).splitlines() if line.strip(" -")]
    # Paddle puts a C++ traceback first and its reason on the line that begins with its own name for the error.
    return next((line for line in lines if "Error:" in line), lines[0] if lines else "no message")
