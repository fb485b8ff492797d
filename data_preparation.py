"""Cuts the contest's pictures into patches around their occluders.

    python data_preparation.py CONTEST OUT                 # OUT/train and OUT/val, divided by page
    python data_preparation.py CONTEST OUT --all           # OUT/all, everything for the last phase of training
    python data_preparation.py CONTEST OUT --size 1024 --downscale 2 --workers 8
    python data_preparation.py CONTEST OUT --shard 1/3     # and 2/3 and 3/3, on machines that share OUT

Writes OUT/SET/{gt,occluded,mask}/NAME.png, lossless, and the whole pages of each set as OUT/SET_pages.txt. A second
run skips what is done; what OUT/train and OUT/val hold, cut with the same settings, becomes part of OUT/all by hard
links. A file that is broken or missing is named, counted and left out; the exit code is then 1.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from configs.parsing import ConfigError
from data.contest.cutting import prepare
from data.contest.lists import ListError
from utils.child import WorkerKilledError
from utils.command import AT_ONCE, DONE, SOME_FAILED, command, number, shard, whole
from utils.files import printable
from utils.machine import available_cores


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add, default = parser.add_argument, " (default %(default)s)"
    add("contest", type=Path, help="folder with train_data_1, train_data_2, ..., or one of them")
    add("out", type=Path, help="folder for the patches")
    add("--size", type=whole(1, 8192), default=1024, help="side of a patch in pixels" + default)
    add("--downscale", type=int, choices=(1, 2, 4, 8), default=2, help="reduce pictures first" + default)
    add("--all", action="store_true", help="no validation: everything into OUT/all")
    add("--held-out", type=number(0, 0.99), default=0.1, help="share of pages for validation" + default)
    add("--shard", type=shard, default=(1, 1), metavar="I/N", help="cut only this part of the pages, 1/N to N/N")
    add("--workers", type=AT_ONCE, default=available_cores(), help="processes" + default)
    add("--overwrite", action="store_true", help="cut again what is there, also with other settings")
    options = parser.parse_args(arguments)
    if options.overwrite and options.shard[1] > 1:
        parser.error("--overwrite would remove what the other parts have cut; delete the folder instead")
    return options


@command(ListError, ConfigError, WorkerKilledError, stopped="stopped; run it again to go on with what is missing")
def main(arguments: list[str] | None = None) -> int:
    summaries, problems = prepare(parse(arguments))
    print(*map(printable, summaries), sep="\n")
    for problem in problems:
        print(f"left out: {printable(problem)}", file=sys.stderr)
    if problems:
        print(f"{len(problems)} problems, each named above; mend them and run again", file=sys.stderr)
    return SOME_FAILED if problems else DONE


if __name__ == "__main__":
    sys.exit(main())
