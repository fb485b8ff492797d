"""Removes fingers, hands and heads from the photographed documents of a folder.

    python predict.py photos results
    python predict.py photo.jpg restored.jpg
    python predict.py photos results --dry-run --report              # what would be removed, and how surely
    python predict.py photos results --mask masks --mask-mode add    # and what a person has marked
    python predict.py --ray HOST:6379 s3://scans/in s3://scans/out   # as tasks on a Ray cluster

Results keep the names, sub-folders and formats of their sources; a picture that nothing covers is copied as it is.
A second run goes on where the first one stopped and keeps what is finished. The exit code is 1 when a picture failed,
2 when nothing could be started, 130 after ctrl-C.
"""

from __future__ import annotations

import argparse
import logging
import re
import sys
import time
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from os import fsencode
from pathlib import Path
from typing import TYPE_CHECKING

from utils.command import AT_ONCE, REFUSED, STOPPED, command, counted, number, parser_of, sentence, shard, whole
from utils.files import printable

if TYPE_CHECKING:
    from inference.folder import Outcome
    from inference.report import Report
    from inference.restorer import Restorer

_NAMES_TOLD = 5  # More than this many names are told as a number, or a folder of notes would hide what matters


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = parser_of(__doc__, "predict.py")
    parser.add_argument("source", metavar="SRC", help="folder of photos, with its sub-folders, or one photo")
    parser.add_argument("results", metavar="RESULTS", help="folder that results are written to; for one photo, also a "
                        "file of the same kind")  # fmt: skip
    files = parser.add_argument_group("files")
    files.add_argument("--include", default="*", metavar="PATTERN", help="only files named so, such as '*.jpg'")
    files.add_argument("--overwrite", action="store_true", help="restore finished photos again, and over foreign files")
    files.add_argument("--save-mask", action="store_true", help="write PHOTO.jpg.mask.png beside each result")
    files.add_argument("--compare", action="store_true", help="write PHOTO.jpg.compare.jpg beside each restored photo")
    files.add_argument("--dry-run", action="store_true", help="write no photo, but report.csv: what would be removed")
    files.add_argument("--report", action="store_true", help="write report.csv, and report.html to look through")
    files.add_argument("--shard", type=shard, metavar="I/N", help="only the I-th of N parts, for several machines")
    files.add_argument("--ray", metavar="ADDRESS", help="share the photos among the nodes of a Ray cluster, HOST:PORT "
                       "or auto; SRC and RESULTS are folders that all of them see, or addresses")  # fmt: skip
    files.add_argument("--verbose", action="store_true", help="a line for every picture, and more about the engine")
    hand = parser.add_argument_group("a second opinion")
    hand.add_argument("--mask", metavar="FOLDER", help="masks by hand, PHOTO.jpg.mask.png or PHOTO.png, white = "
                      "covered; photos without one are looked at as always")  # fmt: skip
    hand.add_argument("--mask-mode", choices=("replace", "add", "protect"),
                      help="a mask counts instead of what is found, is added to it, or is kept from being changed")
    method = parser.add_argument_group("method")
    method.add_argument("--weights", help="file of weights; default: model.pdparams here, then in test_code/")
    method.add_argument("--mode", choices=("auto", "tiles", "full"), default="auto",
                        help="auto: find what is covered and restore that; tiles, full: the whole picture")
    method.add_argument("--scale", type=lambda text: text if text == "auto" else number(0.01, 1)(text),
                        default="auto", help="working size: auto, or a fraction up to 1")
    method.add_argument("--tiles", type=tiles, help="for --mode tiles: rows x columns; default: as the weights say")
    method.add_argument("--overlap", type=whole(0, 4096), help="pixels that tiles share; 0 is the plain cut")
    method.add_argument("--tlc-ratio", type=number(0, 100), help="TLC's window in training sizes; 0 turns TLC off")
    method.add_argument("--tta", action="store_true", help="average over mirrored copies: slower, a little better")
    engine = parser.add_argument_group("engine")
    engine.add_argument("--device", default="auto", help="auto (a GPU if it works), cpu, gpu or gpu:N")
    engine.add_argument("--backend", choices=("auto", "paddle", "onnxruntime", "openvino"), default="auto",
                        help="what runs the network; auto: the fastest that is installed and works")
    engine.add_argument("--precision", choices=("auto", "fp32", "bf16", "fp16"), default="auto", help="how exactly")
    engine.add_argument("--threads", type=AT_ONCE, help="threads of the CPU; default: OMP_NUM_THREADS, or all")
    options = parser.parse_args(arguments)
    if options.dry_run and (options.save_mask or options.compare):
        parser.error("--dry-run writes no photos, and so no masks and no sheets either")
    if options.ray and (options.dry_run or options.report or options.shard or options.mask):
        parser.error("--ray goes without --dry-run, --report, --shard and --mask")
    if options.mask_mode and not options.mask:
        parser.error("--mask-mode says how masks by hand count, and there are none; name their folder with --mask")
    options.mask_mode = options.mask_mode or "replace"
    return options


def tiles(text: str) -> tuple[int, int]:
    """"2x3" is 2 rows of 3 columns."""
    match = re.fullmatch("([1-9][0-9]?)x([1-9][0-9]?)", text.lower())
    if match is None:
        raise argparse.ArgumentTypeError(f"{text[:40]!r}: expected ROWSxCOLUMNS such as 2x3, at most 99x99")
    return int(match[1]), int(match[2])


@command(ValueError, RuntimeError)
def main(arguments: Sequence[str] | None = None) -> int:
    options = parse_arguments(arguments)
    logging.basicConfig(level="INFO" if options.verbose else "WARNING", format="%(levelname)s: %(message)s")
    names = ("weights", "device", "mode", "scale", "tta", "backend", "precision", "threads", "overlap", "tlc_ratio")
    rows, columns = options.tiles or (None, None)
    wanted = {name: getattr(options, name) for name in names} | {"rows": rows, "columns": columns}
    orders = {name: getattr(options, name) for name in ("overwrite", "save_mask", "compare")}
    # Imported here, so that --help and a typing error need not wait. Paddle is imported by the engines that need it: it
    # takes seconds and a quarter of a gigabyte.
    if options.ray:
        from inference.on_ray import begin

        total, told, work = begin(options.ray, options.source, options.results, options.include, wanted, orders)
        print(told)
        return follow(work, total, options)

    from data.images import SUFFIXES
    from inference.files import list_pictures, prepare_results
    from inference.folder import Masks, restore_file, restore_folder
    from inference.report import Report
    from inference.restorer import Restorer

    photo, results = Path(options.source), Path(options.results)
    masks, report = options.mask and Masks(options.mask), None
    into_file = photo.is_file() and not results.is_dir() and results.suffix.lower() in SUFFIXES
    if into_file and (options.dry_run or options.report or options.save_mask or options.compare or options.shard):
        raise ValueError(f"{results}: one file is written and nothing beside it; for --dry-run, --report, "
                         "--save-mask, --compare and --shard name a folder")  # fmt: skip
    if masks and not Path(options.mask).is_dir():
        raise ValueError(f"{options.mask}: no such folder (--mask)")
    listing = list_pictures(photo, results, options.include, options.mask)
    if not listing.pictures and not listing.closed:
        only = "" if options.include == "*" else f" that fit --include {options.include!r}"
        raise FileNotFoundError(f"{photo}: no pictures found{only}")
    strange = masks.of_none(listing.pictures) if masks else []
    if options.shard:
        part, parts = options.shard
        chosen = [name for name in listing.pictures if zlib.crc32(fsencode(name)) % parts == part - 1]
        listing = replace(listing, pictures=chosen)
    restorer = Restorer(**wanted)
    restore = partial(restorer, mask_mode=options.mask_mode) if masks else restorer
    told = {"told": masks.of} if masks else {}
    if into_file:
        work = restore_file(restore, listing, results, options.overwrite, **told)
    else:
        prepare_results(results)
        if options.dry_run or options.report:
            mark = ".{}-of-{}".format(*options.shard) if options.shard else ""
            report = Report(listing, results, options.overwrite, options.report, mark)
            orders["see"] = report.see
        if options.dry_run:
            restore, orders["look"] = partial(restore, fill=False), True
        work = restore_folder(restore, listing, results, **orders, **told)
    print(printable(introduction(options, len(listing.pictures), restorer)))
    if options.verbose:
        print(restorer.describe())
    tell_left_out(f"a mask of no photo, in {options.mask}", strange, options.verbose)
    tell_left_out("not a picture", listing.others, options.verbose)
    tell_left_out("a linked folder", listing.linked, options.verbose)
    return follow(work, len(listing.pictures) + len(listing.closed), options, report)


def follow(work: Iterator[Outcome], total: int, options: argparse.Namespace, report: Report | None = None) -> int:
    """Tells how a run goes on, and at its end what became of all; returns the exit code."""
    from tqdm.contrib.logging import logging_redirect_tqdm

    from inference.folder import ResultsError
    from utils.machine import progress

    sys.stdout.flush()
    outcomes: list[Outcome] = []
    start, problem, code = time.perf_counter(), "", 0
    # In a log, a line for every picture says how far it is.
    bar = progress(total=total, unit="picture", disable=options.verbose and not sys.stderr.isatty())
    try:
        with logging_redirect_tqdm(), bar, closing(work):
            for outcome in work:
                outcomes.append(outcome)
                bar.update()
                failed = outcome.status == "failed"
                if options.verbose or options.dry_run or failed:
                    bar.write(str(outcome), file=sys.stdout if options.dry_run and not failed else sys.stderr)
    except KeyboardInterrupt:
        problem, code = "stopped; run it again to go on with what is missing", STOPPED
    except ResultsError as error:
        problem, code = f"error: {sentence(error)}; make room and run it again", REFUSED
    if report:
        report.write(outcomes)
        for file in report.files:
            print(printable(f"report: {Path(options.results, file)}"))
    print(*summary(outcomes, time.perf_counter() - start, options.dry_run), sep="\n")
    if problem:
        print(problem, file=sys.stderr)
    return code or int(any(outcome.status == "failed" for outcome in outcomes))


def introduction(options: argparse.Namespace, count: int, restorer: Restorer) -> str:
    """What the run is going to do and with what, in plain words."""
    what = "Looking for what covers" if options.dry_run else "Restoring"
    part = " (part {} of {})".format(*options.shard) if options.shard else ""
    into = "; no photo is written, the report goes to " if options.dry_run else " into "
    by_hand = {"replace": "; masks in {} count", "add": "; masks in {} are added",
               "protect": "; what masks in {} mark stays"}  # fmt: skip
    masks = by_hand[options.mask_mode].format(options.mask) if options.mask else ""
    return (f"{what} {counted(count, 'picture')} of {options.source}{part}{into}{options.results}, "
            f"with {restorer.weights}, {restorer.engine}{masks}")  # fmt: skip


def tell_left_out(reason: str, paths: Sequence[Path], all_of_them: bool) -> None:
    """Says which files are not touched; of many, the first names and their number."""
    told = paths if all_of_them else paths[:_NAMES_TOLD]
    for path in told:
        print(f"left out, {reason}: {printable(path)}")
    if len(told) < len(paths):
        print(f"left out, {reason}: {len(paths) - len(told)} more (--verbose names them)")


def summary(outcomes: Sequence[Outcome], elapsed: float, looked: bool = False) -> list[str]:
    """The last lines of a run that took `elapsed` seconds since its first picture, or only `looked`."""
    counts = Counter(outcome.status for outcome in outcomes)
    statuses = ("found", "untouched", "failed") if looked else ("restored", "untouched", "skipped", "failed")
    parts = (f"{counts[status]} {status}" for status in statuses)
    lines = [f"{counted(len(outcomes), 'picture')}: {', '.join(parts)}"]
    if counts["skipped"]:
        lines.append("skipped: finished results were kept; --overwrite redoes them")
    notes = Counter(note for outcome in outcomes for note in outcome.notes)
    lines.extend(f"{count} of them: {note}" for note, count in sorted(notes.items()))
    done = [outcome for outcome in outcomes if outcome.status in ("restored", "untouched")]
    if done:
        slowest = max(done, key=lambda outcome: outcome.seconds)
        lines.append(f"{elapsed:.1f} s, {len(done) / max(elapsed, 1e-9):.2f} pictures per second; from file to file "
                     f"{sum(outcome.seconds for outcome in done) / len(done):.2f} s on average, "
                     f"slowest {slowest.seconds:.2f} s ({printable(slowest.name)})")  # fmt: skip
    return lines


if __name__ == "__main__":
    raise SystemExit(main())
