"""Cuts the contest's pictures into patches around their occluders: the work of data_preparation.py.

Each patch is a trio SET/{gt,occluded,mask}/NAME_1of2.png, lossless. What is done is found by its names, so that a
second run cuts only what is missing; patches that lie in another set of the same folder become part of this one.
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, groupby
from pathlib import Path

import numpy as np
from tqdm import tqdm

from data.contest.crops import crop_boxes, shrink_mask, take
from data.contest.lists import Group, PatchPaths, read_contest, split_by_page, write_list
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
from utils.child import run_parallel

# The sets of each entry of the record, and the other entry whose patches may be shared.
SETS = {ALL_DATA: ("all",), DIVIDED_DATA: ("train", "val")}
_OTHER = {ALL_DATA: DIVIDED_DATA, DIVIDED_DATA: ALL_DATA}


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


def prepare(options: argparse.Namespace) -> tuple[list[str], list[str]]:
    """Cuts what is not cut yet, and lists the whole pages of each set.

    Args:
        options: `contest` and `out` (paths), `size`, `downscale`, `center` (see `crop_boxes`), `held_out` (share of
            the pages for validation), and the flags `all` and `overwrite`; `workers`.

    Returns:
        (a line for each set, what was wrong in words).

    Raises:
        ListError: no contest data, or too few pages to divide.
        OtherSettingsError: `out` holds patches that were cut otherwise, and `overwrite` is not set.
        WorkerKilledError: memory ran out in a worker.
    """
    problems: list[str] = []
    groups = read_contest(options.contest, problems)
    sets, names = _divide(groups, options), name_groups(groups)
    _open_record(options, sets)
    pictures = [
        Picture(group, names[group.occluded], options.out / name) for name, of_set in sets.items() for group in of_set
    ]
    done = {name: finished(options.out / name) for name in sets}
    outcomes = {
        picture.name: Outcome(picture, count)
        for picture in pictures
        if (count := done[picture.folder.name].get(picture.name, 0))
    }
    elsewhere = {} if options.overwrite else _finished_elsewhere(options)
    waiting = [picture for picture in pictures if picture.name not in outcomes]
    with tqdm(total=len(pictures), initial=len(outcomes), unit="picture", desc="cutting") as bar:
        shared = (_take_over(picture, *elsewhere[picture.name]) for picture in waiting if picture.name in elsewhere)
        cut = _cut_all([picture for picture in waiting if picture.name not in elsewhere], options)
        for outcome in chain(shared, cut):
            outcomes[outcome.picture.name] = outcome
            bar.update()
    # As the annotations have them, however many runs it took.
    ordered = [outcomes[picture.name] for picture in pictures]
    problems += [outcome.problem for outcome in ordered if outcome.problem]
    summaries = []
    for name in sets:
        of_set = [outcome for outcome in ordered if outcome.picture.folder.name == name]
        whole = [outcome.picture.group for outcome in of_set if outcome.patches]
        pages = [PatchPaths(group.clean, group.occluded, group.mask) for group in whole]
        write_list(options.out / f"{name}_pages.txt", pages)
        skipped = sum(outcome.picture.name in done[name] for outcome in of_set)
        summaries.append(_summary(name, of_set, skipped))
    return summaries, problems


def _divide(groups: list[Group], options: argparse.Namespace) -> dict[str, list[Group]]:
    if options.all:
        return {"all": groups}
    train, validation = split_by_page(groups, options.held_out)
    return {"train": train, "val": validation} if validation else {"train": train}


def _key(options: argparse.Namespace) -> str:
    return ALL_DATA if options.all else DIVIDED_DATA


def _open_record(options: argparse.Namespace, sets: dict[str, list[Group]]) -> None:
    """Keeps patches of different settings apart: compares with OUT/preparation.json, then writes it."""
    key = _key(options)
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


def _finished_elsewhere(options: argparse.Namespace) -> dict[str, tuple[Path, int]]:
    """Pictures that lie beside this run's sets, cut with the same settings: name -> (their set, number of patches)."""
    key = _key(options)
    record = read_record(options.out)
    mine, theirs = record[key], record.get(_OTHER[key], {})
    if any(mine[setting] != theirs.get(setting) for setting in ("contest", "size", "downscale", "center")):
        return {}
    folders = [options.out / name for name in SETS[_OTHER[key]]]
    return {name: (folder, count) for folder in folders for name, count in finished(folder).items()}


def _take_over(picture: Picture, folder: Path, count: int) -> Outcome:
    share_patches(picture.name, count, folder, picture.folder)
    return Outcome(picture, patches=count, taken_over=True)


def _cut_all(pictures: list[Picture], options: argparse.Namespace) -> Iterator[Outcome]:
    """Page by page, so that a clean page is decoded once for all its occlusions."""
    cut = (options.size, options.downscale, options.center)
    jobs = [(list(same), *cut) for _, same in groupby(pictures, key=lambda picture: picture.group.clean)]
    for outcomes in run_parallel(cut_page, jobs, options.workers):
        yield from outcomes


def cut_page(job: tuple[list[Picture], int, int, str]) -> list[Outcome]:
    """Cuts all occlusions of one clean page; the job is (pictures, size, downscale, center)."""
    pictures, size, downscale, center = job
    outcomes = []
    clean: np.ndarray | None = None
    for picture in pictures:
        try:
            mask = shrink_mask(read_mask(picture.group.mask), downscale)
            occluded = read_rgb(picture.group.occluded, downscale)
            clean = read_rgb(picture.group.clean, downscale) if clean is None else clean
            _check_sizes(picture.group, clean, occluded, mask)
        except BadImageError as error:
            outcomes.append(Outcome(picture, problem=f"{picture.group.occluded.name}, since {error}"))
            continue
        boxes = crop_boxes(mask, size, center)
        for number, box in enumerate(boxes, start=1):
            file = f"{picture.name}_{number}of{len(boxes)}.png"
            write_image(picture.folder / "gt" / file, take(clean, box), png_level=1)
            write_image(picture.folder / "occluded" / file, take(occluded, box), png_level=1)
            write_mask(picture.folder / "mask" / file, take(mask, box))
        outcomes.append(Outcome(picture, patches=len(boxes), covered=bool(mask.any())))
    return outcomes


def _check_sizes(group: Group, clean: np.ndarray, occluded: np.ndarray, mask: np.ndarray) -> None:
    sizes = {"clean": clean.shape, "occluded": occluded.shape, "mask": mask.shape}
    if len({shape[:2] for shape in sizes.values()}) > 1:
        told = ", ".join(f"{part} {shape[1]}x{shape[0]}" for part, shape in sizes.items())
        raise BadImageError(f"{group.occluded}: clean, occluded and mask differ in size (as reduced: {told})")


def _summary(name: str, outcomes: list[Outcome], skipped: int) -> str:
    good = [outcome for outcome in outcomes if outcome.patches]
    pages = len({outcome.picture.group.page for outcome in good})
    empty = sum(not outcome.covered for outcome in good)
    shared = sum(outcome.taken_over for outcome in good)
    return (
        f"{name}: {sum(outcome.patches for outcome in good)} patches of {len(good)} pictures of {pages} pages "
        f"({skipped} pictures were done before, {shared} taken over from another set, {empty} have no occluder, "
        f"{len(outcomes) - len(good)} left out)"
    )
