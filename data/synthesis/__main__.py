"""Makes a training or test set in the contest's layout.

    python -m data.synthesis OUT --pages DIR --occluders DIR --groups 400 --seed 1
    python -m data.synthesis OUT --groups 40 --seed 1 --long-side 1200        # draws pages and occluders itself

OUT gets five folders train_data_1 .. train_data_5, each with annotation.txt, gt/, hand/ and head/, and manifest.json,
which tells how the set was made.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from data.images import BadImageError
from data.synthesis.make import broken_sources, make_set
from data.synthesis.paste import REFERENCE_LONG_SIDE, STYLES
from data.synthesis.sets import SetOptions
from utils.machine import available_cores
from utils.parallel import WorkerKilledError


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m data.synthesis", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", metavar="OUT", help="folder of the new set")
    parser.add_argument("--pages", action="append", default=[], metavar="DIR", help="clean pages; repeatable")
    parser.add_argument(
        "--occluders",
        action="append",
        default=[],
        metavar="DIR",
        help="cut-outs: RGBA pictures, or pictures with NAME_mask.png, below a folder named after what they show "
        "(hand, finger, head, person or face); repeatable",
    )
    parser.add_argument("--groups", type=int, required=True, help="number of occluded photos")
    parser.add_argument("--seed", type=int, required=True, help="same seed, same bytes")
    parser.add_argument(
        "--long-side",
        type=int,
        default=REFERENCE_LONG_SIDE,
        help="longer side of the photos in pixels (default %(default)s, as in the contest); 0 keeps the pages' size",
    )
    parser.add_argument("--occlusions-per-page", type=int, default=4, help="most photos per clean page (default 4)")
    parser.add_argument(
        "--style",
        choices=sorted(STYLES),
        default="contest",
        help="contest: hard edges, no shadows; natural: mostly soft edges, shadows, differing light (default contest)",
    )
    parser.add_argument(
        "--subset",
        choices=("train", "heldout", "all"),
        default="train",
        help="which sources to use (default train): those of heldout never appear in train; a split.csv with the "
        "columns file,split beside or above the sources decides, else a hash of each file's name",
    )
    parser.add_argument("--held-out", type=float, default=0.15, help="fraction held out by hash (default 0.15)")
    parser.add_argument(
        "--printed-photos",
        type=float,
        default=0.0,
        metavar="P",
        help="probability of pictures or bold letters printed on a clean page, which must stay (default 0)",
    )
    parser.add_argument(
        "--printed-people",
        type=float,
        default=0.0,
        metavar="P",
        help="probability of one to three printed photographs of people and hands on a clean page (default 0)",
    )
    parser.add_argument(
        "--desks",
        type=float,
        default=0.0,
        metavar="P",
        help="probability that a page is photographed lying on a desk, which shows round some of its sides (default 0)",
    )
    parser.add_argument(
        "--occluded",
        type=float,
        default=1.0,
        metavar="SHARE",
        help="share of the photos that show an occluder at all; the masks of the others are empty (default 1)",
    )
    parser.add_argument("--quality", type=int, default=95, help="JPEG quality (default 95)")
    parser.add_argument("--workers", type=int, default=available_cores(), help="processes (default: all cores)")
    parser.add_argument(
        "--overwrite",
        action="store_true",
        help="delete the finished set in OUT first; refused where something else lies there too",
    )
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns 0, 1 when sources were broken, 2 when no set was made, 130 when stopped."""
    options_given = vars(_parser().parse_args(arguments))
    out, workers = Path(options_given.pop("out")), options_given.pop("workers")
    overwrite = options_given.pop("overwrite")
    options_given["pages"] = tuple(options_given["pages"])
    options_given["occluders"] = tuple(options_given["occluders"])
    try:
        options = SetOptions(**options_given)
        results = make_set(options, out, workers, progress=True, overwrite=overwrite)
    except (BadImageError, FileExistsError, FileNotFoundError, ValueError, WorkerKilledError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"stopped: the set is not whole; delete {out} and run again", file=sys.stderr)
        return 130
    broken = broken_sources(results)
    print(f"{out}: {options.groups} groups on {len(results)} pages")
    for message in broken:
        print(f"broken source, another one was taken: {message}", file=sys.stderr)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
