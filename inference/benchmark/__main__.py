"""Times the restoration of photos of 10 megapixels with everything that is installed, side by side in one run.

    python -m inference.benchmark --csv benchmark.csv --markdown benchmark.md
    python -m inference.benchmark --pictures photos --only "mode auto" --no-recipe

Every case runs in a process of its own, the cases in turn, `--repeat` times over; stop other programs first. The
write-up's recipe (eager Paddle, the full-size photo in four tiles) takes minutes and several gigabytes, and runs once.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from inference.arguments import parse_count, parse_threads
from inference.benchmark import machine
from inference.benchmark.run import Bench
from inference.restorer import default_weights
from utils.files import write_text
from utils.machine import available_cores


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m inference.benchmark",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--pictures", type=Path, help="folder of JPEG photos; default: drawn ones of 2811x3770")
    parser.add_argument("--count", type=parse_count, default=5, help="photos, the first of which only warms up")
    parser.add_argument("--weights", type=Path, help="file of weights; default: as predict.py")
    parser.add_argument("--repeat", type=parse_count, default=2, help="rounds through all cases")
    parser.add_argument("--only", action="append", default=[], metavar="WORDS", help="only cases whose name holds them")
    parser.add_argument("--no-recipe", dest="recipe", action="store_false", help="without the write-up's recipe")
    parser.add_argument("--no-wide", dest="wide", action="store_false", help="without the network of twice the width")
    parser.add_argument("--threads", type=parse_threads, help="threads of the CPU; default: all cores")
    parser.add_argument("--csv", type=Path, help="file for every number")
    parser.add_argument("--markdown", type=Path, help="file for the table")
    parser.add_argument("--quick", action="store_true", help="small photos, one round, one width: a trial")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse_arguments(arguments)
    threads = options.threads or available_cores()
    busy = machine.busy_cores()
    if busy > 0.3:
        print(f"other programs keep {busy:.1f} cores busy: all times will be too long", file=sys.stderr)
    try:
        weights = options.weights or default_weights()
        with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
            wide = options.wide and not options.quick
            bench = Bench(Path(folder), weights, threads, wide, options.recipe, options.only)
            photos = bench.make_pictures(options.pictures, options.count, options.quick)
            report = bench.run(1 if options.quick else options.repeat, photos, tell)
    except (OSError, ValueError, RuntimeError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if busy > 0.3:
        report.remarks.append(f"Other programs kept {busy:.1f} cores busy when this run began.")
    for path, text in ((options.csv, report.csv()), (options.markdown, report.markdown())):
        if path:
            write_text(path, text)
    print(report.markdown())
    print(*report.aims(), sep="\n")
    return 0 if any(result.rounds for result in report.results) else 1


def tell(words: str) -> None:
    """Progress, beside the tables."""
    print(words, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
