"""Compares ways to restore photos on the held-out sets, in one run: inpainting, the networks, the truth itself.

    python -m inference.leaderboard SETS OUT
    python -m inference.leaderboard SETS OUT --sets contest,natural --methods telea-true,ceiling,auto --limit 6
    python -m inference.leaderboard SETS OUT --methods auto --worst 20 worst.jpg

SETS holds the sets of `python -m data.heldout`, each in a folder of its own. OUT gets pictures.jsonl (a line for every
set, method and picture, written as it comes: a run that was interrupted goes on, and other weights are measured anew),
leaderboard.md and leaderboard.csv. After a change of the code delete pictures.jsonl.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from data.contest.lists import ListError, is_contest
from data.images import BadImageError, write_image
from inference.benchmark.report import describe
from inference.engines.runtimes import BackendError
from inference.leaderboard.board import Board, Records
from inference.leaderboard.methods import METHODS, Tools
from inference.leaderboard.table import csv_text, markdown, summaries_of
from inference.restorer import default_weights
from utils.files import write_text
from utils.machine import available_cores


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m inference.leaderboard",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("sets", type=Path, metavar="SETS", help="folder of the sets")
    parser.add_argument("out", type=Path, metavar="OUT", help="folder for what is measured")
    parser.add_argument("--sets", dest="only", type=_names, metavar="A,B", help="these sets (default: all in SETS)")
    parser.add_argument(
        "--methods", type=_names, metavar="A,B", help=f"these methods (default: all of {', '.join(METHODS)})"
    )
    parser.add_argument("--limit", type=int, default=0, help="pictures per set (default: all)")
    parser.add_argument("--weights", type=Path, help="weights of the gated network (default: as predict.py)")
    parser.add_argument("--plain-weights", type=Path, help="weights of a network without a gate, for `plain`")
    parser.add_argument("--threads", type=int, help="threads of the CPU for the network (default: all cores)")
    parser.add_argument(
        "--workers", type=int, default=available_cores(), help="results scored at a time (default: all cores)"
    )
    parser.add_argument(
        "--worst", nargs=2, metavar=("N", "SHEET"), help="also draw the N pictures with the lowest scores"
    )
    parser.add_argument("--of", default="auto", metavar="METHOD", help="the method of --worst (default: auto)")
    return parser


def _names(text: str) -> list[str]:
    return [name for name in text.split(",") if name]


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns 0, 2 when it cannot be done, 130 when stopped."""
    parser = build_parser()
    options = parser.parse_args(arguments)
    folders = _folders(parser, options)
    methods = _methods(parser, options)
    if options.worst is not None and (not options.worst[0].isdigit() or int(options.worst[0]) < 1):
        parser.error(f"--worst {options.worst[0]}: expected a number of pictures, 1 or more")
    try:
        tools = Tools(options.weights or default_weights("tiles"), options.plain_weights, options.threads)
        records = Records(options.out / "pictures.jsonl")
        board = Board(folders, methods, tools, records, options.limit, options.workers)
        board.run(_tell)
        summaries = summaries_of(board)
        text = markdown(summaries, _remarks(tools, methods))
        write_text(options.out / "leaderboard.md", text)
        write_text(options.out / "leaderboard.csv", csv_text(summaries))
        print(text)
        if options.worst is not None:
            write_image(options.worst[1], board.worst_sheet(options.of, int(options.worst[0])))
            print(f"Sheet: {options.worst[1]}")
    except (BackendError, BadImageError, ListError, OSError, ValueError, MemoryError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped: the same command goes on", file=sys.stderr)
        return 130
    return 0


def _folders(parser: argparse.ArgumentParser, options: argparse.Namespace) -> list[Path]:
    if not options.sets.is_dir():
        parser.error(f"{options.sets}: no such folder; `python -m data.heldout` makes it")
    there = {folder.name: folder for folder in sorted(options.sets.iterdir()) if folder.is_dir() and is_contest(folder)}
    for name in options.only or ():
        if name not in there:
            parser.error(f"--sets {name}: {options.sets} holds {', '.join(there) or 'no set'}")
    if not there:
        parser.error(f"{options.sets}: holds no set in the contest's layout; `python -m data.heldout` makes them")
    return [there[name] for name in options.only or there]


def _methods(parser: argparse.ArgumentParser, options: argparse.Namespace) -> list[str]:
    for name in [*(options.methods or ()), options.of]:
        if name not in METHODS:
            parser.error(f"{name}: not a method; there are {', '.join(METHODS)}")
    methods = list(options.methods or METHODS)
    if options.worst is not None and options.of not in methods:
        methods.append(options.of)
    without = [name for name in methods if METHODS[name].weights == "plain" and options.plain_weights is None]
    if options.methods and without:
        parser.error(f"{without[0]}: needs --plain-weights")
    return [name for name in methods if name not in without]


def _remarks(tools: Tools, methods: Sequence[str]) -> list[str]:
    remarks = [f"Machine: {describe(tools.threads or available_cores())}."]
    kinds = sorted({METHODS[name].weights for name in methods} - {""})
    remarks += [f"Weights, {kind}: {tools.files[kind].name}, SHA-256 {tools.digest(kind)[:16]}." for kind in kinds]
    missing = [name for name in METHODS if METHODS[name].weights == "plain"]
    if tools.files["plain"] is None:
        remarks.append(f"Left out for want of weights of a network without a gate: {', '.join(missing)}.")
    return remarks


def _tell(words: str) -> None:
    """Progress, beside the tables."""
    print(words, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
