"""Cuts the contest's pictures into patches around their occluders.

    python data_preparation.py CONTEST OUT                 # OUT/train and OUT/val, divided by page
    python data_preparation.py CONTEST OUT --all           # OUT/all, everything for the last phase of training
    python data_preparation.py CONTEST OUT --size 1024 --downscale 2 --workers 8
    python data_preparation.py CONTEST OUT --shard 1/3     # and 2/3 and 3/3, on machines that share OUT

Writes OUT/SET/{gt,occluded,mask}/NAME.png, lossless, and the whole pages of each set as OUT/SET_pages.txt. A second
run skips what is done; what OUT/train and OUT/val hold, cut with the same settings, becomes part of OUT/all by hard
links. OUT/preparation.json tells how they were cut, and configs are compared with it. A file that is broken or missing
is named, counted and left out; the exit code is then 1.
"""

import argparse
import hashlib
import json
import os
import re
import shutil
import sys
from collections import Counter
from collections.abc import Iterable
from itertools import count, groupby, product
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from configs.schema import ConfigError
from data import contest
from data.contest import Group, ListError, names_by_part, read_contest, read_record, split_by_page, write_list
from data.images import BadImageError, read_rgb, write_image
from data.masks import read_mask, write_mask
from utils.child import WorkerKilledError, run_parallel
from utils.command import AT_ONCE, DONE, SOME_FAILED, command, number, parser_of, shard, whole
from utils.files import atomic_path, printable, remove_leftovers, write_text
from utils.machine import available_cores, progress


class Picture(NamedTuple):
    """An occluded picture, whose patches are `folder`/{gt,occluded,mask}/`name`_1of2.png."""

    group: Group
    name: str
    folder: Path


@command(ListError, ConfigError, WorkerKilledError, stopped="stopped; run it again to go on with what is missing")
def main(arguments: list[str] | None = None) -> int:
    parser = parser_of(__doc__)
    add, default = parser.add_argument, " (default %(default)s)"
    add("contest", type=Path, help="folder with train_data_1, train_data_2, ..., or one of them")
    add("out", type=Path, help="folder for the patches")
    add("--size", type=whole(1, 8192), default=1024, help="side of a patch in pixels" + default)
    add("--downscale", type=int, choices=(1, 2, 4, 8), default=2, help="reduce pictures first" + default)
    add("--all", action="store_true", help="no validation: everything into OUT/all")
    add("--held-out", type=number(0, 0.99), default=0.1, help="share of pages for validation" + default)
    add("--shard", type=shard, default=(1, 1), metavar="I/N", help="cut only this part of the pages, 1/N to N/N")
    add("--workers", type=AT_ONCE, default=available_cores(), help="processes" + default)
    add("--overwrite", action="store_true", help="cut again what is there, also with other settings")
    options, problems = parser.parse_args(arguments), []
    if options.overwrite and options.shard[1] > 1:
        parser.error("--overwrite would remove what the other parts have cut; delete the folder instead")
    groups = read_contest(options.contest, problems)
    key = contest.ALL_DATA if options.all else contest.DIVIDED_DATA
    parts = [groups] if options.all else split_by_page(groups, options.held_out)
    sets = {options.out / name: of_set for name, of_set in zip(contest.SETS[key], parts, strict=True) if of_set}
    elsewhere = _open_record(options, key, {group.page for group in sets.get(options.out / "val", [])})
    names, before = name_groups(groups), finished(*sets)
    pictures = [Picture(group, names[group], folder) for folder, of_set in sets.items() for group in of_set]
    waiting = [picture for picture in pictures if picture.name not in before]
    shared = [picture for picture in waiting if picture.name in elsewhere]
    # Page by page, so that a clean page is decoded once for all its occlusions; every N-th page where N share the work.
    part, shards = options.shard
    number_of = {page: number for number, page in enumerate(dict.fromkeys(group.clean for group in groups), start=1)}
    to_cut = [picture for picture in waiting
              if picture.name not in elsewhere and number_of[picture.group.clean] % shards == part % shards]
    jobs = [(list(same), options) for _, same in groupby(to_cut, key=lambda picture: picture.group.clean)]
    remove_leftovers(options.out)
    for picture in shared:
        share_patches(picture.name, *elsewhere[picture.name], picture.folder)
    work = run_parallel(cut_page, jobs, options.workers)
    for told in progress(work, total=len(jobs), unit="page", desc="cutting", disable=not jobs):
        problems += told
    now = finished(*sets)
    for folder in sets:
        done = [picture for picture in pictures if picture.folder == folder and picture.name in now]
        write_list(options.out / f"{folder.name}_pages.txt", [one.group[:3] for one in done])
        patches, pages = sum(now[one.name][0] for one in done), len({one.group.page for one in done})
        print(f"{folder.name}: {patches} patches of {len(done)} pictures of {pages} pages")
    for problem in problems:
        print(f"left out: {printable(problem)}", file=sys.stderr)
    if problems:
        print(f"{len(problems)} problems, each named above; mend them and run again", file=sys.stderr)
    return SOME_FAILED if problems else DONE


def name_groups(groups: Iterable[Group]) -> dict[Group, str]:
    """Gives every occluded picture a name that no other has. It follows from all groups in the annotations' order,
    not from what exists or how they are divided: every run finds the same ones, and so does one with --all."""
    names, taken = {}, set()
    for group in groups:
        folder, *kind = Path(group.name).parts[:-1]
        # A blank in a name would make the lines of a list ambiguous. Also ~2 may be the end of another picture's own.
        base = re.sub(r"\s", "_", "_".join([folder, *kind[:1], group.occluded.stem]))
        tries = (base if number == 1 else f"{base}~{number}" for number in count(1))
        # Some file systems take A and a for one.
        names[group] = name = next(each for each in tries if each.lower() not in taken)
        taken.add(name.lower())
    return names


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
    for part, one in product(contest.PATCH_FOLDERS, range(1, total + 1)):
        file = Path(part, f"{name}_{one}of{total}.png")
        path = target / file
        path.parent.mkdir(parents=True, exist_ok=True)
        # A link appears whole or not at all, but never in the place of a file.
        path.unlink(missing_ok=True)
        try:
            os.link(source / file, path)
        except OSError:
            with atomic_path(path) as temporary:
                shutil.copyfile(source / file, temporary)


def _open_record(options: argparse.Namespace, key: str, validation_pages: set[str]) -> dict[str, tuple[int, Path]]:
    """Keeps patches of different settings apart: compares with OUT/preparation.json, then writes it. Returns the
    pictures that lie in the sets of the other entry, cut alike, as `finished` does."""
    alike = {"contest": str(options.contest.resolve()), "size": options.size, "downscale": options.downscale}
    # A page that moved from one set to the other would stay in both.
    digest = hashlib.sha256("\n".join(sorted(validation_pages)).encode("utf-8", "surrogateescape")).hexdigest()[:16]
    now = {**alike, "validation_pages": {"count": len(validation_pages), "digest": digest}}
    record = read_record(options.out)
    before = record.get(key, {})
    patches = [patch for name in contest.SETS[key] for patch in (options.out / name).glob("*/[!.]*.png")]
    changed = [f"{name} was {before.get(name, 'not recorded')}" for name in now if before.get(name) != now[name]]
    if patches and changed and not options.overwrite:
        raise ConfigError(f"{options.out} holds patches that were cut otherwise ({'; '.join(changed)}); "
                          "use --overwrite to cut them again, or another folder")
    for patch in patches if options.overwrite else ():
        patch.unlink()
    write_text(options.out / contest.RECORD_NAME, json.dumps(record | {key: now}, indent=2, ensure_ascii=False) + "\n")
    (other,) = set(contest.SETS) - {key}
    if options.overwrite or any(record.get(other, {}).get(name) != value for name, value in alike.items()):
        return {}
    return finished(*(options.out / name for name in contest.SETS[other]))


def cut_page(job: tuple[list[Picture], argparse.Namespace]) -> list[str]:
    """Cuts all occlusions of one clean page; the job is (pictures, command line). Returns why some cannot be cut."""
    (pictures, options), problems, clean = job, [], None
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
        for which, corner in enumerate(corners, start=1):
            file = f"{name}_{which}of{len(corners)}.png"
            for part, picture in (("gt", clean), ("occluded", occluded)):
                write_image(folder / part / file, take(picture, *corner, options.size))
            write_mask(folder / "mask" / file, take(mask, *corner, options.size))
    return problems


def check_group(group: Group, clean: np.ndarray, occluded: np.ndarray, mask: np.ndarray) -> None:
    """`BadImageError` where the three (RGB uint8 [H, W, 3], mask 0/1 [H, W]) are of different sizes, or the mask is not
    where the two pictures differ: one that is inverted, turned or another picture's looks like any other."""
    parts = {group.clean: clean, group.occluded: occluded, group.mask: mask}
    if len({array.shape[:2] for array in parts.values()}) > 1:
        told = ", ".join(f"{path} {array.shape[1]}x{array.shape[0]}" for path, array in parts.items())
        raise BadImageError(f"clean, occluded and mask differ in size (as reduced: {told})")
    greys = (cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) for picture in (clean, occluded))
    differs, marked = cv2.absdiff(*greys) > 24, mask > 0  # grey levels
    # Nothing marked is wrong where anything differs (but JPEG's noise), all of it unless most of it does.
    inside, outside = (float(differs[part].mean()) if part.any() else default
                       for part, default in ((marked, 0.0), (~marked, 0.5)))
    if inside < outside > 0.005:
        raise BadImageError(f"{group.mask}: marks {mask.mean():.1%} of the picture, of which {inside:.1%} differ from "
                            f"the clean page, and of the rest {outside:.1%}; is it inverted, turned or another's?")


def crop_corners(mask: np.ndarray, size: int) -> list[tuple[int, int]]:
    """Where squares of `size` around the occluders of a picture begin, as (left, top); its middle where there is none.

    One square is centred on all large blobs together, or, where these do not fit into one, there is one on each. They
    lie inside the picture unless that is smaller; same ones are given once. `mask`: height x width, 0 is free.
    """
    whole = mask.shape[::-1]
    _, _, (_, *blobs), _ = cv2.connectedComponentsWithStats((mask != 0).astype(np.uint8))
    # Left, top, width, height and area, the largest first. A sliver, or a second finger's tip, does not move a crop.
    found = np.array(sorted(blobs, key=lambda blob: (-blob[4], blob[1], blob[0])) or [[0, 0, *whole, 1]])
    large = found[found[:, 4] >= 0.05 * found[0, 4], :4]
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
    """Reduces a 0/1 mask by a whole factor: a pixel is 1 where any of those that it stands for is; sides round up."""
    return cv2.dilate(mask, np.ones((factor, factor), np.uint8), anchor=(0, 0))[::factor, ::factor].copy()


if __name__ == "__main__":
    raise SystemExit(main())
