"""Cuts the contest's pictures into patches around their occluders: the work of data_preparation.py.

Each patch is a trio SET/{gt,occluded,mask}/NAME_1of2.png, lossless. What is done is found by its names, so that a
second run cuts only what is missing; patches that lie in another set of the same folder become part of this one.
"""

from __future__ import annotations

import argparse
import hashlib
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from data.contest import patch_files
from data.contest.lists import Group, PatchPaths, read_contest, split_by_page, write_list
from data.contest.patch_files import ALL_DATA, DIVIDED_DATA, RecordError, finished, name_groups
from data.images import BadImageError, read_rgb, write_image
from data.masks import blobs, read_mask, write_mask
from utils.child import run_parallel
from utils.files import remove_leftovers
from utils.machine import progress

# The sets of each entry of the record.
SETS = {ALL_DATA: ("all",), DIVIDED_DATA: ("train", "val")}
# A blob below this share of the largest one (a sliver, a second finger's tip) does not move a crop.
LARGE_BLOB = 0.05
# Grey levels by which an occluder differs from the page, and the share of a picture that may do so beside it.
UNLIKE, SAME_PAGE = 24, 0.005


class Picture(NamedTuple):
    """An occluded picture, whose patches are `folder`/{gt,occluded,mask}/`name`_1of2.png, and what became of it."""

    group: Group
    name: str
    folder: Path
    patches: int = 0
    covered: bool = True
    problem: str | None = None


class Box(NamedTuple):
    """A rectangle in pixels; it reaches over the picture's edge only where the picture is smaller than the box."""

    left: int
    top: int
    width: int
    height: int


def prepare(options: argparse.Namespace) -> tuple[list[str], list[str]]:
    """Cuts what is not cut yet, and lists the whole pages of each set; returns a line for each set, and all problems.

    `options` are those of data_preparation.py. ListError: no contest data, or too few pages to divide. RecordError:
    `out` holds patches that were cut otherwise, and `overwrite` is not set; or a broken record.
    """
    problems: list[str] = []
    groups = read_contest(options.contest, problems)
    key = ALL_DATA if options.all else DIVIDED_DATA
    parts = [groups] if options.all else split_by_page(groups, options.held_out)
    sets = {name: of_set for name, of_set in zip(SETS[key], parts, strict=True) if of_set}
    elsewhere = _open_record(options, key, sorted({group.page for group in sets.get("val", [])}))
    names = name_groups(groups)
    pictures = [Picture(one, names[one.occluded], options.out / name) for name in sets for one in sets[name]]
    done = {name: count for folder in sets for name, count in finished(options.out / folder).items()}
    waiting = [picture for picture in pictures if picture.name not in done]
    shared = [picture for picture in waiting if picture.name in elsewhere]
    # Page by page, so that a clean page is decoded once for all its occlusions; every N-th page where N share the work.
    part, shards = options.shard
    number_of = {page: number for number, page in enumerate(dict.fromkeys(group.clean for group in groups), start=1)}
    to_cut = [picture for picture in waiting
              if picture.name not in elsewhere and number_of[picture.group.clean] % shards == part % shards]
    jobs = [(list(same), options) for _, same in groupby(to_cut, key=lambda picture: picture.group.clean)]
    outcomes = {picture.name: picture._replace(patches=done[picture.name]) for picture in pictures
                if picture.name in done}
    remove_leftovers(options.out)
    with progress(total=len(pictures), initial=len(outcomes), unit="picture", desc="cutting") as bar:
        for picture in shared:
            folder, count = elsewhere[picture.name]
            patch_files.share_patches(picture.name, count, folder, picture.folder)
            outcomes[picture.name] = picture._replace(patches=count)
            bar.update()
        for cut in run_parallel(cut_page, jobs, options.workers):
            outcomes |= {picture.name: picture for picture in cut}
            bar.update(len(cut))
    if shards > 1:  # What the others have cut meanwhile
        now = {name: count for folder in sets for name, count in finished(options.out / folder).items()}
        outcomes = {one.name: one._replace(patches=now[one.name]) for one in pictures if one.name in now} | outcomes
    # As the annotations have them, however many runs it took.
    ordered = [outcomes[picture.name] for picture in pictures if picture.name in outcomes]
    problems += [picture.problem for picture in ordered if picture.problem]
    summaries = []
    for name in sets:
        of_set = [picture for picture in ordered if picture.folder.name == name]
        whole = [picture for picture in of_set if picture.patches]
        pages = [PatchPaths(one.group.clean, one.group.occluded, one.group.mask) for one in whole]
        write_list(options.out / f"{name}_pages.txt", pages)
        summaries.append(
            f"{name}: {sum(one.patches for one in whole)} patches of {len(whole)} pictures of "
            f"{len({one.group.page for one in whole})} pages ({sum(one.name in done for one in of_set)} pictures were "
            f"done before, {sum(one.folder.name == name for one in shared)} taken over from another set, "
            f"{sum(not one.covered for one in whole)} have no occluder, {len(of_set) - len(whole)} left out)"
        )
    if len(ordered) < len(pictures):
        summaries.append(f"{len(pictures) - len(ordered)} pictures are for other parts than {part}/{shards}")
    return summaries, problems


def _open_record(options: argparse.Namespace, key: str, validation_pages: list[str]) -> dict[str, tuple[Path, int]]:
    """Keeps patches of different settings apart: compares with OUT/preparation.json, then writes it.

    Returns the pictures that lie in the sets of the other entry, cut alike: name -> (their set, number of patches).
    """
    alike = {"contest": str(options.contest.resolve()), "size": options.size, "downscale": options.downscale}
    # A page that moved from one set to the other would stay in both.
    digest = hashlib.sha256("\n".join(validation_pages).encode("utf-8", "surrogateescape")).hexdigest()[:16]
    now = {**alike, "validation_pages": {"count": len(validation_pages), "digest": digest}}
    record = patch_files.read_record(options.out)
    before = record.get(key, {})
    patches = [patch for name in SETS[key] for patch in patch_files.patches_of(options.out / name)]
    changed = [f"{name} was {before.get(name, 'not recorded')}" for name in now if before.get(name) != now[name]]
    if patches and changed and not options.overwrite:
        raise RecordError(
            f"{options.out} holds patches that were cut otherwise ({'; '.join(changed)}); "
            "use --overwrite to cut them again, or another folder"
        )
    if options.overwrite:
        for patch in patches:
            patch.unlink()
    patch_files.write_entry(options.out, key, now)
    (other,) = set(SETS) - {key}
    if options.overwrite or any(record.get(other, {}).get(name) != value for name, value in alike.items()):
        return {}
    folders = [options.out / name for name in SETS[other]]
    return {name: (folder, count) for folder in folders for name, count in finished(folder).items()}


def cut_page(job: tuple[list[Picture], argparse.Namespace]) -> list[Picture]:
    """Cuts all occlusions of one clean page; the job is (pictures, command line)."""
    pictures, options = job
    outcomes = []
    clean: np.ndarray | None = None
    for picture in pictures:
        group = picture.group
        try:
            mask = shrink_mask(read_mask(group.mask), options.downscale)
            occluded = read_rgb(group.occluded, options.downscale)
            clean = read_rgb(group.clean, options.downscale) if clean is None else clean
            check_group(group, clean, occluded, mask)
        except BadImageError as error:
            outcomes.append(picture._replace(problem=f"{group.occluded.name}, since {error}"))
            continue
        boxes = crop_boxes(mask, options.size)
        for number, box in enumerate(boxes, start=1):
            file = f"{picture.name}_{number}of{len(boxes)}.png"
            write_image(picture.folder / "gt" / file, take(clean, box), png_level=1)
            write_image(picture.folder / "occluded" / file, take(occluded, box), png_level=1)
            write_mask(picture.folder / "mask" / file, take(mask, box))
        outcomes.append(picture._replace(patches=len(boxes), covered=bool(mask.any())))
    return outcomes


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


def crop_boxes(mask: np.ndarray, size: int) -> list[Box]:
    """Square boxes of side `size` around the occluders of a picture; its middle where there is none.

    One box is centred on all large blobs together, or, where these do not fit into one, there is one on each. Boxes are
    shifted inside the picture, and boxes that become the same are given once. `mask`: height x width, 0 is free.
    """
    height, width = mask.shape
    found = blobs((mask != 0).astype(np.uint8)) or [(0, 0, width, height, 1)]
    large = np.array([blob[:4] for blob in found if blob[4] >= LARGE_BLOB * found[0][4]])
    start, end = large[:, :2].min(axis=0), (large[:, :2] + large[:, 2:]).max(axis=0)
    if (end - start).max() <= size:
        large = np.array([[*start, *(end - start)]])
    boxes = [
        Box(_start(left, across, size, width), _start(top, down, size, height), size, size)
        for left, top, across, down in large.tolist()
    ]
    return list(dict.fromkeys(boxes))


def _start(start: int, length: int, size: int, whole: int) -> int:
    """Where a span of `size` begins that is centred on start..start+length and lies within 0..whole if it can."""
    if whole <= size:
        return (whole - size) // 2
    return min(max(start + (length - size) // 2, 0), whole - size)


def take(image: np.ndarray, box: Box) -> np.ndarray:
    """A copy of `box` of an image of height x width (x channels); what lies beyond the edges is its reflection."""
    height, width = image.shape[:2]
    inside = image[max(box.top, 0) : box.top + box.height, max(box.left, 0) : box.left + box.width]
    above_below = (max(-box.top, 0), max(box.top + box.height - height, 0))
    beside = (max(-box.left, 0), max(box.left + box.width - width, 0))
    return np.pad(inside, [above_below, beside, *[(0, 0)] * (image.ndim - 2)], mode="reflect")


def shrink_mask(mask: np.ndarray, factor: int) -> np.ndarray:
    """Reduces a 0/1 mask by a whole factor; sides round up, as those of a JPEG decoded at reduced size do.

    A pixel of the result is 1 where any of the pixels it stands for is: each of them coloured it.
    """
    reached = cv2.dilate(mask, np.ones((factor, factor), np.uint8), anchor=(0, 0))
    return reached[::factor, ::factor].copy()
