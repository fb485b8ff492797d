"""Tables of what was measured: one row per method, one table per set."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass

from inference.leaderboard.board import INPUT, Board, Row
from inference.leaderboard.methods import METHODS
from inference.leaderboard.scenes import RIM
from metrics.score import HIGHEST_PSNR, mean


@dataclass(frozen=True)
class Summary:
    """One method on one set.

    Attributes:
        set, method: names.
        count: pictures.
        psnr, ms_ssim, score, psnr_inside: means over the pictures that have them; a PSNR counts 100 dB at most.
        untouched: share of all pixels whose value is the input's.
        iou, precision, recall: of the pixels that were taken for occluders, over all pictures together.
        wrong: pictures changed where nothing covered them, rim excepted.
        wrong_share: the largest share of its pixels that such a picture lost.
        worse: pictures with a lower score than their input; None when the input was not scored.
        seconds: mean from pixels to pixels.
    """

    set: str
    method: str
    count: int
    psnr: float | None
    ms_ssim: float | None
    score: float | None
    psnr_inside: float | None
    untouched: float
    iou: float | None
    precision: float | None
    recall: float | None
    wrong: int
    wrong_share: float
    worse: int | None
    seconds: float


def summaries_of(board: Board) -> list[Summary]:
    """One for each set and method that was measured."""
    summaries = []
    for name in board.scenes:
        inputs = {row.picture: row for row in board.rows(name, INPUT)}
        measured = (board.rows(name, method) for method in board.methods)
        summaries += [summarise(rows, inputs) for rows in measured if rows]
    return summaries


def summarise(rows: Sequence[Row], inputs: Mapping[str, Row]) -> Summary:
    """One method's rows of one set in one.

    Args:
        rows: at least one.
        inputs: the rows of method "input", by picture.
    """
    telling = [row for row in rows if row.found is not None]
    found, hit, covered = (sum(getattr(row, name) for row in telling) for name in ("found", "hit", "covered"))
    scores = [(row.score, inputs[row.picture].score) for row in rows if row.picture in inputs]
    pairs = [(ours, theirs) for ours, theirs in scores if ours is not None and theirs is not None]
    return Summary(
        set=rows[0].set,
        method=rows[0].method,
        count=len(rows),
        psnr=mean("psnr", [row.psnr for row in rows]),
        ms_ssim=mean("ms_ssim", [row.ms_ssim for row in rows]),
        score=mean("score", [row.score for row in rows]),
        psnr_inside=mean("psnr_inside", [row.psnr_inside for row in rows]),
        untouched=1 - sum(row.changed for row in rows) / sum(row.pixels for row in rows),
        iou=_ratio(hit, found + covered - hit),
        precision=_ratio(hit, found),
        recall=_ratio(hit, covered),
        wrong=sum(row.wrong > 0 for row in rows),
        wrong_share=max(row.wrong / row.pixels for row in rows),
        worse=sum(ours < theirs for ours, theirs in pairs) if len(pairs) == len(rows) else None,
        seconds=sum(row.seconds for row in rows) / len(rows),
    )


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None


_HEADS: dict[str, Callable[[Summary], str]] = {
    "method": lambda row: METHODS[row.method].about,
    "pictures": lambda row: str(row.count),
    "PSNR": lambda row: _text(row.psnr, ".2f"),
    "MS-SSIM": lambda row: _text(row.ms_ssim, ".4f"),
    "score": lambda row: _text(row.score, ".4f"),
    "PSNR inside": lambda row: _text(row.psnr_inside, ".2f"),
    "untouched %": lambda row: _text(100 * row.untouched, ".2f"),
    "IoU": lambda row: _text(row.iou, ".3f"),
    "precision": lambda row: _text(row.precision, ".3f"),
    "recall": lambda row: _text(row.recall, ".3f"),
    "wrongly changed": lambda row: f"{row.wrong} ({100 * row.wrong_share:.2g} %)" if row.wrong else "0",
    "worse than input": lambda row: _text(row.worse, "d"),
    "seconds": lambda row: _text(row.seconds, ".2f"),
}


def _text(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def markdown(summaries: Sequence[Summary], remarks: Sequence[str] = ()) -> str:
    """A table for each set, in the order in which they come, and what a reader has to know."""
    lines: list[str] = []
    for name in dict.fromkeys(summary.set for summary in summaries):
        lines += [f"### {name}", "", "| " + " | ".join(_HEADS) + " |", "|" + " --- |" * len(_HEADS)]
        lines += [
            "| " + " | ".join(cell(row) for cell in _HEADS.values()) + " |" for row in summaries if row.set == name
        ]
        lines.append("")
    notes = [
        f"Means over the pictures; a PSNR counts at most {HIGHEST_PSNR:g} dB. Scored are the pictures that a method "
        "makes, not files of them: saving a result as JPEG again would cost some more.",
        "IoU, precision and recall: of the pixels taken for an occluder, over all pictures of a set together, before "
        "the paste widens them.",
        f"Wrongly changed: pictures of which a pixel changed farther than {100 * RIM:g} % of the longer side from "
        "every occluder, and in brackets the largest share of a picture's pixels.",
        "Seconds: mean from pixels to pixels, reading and writing files left out.",
    ]
    return "\n".join([*lines, *(f"* {note}" for note in (*notes, *remarks)), ""])


def csv_text(summaries: Sequence[Summary]) -> str:
    """The same numbers, unrounded."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, list(Summary.__dataclass_fields__), lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(summary) for summary in summaries)
    return buffer.getvalue()
