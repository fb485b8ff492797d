"""Makes a training or test set in the contest's layout.

    python -m data.synthesis OUT --pages DIR --occluders DIR --groups 400 --seed 1
    python -m data.synthesis OUT --groups 40 --seed 1 --long-side 1200        # drawn pages, bundled cut-outs

OUT gets five folders train_data_1 .. train_data_5, each with annotation.txt, gt/, hand/ and head/, and manifest.json,
which tells how the set was made. Its bytes follow from the seed, and not from how many processes share the work.
"""

import importlib
import itertools
import json
import math
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields, replace
from datetime import datetime, timedelta
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from numpy.random import Generator

from configs.schema import parse_dataclass, setting
from data.images import BadImageError, encode_image, read_rgb
from data.masks import contest_mask_image
from data.synthesis import occluders
from data.synthesis.occluders import CUTOUTS, KINDS, SUBSETS, Occluder, OccluderEntry, OccluderLibrary
from data.synthesis.pages import draw_sheet
from data.synthesis.paste import REFERENCE_LONG_SIDE, STYLES, paste
from data.synthesis.printed import WholePictures, print_on
from data.synthesis.scenes import cut_strip, lay_on_desk, photograph
from utils.child import WorkerKilledError, run_parallel
from utils.command import AT_ONCE, DONE, SOME_FAILED, command, parser_of
from utils.files import atomic_path, printable, write_bytes, write_text
from utils.machine import available_cores, progress

MANIFEST = "manifest.json"
FOLDERS = tuple(f"train_data_{number}" for number in range(1, 6))
_QUALITY = 95
_TRIES = 20  # Sources that may be broken one after the other before it is given up
# One clean page: its number, folder and name, and the occluded photos of it, by their numbers in the whole set.
PageJob = tuple[int, str, str, range]


@dataclass(frozen=True)
class SetOptions:
    """What a set is made of: the options of `python -m data.synthesis`."""

    pages: tuple[str, ...] = setting("clean pages; repeatable; without them pages are drawn", ())
    occluders: tuple[str, ...] = setting(
        "cut-outs: RGBA pictures, or pictures with NAME_mask.png, below a folder named after what they show (hand, "
        "finger, head, person or face); repeatable; without them those that come with this program", ())  # fmt: skip
    groups: int = setting("number of occluded photos", 100, 1, 1_000_000)
    seed: int = setting("same seed, same bytes", 0, 0, 2**63)
    long_side: int = setting("longer side of the photos in pixels", REFERENCE_LONG_SIDE, 64, 100_000)
    occlusions_per_page: int = setting("most photos per clean page", 4, 1, 1000)
    style: Literal[*STYLES] = setting(
        "contest: hard edges, no shadows; natural: mostly soft edges, shadows, differing light", "contest")  # fmt: skip
    subset: Literal[*SUBSETS, "all"] = setting(
        "which sources to use: those of heldout never appear in train; a split.csv with the columns file,split beside "
        "or above the sources decides, else a hash of each file's name", "train")  # fmt: skip
    printed_photos: float = setting("probability of pictures or letters printed on a clean page", 0.0, 0, 1)
    printed_people: float = setting("probability of printed photographs of people on a clean page", 0.0, 0, 1)
    desks: float = setting("probability that a page lies on a desk, which shows round some of its sides", 0.0, 0, 1)
    occluded: float = setting("share of the photos that show an occluder; the others have empty masks", 1.0, 0, 1)


class Sources(NamedTuple):
    """The files of the chosen subset; no pages where they are drawn."""

    pages: tuple[Path, ...]
    occluders: tuple[OccluderEntry, ...]


def find_sources(options: SetOptions) -> Sources:
    """The files that the options allow; FileNotFoundError: a folder is missing or empty, or the subset is."""
    cutouts = occluders.find_occluders(options.occluders or (CUTOUTS,))
    found = Sources(tuple(occluders.find_pages(options.pages)), tuple(cutouts))
    if options.subset == "all":
        return found
    chosen = Sources(*(tuple(occluders.split_sources(files)[SUBSETS.index(options.subset)]) for files in found))
    for name, before, after in zip(Sources._fields, found, chosen, strict=True):
        if before and not after:
            message = f"none of the {len(before)} {name} belongs to the subset {options.subset!r}; choose another"
            raise FileNotFoundError(f"{message}, or write a split.csv")
    return chosen


def plan(options: SetOptions) -> list[PageJob]:
    """All jobs: the groups shared out evenly over the pages, the pages over the folders, of which each gets one."""
    count = max(math.ceil(options.groups / options.occlusions_per_page), min(options.groups, len(FOLDERS)))
    (least, more), jobs = divmod(options.groups, count), []
    for number in range(count):
        folder, first = number * len(FOLDERS) // max(count, len(FOLDERS)), number * least + min(number, more)
        taken = datetime(2022, 7, 5, 8, 30) + timedelta(seconds=47 * number)
        photos = range(first, first + least + (number < more))
        jobs.append((number, FOLDERS[folder], f"0_IMG_{taken:%Y%m%d_%H%M%S}_a", photos))
    return jobs


def make_set(options: SetOptions, out: str | Path, workers: int = 1) -> list[str]:
    """Writes a whole set, and returns a message for each source that could not be used.

    Annotation files and manifest come last: a folder without them is an unfinished set. FileExistsError: `out` holds
    something already; FileNotFoundError: sources are missing; BadImageError: hardly any of them can be read.
    """
    out, sources, jobs = Path(out), find_sources(options), plan(options)
    if out.exists() and any(out.iterdir()):
        raise FileExistsError(f"{out}: is not empty; choose another folder, or delete this one first")
    for folder, name in itertools.product({folder for _, folder, *_ in jobs}, ("gt", *KINDS)):
        (out / folder / name).mkdir(parents=True, exist_ok=True)
    made = run_parallel(partial(_make_page, options, sources, out), jobs, workers)
    groups, broken, annotations = [], set(), defaultdict(str)
    told = progress(made, "pages", len(jobs), unit="group")
    for (_, folder, stem, _), (photos, messages) in zip(jobs, told, strict=True):
        groups += photos
        broken.update(messages)
        for photo in photos:
            name = photo["occluded"].removeprefix(f"{folder}/").removesuffix(".jpg")
            annotations[folder] += f"gt/{stem}.jpg {name}.jpg {name}.png\n"
    for folder, text in annotations.items():
        write_text(out / folder / "annotation.txt", text)
    manifest = {"options": asdict(options), "groups": groups, "broken_sources": sorted(broken)}
    write_text(out / MANIFEST, json.dumps(manifest, indent=1, ensure_ascii=False) + "\n")
    return sorted(broken)


# Each process keeps the cut-outs that it has decoded.
_library = lru_cache(maxsize=1)(OccluderLibrary)


def _make_page(options: SetOptions, sources: Sources, out: Path, job: PageJob) -> tuple[list[dict], list[str]]:
    """Writes a clean page and its occluded photos; gives the manifest's entries and messages about bad sources."""
    number, folder, stem, photos = job
    # Desks and printed people have random numbers of their own: a seed gives the same pages and occluders without them.
    words = [options.seed, (*SUBSETS, "all").index(options.subset), number]
    seeds = [np.random.SeedSequence(words, spawn_key=stream) for stream in ((), (1,), (2,))]
    rng, *more = map(np.random.default_rng, seeds)
    # The photo becomes a JPEG file anyway; twice would be once too often.
    style, library, broken = replace(STYLES[options.style], jpeg_probability=0.0), _library(sources.occluders), []
    page, page_source = _clean_page(options, sources, number, broken, rng, *more)
    path, clean_bytes = out / folder / "gt" / f"{stem}.jpg", encode_image(page, ".jpg", _QUALITY)
    write_bytes(path, clean_bytes)
    clean, known, used = read_rgb(path), defaultdict(list), []

    def choose(rng: Generator, kind: str) -> Occluder:
        # A contest page shows the same cut-out again and again.
        if known[kind] and rng.random() < 0.5:
            occluder = known[kind][int(rng.integers(len(known[kind])))]
        else:
            _, occluder = _first_whole("cut-outs", partial(library, rng), itertools.repeat(kind), broken)
            known[kind].append(occluder)
        used.append(occluder.source)
        return occluder

    groups, counts, share = [], Counter(), options.occluded
    for photo in photos:
        kind = "head" if rng.random() < style.head_probability else "hand"
        name = f"{folder}/{kind}/{stem}_0_{counts[kind]:03d}"
        counts[kind] += 1
        used.clear()
        content, mask = clean_bytes, np.zeros(clean.shape[:2], np.uint8)
        # Every other photo where the share is a half; 0.1 x 10 has to count as 1 whatever the rounding.
        if math.floor((photo + 1) * share + 1e-9) > math.floor(photo * share + 1e-9):
            occluded, mask = paste(clean, choose, rng, style, kind=kind)
            content = encode_image(occluded, ".jpg", _QUALITY)
        write_bytes(out / f"{name}.jpg", content)
        with atomic_path(out / f"{name}.png") as temporary:
            contest_mask_image(mask).save(temporary, "PNG", compress_level=6)
        groups.append({"occluded": f"{name}.jpg", "page": page_source, "occluders": list(used),
                       "covered": round(float(mask.mean()), 5)})  # fmt: skip
    return groups, broken


def _clean_page(options: SetOptions, sources: Sources, number: int, broken: list[str], rng: Generator,
                desk_rng: Generator, people_rng: Generator) -> tuple[np.ndarray, str]:  # fmt: skip
    """The clean photo of the page `number`, RGB uint8 height x width x 3, and the name of its source."""
    long_side, people = options.long_side, people_rng.random() < options.printed_people
    print_it, on_desk = rng.random() < options.printed_photos, desk_rng.random() < options.desks
    if sources.pages:
        # Every page once, then all of them again; in place of a broken one any other.
        turn, place = divmod(number, len(sources.pages))
        order = np.random.default_rng([options.seed, turn]).permutation(len(sources.pages))
        others = (rng.integers(len(sources.pages)) for _ in itertools.count())
        paths = (sources.pages[index] for index in itertools.chain([order[place]], others))
        source, page = _first_whole("pages", read_rgb, paths, broken)
    else:
        size = (round(long_side * rng.uniform(0.7, 0.78)), long_side)
        sheet = draw_sheet(rng, *(size if rng.random() < 0.8 else size[::-1]))
        page, source = np.array(sheet.image), "drawn page"
    if print_it:
        page = print_on(page, WholePictures(sources.occluders), rng)
    if people:
        # Cut first: what is cut off a strip afterwards would take printed people along.
        pictures = WholePictures(sources.occluders, hands=_library(sources.occluders))
        page = print_on(cut_strip(page, rng), pictures, people_rng, pictures_alone=True)
    page = photograph(page, rng, long_side)
    return lay_on_desk(page, desk_rng) if on_desk else page, str(source)


def _first_whole(what: str, read: Callable, sources: Iterator, broken: list[str]) -> tuple[Any, Any]:
    """The first source that `read` can read, and what it gives; what is wrong with others is added to `broken`."""
    for source in itertools.islice(sources, _TRIES):
        try:
            return source, read(source)
        except BadImageError as error:
            broken.append(str(error))
    raise BadImageError(f"{_TRIES} {what} in a row are broken, the last one: {broken[-1]}")


@command(ValueError, WorkerKilledError, stopped="stopped: the set is not whole; delete it and run again")
def main(arguments: Sequence[str] | None = None) -> int:
    parser = parser_of(__doc__, "python -m data.synthesis")
    parser.add_argument("out", type=Path, metavar="OUT", help="folder of the new set")
    for option in fields(SetOptions):
        flag, default, meaning = f"--{option.name.replace('_', '-')}", option.default, option.metadata["explanation"]
        if default == ():
            parser.add_argument(flag, action="append", default=[], metavar="DIR", help=meaning)
        else:
            told, choices = f"{meaning} (default %(default)s)", get_args(option.type) or None
            parser.add_argument(flag, type=type(default), default=default, choices=choices, help=told)
    parser.add_argument("--workers", type=AT_ONCE, default=available_cores(), help="processes (default: all cores)")
    given = vars(parser.parse_args(arguments))
    out, workers = given.pop("out"), given.pop("workers")
    folders = {key: tuple(given.pop(key)) for key in ("pages", "occluders")}
    options = replace(parse_dataclass(SetOptions, given), **folders)
    broken = make_set(options, out, workers)
    print(f"{out}: {options.groups} groups")
    for message in broken:
        print(f"broken source, another one was taken: {printable(message)}", file=sys.stderr)
    return SOME_FAILED if broken else DONE


if __name__ == "__main__":
    # Workers import what they run, and find nothing under the name `__main__` that a package's command has.
    raise SystemExit(importlib.import_module("data.synthesis.__main__").main())
