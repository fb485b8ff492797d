"""Measures restored pictures against the truth.

    python -m metrics RESULTS GT [--csv FILE]

GT is a folder of clean pictures with the results' names, a folder in the contest's layout, or a list file of `clean
occluded mask`, such as val_pages.txt; the last two bring the masks, and their results are named as `predict.py` names
those of the contest's folder. The exit code is 1 when a result is missing, unreadable or of another size.
"""

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
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
Row = dict[str, Any]  # Of one result: "name", and what `metrics.evaluate` gives, or "problem", why there is nothing


class Truth(NamedTuple):
    """A clean picture that a result should equal, and the result's path below the folder of results."""

    name: str
    clean: Path
    mask: Path | None = None


def read_truths(source: Path) -> list[Truth]:
    """The truths of a folder of pictures, a contest folder, or a list file; ValueError for others.

    In the last two each occlusion is a truth. Its name is that of the occluded picture below the contest folder, in a
    list its file and the two folders around it: `train_data_1/hand/x.jpg`.
    """
    if source.is_file():
        return [Truth("/".join(one.occluded.absolute().parts[-3:]), one.clean, one.mask) for one in read_list(source)]
    if is_contest(source):
        return [Truth(os.path.relpath(one.occluded, source), one.clean, one.mask) for one in read_contest(source)]
    names = [path.as_posix() for path in pictures_below(source)]
    if not names:
        raise ValueError(f"{source}: expected a folder of clean pictures ({', '.join(IMAGE_SUFFIXES)}), a contest "
                         "folder or a list file")  # fmt: skip
    return [Truth(name, source / name) for name in names]


def measure(results: Path, truth: Truth) -> Row:
    """The row of one truth, whose result lies in `results`; one that cannot be measured has a problem."""
    path = results / truth.name
    try:
        clean, result = read_rgb(truth.clean), read_rgb(path)
        mask = truth.mask and read_mask(truth.mask)
        for name, picture in ((path, result), (f"the mask {truth.mask}", mask)):
            if picture is not None and picture.shape[:2] != clean.shape[:2]:
                sizes = [f"{one.shape[1]} x {one.shape[0]}" for one in (picture, clean)]
                raise ValueError(f"another size: {name} is {sizes[0]}, {truth.clean} is {sizes[1]}")
        return {"name": truth.name, **evaluate(result, clean, mask)}
    except (OSError, ValueError) as error:
        return {"name": truth.name, "problem": str(error)}


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
    add("--csv", type=Path, help="also write the table there")
    options = parser.parse_args(arguments)
    if not options.results.is_dir():
        parser.error(f"{options.results}: no such folder")
    if options.csv:
        check_writable(options.csv)
    truths = read_truths(options.truth)
    with ThreadPoolExecutor(min(4, available_cores())) as pool:
        measured = pool.map(partial(measure, options.results), truths)
        rows = list(progress(measured, total=len(truths), unit="picture", desc="measuring"))
    table = [*rows, {"name": "mean", **{name: mean(name, [row.get(name) for row in rows]) for name in MEASURES}}]
    print_table(table)
    if options.csv:
        cells = ([row["name"], *(_text(row.get(name), 6) for name in MEASURES), row.get("problem")] for row in table)
        write_csv(options.csv, [["name", *MEASURES, "problem"], *cells])
    if small := [row["name"] for row in rows if "problem" not in row and row["ms_ssim"] is None]:
        names = ", ".join(map(printable, small[:3])) + (f" and {len(small) - 3} more" if len(small) > 3 else "")
        print(f"no MS-SSIM and no score (a side under 161 pixels): {names}")
    if problems := sum("problem" in row for row in rows):
        print(f"not measured: {problems} of {len(rows)}, the mean leaves them out", file=sys.stderr)
    return SOME_FAILED if problems else DONE


if __name__ == "__main__":
    raise SystemExit(main())
