"""Removes fingers, hands and heads from the photographed documents of a folder.

    python predict.py photos results
    python predict.py photos results --weights runs/phase2/model_best.pdparams --save-mask

Results keep the names, sub-folders and formats of their sources; a picture that nothing covers is copied as it is.
A second run goes on where the first one stopped and keeps what is finished. The exit code is 1 when a picture failed,
2 when nothing could be started, 130 after ctrl-C.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections import Counter

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from utils.threads import start_paddle


def parse_tiles(text: str) -> tuple[int, int]:
    """"2x3" is 2 rows of 3 columns; "4" is four tiles, 2 x 2."""
    rows, _, columns = text.lower().partition("x")
    if not columns and rows.isdigit() and int(rows) > 0:
        side = round(int(rows) ** 0.5)
        if side * side == int(rows):
            return side, side
    elif rows.isdigit() and columns.isdigit() and int(rows) > 0 and int(columns) > 0:
        return int(rows), int(columns)
    raise argparse.ArgumentTypeError(f"{text!r}: expected ROWSxCOLUMNS such as 2x3, or a square number such as 4")


def parse_scale(text: str) -> str | float:
    """"auto", or a number above 0 and up to 1."""
    if text == "auto":
        return text
    try:
        scale = float(text)
    except ValueError:
        scale = 0.0
    if not 0 < scale <= 1:
        raise argparse.ArgumentTypeError(f"{text!r}: expected 'auto' or a number above 0 and up to 1")
    return scale


def parse_count(text: str) -> int:
    """A number of pixels, 0 or more."""
    if not text.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r}: expected a whole number of pixels, 0 or more")
    return int(text)


def parse_ratio(text: str) -> float:
    """TLC's window in training sizes, 0 or more."""
    try:
        ratio = float(text)
    except ValueError:
        ratio = -1.0
    if not 0 <= ratio < 1e6:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a number such as 1.5, or 0 to turn TLC off")
    return ratio


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", metavar="SRC", help="folder of photos, searched with its sub-folders, or one photo")
    parser.add_argument("results", metavar="RESULTS", help="folder that results are written to")
    parser.add_argument("--weights", help="file of weights; default: model.pdparams here, then in test_code/")
    parser.add_argument("--device", default="auto", help="auto (a GPU if it works), cpu, gpu or gpu:N")
    parser.add_argument("--tiles", type=parse_tiles, help="tiles such as 2x2 or 4; default: as the weights say")
    parser.add_argument("--overlap", type=parse_count, help="pixels that tiles share; 0 is the plain cut")
    parser.add_argument("--tlc-ratio", type=parse_ratio, help="TLC's window in training sizes; 0 turns TLC off")
    parser.add_argument("--scale", type=parse_scale, default="auto", help="working size: auto, or a fraction up to 1")
    parser.add_argument("--include", default="*", metavar="PATTERN", help="only files named so, such as '*.jpg'")
    parser.add_argument("--overwrite", action="store_true", help="restore again what has a result already")
    parser.add_argument("--save-mask", action="store_true", help="write PHOTO.jpg.mask.png beside each result")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    options = parse_arguments(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    start_paddle()
    # Imported here, since Paddle reads the number of threads when it is imported and takes seconds to do so.
    from inference.folder import list_pictures, prepare_results, restore_folder
    from inference.restorer import Restorer

    try:
        listing = list_pictures(options.source, options.results, options.include)
        if not listing.pictures:
            raise FileNotFoundError(f"{options.source}: no pictures found (--include is {options.include!r})")
        rows, columns = options.tiles or (None, None)
        restorer = Restorer(
            options.weights,
            options.device,
            rows=rows,
            columns=columns,
            overlap=options.overlap,
            tlc_ratio=options.tlc_ratio,
            scale=options.scale,
        )
        prepare_results(options.results)
    except (OSError, ValueError, RuntimeError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(restorer.tlc)
    for path in listing.others:
        print(f"left out, not a picture: {path}")
    outcomes = []
    work = restore_folder(restorer, listing, options.results, options.overwrite, options.save_mask)
    try:
        with logging_redirect_tqdm(), tqdm(work, total=len(listing.pictures), unit="picture") as progress:
            for outcome in progress:
                outcomes.append(outcome)
                if outcome.status == "failed":
                    progress.write(f"failed: {outcome.name}: {outcome.message}", file=sys.stderr)
    except KeyboardInterrupt:
        summarise(outcomes)
        print("stopped; run it again to go on with what is missing", file=sys.stderr)
        return 130
    return summarise(outcomes)


def summarise(outcomes: list) -> int:
    """Prints counts and seconds per picture; returns the exit code."""
    counts = Counter(outcome.status for outcome in outcomes)
    parts = (f"{counts[status]} {status}" for status in ("restored", "untouched", "skipped", "failed"))
    print(f"{len(outcomes)} pictures: {', '.join(parts)}")
    if counts["skipped"]:
        print("skipped: finished results were kept, also those of other weights or options; --overwrite redoes them")
    done = [outcome for outcome in outcomes if outcome.status in ("restored", "untouched")]
    if done:
        slowest = max(done, key=lambda outcome: outcome.seconds)
        mean = sum(outcome.seconds for outcome in done) / len(done)
        print(f"{mean:.2f} s per picture, slowest {slowest.seconds:.2f} s ({slowest.name})")
    return 1 if counts["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
