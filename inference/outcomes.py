"""What became of pictures: of each one, and of all together."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from utils.printable import printable

RESTORED, UNTOUCHED, SKIPPED, FAILED = "restored", "untouched", "skipped", "failed"


@dataclass(frozen=True)
class Outcome:
    """What became of one picture.

    Attributes:
        name: its path relative to the source.
        status: "restored", "untouched" (nothing covers it: the file is a copy), "skipped" (the result was there
            already) or "failed".
        steps: seconds by step: "decode", the restorer's own steps, "encode" (with writing). Waiting for the other
            pictures under way is not in it, but what overlaps shares the processor, so a step takes longer than alone.
        message: why it failed, or what was found; may be empty.
        notes: what of the file its result could not keep.
        results_stuck: it failed because the results' disk takes nothing more.
    """

    name: Path
    status: str
    steps: dict[str, float] = field(default_factory=dict)
    message: str = ""
    notes: tuple[str, ...] = ()
    results_stuck: bool = False

    @property
    def seconds(self) -> float:
        """From file to file, all steps together."""
        return sum(self.steps.values())

    def __str__(self) -> str:
        return printable(f"{self.status}: {self.name}" + (f": {self.message}" if self.message else ""))


class Tally:
    """Counts outcomes, and keeps none of them."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._notes: Counter[str] = Counter()
        self._seconds = 0.0
        self._slowest: Outcome | None = None

    def add(self, outcome: Outcome) -> None:
        self.counts[outcome.status] += 1
        self._notes.update(outcome.notes)
        if outcome.status in (RESTORED, UNTOUCHED):
            self._seconds += outcome.seconds
            if self._slowest is None or outcome.seconds > self._slowest.seconds:
                self._slowest = outcome

    def lines(self, elapsed: float) -> list[str]:
        """The summary of a run that took `elapsed` seconds since its first picture."""
        parts = (f"{self.counts[status]} {status}" for status in (RESTORED, UNTOUCHED, SKIPPED, FAILED))
        total = self.counts.total()
        lines = [f"{total} picture{'s' if total != 1 else ''}: {', '.join(parts)}"]
        if self.counts[SKIPPED]:
            lines.append(
                "skipped: finished results were kept, also those of other weights or options; --overwrite redoes them"
            )
        lines.extend(f"{count} of them: {note}" for note, count in sorted(self._notes.items()))
        done = self.counts[RESTORED] + self.counts[UNTOUCHED]
        if self._slowest is not None:
            rate = done / max(elapsed, 1e-9)
            lines.append(
                f"{elapsed:.1f} s, {rate:.2f} pictures per second; from file to file {self._seconds / done:.2f} s on "
                f"average, slowest {self._slowest.seconds:.2f} s ({printable(self._slowest.name)})"
            )
        return lines
