"""What memory is left, by the machine and by its control groups, on file systems made up for the test."""

from __future__ import annotations

from pathlib import Path

import pytest

from utils.machine import available_bytes

GIB = 2**30


def machine(root: Path, **files: str) -> str:
    """Writes files, whose names have __ for every slash, below `root`."""
    for name, text in files.items():
        path = root / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return str(root)


def meminfo(gib: float) -> str:
    return f"MemTotal:       99999999 kB\nMemFree:          100 kB\nMemAvailable:   {int(gib * 2**20)} kB\n"


def test_without_control_groups_the_machine_counts(tmp_path):
    assert available_bytes(machine(tmp_path, proc__meminfo=meminfo(3))) == 3 * GIB


def test_where_the_system_does_not_tell_nothing_is_known(tmp_path):
    assert available_bytes(str(tmp_path)) is None


def test_here_it_is_a_plausible_number():
    assert available_bytes() is None or 2**20 < available_bytes() < 2**50


@pytest.mark.parametrize("mounted", ["sys__fs__cgroup__", "sys__fs__cgroup__user__job__"])
def test_the_limit_of_version_2_counts_without_what_can_be_reclaimed(tmp_path, mounted):
    root = machine(tmp_path, proc__meminfo=meminfo(8), proc__self__cgroup="0::/user/job\n")
    for name, text in {
        "memory.max": str(4 * GIB), "memory.current": str(3 * GIB), "memory.stat": f"anon 1\ninactive_file {GIB}\n"
    }.items():
        machine(tmp_path, **{mounted + name: text})
    assert available_bytes(root) == 2 * GIB


def test_a_group_without_a_limit_and_a_parent_with_one(tmp_path):
    root = machine(
        tmp_path, proc__meminfo=meminfo(8), proc__self__cgroup="0::/user/job\n",
        **{
            "sys__fs__cgroup__user__job__memory.max": "max\n", "sys__fs__cgroup__user__job__memory.current": "5\n",
            "sys__fs__cgroup__user__memory.max": str(5 * GIB), "sys__fs__cgroup__user__memory.current": str(2 * GIB),
        },
    )
    assert available_bytes(root) == 3 * GIB


def test_the_limit_of_version_1_counts(tmp_path):
    root = machine(
        tmp_path, proc__meminfo=meminfo(8), proc__self__cgroup="7:cpu,cpuacct:/x\n3:memory:/docker/abc\n0::/\n",
        **{
            "sys__fs__cgroup__memory__memory.limit_in_bytes": str(GIB),
            "sys__fs__cgroup__memory__memory.usage_in_bytes": str(GIB // 4),
        },
    )
    assert available_bytes(root) == GIB - GIB // 4


def test_a_limit_that_is_passed_leaves_nothing(tmp_path):
    root = machine(
        tmp_path, proc__self__cgroup="0::/\n",
        **{"sys__fs__cgroup__memory.max": "100", "sys__fs__cgroup__memory.current": "200"},
    )
    assert available_bytes(root) == 0
