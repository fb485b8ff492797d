"""The machine that is measured on, and tables of what was measured: for people, for a README, for a spreadsheet."""

from __future__ import annotations

import csv
import io
import os
import platform
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from inference.benchmark.cases import STEPS, Case
from utils.machine import available_cores

_PACKAGES = ("paddlepaddle", "paddlepaddle-gpu", "onnxruntime", "onnxruntime-gpu", "openvino", "numpy")
_HEADS = ("what", "engine", *STEPS, "file to file", "in a batch", "memory GB", "GFLOP/s (of matmul)",
          "from eager fp32: max / mean")  # fmt: skip
_COLUMNS = ("case", "round", "engine", "start", *STEPS, "total", "batch", "network", "gmac", "matmul_gflops", "memory",
            "largest", "mean", "outside", "problem", "machine")  # fmt: skip


@dataclass
class Result:
    """What became of one case: the answers of `inference.benchmark.measure`, one per round, or why there are none."""

    case: Case
    rounds: list[dict[str, Any]] = field(default_factory=list)
    problem: str = ""


def seconds_of(answer: dict[str, Any]) -> dict[str, float]:
    """Seconds by step and in "total": medians over the photos of a round."""
    return {step: median(photo.get(step, 0.0) for photo in answer["steps"]) for step in (*STEPS, "total")}


def markdown(machine: str, photos: str, rates: Sequence[float], results: Sequence[Result]) -> str:
    """The table with the machine above and remarks below it.

    Args:
        machine, photos: in words.
        rates: dense matrix products in GFLOP/s, by round.
    """
    lines = [f"Machine: {machine}.", "", f"Photos: {photos}.", ""]
    lines += ["| " + " | ".join(_HEADS) + " |", "|" + " --- |" * len(_HEADS)]
    lines += ["| " + " | ".join(_row(result, max(rates))) + " |" for result in results if result.rounds]
    lines += [
        "",
        "* Seconds of one photo: medians over the photos of the fastest round; engines are warm. `in a batch`: from "
        "one finished file of the pipeline to the next, fastest round. Memory: the peak of a process that did nothing "
        "else, largest round.",
        f"* Dense float32 matrix products on this machine, by round: {', '.join(f'{rate:.0f}' for rate in rates)} "
        "GFLOP/s. GFLOP/s of the network count the multiply-adds of its convolutions twice and the time inside the "
        "engine.",
        "* Differences in grey levels of 255 where a result may have changed the photo.",
    ]
    lines += [f"* {result.case.name}: not measured: {result.problem}" for result in results if result.problem]
    return "\n".join([*lines, ""])


def _row(result: Result, rate: float) -> list[str]:
    rounds = result.rounds
    steps = min(map(seconds_of, rounds), key=lambda steps: steps["total"])
    batch = [answer["batch"] for answer in rounds if "batch" in answer]
    gflops = max(2 * answer["gmac"] / answer["network"] for answer in rounds)
    apart = [answer["difference"] for answer in rounds if answer["difference"]]
    return [
        result.case.what,
        rounds[0]["engine"] + (" (auto)" if result.case.backend == "auto" else ""),
        *(f"{steps[step]:.2f}" for step in (*STEPS, "total")),
        f"{min(batch):.2f}" if batch else "",
        f"{max(answer['memory'] for answer in rounds):.2f}",
        f"{gflops:.0f} ({gflops / rate:.0%})",
        f"{max(each['largest'] for each in apart):.0f} / {max(each['mean'] for each in apart):.3f}" if apart else "",
    ]


def csv_text(machine: str, rates: Sequence[float], results: Sequence[Result]) -> str:
    """A line per case and round, with everything that was measured."""
    text = io.StringIO()
    writer = csv.DictWriter(text, _COLUMNS, lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    for result in results:
        row = {"case": result.case.name, "machine": machine, "matmul_gflops": max(rates), "problem": result.problem}
        for index, answer in enumerate(result.rounds):
            writer.writerow(
                {**row, "round": index + 1, **answer, **seconds_of(answer), **(answer["difference"] or {})}
            )
        if result.problem:
            writer.writerow(row)
    return text.getvalue()


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
