"""Cuts the contest's pictures into patches around their occluders: the work of data_preparation.py.

Each patch is a trio SET/{gt,occluded,mask}/NAME_1of2.png, lossless. What is done is found by its names, so that a
second run cuts only what is missing; patches that lie in another set of the same folder become part of this one.
OUT/preparation.json tells how they were cut, and configs are compared with it.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shutil
from collections import Counter
from collections.abc import Iterable
from itertools import count, groupby, product
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from configs.parsing import ConfigError
from configs.schema import DataConfig
from data.contest.lists import PATCH_FOLDERS, Group, PatchPaths, read_contest, split_by_page, write_list
from data.images import BadImageError, read_rgb, write_image
from data.masks import blobs, read_mask, write_mask
from utils.child import run_parallel
from utils.files import atomic_path, remove_leftovers, write_text
from utils.machine import progress

RECORD_NAME = "preparation.json"
# One folder may hold the full-data set beside training and validation; each has an entry of its own in the record.
ALL_DATA, DIVIDED_DATA = "all", "train and val"
# The sets of each entry.
SETS = {ALL_DATA: ("all",), DIVIDED_DATA: ("train", "val")}
# A blob below this share of the largest one (a sliver, a second finger's tip) does not move a crop.
LARGE_BLOB = 0.05
# Grey levels by which an occluder differs from the page, and the share of a picture that may do so beside it.
UNLIKE, SAME_PAGE = 24, 0.005


class Picture(NamedTuple):
    """An occluded picture, whose patches are `folder`/{gt,occluded,mask}/`name`_1of2.png."""

    group: Group
    name: str
    folder: Path


def prepare(options: argparse.Namespace) -> tuple[list[str], list[str]]:
    """Cuts what is not cut yet, and lists the whole pages of each set; returns a line for each set, and all problems.

    `options` are those of data_preparation.py. ListError: no contest data, or too few pages to divide. ConfigError:
    `out` holds patches that were cut otherwise, and `overwrite` is not set; or a broken record.
    """
    problems: list[str] = []
    groups = read_contest(options.contest, problems)
    key = ALL_DATA if options.all else DIVIDED_DATA
    parts = [groups] if options.all else split_by_page(groups, options.held_out)
    sets = {name: of_set for name, of_set in zip(SETS[key], parts, strict=True) if of_set}
    elsewhere = _open_record(options, key, sorted({group.page for group in sets.get("val", [])}))
    names, folders = name_groups(groups), [options.out / name for name in sets]
    pictures = [Picture(one, names[one.occluded], options.out / name) for name in sets for one in sets[name]]
    before = finished(*folders)
    waiting = [picture for picture in pictures if picture.name not in before]
    # Page by page, so that a clean page is decoded once for all its occlusions; every N-th page where N share the work.
    part, shards = options.shard
    number_of = {page: number for number, page in enumerate(dict.fromkeys(group.clean for group in groups), start=1)}
    to_cut = [picture for picture in waiting
              if picture.name not in elsewhere and number_of[picture.group.clean] % shards == part % shards]
    jobs = [(list(same), options) for _, same in groupby(to_cut, key=lambda picture: picture.group.clean)]
    remove_leftovers(options.out)
    shared = [picture for picture in waiting if picture.name in elsewhere]
    for picture in shared:
        share_patches(picture.name, *elsewhere[picture.name], picture.folder)
    work = run_parallel(cut_page, jobs, options.workers)
    for told in progress(work, total=len(jobs), unit="page", desc="cutting", disable=not jobs):
        problems += told
    now = finished(*folders)
    summaries = []
    for folder in folders:
        of_set = [picture for picture in pictures if picture.folder == folder]
        whole = [picture for picture in of_set if picture.name in now]
        pages = [PatchPaths(one.group.clean, one.group.occluded, one.group.mask) for one in whole]
        write_list(options.out / f"{folder.name}_pages.txt", pages)
        patches, of_pages = sum(now[one.name][0] for one in whole), len({one.group.page for one in whole})
        kept, taken = sum(one.name in before for one in of_set), sum(one.folder == folder for one in shared)
        left_out = sum(one.folder == folder and one.name not in now for one in to_cut)
        summaries.append(
            f"{folder.name}: {patches} patches of {len(whole)} pictures of {of_pages} pages ({kept} pictures were done "
            f"before, {taken} taken over from another set, {left_out} left out)"
        )
    others = sum(picture.name not in now for picture in set(pictures) - set(to_cut))
    return summaries + [f"{others} pictures are for other parts than {part}/{shards}"] * (others > 0), problems


def name_groups(groups: Iterable[Group]) -> dict[Path, str]:
    """Gives every occluded picture a name that no other has, also where folders hold equal names.

    Names follow from all groups in the order of the annotations, not from what exists or how they are divided: every
    run finds the same ones, and so does one with --all.
    """
    names: dict[Path, str] = {}
    taken: set[str] = set()
    for group in groups:
        words = "_".join(word for word in (group.folder, group.kind, group.occluded.stem) if word)
        # A blank in a name would make the lines of a list ambiguous. Also ~2 may be the end of another picture's own.
        base = re.sub(r"\s", "_", words)
        tries = (base if number == 1 else f"{base}~{number}" for number in count(1))
        # Some file systems take A and a for one.
        names[group.occluded] = name = next(each for each in tries if each.lower() not in taken)
        taken.add(name.lower())
    return names


def names_by_part(folder: Path) -> list[set[str]]:
    """The names of a set's patch files, one set of names for each of `PATCH_FOLDERS`; half-written ones are hidden."""
    return [{path.name for path in (folder / part).glob("*.png") if path.name[0] != "."} for part in PATCH_FOLDERS]


def finished(*folders: Path) -> dict[str, tuple[int, Path]]:
    """Pictures whose patches are all there: name -> (number of patches, their set). A patch's name ends in _1of2."""
    done: dict[str, tuple[int, Path]] = {}
    for folder in folders:
        matches = [re.fullmatch(r"(.+)_\d+of(\d+)\.png", name) for name in set.intersection(*names_by_part(folder))]
        found = Counter((match[1], int(match[2])) for match in matches if match)
        done |= {name: (total, folder) for (name, total), number in found.items() if number == total}
    return done


def share_patches(name: str, total: int, source: Path, target: Path) -> None:
    """Makes the `total` patches of the picture `name` of one set part of another, as hard links or else as copies."""
    for part, number in product(PATCH_FOLDERS, range(1, total + 1)):
        file = Path(part, f"{name}_{number}of{total}.png")
        path = target / file
        path.parent.mkdir(parents=True, exist_ok=True)
        # A link appears whole or not at all, but never in the place of a file.
        path.unlink(missing_ok=True)
        try:
            os.link(source / file, path)
        except OSError:
            with atomic_path(path) as temporary:
                shutil.copyfile(source / file, temporary)


def _open_record(options: argparse.Namespace, key: str, validation_pages: list[str]) -> dict[str, tuple[int, Path]]:
    """Keeps patches of different settings apart: compares with OUT/preparation.json, then writes it.

    Returns the pictures that lie in the sets of the other entry, cut alike, as `finished` does.
    """
    alike = {"contest": str(options.contest.resolve()), "size": options.size, "downscale": options.downscale}
    # A page that moved from one set to the other would stay in both.
    digest = hashlib.sha256("\n".join(validation_pages).encode("utf-8", "surrogateescape")).hexdigest()[:16]
    now = {**alike, "validation_pages": {"count": len(validation_pages), "digest": digest}}
    record = read_record(options.out)
    before = record.get(key, {})
    patches = [patch for name in SETS[key] for patch in (options.out / name).glob("*/[!.]*.png")]
    changed = [f"{name} was {before.get(name, 'not recorded')}" for name in now if before.get(name) != now[name]]
    if patches and changed and not options.overwrite:
        raise ConfigError(
            f"{options.out} holds patches that were cut otherwise ({'; '.join(changed)}); "
            "use --overwrite to cut them again, or another folder"
        )
    if options.overwrite:
        for patch in patches:
            patch.unlink()
    write_text(options.out / RECORD_NAME, json.dumps(record | {key: now}, indent=2, ensure_ascii=False) + "\n")
    (other,) = set(SETS) - {key}
    if options.overwrite or any(record.get(other, {}).get(name) != value for name, value in alike.items()):
        return {}
    return finished(*(options.out / name for name in SETS[other]))


def read_record(folder: Path) -> dict[str, dict[str, Any]]:
    """The entries (`ALL_DATA`, `DIVIDED_DATA`), each with "size" and "downscale" at least; {} without a file.

    ConfigError: another file of that name.
    """
    path = folder / RECORD_NAME
    if not path.is_file():
        return {}
    try:
        record = json.loads(path.read_text("utf-8", "surrogateescape"))
        for entry in record.values():
            int(entry["size"]), int(entry["downscale"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(f"{path} is not the record of data_preparation.py ({error!r}); delete it and use --overwrite"
                          ) from error
    return record


def check_preparation(data: DataConfig) -> None:
    """`ConfigError` where `crop` or `downscale` differs from the record beside the list of patches, if there is one.

    A network that is used at another scale than it was trained at fails without a word.
    """
    train_list = Path(data.train_list)
    entry = read_record(train_list.parent).get(ALL_DATA if train_list.stem == ALL_DATA else DIVIDED_DATA, {})
    for key, recorded in (("crop", "size"), ("downscale", "downscale")):
        said = getattr(data, key)
        if said != entry.get(recorded, said):
            raise ConfigError(f"data.{key}: {said}, but the patches of {train_list} were cut with {entry[recorded]} "
                              f"({train_list.with_name(RECORD_NAME)})")


def cut_page(job: tuple[list[Picture], argparse.Namespace]) -> list[str]:
    """Cuts all occlusions of one clean page; the job is (pictures, command line). Returns why some cannot be cut."""
    pictures, options = job
    problems: list[str] = []
    clean: np.ndarray | None = None
    for group, name, folder in pictures:
        try:
            mask = shrink_mask(read_mask(group.mask), options.downscale)
            occluded = read_rgb(group.occluded, options.downscale)
            clean = read_rgb(group.clean, options.downscale) if clean is None else clean
            check_group(group, clean, occluded, mask)
        except BadImageError as error:
            problems.append(f"{group.occluded.name}, since {error}")
            continue
        corners = crop_corners(mask, options.size)
        for number, corner in enumerate(corners, start=1):
            file = f"{name}_{number}of{len(corners)}.png"
            write_image(folder / "gt" / file, take(clean, *corner, options.size), png_level=1)
            write_image(folder / "occluded" / file, take(occluded, *corner, options.size), png_level=1)
            write_mask(folder / "mask" / file, take(mask, *corner, options.size))
    return problems


def check_group(group: Group, clean: np.ndarray, occluded: np.ndarray, mask: np.ndarray) -> None:
    """`BadImageError` where the three are of different sizes, or the mask is not where the two pictures differ.

    A mask that is inverted, turned or another picture's looks like any other. RGB uint8 [H, W, 3], mask 0/1 [H, W].
    """
    parts = {group.clean: clean, group.occluded: occluded, group.mask: mask}
    if len({array.shape[:2] for array in parts.values()}) > 1:
        told = ", ".join(f"{path} {array.shape[1]}x{array.shape[0]}" for path, array in parts.items())
        raise BadImageError(f"clean, occluded and mask differ in size (as reduced: {told})")
    greys = (cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) for picture in (clean, occluded))
    differs, marked = cv2.absdiff(*greys) > UNLIKE, mask > 0
    # Nothing marked is wrong where anything differs, all of it unless most of it does.
    inside, outside = (float(differs[part].mean()) if part.any() else default
                       for part, default in ((marked, 0.0), (~marked, 0.5)))
    if inside < outside > SAME_PAGE:
        raise BadImageError(f"{group.mask}: marks {mask.mean():.1%} of the picture, of which {inside:.1%} differ from "
                            f"the clean page, and of the rest {outside:.1%}; is it inverted, turned or another's?")


def crop_corners(mask: np.ndarray, size: int) -> list[tuple[int, int]]:
    """Where squares of `size` around the occluders of a picture begin, as (left, top); its middle where there is none.

    One square is centred on all large blobs together, or, where these do not fit into one, there is one on each. They
    lie inside the picture unless that is smaller; same ones are given once. `mask`: height x width, 0 is free.
    """
    whole = mask.shape[::-1]
    found = blobs((mask != 0).astype(np.uint8)) or [(0, 0, *whole, 1)]
    large = np.array([blob[:4] for blob in found if blob[4] >= LARGE_BLOB * found[0][4]])
    start, end = large[:, :2].min(axis=0), (large[:, :2] + large[:, 2:]).max(axis=0)
    if (end - start).max() <= size:
        large = np.array([[*start, *(end - start)]])
    centred = large[:, :2] + (large[:, 2:] - size) // 2
    room = np.array(whole) - size
    inside = np.where(room > 0, np.clip(centred, 0, np.maximum(room, 0)), room // 2)
    return list(dict.fromkeys(map(tuple, inside.tolist())))


def take(image: np.ndarray, left: int, top: int, size: int) -> np.ndarray:
    """A copy of a square of an image of height x width (x channels); what lies beyond the edges is its reflection."""
    inside = image[max(top, 0) : top + size, max(left, 0) : left + size]
    beyond = [(max(-start, 0), max(start + size - length, 0))
              for start, length in zip((top, left), image.shape[:2], strict=True)]
    return np.pad(inside, beyond + [(0, 0)] * (image.ndim - 2), mode="reflect")


def shrink_mask(mask: np.ndarray, factor: int) -> np.ndarray:
    """Reduces a 0/1 mask by a whole factor; sides round up, as those of a JPEG decoded at reduced size do.

    A pixel of the result is 1 where any of the pixels it stands for is: each of them coloured it.
    """
    reached = cv2.dilate(mask, np.ones((factor, factor), np.uint8), anchor=(0, 0))
    return reached[::factor, ::factor].copy()
