"""Chooses the patches that are worth training on, and lists them.

    python generate_meta_info.py OUT                       # OUT/train.txt and OUT/val.txt
    python generate_meta_info.py OUT --all                 # OUT/all.txt
    python generate_meta_info.py OUT --threshold 10 --keep-occluded 0.02

OUT is a folder of data_preparation.py. A patch is kept if the mean Sobel gradient of its clean picture is above the
threshold (blank paper teaches little), or if at least the share --keep-occluded of it is covered: blank paper under a
hand is what there is to restore. Draws OUT/gradient_histogram.png, with --all OUT/gradient_histogram_all.png.
"""

import sys
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from data.contest import PATCH_FOLDERS, ListError, PatchPaths, names_by_part, write_list
from data.images import BadImageError, read_rgb
from data.masks import read_mask
from utils.child import WorkerKilledError, run_parallel
from utils.command import AT_ONCE, DONE, SOME_FAILED, command, number, parser_of
from utils.files import atomic_path, check_writable, printable
from utils.machine import available_cores, progress

# What becomes of a patch, with its colour in the histogram.
FATES = {"above the threshold": "#4878a8", "kept for the occluder": "#e0a030", "left out": "#b0b0b0"}
DETAILED, OCCLUDED, LEFT_OUT = FATES


class Measured(NamedTuple):
    """One patch: its files, the mean gradient of its clean picture, the covered share."""

    paths: PatchPaths
    gradient: float
    covered: float


@command(ListError, WorkerKilledError, stopped="stopped; run it again, the measuring begins anew")
def main(arguments: list[str] | None = None) -> int:
    parser = parser_of(__doc__)
    add, default = parser.add_argument, " (default %(default)s)"
    kept = "covered share from which a patch is kept anyway; 0 for the authors' rule"
    add("out", type=Path, help="folder that data_preparation.py has written")
    add("--threshold", type=number(0, 10_000), default=10, help="mean gradient above which a patch is kept" + default)
    add("--keep-occluded", type=number(0, 1), default=0.02, help=kept + default)
    add("--all", action="store_true", help="list OUT/all in place of OUT/train and OUT/val")
    add("--workers", type=AT_ONCE, default=available_cores(), help="processes" + default)
    options = parser.parse_args(arguments)
    out, threshold, problems, sets = options.out, options.threshold, [], ("all",) if options.all else ("train", "val")
    if out.is_dir():  # before the measuring, which takes a while
        check_writable(out / f"{sets[0]}.txt")
    patches = []
    for folder in (out / name for name in sets):
        names = names_by_part(folder)
        for part, present in zip(PATCH_FOLDERS, names, strict=True):
            problems += [f"{folder / part / name}: missing" for name in sorted(set.union(*names) - present)]
        whole = sorted(set.intersection(*names))
        patches += [PatchPaths(*(folder / part / name for part in PATCH_FOLDERS)) for name in whole]
    work, fates = run_parallel(measure, patches, options.workers), {}
    for patch in progress(work, total=len(patches), unit="patch", desc="measuring", disable=not patches):
        if isinstance(patch, str):
            problems.append(patch)
        else:
            kept = 0 < options.keep_occluded <= patch.covered
            fates[patch] = DETAILED if patch.gradient > threshold else OCCLUDED if kept else LEFT_OUT
    for name in sets:
        path, of_set = out / f"{name}.txt", [patch for patch in fates if patch.paths.clean.is_relative_to(out / name)]
        if of_set:
            listed = [patch.paths for patch in of_set if fates[patch] != LEFT_OUT]
            write_list(path, listed)
            detailed, occluded = ([fates[patch] for patch in of_set].count(fate) for fate in (DETAILED, OCCLUDED))
            print(f"{name}: {len(of_set)} patches, {detailed} above the threshold of {threshold:g} and "
                  f"{len(of_set) - detailed} not above it; {occluded} of these are kept for their occluder; "
                  f"{len(listed)} listed in {printable(path)}")
            if not listed:
                problems.append(f"{path}: no patch passes; lower --threshold or --keep-occluded")
        elif path.exists():
            # It would send training to files that are gone.
            path.unlink()
            print(f"{name}: no patches, so the list of an earlier run is removed: {printable(path)}")
    if not patches:
        raise ListError(f"no patches in {out}; make them with data_preparation.py first")
    _draw_histogram(out / f"gradient_histogram{'_all' * options.all}.png", fates, threshold)
    for problem in problems:
        print(f"left out: {printable(problem)}", file=sys.stderr)
    return SOME_FAILED if problems else DONE


def measure(patch: PatchPaths) -> Measured | str:
    """Reads a patch and measures it, or tells what is wrong with it."""
    try:
        # The occluded picture is not needed here, but a list should name no file that training cannot read.
        read_rgb(patch.occluded)
        gradient, covered = gradient_measure(read_rgb(patch.clean)), float(read_mask(patch.mask).mean())
        return Measured(patch, gradient, covered)
    except BadImageError as error:
        return str(error)


def gradient_measure(rgb: np.ndarray) -> float:
    """Mean length of the 3x3 Sobel gradient of the grey picture (0..255): of blank paper a few, of print 20 to 100."""
    grey = cv2.cvtColor(np.ascontiguousarray(rgb), cv2.COLOR_RGB2GRAY)
    across, down = (cv2.Sobel(grey, cv2.CV_64F, *axis, ksize=3) for axis in ((1, 0), (0, 1)))
    return float(np.mean(np.sqrt(across**2 + down**2)))


def _draw_histogram(path: Path, fates: dict[Measured, str], threshold: float) -> None:
    # Imported here: every worker process imports this module, and none of them draws.
    from matplotlib.figure import Figure

    gradients = [[patch.gradient for patch, its in fates.items() if its == fate] for fate in FATES]
    labels = [f"{fate} ({len(of_fate)})" for fate, of_fate in zip(FATES, gradients, strict=True)]
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.add_subplot()
    axes.hist(gradients, bins=60, stacked=True, color=list(FATES.values()), label=labels)
    axes.axvline(threshold, color="black", linestyle="--", label=f"threshold {threshold:g}")
    axes.set(xlabel="mean Sobel gradient of the clean patch, grey levels", ylabel="patches")
    axes.yaxis.get_major_locator().set_params(integer=True)
    axes.legend()
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=120)


if __name__ == "__main__":
    raise SystemExit(main())
