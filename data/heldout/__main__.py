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

from data.heldout import RECORDS, SOURCES, DifferenceError, compare, files_of_set, read_recipes, record, source_files
from data.synthesis.sets import MANIFEST, SetOptions, make_set
from utils.child import WorkerKilledError
from utils.command import AT_ONCE, DONE, SOME_FAILED, STOPPED, command
from utils.machine import available_cores


def _parser() -> argparse.ArgumentParser:
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser("python -m data.heldout", description=__doc__, formatter_class=form)
    parser.add_argument("material", type=Path, metavar="MATERIAL", help="folder of the sources")
    parser.add_argument("sets", type=Path, metavar="SETS", help="folder of the sets, each in a folder of its own")
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="only this set; repeatable")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--check", action="store_true", help="make nothing")
    what.add_argument("--record", action="store_true", help="write new checksums down instead of comparing")
    parser.add_argument("--records", type=Path, default=RECORDS, help="folder of recipes and checksums (default: ours)")
    parser.add_argument("--workers", type=AT_ONCE, default=available_cores(), help="processes (default: all cores)")
    return parser


@command(ValueError, WorkerKilledError)
def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns 0, 1 when something differs, 2 when it cannot be done."""
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        recipes = read_recipes(options.material, options.records)
        unknown = sorted(set(options.only) - set(recipes))
        if unknown:
            parser.error(f"--only {unknown[0]}: expected one of {', '.join(recipes)}")
        files = source_files(options.material, recipes.values())
        if options.record:
            record(SOURCES, options.material, files, options.records)
        count = compare(SOURCES, options.material, files, options.records)
        print(f"sources: {count} files, all as recorded", flush=True)
        return max([_do(name, recipes[name], options) for name in options.only or recipes])
    except DifferenceError as error:
        print(f"these are not the recorded sources: {error}", file=sys.stderr)
        return SOME_FAILED
    except KeyboardInterrupt:
        print("stopped: delete the set that is not whole and run again", file=sys.stderr)
        return STOPPED


def _do(name: str, recipe: SetOptions, options: argparse.Namespace) -> int:
    """Makes one set where needed and compares it; returns the exit code."""
    folder = options.sets / name
    if not options.check and not (folder / MANIFEST).is_file():
        make_set(recipe, folder, options.workers, progress=True)
    if options.record:
        record(name, folder, files_of_set(folder), options.records)
    try:
        count = compare(name, folder, files_of_set(folder), options.records)
        print(f"{name}: {count} files, all as recorded", flush=True)
    except DifferenceError as error:
        print(f"{name}: {error}; the record's first line names the versions that it was made with", file=sys.stderr)
        return SOME_FAILED
    return DONE


if __name__ == "__main__":
    sys.exit(main())
