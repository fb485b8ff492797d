"""Cuts the contest's pictures into patches around their occluders.

    python data_preparation.py CONTEST OUT                 # OUT/train and OUT/val, divided by page
    python data_preparation.py CONTEST OUT --all           # OUT/all, everything for the last phase of training
    python data_preparation.py CONTEST OUT --size 1024 --downscale 2 --workers 8

Writes OUT/SET/{gt,occluded,mask}/NAME.png, lossless, and the whole pages of each set as OUT/SET_pages.txt. A second
run skips what is done, and what OUT/train and OUT/val hold, cut with the same settings, becomes part of OUT/all by hard
links, without cutting it again. A file that is broken or missing is named, counted and left out; the exit code is then
1.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from data.contest.cutting import prepare
from data.contest.lists import ListError
from data.contest.patch_files import RecordError
from utils.child import WorkerKilledError
from utils.machine import available_cores


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add, default = parser.add_argument, " (default %(default)s)"
    add("contest", type=Path, help="folder with train_data_1, train_data_2, ..., or one of them")
    add("out", type=Path, help="folder for the patches")
    add("--size", type=int, default=1024, help="side of a patch in pixels" + default)
    add("--downscale", type=int, choices=(1, 2, 4, 8), default=2, help="reduce pictures first" + default)
    add("--all", action="store_true", help="no validation: everything into OUT/all")
    add("--held-out", type=float, default=0.1, help="share of pages for validation" + default)
    add("--workers", type=int, default=available_cores(), help="processes" + default)
    add("--overwrite", action="store_true", help="cut again what is there, also with other settings")
    options = parser.parse_args(arguments)
    if options.size < 1:
        parser.error(f"--size is {options.size}, expected at least 1")
    if not 0 <= options.held_out < 1:
        parser.error(f"--held-out is {options.held_out}, expected at least 0 and below 1")
    return options


def main(arguments: list[str] | None = None) -> int:
    options = parse(arguments)
    try:
        summaries, problems = prepare(options)
    except (ListError, RecordError, WorkerKilledError) as error:
        sys.exit(f"data_preparation.py: {error}")
    except KeyboardInterrupt:
        sys.exit("data_preparation.py: stopped; run it again to go on with what is missing")
    print(*summaries, sep="\n")
    for problem in problems:
        print(f"left out: {problem}", file=sys.stderr)
    if problems:
        print(f"{len(problems)} problems, each named above; mend them and run again", file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
