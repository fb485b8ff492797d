"""Measures restored pictures against the truth.

python -m metrics RESULTS GT [--masks DIR] [--csv FILE]

GT is a folder of clean pictures with the results' names (another suffix will do), a folder in the contest's layout, its
annotation.txt, or a list file with lines of `clean occluded mask`; the last three bring the masks and take results
named like the occluded pictures. The exit code is 1 when a result is missing, unreadable or of another size.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tqdm import tqdm

from data.contest.lists import ListError
from metrics.folder import NameIndex, NoTruthsError, format_table, measure_folder, read_truths, write_csv
from utils.machine import available_cores


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m metrics", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("results", type=Path, help="folder of restored pictures")
    parser.add_argument("truth", type=Path, metavar="GT", help="folder of clean pictures, contest folder or list file")
    parser.add_argument("--masks", type=Path, help="folder of masks named like the clean pictures (not for lists)")
    parser.add_argument("--csv", type=Path, help="also write the table there")
    options = parser.parse_args(arguments)
    for folder in (options.results, options.masks):
        if folder is not None and not folder.is_dir():
            parser.error(f"{folder}: no such folder")
    try:
        truths = read_truths(options.truth)
    except (NoTruthsError, ListError) as error:
        parser.error(str(error))
    if options.masks is not None and truths[0].mask is not None:
        parser.error(f"--masks {options.masks}: {options.truth} names the masks already")
    masks = None if options.masks is None else NameIndex(options.masks)
    measured = measure_folder(truths, NameIndex(options.results), masks, workers=min(4, available_cores()))
    rows = list(tqdm(measured, total=len(truths), unit="picture", desc="measuring"))
    print(format_table(rows))
    if options.csv is not None:
        write_csv(options.csv, rows)
    too_small = [row.name for row in rows if not row.problem and row.measures["ms_ssim"] is None]
    if too_small:
        print(f"no MS-SSIM and no score (a side under 161 pixels): {', '.join(too_small)}")
    problems = [row.name for row in rows if row.problem]
    if problems:
        print(f"not measured: {len(problems)} of {len(rows)}, the mean leaves them out", file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
