"""Rows of measures as a table for people and as CSV."""

from __future__ import annotations

import csv
import io
import os

from metrics.folder import Row
from metrics.score import HIGHEST_PSNR
from utils.atomic import write_text

# Measure -> (heading, decimals)
COLUMNS = {
    "psnr": ("PSNR", 2),
    "ms_ssim": ("MS-SSIM", 4),
    "score": ("score", 4),
    "psnr_inside": ("inside", 2),
    "psnr_outside": ("outside", 2),
}


def mean_row(rows: list[Row]) -> Row:
    """The mean of each measure over the rows that have it; a PSNR counts at most 100 dB, as in the score."""
    means: dict[str, float | None] = {}
    for measure in COLUMNS:
        values = [row.measures[measure] for row in rows if row.measures.get(measure) is not None]
        if measure.startswith("psnr"):
            values = [min(value, HIGHEST_PSNR) for value in values]
        means[measure] = sum(values) / len(values) if values else None
    return Row("mean", means)


def format_table(rows: list[Row]) -> str:
    """Headings, one line per row, and the mean; columns in which nothing was measured are left out."""
    mean = mean_row(rows)
    shown = [measure for measure in COLUMNS if mean.measures[measure] is not None]
    width = max(len(row.name) for row in [*rows, mean])
    lines = [" ".join([" " * width, *(f"{COLUMNS[measure][0]:>8}" for measure in shown)]).rstrip()]
    for row in [*rows, mean]:
        cells = [f"{_text(row.measures.get(measure), COLUMNS[measure][1], '-'):>8}" for measure in shown]
        lines.append(f"{row.name:<{width}} " + (row.problem or " ".join(cells)))
    return "\n".join(lines)


def _text(value: float | None, decimals: int, nothing: str) -> str:
    return nothing if value is None else f"{value:.{decimals}f}"


def write_csv(path: str | os.PathLike[str], rows: list[Row]) -> None:
    """Writes name, every measure, and the problem if there is one; the last line is the mean. Atomic."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["name", *COLUMNS, "problem"])
    for row in [*rows, mean_row(rows)]:
        writer.writerow([row.name, *(_text(row.measures.get(measure), 6, "") for measure in COLUMNS), row.problem])
    write_text(path, buffer.getvalue())
