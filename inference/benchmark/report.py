"""Tables of what was measured: for people, for a README, for a spreadsheet."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from inference.benchmark.cases import STEPS, Case

# What was set out for; the limits hold for one photo of 2811x3770 on two cores.
AIMED_SECONDS = {16: 2.0, 32: 4.0}
# For networks up to this width only.
AIMED_WIDTH = 16
AIMED_SPEEDUP = 100
AIMED_GB = 2.0


@dataclass(frozen=True)
class Result:
    """What became of one case.

    Attributes:
        case: what was measured.
        rounds: the answers of `inference.benchmark.child`, one per round; empty when it failed.
        problem: why it failed or was left out.
    """

    case: Case
    rounds: list[dict[str, Any]] = field(default_factory=list)
    problem: str = ""

    @property
    def steps(self) -> dict[str, float]:
        """Seconds by step and in "total", alone: medians over the photos of the round with the smallest total."""
        medians = [
            {step: median(photo.get(step, 0.0) for photo in answer["steps"]) for step in (*STEPS, "total")}
            for answer in self.rounds
        ]
        return min(medians, key=lambda steps: steps["total"])

    def fastest(self, key: str) -> float | None:
        """The smallest value of all rounds; None where the case does not have it."""
        return min((answer[key] for answer in self.rounds if answer.get(key) is not None), default=None)

    @property
    def memory(self) -> float:
        """Peak of the hungriest round in 10^9 bytes."""
        return max(answer["memory"] for answer in self.rounds)

    @property
    def engine(self) -> str:
        """What ran, which "auto" does not say."""
        first = self.rounds[0]
        device = "" if first["device"] == "cpu" else f" {first['device']}"
        return f"{first['backend']} {first['precision']}{device}"

    @property
    def difference(self) -> dict[str, float] | None:
        """The largest differences of all rounds."""
        found = [answer["difference"] for answer in self.rounds if answer.get("difference")]
        return {key: max(each[key] for each in found) for key in found[0]} if found else None

    @property
    def gflops(self) -> float:
        """10^9 additions and multiplications per second inside the engine, in the fastest round."""
        return max(2 * answer["gmac"] / answer["network"] for answer in self.rounds if answer["network"])


@dataclass(frozen=True)
class Report:
    """A whole run.

    Attributes:
        machine: it in one line.
        photos: what was timed, in words.
        matrix_rates: GFLOP/s of dense float32 matrix products, one per round.
        results: in the order of the cases.
        remarks: what a reader has to know.
        full_size: the photos are of the size that the aims are meant for.
    """

    machine: str
    photos: str
    matrix_rates: list[float]
    results: list[Result]
    remarks: list[str] = field(default_factory=list)
    full_size: bool = True

    @property
    def recipe(self) -> Result | None:
        """The write-up's recipe with its own, the wider network."""
        return next((result for result in self.results if result.case.recipe and result.rounds), None)

    @property
    def standard(self) -> Result | None:
        """What a user gets who asks for nothing."""
        first = self.results[0].case.network if self.results else ""
        defaults = (result for result in self.results if result.case.is_default and result.rounds)
        return next((result for result in defaults if result.case.network == first), None)

    def ratio(self, base: Result | None, result: Result) -> float | None:
        """How many times faster `result` is than `base`, a photo alone from file to file."""
        return None if base is None else base.steps["total"] / result.steps["total"]

    def markdown(self) -> str:
        """The table with the machine above and remarks below it."""
        heads = ("what", "engine", *STEPS, "file to file", "in a batch", "photos/s", "memory GB",
                 "GFLOP/s (of matmul)", "from eager fp32: max / mean", "recipe / this", "auto / this")
        lines = [f"Machine: {self.machine}.", "", f"Photos: {self.photos}.", ""]
        lines += ["| " + " | ".join(heads) + " |", "|" + " --- |" * len(heads)]
        lines += ["| " + " | ".join(self._row(result)) + " |" for result in self.results if result.rounds]
        failed = [f"* {result.case.name}: not measured: {result.problem}" for result in self.results if result.problem]
        return "\n".join([*lines, "", *(f"* {remark}" for remark in self._remarks()), *failed, ""])

    def _row(self, result: Result) -> list[str]:
        case, steps, batch = result.case, result.steps, result.fastest("batch")
        share = result.gflops / max(self.matrix_rates)
        difference = result.difference
        return [
            ", ".join((case.network, case.note or case.mode)) + (" (auto)" if case.backend == "auto" else ""),
            result.engine,
            *(f"{steps[step]:.2f}" for step in STEPS),
            f"{steps['total']:.2f}",
            _number(batch, ".2f"),
            _number(1 / batch if batch else 1 / steps["total"], ".2f"),
            f"{result.memory:.2f}",
            f"{result.gflops:.0f} ({share:.0%})",
            f"{difference['largest']:.0f} / {difference['mean']:.3f}" if difference else "",
            _number(self.ratio(self.recipe, result), ".1f"),
            _number(self.ratio(self.standard, result), ".2f"),
        ]

    def _remarks(self) -> list[str]:
        rates = ", ".join(f"{rate:.0f}" for rate in self.matrix_rates)
        outside = [result.difference["outside"] for result in self.results if result.difference]
        remarks = [
            "Seconds of one photo: medians over the photos of the fastest of "
            f"{max((len(result.rounds) for result in self.results), default=0)} rounds in turn; engines are warm. "
            "`in a batch`: from one finished file of the pipeline to the next, fastest round. "
            "Memory: the peak of a process that did nothing else, largest round.",
            f"Dense float32 matrix products on this machine, by round: {rates} GFLOP/s. GFLOP/s of the network count "
            "the multiply-adds of its convolutions twice and the time inside the engine.",
        ]
        if outside:
            remarks.append(
                "Differences in grey levels of 255 where a result may have changed the photo; the largest change "
                f"outside the results' own masks is {max(outside):.0f}."
            )
        return remarks + self.remarks

    def aims(self) -> list[str]:
        """How far what was set out for is met: a line for every case that it is meant for."""
        measured = [result for result in self.results if result.rounds] if self.full_size else []
        users = [result for result in measured if result.case.mode == result.case.backend == "auto"]
        return [self._aims_of(result) for result in users if result.rounds[0]["width"] in AIMED_SECONDS]

    def _aims_of(self, result: Result) -> str:
        width, alone, batch = result.rounds[0]["width"], result.steps["total"], result.fastest("batch")
        limit = AIMED_SECONDS[width]
        checks = [
            (f"{alone:.2f} s from file to file and {batch:.2f} s in a batch, aim {limit:g}", max(alone, batch) < limit)
        ]
        if width <= AIMED_WIDTH:
            checks.append((f"{result.memory:.2f} GB, aim {AIMED_GB:g}", result.memory < AIMED_GB))
        if width <= AIMED_WIDTH and self.recipe is not None:
            ratio = self.ratio(self.recipe, result)
            checks.append((f"{ratio:.0f} times faster than the recipe, aim {AIMED_SPEEDUP}", ratio >= AIMED_SPEEDUP))
        return f"{result.case.name}: " + "; ".join(f"{text}: {'met' if met else 'MISSED'}" for text, met in checks)

    def csv(self) -> str:
        """A line per case and round, with everything that was measured."""
        text = io.StringIO()
        writer = csv.DictWriter(text, _COLUMNS, lineterminator="\n")
        writer.writeheader()
        for result in self.results:
            for index, answer in enumerate(result.rounds or [{}]):
                writer.writerow({**self._csv_row(result, answer), "round": index + 1 if answer else ""})
        return text.getvalue()

    def _csv_row(self, result: Result, answer: dict[str, Any]) -> dict[str, Any]:
        case = result.case
        row = {"case": case.name, "network": case.network, "mode": case.mode, "problem": result.problem}
        row["machine"] = self.machine
        if not answer:
            return row
        steps = {step: median(photo.get(step, 0.0) for photo in answer["steps"]) for step in (*STEPS, "total")}
        row.update({key: answer.get(key) for key in ("backend", "precision", "device", "start", "batch", "latency")})
        row.update(steps, network_seconds=answer["network"], gmac=answer["gmac"], memory_gb=answer["memory"])
        row.update({f"difference_{key}": value for key, value in (answer["difference"] or {}).items()})
        row.update(
            photos=len(answer["steps"]), occluders=sum(answer["occluders"]), matmul_gflops=max(self.matrix_rates),
            recipe_over_this=self.ratio(self.recipe, result), auto_over_this=self.ratio(self.standard, result),
        )
        return row


_COLUMNS = (
    "case", "network", "mode", "round", "backend", "precision", "device", "start", *STEPS, "total", "batch", "latency",
    "network_seconds", "gmac", "matmul_gflops", "memory_gb", "photos", "occluders", "difference_largest",
    "difference_mean", "difference_outside", "difference_other_mask", "recipe_over_this", "auto_over_this", "problem",
    "machine",
)  # fmt: skip


def _number(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)

