"""Makes a training or test set in the contest's layout.

    python -m data.synthesis OUT --pages DIR --occluders DIR --groups 400 --seed 1
    python -m data.synthesis OUT --groups 40 --seed 1 --long-side 1200        # drawn pages, bundled cut-outs

OUT gets five folders train_data_1 .. train_data_5, each with annotation.txt, gt/, hand/ and head/, and manifest.json,
which tells how the set was made.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from data.images import BadImageError
from data.synthesis.make import make_set
from data.synthesis.sets import SetOptions
from data.synthesis.styles import REFERENCE_LONG_SIDE, STYLES
from utils.child import WorkerKilledError
from utils.machine import available_cores


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m data.synthesis", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("out", type=Path, metavar="OUT", help="folder of the new set")
    add("--pages", action="append", default=[], metavar="DIR", help="clean pages; repeatable")
    add("--occluders", action="append", default=[], metavar="DIR",
        help="cut-outs: RGBA pictures, or pictures with NAME_mask.png, below a folder named after what they show "
        "(hand, finger, head, person or face); repeatable")  # fmt: skip
    add("--groups", type=int, required=True, help="number of occluded photos")
    add("--seed", type=int, required=True, help="same seed, same bytes")
    add("--long-side", type=int, default=REFERENCE_LONG_SIDE,
        help="longer side of the photos in pixels (default %(default)s, as in the contest); 0 keeps the pages' size")
    add("--occlusions-per-page", type=int, default=4, help="most photos per clean page (default 4)")
    add("--style", choices=sorted(STYLES), default="contest",
        help="contest: hard edges, no shadows; natural: mostly soft edges, shadows, differing light (default contest)")
    add("--subset", choices=("train", "heldout", "all"), default="train",
        help="which sources to use (default train): those of heldout never appear in train; a split.csv with the "
        "columns file,split beside or above the sources decides, else a hash of each file's name")  # fmt: skip
    probabilities = {
        "--printed-photos": "probability of pictures or bold letters printed on a clean page, which must stay",
        "--printed-people": "probability of one to three printed photographs of people and hands on a clean page",
        "--desks": "probability that a page is photographed lying on a desk, which shows round some of its sides",
    }
    for name, meaning in probabilities.items():
        add(name, type=float, default=0.0, metavar="P", help=f"{meaning} (default 0)")
    add("--occluded", type=float, default=1.0, metavar="SHARE",
        help="share of the photos that show an occluder at all; the masks of the others are empty (default 1)")
    add("--workers", type=int, default=available_cores(), help="processes (default: all cores)")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns 0, 1 when sources were broken, 2 when no set was made, 130 when stopped."""
    given = vars(_parser().parse_args(arguments))
    out, workers = given.pop("out"), given.pop("workers")
    try:
        options = SetOptions(**{**given, "pages": tuple(given["pages"]), "occluders": tuple(given["occluders"])})
        broken = make_set(options, out, workers, progress=True)
    except (BadImageError, FileExistsError, FileNotFoundError, ValueError, WorkerKilledError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"stopped: the set is not whole; delete {out} and run again", file=sys.stderr)
        return 130
    print(f"{out}: {options.groups} groups")
    for message in broken:
        print(f"broken source, another one was taken: {message}", file=sys.stderr)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
