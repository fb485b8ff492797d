"""What was measured, one line of CSV per set, method and picture, written as it comes: an interrupted run goes on."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from utils.files import write_text


@dataclass(frozen=True)
class Row:
    """What one method made of one picture.

    Attributes:
        set, method, picture: names.
        digest: checksum of the picture's files and of the weights.
        psnr, ms_ssim, score, psnr_inside: as `metrics.evaluate` gives them.
        pixels: of the picture.
        covered: pixels of the true mask.
        found: pixels that the method took for an occluder; None where it did not say.
        hit: those of them that are one.
        changed: pixels whose value is not that of the input.
        wrong: those of them outside the true mask and the rim round it.
        seconds: from pixels to pixels.
    """

    set: str
    method: str
    picture: str
    digest: str
    psnr: float
    ms_ssim: float | None
    score: float | None
    psnr_inside: float | None
    pixels: int
    covered: int
    found: int | None
    hit: int | None
    changed: int
    wrong: int
    seconds: float

    @property
    def key(self) -> tuple[str, str, str]:
        return self.set, self.method, self.picture


_COLUMNS = tuple(item.name for item in fields(Row))
_WORDS = ("set", "method", "picture", "digest")
_COUNTS = ("pixels", "covered", "found", "hit", "changed", "wrong")


class Records:
    """The rows of a CSV file, which is created where there is none.

    Raises:
        ValueError: the file holds something else.
    """

    def __init__(self, path: Path) -> None:
        self._rows: dict[tuple[str, str, str], Row] = {}
        self._path = path
        if path.exists():
            self._read(path)
        # Without a line that a killed run left half written, and without rows that newer ones have replaced.
        write_text(path, _csv(self._rows.values()))

    def _read(self, path: Path) -> None:
        text = path.read_text("utf-8")
        lines = list(csv.reader(io.StringIO(text[: text.rfind("\n") + 1])))
        if not lines or tuple(lines[0]) != _COLUMNS:
            raise ValueError(f"{path}: not a leaderboard's record, whose first line is {','.join(_COLUMNS)}")
        for number, line in enumerate(lines[1:], 2):
            try:
                row = _row(line)
            except ValueError as error:
                raise ValueError(f"{path}, line {number}: {error}") from error
            self._rows[row.key] = row

    def get(self, set_name: str, method: str, picture: str, digest: str) -> Row | None:
        """The row of a picture; None when it was not measured, or its files or the weights were others."""
        row = self._rows.get((set_name, method, picture))
        return row if row is not None and row.digest == digest else None

    def add(self, row: Row) -> None:
        """Writes a row down, at once."""
        self._rows[row.key] = row
        with open(self._path, "a", encoding="utf-8", newline="") as file:
            file.write(_line(row))
            file.flush()
            os.fsync(file.fileno())


def _csv(rows: Iterable[Row]) -> str:
    return ",".join(_COLUMNS) + "\n" + "".join(map(_line, rows))


def _line(row: Row) -> str:
    buffer = io.StringIO()
    values = ["" if value is None else value for value in asdict(row).values()]
    csv.writer(buffer, lineterminator="\n").writerow(values)
    return buffer.getvalue()


def _row(values: list[str]) -> Row:
    if len(values) != len(_COLUMNS):
        raise ValueError(f"{len(values)} values, expected {len(_COLUMNS)}")
    return Row(**{name: _value(name, text) for name, text in zip(_COLUMNS, values, strict=True)})


def _value(name: str, text: str) -> str | int | float | None:
    if name in _WORDS:
        return text
    if text == "":
        return None
    return int(text) if name in _COUNTS else float(text)
