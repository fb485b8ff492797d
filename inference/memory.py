"""How much memory is left, and how much a tile will take: on a CPU the kernel kills and does not ask.

Linux hands out memory that it does not have and ends the process when that is used, so there is no exception to
catch. The need of a tile is estimated beforehand instead.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

# Bytes per pixel of a tile and channel of the first level, at the peak of a forward pass with TLC, rounded up: how much
# the process grew (resident memory) in its first tile of 0.6 to 2.4 megapixels, widths 16 and 32, two threads.
_BYTES_PER_CHANNEL = {"paddle": 85, "inference": 120, "onnxruntime": 32, "openvino": 32}
# What is left for everything else that runs, the full-size picture included.
SHARE = 0.7


def bytes_per_pixel(model: Mapping[str, Any], backend: str) -> float:
    """About how much memory a pixel of a tile takes while the network runs.

    Args:
        model: the network's settings (`Weights.model`).
        backend: its name; one that is not known is taken for the hungriest.
    """
    return model["width"] * _BYTES_PER_CHANNEL.get(backend, max(_BYTES_PER_CHANNEL.values()))


def available_bytes(root: str = "/") -> int | None:
    """Memory that this process may still take, by the machine and by the control groups (versions 1 and 2).

    Args:
        root: where `proc` and `sys` are mounted.

    Returns:
        Bytes, or None where the system does not tell (anything but Linux).
    """
    base = Path(root)
    known = [_meminfo(base / "proc" / "meminfo"), *_control_groups(base)]
    return min((value for value in known if value is not None), default=None)


def _meminfo(path: Path) -> int | None:
    for line in _lines(path):
        name, _, rest = line.partition(":")
        if name == "MemAvailable":
            return int(rest.split()[0]) * 1024
    return None


def _control_groups(base: Path) -> list[int]:
    """What is left below the limit of every control group above this process."""
    left = []
    for line in _lines(base / "proc" / "self" / "cgroup"):
        _, controllers, group = line.split(":", 2)
        if controllers == "":
            files = ("memory.max", "memory.current", "inactive_file")
            mount = base / "sys" / "fs" / "cgroup"
        elif "memory" in controllers.split(","):
            files = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
            mount = base / "sys" / "fs" / "cgroup" / "memory"
        else:
            continue
        # Inside a container the group's own folder is often what is mounted, under a path that is not there.
        parts = [part for part in group.split("/") if part]
        folders = [mount.joinpath(*parts[:count]) for count in range(len(parts) + 1)]
        left.extend(value for folder in folders if (value := _left_in(folder, *files)) is not None)
    return left


def _left_in(folder: Path, limit: str, usage: str, reclaimable: str) -> int | None:
    bound, used = _number(folder / limit), _number(folder / usage)
    if bound is None or used is None:
        return None
    cached = next((int(line.split()[1]) for line in _lines(folder / "memory.stat") if line.startswith(reclaimable)), 0)
    return max(0, bound - used + cached)


def _number(path: Path) -> int | None:
    """The whole number in a file; None for "max" and where there is no such file."""
    text = "".join(_lines(path)).strip()
    return int(text) if text.isdigit() else None


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
