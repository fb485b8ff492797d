"""The machine that is measured on: what it is called, how busy it is, how fast it multiplies matrices."""

from __future__ import annotations

import os
import platform
import time
from importlib import metadata
from pathlib import Path

import numpy as np

from utils.machine import available_cores

_PACKAGES = ("paddlepaddle", "paddlepaddle-gpu", "onnxruntime", "onnxruntime-gpu", "openvino", "numpy")


def describe(threads: int) -> str:
    """One line: processor, cores, what other programs make of them, memory, versions."""
    versions = [f"Python {platform.python_version()}"]
    for package in _PACKAGES:
        try:
            versions.append(f"{package} {metadata.version(package)}")
        except metadata.PackageNotFoundError:
            continue
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    cores = f"{available_cores()} cores (load {os.getloadavg()[0]:.1f} at the start), {threads} threads"
    return f"{_cpu_name()}; {cores}; {memory:.0f} GB; {', '.join(versions)}"


def _cpu_name() -> str:
    """As the system calls it, with a word where it says that it is a virtual one."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    entries = dict(line.split(":", 1) for line in lines if ":" in line)
    values = {key.strip(): value.strip() for key, value in entries.items()}
    name = values.get("model name", platform.machine())
    return f"{name}, virtual machine" if "hypervisor" in values.get("flags", "").split() else name


def matrix_rate(side: int = 2048) -> float:
    """Dense float32 matrix products in GFLOP/s (10^9 additions and multiplications), the best of five."""
    rng = np.random.default_rng(0)
    left, right = (rng.random((side, side), dtype=np.float32) for _ in range(2))
    np.matmul(left, right)
    fastest = float("inf")
    for _ in range(5):
        start = time.perf_counter()
        np.matmul(left, right)
        fastest = min(fastest, time.perf_counter() - start)
    return 2 * side**3 / fastest / 1e9
