"""A folder of results against its truths: which result belongs to which, by names alone, and the table of measures."""

from __future__ import annotations

import csv
import io
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from data.contest.lists import ANNOTATION, is_contest, read_contest, read_list
from data.images import IMAGE_SUFFIXES, pictures_below, read_rgb
from data.masks import read_mask
from metrics.score import MEASURES, evaluate, mean
from utils.files import write_text


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
        groups = read_contest(source)
        return _occlusions([(one.clean, one.mask, (one.folder, *_parts(one.occluded_name))) for one in groups])
    if source.is_dir():
        names = [path.as_posix() for path in pictures_below(source)]
        if not names:
            raise NoTruthsError(f"{source}: no pictures in it ({', '.join(IMAGE_SUFFIXES)})")
        return [Truth(name, source / name, None, (name,)) for name in names]
    if source.suffix == ".txt" and source.is_file():
        lines = read_list(source)
        return _occlusions(
            [(line.clean, line.mask, _parts(os.path.relpath(line.occluded, source.parent))) for line in lines]
        )
    raise NoTruthsError(
        f"{source}: expected a folder of clean pictures, a contest folder with {ANNOTATION}, or a list file (.txt)"
    )


def _parts(name: str) -> tuple[str, ...]:
    return tuple(part for part in Path(os.path.normpath(name)).parts if part != "..")


def _occlusions(rows: list[tuple[Path, Path, tuple[str, ...]]]) -> list[Truth]:
    """One truth per (clean, mask, steps to the occluded picture), under every short name that is its alone."""
    candidates = [["/".join(steps[start:]) for start in range(len(steps))] for _, _, steps in rows]
    # A short name that two occlusions share says nothing; only longer ones tell them apart.
    owners = Counter(name for names in candidates for name in set(names))
    return [
        Truth(names[0], clean, mask, tuple(name for name in names if owners[name] == 1) or (names[0],))
        for (clean, mask, _), names in zip(rows, candidates, strict=True)
    ]


class NameIndex:
    """The picture files of a folder and its sub-folders, found by relative name; another suffix will do."""

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        self._by_stem: dict[Path, list[str]] = defaultdict(list)
        for path in pictures_below(self.folder):
            self._by_stem[path.with_suffix("")].append(path.as_posix())

    def find(self, name: str, taken: Iterable[str] = ()) -> str | None:
        """The name under which `name` exists: itself, or the only one that differs in the suffix alone.

        Args:
            taken: names that belong to somebody else and are not offered as a name with another suffix.

        Raises:
            ValueError: several files differ from `name` in the suffix alone.
        """
        there = self._by_stem.get(Path(name).with_suffix(""), [])
        if name in there:
            return name
        similar = [other for other in there if other not in taken]
        if len(similar) > 1:
            raise ValueError(f"{' and '.join(similar)} could all stand for {name}; leave one of them there")
        return similar[0] if similar else None


def find_result(truth: Truth, results: NameIndex, taken: Iterable[str] = ()) -> str:
    """The relative name of the result of `truth`; `taken` are the surest names of all truths.

    Raises:
        ValueError: there is none, or it is not clear which.
    """
    for name in truth.result_names:
        found = results.find(name, taken)
        if found is not None:
            return found
    raise ValueError(f"no result: expected {' or '.join(truth.result_names)} in {results.folder}")


@dataclass(frozen=True)
class Row:
    """What came out for one truth.

    Attributes:
        name: the truth's name.
        measures: as `metrics.score.evaluate` gives them; empty when there is a problem.
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
        truths: from `read_truths`.
        results: the folder of restored pictures.
        masks: a folder of masks named like the truths, for truths that bring none; when given, every truth needs one.
        workers: pictures measured at the same time, in threads (decoding and measuring run outside Python's lock).
    """
    taken = {truth.result_names[0] for truth in truths}

    def measure(truth: Truth) -> Row:
        try:
            return Row(truth.name, _measure(truth, results.folder / find_result(truth, results, taken), masks))
        except (OSError, ValueError) as error:
            return Row(truth.name, problem=str(error))

    with ThreadPoolExecutor(workers) as pool:
        yield from pool.map(measure, truths)


def _measure(truth: Truth, result_path: Path, masks: NameIndex | None) -> dict[str, float | None]:
    clean, result = read_rgb(truth.clean), read_rgb(result_path)
    _check_size(f"{result_path}", result, truth.clean, clean)
    mask_path, mask = truth.mask, None
    if mask_path is None and masks is not None:
        found = masks.find(truth.name)
        if found is None:
            raise ValueError(f"no mask: expected {truth.name} (any suffix) in {masks.folder}")
        mask_path = masks.folder / found
    if mask_path is not None:
        mask = read_mask(mask_path)
        _check_size(f"the mask {mask_path}", mask, truth.clean, clean)
    return evaluate(result, clean, mask)


def _check_size(name: str, picture: np.ndarray, clean_path: Path, clean: np.ndarray) -> None:
    (height, width), (clean_height, clean_width) = picture.shape[:2], clean.shape[:2]
    if (height, width) != (clean_height, clean_width):
        raise ValueError(
            f"another size: {name} is {width} x {height}, {clean_path} is {clean_width} x {clean_height}"
        )


def _with_mean(rows: list[Row]) -> list[Row]:
    """The rows and, last, the mean of each measure."""
    means = {measure: mean(measure, [row.measures.get(measure) for row in rows]) for measure in MEASURES}
    return [*rows, Row("mean", means)]


def format_table(rows: list[Row]) -> str:
    """Headings, one line per row, and the mean; columns in which nothing was measured are left out."""
    heads = dict(zip(MEASURES, ("PSNR", "MS-SSIM", "score", "inside", "outside"), strict=True))
    rows = _with_mean(rows)
    shown = [measure for measure in MEASURES if rows[-1].measures[measure] is not None]
    width = max(len(row.name) for row in rows)
    lines = [" ".join([" " * width, *(f"{heads[measure]:>8}" for measure in shown)]).rstrip()]
    for row in rows:
        cells = [f"{_text(row.measures.get(name), 2 if 'psnr' in name else 4) or '-':>8}" for name in shown]
        lines.append(f"{row.name:<{width}} " + (row.problem or " ".join(cells)))
    return "\n".join(lines)


def write_csv(path: str | os.PathLike[str], rows: list[Row]) -> None:
    """Writes name, every measure, and the problem if there is one; the last line is the mean. Atomic."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["name", *MEASURES, "problem"])
    for row in _with_mean(rows):
        writer.writerow([row.name, *(_text(row.measures.get(name), 6) for name in MEASURES), row.problem])
    write_text(path, buffer.getvalue())


def _text(value: float | None, decimals: int) -> str:
    return "" if value is None else f"{value:.{decimals}f}"
