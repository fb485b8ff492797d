"""Chooses the patches that are worth training on, and lists them.

    python generate_meta_info.py OUT                       # OUT/train.txt and OUT/val.txt
    python generate_meta_info.py OUT --all                 # OUT/all.txt
    python generate_meta_info.py OUT --threshold 10 --keep-occluded 0.02

OUT is a folder of data_preparation.py. A patch is kept if the mean Sobel gradient of its clean picture is above the
threshold (blank paper teaches little), or if at least the share --keep-occluded of it is covered: blank paper under a
hand is what there is to restore. Writes OUT/gradients.csv and OUT/gradient_histogram.png beside the lists (with --all,
gradients_all.csv and gradient_histogram_all.png).
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from data.contest.choosing import choose
from data.contest.lists import ListError
from utils.child import WorkerKilledError
from utils.command import AT_ONCE, DONE, SOME_FAILED, command, number
from utils.files import printable
from utils.machine import available_cores


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add, default = parser.add_argument, " (default %(default)s)"
    kept = "covered share from which a patch is kept anyway; 0 for the authors' rule"
    add("out", type=Path, help="folder that data_preparation.py has written")
    add("--threshold", type=number(0, 10_000), default=10, help="mean gradient above which a patch is kept" + default)
    add("--keep-occluded", type=number(0, 1), default=0.02, help=kept + default)
    add("--all", action="store_true", help="list OUT/all in place of OUT/train and OUT/val")
    add("--workers", type=AT_ONCE, default=available_cores(), help="processes" + default)
    return parser.parse_args(arguments)


@command(ListError, WorkerKilledError, stopped="stopped; run it again, the measuring begins anew")
def main(arguments: list[str] | None = None) -> int:
    said, problems = choose(parse(arguments))
    print(*map(printable, said), sep="\n")
    for problem in problems:
        print(f"left out: {printable(problem)}", file=sys.stderr)
    return SOME_FAILED if problems else DONE


if __name__ == "__main__":
    sys.exit(main())
