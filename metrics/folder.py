"""Measures a folder of results against its truths.

Which result belongs to which truth: by names alone, no picture is opened.

Rows of measures as a table for people and as CSV.
"""

from __future__ import annotations

import csv
import io
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np

from data.contest.lists import ANNOTATION, is_contest, read_contest, read_list
from data.images import IMAGE_SUFFIXES, pictures_below, read_rgb
from data.masks import read_mask
from metrics.score import HIGHEST_PSNR, evaluate
from utils.files import write_text


@dataclass(frozen=True)
class Row:
    """What came out for one truth.

    Attributes:
        name: the truth's name.
        measures: as `metrics.evaluate` gives them; empty when there is a problem.
        problem: why nothing could be measured, in words; empty when all went well.
    """

    name: str
    measures: dict[str, float | None] = field(default_factory=dict)
    problem: str = ""


def measure_folder(
    truths: list[Truth], results: NameIndex, masks: NameIndex | None = None, workers: int = 1
) -> Iterator[Row]:
    """Yields one row per truth, in order; a picture that cannot be measured becomes a row with a problem.

    Args:
        truths: from `metrics.folder.read_truths`.
        results: the folder of restored pictures.
        masks: a folder of masks named like the truths, for truths that bring none; when given, every truth needs one.
        workers: pictures measured at the same time, in threads (decoding and measuring run outside Python's lock).
    """
    taken = {truth.result_names[0] for truth in truths}

    def measure(truth: Truth) -> Row:
        try:
            return Row(truth.name, _measure(truth, results, masks, taken))
        except (OSError, ValueError) as error:
            return Row(truth.name, problem=str(error))

    with ThreadPoolExecutor(workers) as pool:
        yield from pool.map(measure, truths)


def _measure(truth: Truth, results: NameIndex, masks: NameIndex | None, taken: set[str]) -> dict[str, float | None]:
    result_path = results.folder / find_result(truth, results, taken)
    clean, result = read_rgb(truth.clean), read_rgb(result_path)
    if result.shape != clean.shape:
        raise ValueError(f"another size: {result_path} is {_size(result)}, {truth.clean} is {_size(clean)}")
    mask = None
    mask_path = _mask_path(truth, masks)
    if mask_path is not None:
        mask = read_mask(mask_path)
        if mask.shape != clean.shape[:2]:
            raise ValueError(f"another size: the mask {mask_path} is {_size(mask)}, {truth.clean} is {_size(clean)}")
    return evaluate(result, clean, mask, data_range=255)


def _size(picture: np.ndarray) -> str:
    return f"{picture.shape[1]} x {picture.shape[0]}"


def _mask_path(truth: Truth, masks: NameIndex | None) -> Path | None:
    if truth.mask is not None or masks is None:
        return truth.mask
    found = masks.find(truth.name)
    if found is None:
        raise ValueError(f"no mask: expected {truth.name} (any suffix) in {masks.folder}")
    return masks.folder / found


@dataclass(frozen=True)
class Truth:
    """A clean picture that some result should equal.

    Attributes:
        name: for tables; unique among the truths.
        clean: the picture.
        mask: what was covered, where the source of truths says so.
        result_names: relative names under which its result may lie in the folder of results, the surest first.
    """

    name: str
    clean: Path
    mask: Path | None
    result_names: tuple[str, ...]


class NoTruthsError(ValueError):
    """A path from which no truths can be read; the message says what was expected."""


class NameIndex:
    """The picture files of a folder and its sub-folders, found by relative name; another suffix will do."""

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        self.names = _picture_names(self.folder)
        self._exact = set(self.names)
        self._by_stem: dict[str, list[str]] = {}
        for name in self.names:
            self._by_stem.setdefault(_without_suffix(name), []).append(name)

    def find(self, name: str, taken: Iterable[str] = ()) -> str | None:
        """The name under which `name` exists: itself, or the only one that differs in the suffix alone.

        Args:
            taken: names that belong to somebody else and are not offered as a name with another suffix.

        Raises:
            ValueError: several files differ from `name` in the suffix alone.
        """
        if name in self._exact:
            return name
        similar = [other for other in self._by_stem.get(_without_suffix(name), []) if other not in taken]
        if len(similar) > 1:
            raise ValueError(f"{' and '.join(similar)} could all stand for {name}; leave one of them there")
        return similar[0] if similar else None


def _picture_names(folder: Path) -> list[str]:
    return sorted(path.as_posix() for path in pictures_below(folder))


def _without_suffix(name: str) -> str:
    return PurePosixPath(name).with_suffix("").as_posix()


def read_truths(source: str | os.PathLike[str]) -> list[Truth]:
    """Reads the truths of a folder of pictures, of a contest folder, or of a list file.

    Args:
        source: a folder of clean pictures, whose results have the same relative names; a folder in the contest's
            layout or its `annotation.txt`; or any list file with lines of `clean occluded mask`. In the last three
            each occlusion is a truth, and its result is named like the occluded picture, with or without the folders
            it lay in (`train_data_1/hand/x.jpg`, `hand/x.jpg` or `x.jpg`).

    Raises:
        NoTruthsError: there is nothing of these kinds.
        data.contest.lists.ListError: a list file or an annotation that cannot be read.
    """
    source = Path(source)
    if is_contest(source):
        return _occlusion_truths(
            [(group.clean, group.mask, (group.folder, *_parts(group.occluded_name))) for group in read_contest(source)]
        )
    if source.is_dir():
        names = _picture_names(source)
        if not names:
            raise NoTruthsError(f"{source}: no pictures in it ({', '.join(IMAGE_SUFFIXES)})")
        return [Truth(name, source / name, None, (name,)) for name in names]
    if source.suffix == ".txt" and source.is_file():
        return _occlusion_truths(_list_rows(source))
    raise NoTruthsError(
        f"{source}: expected a folder of clean pictures, a contest folder with {ANNOTATION}, or a list file (.txt)"
    )


def _list_rows(path: Path) -> list[tuple[Path, Path, tuple[str, ...]]]:
    """(clean, mask, the occluded picture's path in parts) of every line."""
    return [
        (entry.clean, entry.mask, _parts(os.path.relpath(entry.occluded, path.parent))) for entry in read_list(path)
    ]


def _parts(name: str) -> tuple[str, ...]:
    return tuple(part for part in Path(os.path.normpath(name)).parts if part != "..")


def _occlusion_truths(rows: list[tuple[Path, Path, tuple[str, ...]]]) -> list[Truth]:
    """One truth per row of `_list_rows`, under every short name of the occluded picture that is its alone."""
    candidates = [["/".join(steps[start:]) for start in range(len(steps))] for _, _, steps in rows]
    # A short name that two occlusions share says nothing; only longer ones tell them apart.
    owners = Counter(name for names in candidates for name in set(names))
    return [
        Truth(names[0], clean, mask, tuple(name for name in names if owners[name] == 1) or (names[0],))
        for (clean, mask, _), names in zip(rows, candidates, strict=True)
    ]


def find_result(truth: Truth, results: NameIndex, taken: Iterable[str] = ()) -> str:
    """The relative name of the result of `truth`.

    Args:
        taken: names that are the surest name of some truth.

    Raises:
        ValueError: there is none, or it is not clear which.
    """
    for name in truth.result_names:
        found = results.find(name, taken)
        if found is not None:
            return found
    raise ValueError(f"no result: expected {' or '.join(truth.result_names)} in {results.folder}")


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
