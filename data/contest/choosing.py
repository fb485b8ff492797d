"""Chooses the patches that are worth training on, and lists them: the work of generate_meta_info.py.

Blank paper teaches little, so a patch needs detail in its clean picture (a mean Sobel gradient above the threshold), or
enough of an occluder: blank paper under a hand is what there is to restore.
"""

from __future__ import annotations

import argparse
import csv
import io
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from data.contest.crops import gradient_measure
from data.contest.lists import PATCH_FOLDERS, PatchPaths, write_list
from data.contest.patch_files import names_by_part
from data.images import BadImageError, read_rgb
from data.masks import read_mask
from utils.child import run_parallel
from utils.files import atomic_path, write_text


@dataclass(frozen=True)
class Measured:
    """One patch: its files, the mean gradient of its clean picture, the covered share, or what is wrong with it."""

    paths: PatchPaths
    gradient: float = 0.0
    covered: float = 0.0
    problem: str | None = None

    @property
    def set_name(self) -> str:
        return self.paths.clean.parent.parent.name


class NoPatchesError(ValueError):
    """The folder holds no patches."""


def choose(options: argparse.Namespace) -> tuple[list[str], list[str]]:
    """Measures all patches of `out`, writes lists, table and histogram.

    Args:
        options: `out`, `sets` (names), `threshold` (of the gradient, in grey levels), `keep_occluded` (share),
            `all` (names the files), `workers`.

    Returns:
        (a line for each set, what was wrong in words).

    Raises:
        NoPatchesError: there is no patch in any of the sets.
        WorkerKilledError: memory ran out in a worker.
    """
    said: list[str] = []
    problems: list[str] = []
    patches = [patch for name in options.sets for patch in _find_patches(options.out / name, problems)]
    work = run_parallel(measure, patches, options.workers)
    measured = list(tqdm(work, total=len(patches), unit="patch", desc="measuring", disable=not patches))
    problems += [patch.problem for patch in measured if patch.problem]
    measured = [patch for patch in measured if not patch.problem]
    for name in options.sets:
        path = options.out / f"{name}.txt"
        of_set = [patch for patch in measured if patch.set_name == name]
        if of_set:
            said.append(_list_kept(path, of_set, options, problems))
        elif path.exists():
            # It would send training to files that are gone.
            path.unlink()
            said.append(f"{name}: no patches, so the list of an earlier run is removed: {path}")
    if not patches:
        raise NoPatchesError(f"no patches in {options.out}; make them with data_preparation.py first")
    suffix = "_all" if options.all else ""
    write_text(options.out / f"gradients{suffix}.csv", _table(measured, options))
    _draw_histogram(options.out / f"gradient_histogram{suffix}.png", measured, options)
    return said, problems


def _find_patches(folder: Path, problems: list[str]) -> list[PatchPaths]:
    """The patches of a set in the order of their names; those that lack a file are named in `problems`."""
    names = names_by_part(folder)
    whole = set.intersection(*names)
    for part, present in zip(PATCH_FOLDERS, names, strict=True):
        problems += [f"{folder / part / name}: missing" for name in sorted(set.union(*names) - present)]
    return [PatchPaths(*(folder / part / name for part in PATCH_FOLDERS)) for name in sorted(whole)]


def measure(patch: PatchPaths) -> Measured:
    """Reads a patch and measures it."""
    try:
        # The occluded picture is not needed here, but a list should name no file that training cannot read.
        read_rgb(patch.occluded)
        return Measured(patch, gradient_measure(read_rgb(patch.clean)), float(read_mask(patch.mask).mean()))
    except BadImageError as error:
        return Measured(patch, problem=str(error))


def _has_detail(patch: Measured, options: argparse.Namespace) -> bool:
    return patch.gradient > options.threshold


def _is_kept(patch: Measured, options: argparse.Namespace) -> bool:
    return _has_detail(patch, options) or 0 < options.keep_occluded <= patch.covered


def _list_kept(path: Path, measured: list[Measured], options: argparse.Namespace, problems: list[str]) -> str:
    """Writes the list of a set; returns how many patches each side of the threshold has."""
    kept = [patch for patch in measured if _is_kept(patch, options)]
    above = sum(_has_detail(patch, options) for patch in measured)
    write_list(path, [patch.paths for patch in kept])
    if not kept:
        problems.append(f"{path}: no patch passes; lower --threshold or --keep-occluded")
    return (
        f"{path.stem}: {len(measured)} patches, {above} above the threshold of {options.threshold:g} and "
        f"{len(measured) - above} not above it; {len(kept) - above} of these are kept for their occluder; "
        f"{len(kept)} listed in {path}"
    )


def _table(measured: list[Measured], options: argparse.Namespace) -> str:
    """The measures as CSV, so that another threshold can be judged without measuring again."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["set", "patch", "gradient", "covered", "kept"])
    for patch in measured:
        kept = int(_is_kept(patch, options))
        writer.writerow([patch.set_name, patch.paths.clean.name, f"{patch.gradient:.4f}", f"{patch.covered:.5f}", kept])
    return text.getvalue()


def bins_with_edge(threshold: float, highest: float) -> list[float]:
    """Edges of about sixty equal bins from 0 to `highest`, one of them at the threshold: no bar lies on both sides."""
    width = max(highest, 2 * threshold, 1e-6) / 60
    if threshold > 0:
        width = threshold / max(round(threshold / width), 1)
    return [width * index for index in range(int(max(highest, threshold) / width) + 2)]


def _draw_histogram(path: Path, measured: list[Measured], options: argparse.Namespace) -> None:
    # Imported here, since every worker process imports this module and none of them draws.
    from matplotlib.figure import Figure

    detailed = [patch.gradient for patch in measured if _has_detail(patch, options)]
    rescued = [patch.gradient for patch in measured if _is_kept(patch, options) and not _has_detail(patch, options)]
    dropped = [patch.gradient for patch in measured if not _is_kept(patch, options)]
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
