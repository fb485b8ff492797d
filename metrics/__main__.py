"""Measures restored pictures against the truth.

    python -m metrics RESULTS GT [--masks DIR] [--csv FILE]

GT is a folder of clean pictures with the results' names (another suffix will do), a folder in the contest's layout,
its annotation.txt, or a list file of `clean occluded mask`; the last three bring the masks and take results named like
the occluded pictures. The exit code is 1 when a result is missing, unreadable or of another size.
"""

import os
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from data.contest import is_contest, read_contest, read_list
from data.images import IMAGE_SUFFIXES, pictures_below, read_rgb
from data.masks import read_mask
from metrics import MEASURES, evaluate, mean
from utils.command import DONE, SOME_FAILED, command, parser_of
from utils.files import check_writable, printable, write_csv
from utils.machine import available_cores, progress

HEADS = dict(zip(MEASURES, ("PSNR", "MS-SSIM", "score", "inside", "outside"), strict=True))
# Of one result: "name", and what `metrics.evaluate` gives, or "problem", why there is nothing.
Row = dict[str, Any]


class Truth(NamedTuple):
    """A clean picture that a result should equal; it and its result have one of `names`, the surest first."""

    names: tuple[str, ...]
    clean: Path
    mask: Path | None = None


def read_truths(source: Path) -> list[Truth]:
    """The truths of a folder of pictures, a contest folder, its annotation.txt, or a list file; ValueError for others.

    In all but the first each occlusion is a truth, whose result is named like the occluded picture, with or without the
    folders it lay in (`train_data_1/hand/x.jpg`, `hand/x.jpg` or `x.jpg`), where that name is its alone.
    """
    if is_contest(source):
        return _occlusions([(group.clean, group.mask, group.name) for group in read_contest(source)])
    if source.suffix == ".txt" and source.is_file():
        lines = read_list(source)
        return _occlusions([(one.clean, one.mask, os.path.relpath(one.occluded, source.parent)) for one in lines])
    if not source.is_dir():
        raise ValueError(f"{source}: expected a folder of clean pictures, a contest folder or a list file (.txt)")
    names = [path.as_posix() for path in pictures_below(source)]
    if not names:
        raise ValueError(f"{source}: no pictures in it ({', '.join(IMAGE_SUFFIXES)})")
    return [Truth((name,), source / name) for name in names]


def _occlusions(rows: list[tuple[Path, Path, str]]) -> list[Truth]:
    """Of rows of clean picture, mask and the occluded picture's path."""
    paths = [[part for part in Path(os.path.normpath(occluded)).parts if part != ".."] for *_, occluded in rows]
    candidates = [["/".join(steps[start:]) for start in range(len(steps))] for steps in paths]
    owners = Counter(name for names in candidates for name in names)
    return [Truth((names[0], *(name for name in names[1:] if owners[name] == 1)), clean, mask)
            for (clean, mask, _), names in zip(rows, candidates, strict=True)]


class NameIndex:
    """The pictures of a folder and its sub-folders, found by relative name; `what` they are is for messages."""

    def __init__(self, folder: Path, what: str) -> None:
        self.folder, self.what, self._found, self._by_stem = folder, what, set(), defaultdict(list)
        for path in pictures_below(folder):
            self._by_stem[path.with_suffix("")].append(path.as_posix())

    def find(self, names: Iterable[str], taken: Iterable[str] = ()) -> Path:
        """The file of the first of `names` that exists: by that name, or the only one with another suffix that is not
        `taken`, another result's. ValueError: there is none, or several differ in the suffix alone.
        """
        for name in names:
            there = self._by_stem.get(Path(name).with_suffix(""), [])
            similar = [name] if name in there else [other for other in there if other not in taken]
            if len(similar) > 1:
                raise ValueError(f"{' and '.join(similar)} could all stand for {name}; leave one of them there")
            if similar:
                self._found.add(similar[0])
                return self.folder / similar[0]
        raise ValueError(f"no {self.what}: expected {' or '.join(names)} in {self.folder}")

    def unasked(self) -> list[str]:
        """The pictures that nobody has found, but for those named after another one, as masks and sheets are."""
        names = {name for there in self._by_stem.values() for name in there}
        beside = {name for name in names if Path(name).with_suffix("").with_suffix("").as_posix() in names}
        return sorted(names - beside - self._found)


def measure_folder(truths: list[Truth], results: NameIndex, masks: NameIndex | None) -> Iterator[Row]:
    """Yields one row per truth, in order; a picture that cannot be measured becomes a row with a problem. `masks` are
    named like the truths, for truths that bring none.
    """
    taken = {truth.names[0] for truth in truths}

    def measure(truth: Truth) -> Row:
        try:
            result_path = results.find(truth.names, taken)
            mask_path = masks.find(truth.names[:1]) if masks else truth.mask
            clean, result = read_rgb(truth.clean), read_rgb(result_path)
            mask = mask_path and read_mask(mask_path)
            for name, picture in ((result_path, result), (f"the mask {mask_path}", mask)):
                if picture is not None and picture.shape[:2] != clean.shape[:2]:
                    sizes = [f"{one.shape[1]} x {one.shape[0]}" for one in (picture, clean)]
                    raise ValueError(f"another size: {name} is {sizes[0]}, {truth.clean} is {sizes[1]}")
            return {"name": truth.names[0], **evaluate(result, clean, mask)}
        except (OSError, ValueError) as error:
            return {"name": truth.names[0], "problem": str(error)}

    with ThreadPoolExecutor(min(4, available_cores())) as pool:
        yield from pool.map(measure, truths)


def _text(value: float | None, decimals: int) -> str:
    return "" if value is None else f"{value:.{decimals}f}"


def print_table(rows: list[Row]) -> None:
    """Headings and one line per row; columns in which nothing was measured are left out of this."""
    shown = [measure for measure in MEASURES if rows[-1][measure] is not None]
    width = max(len(printable(row["name"])) for row in rows)
    print(" ".join([" " * width, *(f"{HEADS[measure]:>8}" for measure in shown)]).rstrip())
    for row in rows:
        cells = [f"{_text(row.get(name), 2 if 'psnr' in name else 4) or '-':>8}" for name in shown]
        print(f"{printable(row['name']):<{width}}", printable(row.get("problem", "")) or " ".join(cells))


@command(ValueError)
def main(arguments: list[str] | None = None) -> int:
    parser = parser_of(__doc__, "python -m metrics")
    add = parser.add_argument
    add("results", type=Path, help="folder of restored pictures")
    add("truth", type=Path, metavar="GT", help="folder of clean pictures, contest folder or list file")
    add("--masks", type=Path, help="folder of masks named like the clean pictures (a contest folder brings them)")
    add("--csv", type=Path, help="also write the table there")
    options = parser.parse_args(arguments)
    for folder in filter(None, (options.results, options.masks)):
        if not folder.is_dir():
            parser.error(f"{folder}: no such folder")
    if options.csv:
        check_writable(options.csv)
    truths = read_truths(options.truth)
    if options.masks and truths[0].mask:
        parser.error(f"--masks {options.masks}: {options.truth} names the masks already")
    masks, results = options.masks and NameIndex(options.masks, "mask"), NameIndex(options.results, "result")
    measured = measure_folder(truths, results, masks)
    rows = list(progress(measured, total=len(truths), unit="picture", desc="measuring"))
    table = [*rows, {"name": "mean", **{name: mean(name, [row.get(name) for row in rows]) for name in MEASURES}}]
    print_table(table)
    if options.csv:
        cells = ([row["name"], *(_text(row.get(name), 6) for name in MEASURES), row.get("problem")] for row in table)
        write_csv(options.csv, [["name", *MEASURES, "problem"], *cells])
    if small := [row["name"] for row in rows if "problem" not in row and row["ms_ssim"] is None]:
        names = ", ".join(map(printable, small[:3])) + (f" and {len(small) - 3} more" if len(small) > 3 else "")
        print(f"no MS-SSIM and no score (a side under 161 pixels): {names}")
    if spare := results.unasked():
        told = f"left out: {len(spare)} pictures without a truth in {options.truth}, {spare[0]} first"
        print(printable(told), file=sys.stderr)
    if problems := sum("problem" in row for row in rows):
        print(f"not measured: {problems} of {len(rows)}, the mean leaves them out", file=sys.stderr)
    return SOME_FAILED if problems else DONE


if __name__ == "__main__":
    sys.exit(main())
