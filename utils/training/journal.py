"""The records of a run: a line of JSON for each, events for a viewer, and curves drawn of them. Without Paddle."""

import importlib
import json
import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from utils.files import atomic_path, naming, write_text
from utils.training import CheckpointError

_log = logging.getLogger(__name__)


class Journal:
    """The records of one run, in `folder/metrics.jsonl` and, where VisualDL or TensorBoard is installed, as events; a
    number that is not finite is null. Those after iteration `resume_from` are taken out: they will be made again.
    """

    def __init__(self, folder: Path, resume_from: int = 0) -> None:
        self._path = folder / "metrics.jsonl"
        self.records = [item for item in read_metrics(self._path) if item["iteration"] <= resume_from > 0]
        write_text(self._path, "".join(json.dumps(item) + "\n" for item in self.records))
        self._events = _event_writer(folder / "events")

    def record(self, kind: str, iteration: int, **values: float | None) -> None:
        """Adds one line, which a killed run has then."""
        known = {name: value for name, value in values.items() if value is not None and math.isfinite(value)}
        self.records.append({"kind": kind, "iteration": iteration, **dict.fromkeys(values), **known})
        with naming(self._path), open(self._path, "a", encoding="utf-8") as file:
            file.write(json.dumps(self.records[-1]) + "\n")
        for name, value in known.items() if self._events else ():
            self._events.add_scalar(f"{kind}/{name}", value, iteration)

    def draw(self, path: Path) -> None:
        """Draws one small plot per recorded number as a PNG."""
        series: dict[str, list[tuple[int, float]]] = {}
        for entry in self.records:
            for name, value in entry.items():
                if name not in ("kind", "iteration", "stage", "batch") and value is not None:
                    series.setdefault(f"{entry['kind']}: {name}", []).append((entry["iteration"], value))
        draw_series(path, series)

    def close(self) -> None:
        if self._events:
            self._events.close()


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The records of a `metrics.jsonl`, if it is there, but for a last line that a kill cut short; CheckpointError: any
    other line is no record.
    """
    lines = path.read_bytes().splitlines() if path.exists() else []
    records = []
    for number, line in enumerate(lines, 1):
        try:
            record = json.loads(line)
            known = isinstance(record["kind"], str) and isinstance(record["iteration"], int) and all(
                isinstance(value, int | float | None) for name, value in record.items() if name != "kind")  # fmt: skip
        except (ValueError, KeyError, TypeError, RecursionError):
            known = False
        if known:
            records.append(record)
        elif number < len(lines):
            raise CheckpointError(f"{path}, line {number}: not a record of a run; remove the line")
        else:
            _log.warning("%s: the last line was cut short, and is left out", path)
    return records


def _event_writer(folder: Path) -> Any | None:
    """What has `add_scalar(tag, value, step)`: VisualDL's writer, else TensorBoard's, else None."""
    for module, name in (("visualdl", "LogWriter"), ("tensorboardX", "SummaryWriter")):
        try:
            return getattr(importlib.import_module(module), name)(logdir=str(folder))
        except ImportError:
            continue
        except Exception as error:
            # An old viewer under a new protobuf fails in ways of its own; a run does not depend on it.
            _log.warning("no events for %s: it is installed and cannot be used (%s)", module, error)
    return None


def draw_series(path: Path, series: Mapping[str, Sequence[tuple]], marks: Mapping[int, str] | None = None) -> None:
    """Draws `series` of (iteration, value), if any, in plots of a PNG, with dashed lines and their words at `marks`."""
    if not series:
        return
    # The Figure class draws without pyplot, so neither a display nor a global state is touched.
    from matplotlib.figure import Figure
    from matplotlib.ticker import EngFormatter

    columns, rows = min(3, len(series)), -(-len(series) // 3)
    figure = Figure(figsize=(4.5 * columns, 3 * rows))
    figure.subplots_adjust(left=0.06, right=0.98, top=1 - 0.1 / rows, bottom=0.16 / rows, hspace=0.4)
    for place, (name, points) in enumerate(series.items(), 1):
        iterations, values = zip(*points, strict=True)
        axes = figure.add_subplot(rows, columns, place, title=name, xlabel="iteration")
        axes.plot(iterations, values, marker="." if len(values) < 30 else "", linewidth=1)
        axes.grid(alpha=0.3)
        if "loss" in name and min(values) > 0 and max(values) > 20 * min(values):
            axes.set_yscale("log")
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
        for number, (iteration, words) in enumerate((marks or {}).items()):
            axes.axvline(iteration, color="black", linestyle="--", linewidth=0.7)
            # In turn above and below, since two may stand close together.
            where = {"va": "bottom" if number % 2 else "top", "transform": axes.get_xaxis_transform()}
            axes.text(iteration, 0.02 + 0.96 * (number % 2 == 0), words, fontsize=7, rotation=90, **where)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=90)
