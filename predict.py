"""Removes fingers, hands and heads from the photographed documents of a folder.

    python predict.py photos results
    python predict.py photos results --weights runs/phase2/model_best.pdparams --save-mask --compare

Results keep the names, sub-folders and formats of their sources; a picture that nothing covers is copied as it is.
A second run goes on where the first one stopped and keeps what is finished. The exit code is 1 when a picture failed,
2 when nothing could be started, 130 after ctrl-C.
"""

from __future__ import annotations

import argparse
import io
import logging
import re
import sys
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from utils.files import printable
from utils.machine import bar_intervals

if TYPE_CHECKING:
    from inference.folder import Outcome

# More than this many names are told as a number, or a folder of notes would hide what matters.
_NAMES_TOLD = 5


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", metavar="SRC", help="folder of photos, searched with its sub-folders, or one photo")
    parser.add_argument("results", metavar="RESULTS", help="folder that results are written to")
    files = parser.add_argument_group("files")
    files.add_argument("--include", default="*", metavar="PATTERN", help="only files named so, such as '*.jpg'")
    files.add_argument("--overwrite", action="store_true", help="restore again what has a result already")
    files.add_argument("--save-mask", action="store_true", help="write PHOTO.jpg.mask.png beside each result")
    files.add_argument("--compare", action="store_true", help="write PHOTO.jpg.compare.jpg beside each restored photo")
    files.add_argument("--verbose", action="store_true", help="a line for every picture, and more about the engine")
    method = parser.add_argument_group("method")
    method.add_argument("--weights", help="file of weights; default: model.pdparams here, then in test_code/")
    method.add_argument("--mode", choices=("auto", "tiles", "full"), default="auto",
                        help="auto: find what is covered and restore that; tiles, full: the whole picture")
    method.add_argument("--scale", type=scale, default="auto", help="working size: auto, or a fraction up to 1")
    method.add_argument("--tiles", type=tiles, help="for --mode tiles: rows x columns; default: as the weights say")
    method.add_argument("--overlap", type=int, help="pixels that tiles share; 0 is the plain cut")
    method.add_argument("--tlc-ratio", type=float, help="TLC's window in training sizes; 0 turns TLC off")
    method.add_argument("--tta", action="store_true", help="average over mirrored copies: slower, a little better")
    engine = parser.add_argument_group("engine")
    engine.add_argument("--device", default="auto", help="auto (a GPU if it works), cpu, gpu or gpu:N")
    engine.add_argument("--backend", choices=("auto", "paddle", "onnxruntime", "openvino"), default="auto",
                        help="what runs the network; auto: the fastest that is installed and works")
    engine.add_argument("--precision", choices=("auto", "fp32", "bf16", "fp16"), default="auto", help="how exactly")
    engine.add_argument("--threads", type=threads, help="threads of the CPU; default: OMP_NUM_THREADS, or all")
    return parser.parse_args(arguments)


def scale(text: str) -> str | float:
    return text if text == "auto" else float(text)


def threads(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a whole number of threads, 1 or more")
    return int(text)


def tiles(text: str) -> tuple[int, int]:
    """"2x3" is 2 rows of 3 columns."""
    match = re.fullmatch("([1-9][0-9]*)x([1-9][0-9]*)", text.lower())
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r}: expected ROWSxCOLUMNS such as 2x3")
    return int(match[1]), int(match[2])


def main(arguments: list[str] | None = None) -> int:
    options = parse_arguments(arguments)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A name that the terminal cannot show must not end the run.
            stream.reconfigure(errors="backslashreplace")
    logging.basicConfig(level="INFO" if options.verbose else "WARNING", format="%(levelname)s: %(message)s")
    # Imported here, so that --help and a typing error need not wait. Paddle is imported by the engines that need it: it
    # takes seconds and a quarter of a gigabyte.
    from inference.folder import ResultsError, restore_folder
    from inference.restorer import Restorer
    from inference.sources import list_pictures, prepare_results

    try:
        listing = list_pictures(options.source, options.results, options.include)
        if not listing.pictures and not listing.closed:
            raise FileNotFoundError(f"{options.source}: no pictures found (--include is {options.include!r})")
        rows, columns = options.tiles or (None, None)
        names = ("mode", "scale", "tta", "backend", "precision", "threads", "overlap", "tlc_ratio")
        wanted = {name: getattr(options, name) for name in names}
        restorer = Restorer(options.weights, options.device, rows=rows, columns=columns, **wanted)
        prepare_results(options.results)
        orders = {name: getattr(options, name) for name in ("overwrite", "save_mask", "compare")}
        work = restore_folder(restorer, listing, options.results, **orders)
    except (OSError, ValueError, RuntimeError, MemoryError) as error:
        print(f"error: {printable(error)}", file=sys.stderr)
        return 2
    print(restorer.describe())
    tell_left_out("not a picture", listing.others, options.verbose)
    tell_left_out("a linked folder", listing.linked, options.verbose)
    outcomes: list[Outcome] = []
    start, problem, code = time.perf_counter(), "", 1
    # In a log, a line for every picture says how far it is.
    hidden = options.verbose and not sys.stderr.isatty()
    total = len(listing.pictures) + len(listing.closed)
    bar = tqdm(total=total, unit="picture", file=sys.stderr, disable=hidden, **bar_intervals(sys.stderr))
    try:
        with logging_redirect_tqdm(), bar, closing(work):
            for outcome in work:
                outcomes.append(outcome)
                bar.update()
                if options.verbose or outcome.status == "failed":
                    bar.write(str(outcome), file=sys.stderr)
    except KeyboardInterrupt:
        problem, code = "stopped; run it again to go on with what is missing", 130
    except ResultsError as error:
        problem = f"error: {printable(error)}; make room and run it again"
    print(*summary(outcomes, time.perf_counter() - start), sep="\n")
    if problem:
        print(problem, file=sys.stderr)
        return code
    return int(any(outcome.status == "failed" for outcome in outcomes))


def tell_left_out(reason: str, paths: Sequence[Path], all_of_them: bool) -> None:
    """Says which files are not touched; of many, the first names and their number."""
    told = paths if all_of_them else paths[:_NAMES_TOLD]
    for path in told:
        print(f"left out, {reason}: {printable(path)}")
    if len(told) < len(paths):
        print(f"left out, {reason}: {len(paths) - len(told)} more (--verbose names them)")


def summary(outcomes: Sequence[Outcome], elapsed: float) -> list[str]:
    """The last lines of a run that took `elapsed` seconds since its first picture."""
    counts = Counter(outcome.status for outcome in outcomes)
    parts = (f"{counts[status]} {status}" for status in ("restored", "untouched", "skipped", "failed"))
    lines = [f"{len(outcomes)} picture{'s' if len(outcomes) != 1 else ''}: {', '.join(parts)}"]
    if counts["skipped"]:
        kept = "finished results were kept, also those of other weights or options; --overwrite redoes them"
        lines.append(f"skipped: {kept}")
    notes = Counter(note for outcome in outcomes for note in outcome.notes)
    lines.extend(f"{count} of them: {note}" for note, count in sorted(notes.items()))
    done = [outcome for outcome in outcomes if outcome.status in ("restored", "untouched")]
    if done:
        slowest = max(done, key=lambda outcome: outcome.seconds)
        lines.append(
            f"{elapsed:.1f} s, {len(done) / max(elapsed, 1e-9):.2f} pictures per second; from file to file "
            f"{sum(outcome.seconds for outcome in done) / len(done):.2f} s on average, "
            f"slowest {slowest.seconds:.2f} s ({printable(slowest.name)})"
        )
    return lines


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:  # While the engine was loading; later, the pictures that are finished are counted first.
        print("stopped", file=sys.stderr)
        sys.exit(130)
