"""Cuts the contest's pictures into patches around their occluders.

    python data_preparation.py CONTEST OUT                 # OUT/train and OUT/val, divided by page
    python data_preparation.py CONTEST OUT --all           # OUT/all, everything for the last phase of training
    python data_preparation.py CONTEST OUT --size 1024 --downscale 2 --center union --workers 8

Writes OUT/SET/{gt,occluded,mask}/NAME.png, lossless, and the whole pages of each set as OUT/SET_pages.txt. A second
run skips what is done, and what OUT/train and OUT/val hold, cut with the same settings, becomes part of OUT/all by hard
links, without cutting it again. A file that is broken or missing is named, counted and left out; the exit code is then
1.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, groupby
from pathlib import Path

import numpy as np
from tqdm import tqdm

from data.contest.crops import CENTERS, crop_boxes, shrink_mask, take
from data.contest.lists import Group, ListError, PatchPaths, read_contest, split_by_page, write_list
from data.contest.patch_files import (
    ALL_DATA,
    DIVIDED_DATA,
    RecordError,
    finished,
    name_groups,
    patches_of,
    read_record,
    share_patches,
    write_entry,
)
from data.images import BadImageError, read_rgb, write_image
from data.masks import read_mask, write_mask
from utils.machine import available_cores
from utils.parallel import WorkerKilledError, run_parallel

SETS = {ALL_DATA: ("all",), DIVIDED_DATA: ("train", "val")}


@dataclass(frozen=True)
class Cutting:
    """How patches are cut: side in pixels, whole factor by which pictures are reduced first, where boxes centre."""

    size: int
    downscale: int
    center: str


@dataclass(frozen=True)
class Picture:
    """One occluded picture to cut: `name` starts the names of its patches in `folder`/{gt,occluded,mask}."""

    group: Group
    name: str
    folder: Path


@dataclass(frozen=True)
class Outcome:
    """What became of one picture: the number of its patches, or why there are none."""

    picture: Picture
    patches: int = 0
    covered: bool = True
    taken_over: bool = False
    problem: str | None = None


class OtherSettingsError(ValueError):
    """The folder holds patches that were cut otherwise."""


def main(arguments: list[str] | None = None) -> int:
    options = parse(arguments)
    try:
        problems = prepare(options)
    except (ListError, OtherSettingsError, WorkerKilledError) as error:
        sys.exit(f"data_preparation.py: {error}")
    except KeyboardInterrupt:
        sys.exit("data_preparation.py: stopped; run it again to go on with what is missing")
    for problem in problems:
        print(f"left out: {problem}", file=sys.stderr)
    if problems:
        print(f"{len(problems)} problems, each named above; mend them and run again", file=sys.stderr)
    return 1 if problems else 0


def prepare(options: argparse.Namespace) -> list[str]:
    """Cuts what is not cut yet, writes the lists of pages, and returns what was wrong, in words."""
    problems: list[str] = []
    groups = read_contest(options.contest, problems)
    sets, names = divide(groups, options), name_groups(groups)
    open_record(options, sets)
    pictures = [
        Picture(group, names[group.occluded], options.out / name) for name, of_set in sets.items() for group in of_set
    ]
    done = {name: finished(options.out / name) for name in sets}
    outcomes = [Outcome(picture, patches=done[picture.folder.name].get(picture.name, 0)) for picture in pictures]
    waiting = [outcome.picture for outcome in outcomes if not outcome.patches]
    outcomes = [outcome for outcome in outcomes if outcome.patches]
    elsewhere = {} if options.overwrite else finished_elsewhere(options)
    with tqdm(total=len(pictures), initial=len(outcomes), unit="picture", desc="cutting") as bar:
        shared = (take_over(picture, *elsewhere[picture.name]) for picture in waiting if picture.name in elsewhere)
        cut = cut_all([picture for picture in waiting if picture.name not in elsewhere], options)
        for outcome in chain(shared, cut):
            outcomes.append(outcome)
            bar.update()
    problems += [outcome.problem for outcome in outcomes if outcome.problem]
    # As the annotations have them, however many runs it took.
    position = {picture.name: number for number, picture in enumerate(pictures)}
    outcomes.sort(key=lambda outcome: position[outcome.picture.name])
    for name in sets:
        of_set = [outcome for outcome in outcomes if outcome.picture.folder.name == name]
        list_pages(options.out / f"{name}_pages.txt", of_set)
        print(summary(name, of_set, skipped=sum(picture.name in done[name] for picture in pictures)))
    return problems


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("contest", type=Path, help="folder with train_data_1, train_data_2, ..., or one of them")
    parser.add_argument("out", type=Path, help="folder for the patches")
    parser.add_argument("--size", type=int, default=1024, help="side of a patch in pixels (default %(default)s)")
    parser.add_argument(
        "--downscale", type=int, choices=(1, 2, 4, 8), default=2, help="reduce pictures first (default %(default)s)"
    )
    parser.add_argument(
        "--center", choices=CENTERS, default="union", help="a patch on all blobs or on each (default %(default)s)"
    )
    parser.add_argument("--all", action="store_true", help="no validation: everything into OUT/all")
    parser.add_argument(
        "--held-out", type=float, default=0.1, help="share of pages for validation (default %(default)s)"
    )
    parser.add_argument("--workers", type=int, default=available_cores(), help="processes (default %(default)s)")
    parser.add_argument("--overwrite", action="store_true", help="cut again what is there, also with other settings")
    options = parser.parse_args(arguments)
    if options.size < 1:
        parser.error(f"--size is {options.size}, expected at least 1")
    if not 0 <= options.held_out < 1:
        parser.error(f"--held-out is {options.held_out}, expected at least 0 and below 1")
    return options


def divide(groups: list[Group], options: argparse.Namespace) -> dict[str, list[Group]]:
    """The groups of each set to write: "all", or "train" and "val"."""
    if options.all:
        return {"all": groups}
    train, validation = split_by_page(groups, options.held_out)
    return {"train": train, "val": validation} if validation else {"train": train}


def open_record(options: argparse.Namespace, sets: dict[str, list[Group]]) -> None:
    """Keeps patches of different settings apart: compares with OUT/preparation.json, then writes it.

    Raises:
        OtherSettingsError: OUT holds patches that were cut otherwise, and --overwrite is not given.
    """
    key, _ = record_keys(options)
    pages = sorted({group.page for group in sets.get("val", [])})
    now = {
        "contest": str(options.contest.resolve()),
        "size": options.size,
        "downscale": options.downscale,
        "center": options.center,
        # A page that moved from one set to the other would stay in both.
        "validation_pages": {"count": len(pages), "digest": hashlib.sha256("\n".join(pages).encode()).hexdigest()[:16]},
    }
    try:
        before = read_record(options.out).get(key, {})
    except RecordError as error:
        raise OtherSettingsError(f"{error}; delete it and use --overwrite") from error
    patches = [patch for name in SETS[key] for patch in patches_of(options.out / name)]
    changed = [f"{name} was {before.get(name, 'not recorded')}" for name in now if before.get(name) != now[name]]
    if patches and changed and not options.overwrite:
        raise OtherSettingsError(
            f"{options.out} holds patches that were cut otherwise ({'; '.join(changed)}); "
            "use --overwrite to cut them again, or another folder"
        )
    if options.overwrite:
        for patch in patches:
            patch.unlink()
    write_entry(options.out, key, now)


def record_keys(options: argparse.Namespace) -> tuple[str, str]:
    """Keys in the record of what this run makes, and of what may lie beside it."""
    return (ALL_DATA, DIVIDED_DATA) if options.all else (DIVIDED_DATA, ALL_DATA)


def finished_elsewhere(options: argparse.Namespace) -> dict[str, tuple[Path, int]]:
    """Pictures that lie beside this run's sets, cut with the same settings: name -> (their set, number of patches)."""
    key, other = record_keys(options)
    record = read_record(options.out)
    mine, theirs = record[key], record.get(other, {})
    if any(mine[setting] != theirs.get(setting) for setting in ("contest", "size", "downscale", "center")):
        return {}
    folders = [options.out / name for name in SETS[other]]
    return {name: (folder, count) for folder in folders for name, count in finished(folder).items()}


def take_over(picture: Picture, folder: Path, count: int) -> Outcome:
    """Shares the patches of a finished picture of another set."""
    share_patches(picture.name, count, folder, picture.folder)
    return Outcome(picture, patches=count, taken_over=True)


def cut_all(pictures: list[Picture], options: argparse.Namespace) -> Iterator[Outcome]:
    """Cuts the pictures page by page, so that a clean page is decoded once for all its occlusions."""
    cutting = Cutting(size=options.size, downscale=options.downscale, center=options.center)
    jobs = [(list(same), cutting) for _, same in groupby(pictures, key=lambda picture: picture.group.clean)]
    for outcomes in run_parallel(cut_page, jobs, options.workers):
        yield from outcomes


def cut_page(job: tuple[list[Picture], Cutting]) -> list[Outcome]:
    """Cuts all occlusions of one clean page."""
    pictures, cutting = job
    outcomes = []
    clean: np.ndarray | None = None
    for picture in pictures:
        try:
            mask = shrink_mask(read_mask(picture.group.mask), cutting.downscale)
            occluded = read_rgb(picture.group.occluded, cutting.downscale)
            clean = read_rgb(picture.group.clean, cutting.downscale) if clean is None else clean
            check_sizes(picture.group, clean, occluded, mask)
        except BadImageError as error:
            outcomes.append(Outcome(picture, problem=f"{picture.group.occluded.name}, since {error}"))
            continue
        boxes = crop_boxes(mask, cutting.size, cutting.center)
        for number, box in enumerate(boxes, start=1):
            file = f"{picture.name}_{number}of{len(boxes)}.png"
            write_image(picture.folder / "gt" / file, take(clean, box), png_level=1)
            write_image(picture.folder / "occluded" / file, take(occluded, box), png_level=1)
            write_mask(picture.folder / "mask" / file, take(mask, box))
        outcomes.append(Outcome(picture, patches=len(boxes), covered=bool(mask.any())))
    return outcomes


def check_sizes(group: Group, clean: np.ndarray, occluded: np.ndarray, mask: np.ndarray) -> None:
    """The three pictures must lie on each other."""
    sizes = {"clean": clean.shape, "occluded": occluded.shape, "mask": mask.shape}
    if len({shape[:2] for shape in sizes.values()}) > 1:
        told = ", ".join(f"{part} {shape[1]}x{shape[0]}" for part, shape in sizes.items())
        raise BadImageError(f"{group.occluded}: clean, occluded and mask differ in size (as reduced: {told})")


def list_pages(path: Path, outcomes: list[Outcome]) -> None:
    """Lists the whole pictures of a set that could be read."""
    groups = [outcome.picture.group for outcome in outcomes if outcome.patches]
    write_list(path, [PatchPaths(group.clean, group.occluded, group.mask) for group in groups])


def summary(name: str, outcomes: list[Outcome], skipped: int) -> str:
    good = [outcome for outcome in outcomes if outcome.patches]
    pages = len({outcome.picture.group.page for outcome in good})
    empty = sum(not outcome.covered for outcome in good)
    shared = sum(outcome.taken_over for outcome in good)
    return (
        f"{name}: {sum(outcome.patches for outcome in good)} patches of {len(good)} pictures of {pages} pages "
        f"({skipped} pictures were done before, {shared} taken over from another set, {empty} have no occluder, "
        f"{len(outcomes) - len(good)} left out)"
    )


if __name__ == "__main__":
    sys.exit(main())
