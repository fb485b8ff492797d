"""Chooses the patches that are worth training on, and lists them.

    python generate_meta_info.py OUT                       # OUT/train.txt and OUT/val.txt
    python generate_meta_info.py OUT --all                 # OUT/all.txt
    python generate_meta_info.py OUT --threshold 10 --keep-occluded 0.02

OUT is a folder of data_preparation.py. A patch is kept if the mean Sobel gradient of its clean picture is above the
threshold (blank paper teaches little), or if at least the share --keep-occluded of it is covered: blank paper under a
hand is what there is to restore. Writes OUT/gradients.csv and OUT/gradient_histogram.png beside the lists (with --all,
gradients_all.csv and gradient_histogram_all.png).
"""

from __future__ import annotations

import argparse
import csv
import io
import sys
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from data.contest.crops import gradient_measure
from data.contest.lists import PATCH_FOLDERS, PatchPaths, write_list
from data.contest.patch_files import names_by_part
from data.images import BadImageError, read_rgb
from data.masks import read_mask
from utils.files import atomic_path, write_text
from utils.machine import available_cores
from utils.parallel import WorkerKilledError, run_parallel


@dataclass(frozen=True)
class Measured:
    """One patch: its files, the mean gradient of its clean picture, the covered share, or what is wrong with it."""

    set_name: str
    paths: PatchPaths
    gradient: float = 0.0
    covered: float = 0.0
    problem: str | None = None


class NoPatchesError(ValueError):
    """The folder holds no patches."""


def main(arguments: list[str] | None = None) -> int:
    options = parse(arguments)
    try:
        problems = choose(options)
    except (NoPatchesError, WorkerKilledError) as error:
        sys.exit(f"generate_meta_info.py: {error}")
    except KeyboardInterrupt:
        sys.exit("generate_meta_info.py: stopped; run it again, the measuring begins anew")
    for problem in problems:
        print(f"left out: {problem}", file=sys.stderr)
    return 1 if problems else 0


def choose(options: argparse.Namespace) -> list[str]:
    """Measures all patches, writes the lists and the pictures of the measures; returns what was wrong, in words.

    Raises:
        NoPatchesError: there is no patch in any of the sets.
    """
    problems: list[str] = []
    patches = [patch for name in options.sets for patch in find_patches(options.out / name, problems)]
    work = run_parallel(measure, patches, options.workers)
    measured = list(tqdm(work, total=len(patches), unit="patch", desc="measuring", disable=not patches))
    problems += [patch.problem for patch in measured if patch.problem]
    measured = [patch for patch in measured if not patch.problem]
    for name in options.sets:
        of_set = [patch for patch in measured if patch.set_name == name]
        if of_set:
            problems += list_kept(options.out / f"{name}.txt", of_set, options)
        else:
            remove_stale(options.out / f"{name}.txt")
    if not patches:
        raise NoPatchesError(f"no patches in {options.out}; make them with data_preparation.py first")
    suffix = "_all" if options.all else ""
    write_text(options.out / f"gradients{suffix}.csv", table(measured, options))
    draw_histogram(options.out / f"gradient_histogram{suffix}.png", measured, options)
    return problems


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="folder that data_preparation.py has written")
    parser.add_argument(
        "--threshold", type=float, default=10, help="mean gradient above which a patch is kept (default %(default)s)"
    )
    parser.add_argument(
        "--keep-occluded",
        type=float,
        default=0.02,
        help="covered share from which a patch is kept anyway; 0 for the authors' rule (default %(default)s)",
    )
    parser.add_argument("--all", action="store_true", help="list OUT/all in place of OUT/train and OUT/val")
    parser.add_argument("--workers", type=int, default=available_cores(), help="processes (default %(default)s)")
    options = parser.parse_args(arguments)
    if not 0 <= options.keep_occluded <= 1:
        parser.error(f"--keep-occluded is {options.keep_occluded}, expected a share from 0 to 1")
    options.sets = ("all",) if options.all else ("train", "val")
    return options


def find_patches(folder: Path, problems: list[str]) -> list[PatchPaths]:
    """The patches of a set in the order of their names; those that lack a file are named in `problems`."""
    names = names_by_part(folder)
    whole = set.intersection(*names)
    for part, present in zip(PATCH_FOLDERS, names, strict=True):
        problems += [f"{folder / part / name}: missing" for name in sorted(set.union(*names) - present)]
    return [PatchPaths(*(folder / part / name for part in PATCH_FOLDERS)) for name in sorted(whole)]


def measure(patch: PatchPaths) -> Measured:
    """Reads a patch and measures it; the set's name is that of its folder."""
    name = patch.clean.parent.parent.name
    try:
        # The occluded picture is not needed here, but a list should name no file that training cannot read.
        read_rgb(patch.occluded)
        gradient, covered = gradient_measure(read_rgb(patch.clean)), float(read_mask(patch.mask).mean())
    except BadImageError as error:
        return Measured(name, patch, problem=str(error))
    return Measured(name, patch, gradient=gradient, covered=covered)


def has_detail(patch: Measured, options: argparse.Namespace) -> bool:
    return patch.gradient > options.threshold


def is_kept(patch: Measured, options: argparse.Namespace) -> bool:
    by_occluder = options.keep_occluded > 0 and patch.covered >= options.keep_occluded
    return has_detail(patch, options) or by_occluder


def list_kept(path: Path, measured: list[Measured], options: argparse.Namespace) -> list[str]:
    """Writes the list of a set, says how many patches each side of the threshold has; returns problems."""
    kept = [patch for patch in measured if is_kept(patch, options)]
    above = sum(has_detail(patch, options) for patch in measured)
    write_list(path, [patch.paths for patch in kept])
    print(
        f"{path.stem}: {len(measured)} patches, {above} above the threshold of {options.threshold:g} and "
        f"{len(measured) - above} not above it; {len(kept) - above} of these are kept for their occluder; "
        f"{len(kept)} listed in {path}"
    )
    if kept:
        return []
    return [f"{path}: no patch passes; lower --threshold or --keep-occluded"]


def remove_stale(path: Path) -> None:
    """Removes the list of a set that has no patches any more: it would send training to files that are gone."""
    if path.exists():
        path.unlink()
        print(f"{path.stem}: no patches, so the list of an earlier run is removed: {path}")


def table(measured: list[Measured], options: argparse.Namespace) -> str:
    """The measures as CSV, so that another threshold can be judged without measuring again."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["set", "patch", "gradient", "covered", "kept"])
    for patch in measured:
        kept = int(is_kept(patch, options))
        writer.writerow([patch.set_name, patch.paths.clean.name, f"{patch.gradient:.4f}", f"{patch.covered:.5f}", kept])
    return text.getvalue()


def bins_with_edge(threshold: float, highest: float) -> list[float]:
    """Edges of about sixty equal bins from 0 to `highest`, one of them at the threshold: no bar lies on both sides."""
    width = max(highest, 2 * threshold, 1e-6) / 60
    if threshold > 0:
        width = threshold / max(round(threshold / width), 1)
    return [width * index for index in range(int(max(highest, threshold) / width) + 2)]


def draw_histogram(path: Path, measured: list[Measured], options: argparse.Namespace) -> None:
    """Draws how many patches have which gradient, what is kept and what is not, and the threshold."""
    # Imported here, since every worker process imports this script and none of them draws.
    from matplotlib.figure import Figure

    detailed = [patch.gradient for patch in measured if has_detail(patch, options)]
    rescued = [patch.gradient for patch in measured if is_kept(patch, options) and not has_detail(patch, options)]
    dropped = [patch.gradient for patch in measured if not is_kept(patch, options)]
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.add_subplot()
    axes.hist(
        [detailed, rescued, dropped],
        bins=bins_with_edge(options.threshold, max([patch.gradient for patch in measured], default=0)),
        stacked=True,
        color=["#4878a8", "#e0a030", "#b0b0b0"],
        label=[
            f"above the threshold ({len(detailed)})",
            f"kept for the occluder ({len(rescued)})",
            f"left out ({len(dropped)})",
        ],
    )
    axes.axvline(options.threshold, color="black", linestyle="--", label=f"threshold {options.threshold:g}")
    axes.set_xlabel("mean Sobel gradient of the clean patch, grey levels")
    axes.set_ylabel("patches")
    axes.yaxis.get_major_locator().set_params(integer=True)
    axes.legend()
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=120)


if __name__ == "__main__":
    sys.exit(main())
