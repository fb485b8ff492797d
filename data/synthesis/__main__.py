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
from dataclasses import fields
from pathlib import Path

from data.synthesis.sets import SetOptions, make_set
from utils.child import WorkerKilledError
from utils.command import AT_ONCE, DONE, SOME_FAILED, command, program
from utils.files import printable
from utils.machine import available_cores


@command(ValueError, WorkerKilledError, stopped="stopped: the set is not whole; delete it and run again")
def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns 1 when sources were broken."""
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(program("python -m data.synthesis"), description=__doc__, formatter_class=form)
    parser.add_argument("out", type=Path, metavar="OUT", help="folder of the new set")
    for option in fields(SetOptions):
        flag, default, meaning = f"--{option.name.replace('_', '-')}", option.default, option.metadata["meaning"]
        if isinstance(default, tuple):
            parser.add_argument(flag, action="append", default=[], metavar="DIR", help=meaning)
        else:
            choices = option.metadata["allowed"] if isinstance(default, str) else None
            meaning = f"{meaning} (default {default})"
            parser.add_argument(flag, type=type(default), default=default, choices=choices, help=meaning)
    parser.add_argument("--workers", type=AT_ONCE, default=available_cores(), help="processes (default: all cores)")
    given = vars(parser.parse_args(arguments))
    out, workers = given.pop("out"), given.pop("workers")
    options = SetOptions(**{name: tuple(value) if isinstance(value, list) else value for name, value in given.items()})
    broken = make_set(options, out, workers)
    print(f"{out}: {options.groups} groups")
    for message in broken:
        print(f"broken source, another one was taken: {printable(message)}", file=sys.stderr)
    return SOME_FAILED if broken else DONE


if __name__ == "__main__":
    sys.exit(main())
