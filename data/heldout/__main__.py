"""Makes the held-out sets and proves that they are the ones that figures are reported on.

    python -m data.heldout MATERIAL SETS                 # makes SETS/contest, SETS/natural, ... and compares every file
    python -m data.heldout MATERIAL SETS --only clean    # one of them
    python -m data.heldout MATERIAL SETS --check         # compares only

MATERIAL holds documents/, hands/, heads/ and split.csv. A set that is there already is compared, not made again. The
exit code is 1 when a file differs from the record, and the first such file is named.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from data.heldout import RECORDS, DifferenceError, HeldOutSets
from data.images import BadImageError
from data.synthesis.make import MANIFEST
from utils.machine import available_cores
from utils.parallel import WorkerKilledError


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m data.heldout", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("material", type=Path, metavar="MATERIAL", help="folder of the sources")
    parser.add_argument("sets", type=Path, metavar="SETS", help="folder of the sets, each in a folder of its own")
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="only this set; repeatable")
    parser.add_argument("--check", action="store_true", help="make nothing")
    parser.add_argument("--record", action="store_true", help="write new checksums down instead of comparing")
    parser.add_argument("--overwrite", action="store_true", help="make sets anew that are there already")
    parser.add_argument("--records", type=Path, default=RECORDS, help="folder of recipes and checksums (default: ours)")
    parser.add_argument("--workers", type=int, default=available_cores(), help="processes (default: all cores)")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns 0, 1 when something differs, 2 when it cannot be done."""
    parser = build_parser()
    options = parser.parse_args(arguments)
    if options.check and (options.record or options.overwrite):
        parser.error("--check makes nothing, so there is nothing to record or to overwrite")
    try:
        heldout = HeldOutSets(options.material, options.records)
        unknown = sorted(set(options.only) - set(heldout.names))
        if unknown:
            parser.error(f"--only {unknown[0]}: expected one of {', '.join(heldout.names)}")
        if options.record:
            heldout.record_sources()
        print(f"sources: {heldout.check_sources()} files, all as recorded", flush=True)
        return max([_do(heldout, name, options) for name in options.only or heldout.names])
    except DifferenceError as error:
        print(f"these are not the recorded sources: {error}", file=sys.stderr)
        return 1
    except (BadImageError, OSError, ValueError, WorkerKilledError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped: delete the set that is not whole and run again", file=sys.stderr)
        return 130


def _do(heldout: HeldOutSets, name: str, options: argparse.Namespace) -> int:
    """Makes one set where needed and compares it; returns the exit code."""
    folder = options.sets / name
    if not options.check and (options.overwrite or not (folder / MANIFEST).is_file()):
        overwrite = options.overwrite and folder.exists()
        heldout.make(name, folder, options.workers, progress=True, overwrite=overwrite)
    if options.record:
        heldout.record(name, folder)
    try:
        print(f"{name}: {heldout.check(name, folder)} files, all as recorded", flush=True)
    except DifferenceError as error:
        print(f"{name}: {error}; the record's first line names the versions that it was made with", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
