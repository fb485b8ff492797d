"""The records of a run: metrics as JSON lines, curves as a picture, events for a viewer when one is installed."""

from __future__ import annotations

import importlib
import json
import logging
import math
import os
import shlex
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from utils.atomic import atomic_path, write_text

_log = logging.getLogger(__name__)

METRICS = "metrics.jsonl"
CURVES = "curves.png"
# Where a record stands, rather than what was measured there.
_NOT_DRAWN = ("kind", "iteration", "stage", "batch")
# Writers of events: module, class, name of the argument that takes the folder.
_EVENT_WRITERS = (
    ("visualdl", "LogWriter", "logdir"),
    ("tensorboardX", "SummaryWriter", "logdir"),
    ("torch.utils.tensorboard", "SummaryWriter", "log_dir"),
)


class Journal:
    """Writes down what happens in one run, in the run's folder.

    Args:
        folder: the run's folder; created.
        resume_from: the iteration that the run goes on from. Records after it are taken out of `metrics.jsonl`, since
            they will be made again; 0 starts an empty file.

    A record is one line of JSON with `kind`, `iteration` and numbers. Infinite and undefined numbers are null: JSON has
    no other word for them.
    """

    def __init__(self, folder: str | os.PathLike[str], resume_from: int = 0) -> None:
        self.folder = Path(folder)
        self.records = [item for item in read_metrics(self.folder / METRICS) if item["iteration"] <= resume_from > 0]
        write_text(self.folder / METRICS, "".join(json.dumps(item) + "\n" for item in self.records))
        self._file = open(self.folder / METRICS, "a", encoding="utf-8")  # noqa: SIM115 - open for the whole run
        self._events = open_event_writer(self.folder / "events")

    def record(self, kind: str, iteration: int, **values: float | None) -> None:
        """Adds one line and flushes it, so that a killed run has it."""
        numbers = {
            name: value if value is not None and math.isfinite(value) else None for name, value in values.items()
        }
        entry = {"kind": kind, "iteration": iteration, **numbers}
        self.records.append(entry)
        self._file.write(json.dumps(entry) + "\n")
        self._file.flush()
        if self._events is not None:
            for name, value in numbers.items():
                if value is not None:
                    self._events.add_scalar(f"{kind}/{name}", value, iteration)

    def draw(self) -> None:
        """Draws every recorded number over the iterations into `curves.png`."""
        draw_curves(self.folder / CURVES, self.records)

    def close(self) -> None:
        """Closes the files."""
        self._file.close()
        if self._events is not None:
            self._events.close()


def read_metrics(path: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """The records of a `metrics.jsonl`; none when there is no such file.

    A last line that a kill cut short is left out.

    Raises:
        ValueError: any other line is not a record; the message names file and line.
    """
    path = Path(path)
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").splitlines()
    records = []
    for number, line in enumerate(lines, 1):
        try:
            entry = json.loads(line)
            entry["kind"], entry["iteration"] = str(entry["kind"]), int(entry["iteration"])
        except (ValueError, KeyError, TypeError) as error:
            if number == len(lines):
                break
            raise ValueError(f"{path}:{number}: not a record of a run ({error}); remove the line") from error
        records.append(entry)
    return records


def draw_curves(path: str | os.PathLike[str], records: Sequence[dict[str, Any]]) -> None:
    """Draws one small plot per recorded number as a PNG, atomically; nothing when there are no numbers."""
    series: dict[str, tuple[list[int], list[float]]] = {}
    for entry in records:
        for name, value in entry.items():
            if name not in _NOT_DRAWN and value is not None:
                iterations, values = series.setdefault(f"{entry['kind']}: {name}", ([], []))
                iterations.append(entry["iteration"])
                values.append(value)
    if not series:
        return
    # The Figure class draws without pyplot, so neither a display nor a global state is touched.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = min(3, len(series))
    rows = -(-len(series) // columns)
    figure = Figure(figsize=(4.5 * columns, 3 * rows))
    FigureCanvasAgg(figure)
    figure.subplots_adjust(left=0.06, right=0.98, top=1 - 0.1 / rows, bottom=0.16 / rows, hspace=0.4)
    for place, (name, (iterations, values)) in enumerate(series.items(), 1):
        axes = figure.add_subplot(rows, columns, place)
        axes.plot(iterations, values, marker="." if len(values) < 30 else "", linewidth=1)
        axes.set_title(name, fontsize=9)
        axes.set_xlabel("iteration", fontsize=8)
        axes.tick_params(labelsize=8)
        axes.grid(alpha=0.3)
        if all(value > 0 for value in values) and "loss" in name and max(values) > 20 * min(values):
            axes.set_yscale("log")
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=90)


def open_event_writer(folder: str | os.PathLike[str]) -> Any | None:
    """A writer with `add_scalar(tag, value, step)` and `close()`: VisualDL's, else TensorBoard's, else None."""
    for module, name, argument in _EVENT_WRITERS:
        try:
            writer = getattr(importlib.import_module(module), name)
        except ImportError:
            continue
        except Exception as error:
            # An old viewer under a new protobuf fails in ways of its own; a run does not depend on it.
            _log.warning("no events for %s: it is installed and cannot be imported (%s)", module, error)
            continue
        return writer(**{argument: os.fspath(folder)})
    return None


def describe_run(folder: str | os.PathLike[str], config_text: str, command: Sequence[str]) -> None:
    """Writes `config.yml` and adds the command line to `command.txt`, so that the folder explains itself."""
    folder = Path(folder)
    write_text(folder / "config.yml", config_text)
    history = folder / "command.txt"
    earlier = history.read_text(encoding="utf-8") if history.exists() else ""
    write_text(history, f"{earlier}{time.strftime('%Y-%m-%d %H:%M:%S')}  {shlex.join(command)}\n")
