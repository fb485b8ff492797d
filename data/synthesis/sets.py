"""What a set in the contest's layout is made of.

Makes a set in the contest's layout: the plan of all groups, and the work of one page.

Every page is a job of its own whose randomness comes from (seed, subset, page number) alone, so that the files do
not depend on how many processes share the work.
"""

from __future__ import annotations

import io
import math
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np

from data.images import BadImageError, encode_image, read_rgb
from data.masks import contest_mask_image
from data.photos.jpeg import encode_like
from data.synthesis.occluders import (
    SUBSETS,
    DrawnOccluders,
    Occluder,
    OccluderEntry,
    OccluderLibrary,
    find_occluders,
    find_pages,
    split_sources,
)
from data.synthesis.paste import REFERENCE_LONG_SIDE, STYLES, Chooser, PasteStyle, paste
from data.synthesis.printed import DrawnPictures, PeoplePictures, PictureChooser, WholePictures, print_on, print_people
from data.synthesis.scenes import cut_strip, lay_on_desk, photograph
from utils.files import atomic_path, write_bytes


@dataclass(frozen=True)
class SetOptions:
    """What a set is made of.

    Attributes:
        pages, occluders: folders; empty means drawn ones.
        groups: number of occluded photos, that is, of lines in the annotation files together.
        seed: same seed, same bytes.
        long_side: longer side of the photos in pixels; 0 takes the pages as they are.
        occlusions_per_page: how many occluded photos share one clean page at most.
        style: "contest" or "natural".
        subset: "train", "heldout" or "all" of the sources.
        held_out: fraction of the sources to hold out where no split.csv says it.
        quality: JPEG quality of the clean photos.
        printed_photos: probability that a picture or bold lettering is printed on a clean page.
        printed_people: probability that one to three photographs of people and hands are printed on a clean page.
        desks: probability that a page lies on a desk which shows round some of its sides.
        occluded: share of the photos that show an occluder, spread evenly over the set; the others are their clean
            photo once more, with an empty mask.
    """

    pages: tuple[str, ...] = ()
    occluders: tuple[str, ...] = ()
    groups: int = 100
    seed: int = 0
    long_side: int = REFERENCE_LONG_SIDE
    occlusions_per_page: int = 4
    style: str = "contest"
    subset: str = "train"
    held_out: float = 0.15
    quality: int = 95
    printed_photos: float = 0.0
    printed_people: float = 0.0
    desks: float = 0.0
    occluded: float = 1.0

    def __post_init__(self) -> None:
        checks = {
            "groups": (self.groups >= 1, "at least 1"),
            "seed": (self.seed >= 0, "0 or more"),
            "long_side": (self.long_side == 0 or self.long_side >= 64, "0 or at least 64"),
            "occlusions_per_page": (1 <= self.occlusions_per_page <= 1000, "1 to 1000"),
            "style": (self.style in STYLES, " or ".join(STYLES)),
            "subset": (self.subset in (*SUBSETS, "all"), "train, heldout or all"),
            "held_out": (0 <= self.held_out <= 1, "0 to 1"),
            "quality": (1 <= self.quality <= 100, "1 to 100"),
            "printed_photos": (0 <= self.printed_photos <= 1, "0 to 1"),
            "printed_people": (0 <= self.printed_people <= 1, "0 to 1"),
            "desks": (0 <= self.desks <= 1, "0 to 1"),
            "occluded": (0 <= self.occluded <= 1, "0 to 1"),
        }
        for name, (passed, expected) in checks.items():
            if not passed:
                raise ValueError(f"{name} is {getattr(self, name)!r}, expected {expected}")
        if self.long_side == 0 and not self.pages:
            raise ValueError("long_side is 0, which takes pages as they are, but drawn pages need a size")


FOLDERS = tuple(f"train_data_{number}" for number in range(1, 6))
_FIRST_PHOTO = datetime(2022, 7, 5, 8, 30, 0)
# Drawn occluders are drawn about as large as the contest's photos show them.
_DRAWN_SIDE_PER_LONG_SIDE = 0.35
# A contest page shows the same cut-out again and again.
_SAME_CUTOUT_PROBABILITY = 0.5
# Sources that may be broken one after the other before it is given up.
_TRIES = 20
# Desks and printed people have random numbers of their own, so that a seed gives the same pages and occluders with and
# without them.
_DESK_STREAM = 1
_PEOPLE_STREAM = 2
_JPEG_SUFFIXES = (".jpg", ".jpeg")


@dataclass(frozen=True)
class Sources:
    """The files of the chosen subset; empty where things are drawn."""

    pages: tuple[Path, ...]
    occluders: tuple[OccluderEntry, ...]


@dataclass(frozen=True)
class PageJob:
    """One clean page and the occluded photos of it; `first` is the number of the first of these in the whole set."""

    number: int
    folder: str
    stem: str
    occlusions: int
    first: int


@dataclass
class PageResult:
    """What a job has made.

    Attributes:
        lines: (folder, annotation line) in order.
        groups: entries of the manifest.
        broken: one message for each source file that could not be used.
    """

    lines: list[tuple[str, str]] = field(default_factory=list)
    groups: list[dict[str, object]] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)


def find_sources(options: SetOptions) -> Sources:
    """Lists the files that the options allow.

    Raises:
        FileNotFoundError: a folder is missing or holds nothing, or the subset is empty.
    """
    pages, entries = find_pages(options.pages), find_occluders(options.occluders)
    if options.subset != "all":
        part = SUBSETS.index(options.subset)
        pages_left = split_sources(pages, options.held_out)[part]
        entries_left = split_sources(entries, options.held_out, path_of=lambda entry: entry.path)[part]
        for name, before, after in (("pages", pages, pages_left), ("occluders", entries, entries_left)):
            if before and not after:
                raise FileNotFoundError(
                    f"none of the {len(before)} {name} belongs to the subset {options.subset!r}; "
                    "choose another subset or held-out fraction, or write a split.csv"
                )
        pages, entries = pages_left, entries_left
    return Sources(tuple(pages), tuple(entries))


def plan(options: SetOptions) -> list[PageJob]:
    """All jobs: the groups shared out evenly over the pages, the pages over the folders.

    Every folder gets a page as long as there are five groups; with fewer groups there are fewer folders.
    """
    fewest = -(-options.groups // options.occlusions_per_page)
    count = max(fewest, min(options.groups, len(FOLDERS)))
    jobs: list[PageJob] = []
    for number in range(count):
        taken = _FIRST_PHOTO + timedelta(seconds=47 * number)
        jobs.append(
            PageJob(
                number=number,
                folder=FOLDERS[number * len(FOLDERS) // count if count >= len(FOLDERS) else number],
                stem=f"0_IMG_{taken:%Y%m%d_%H%M%S}_a",
                occlusions=options.groups // count + (number < options.groups % count),
                first=sum(job.occlusions for job in jobs),
            )
        )
    return jobs


class PageMaker:
    """Does the jobs of one process; holds the occluders that it has decoded."""

    def __init__(self, options: SetOptions, sources: Sources, out: Path) -> None:
        self.options, self.sources, self.out = options, sources, out
        # The photo becomes a JPEG file anyway; twice would be once too often.
        self.style: PasteStyle = replace(STYLES[options.style], jpeg_probability=0.0)
        self.choose: Chooser
        self.pictures: PictureChooser
        self.people: PictureChooser
        if sources.occluders:
            self.choose, self.pictures = OccluderLibrary(sources.occluders), WholePictures(sources.occluders)
            self.people = PeoplePictures(sources.occluders, self.choose)
        else:
            long_side = options.long_side or 1500
            self.choose = DrawnOccluders(max(64, round(_DRAWN_SIDE_PER_LONG_SIDE * long_side)))
            self.pictures = self.people = DrawnPictures()

    def __call__(self, job: PageJob) -> PageResult:
        """Writes a clean page and its occluded photos."""
        rng = self._generator(job)
        result = PageResult()
        clean_name = f"gt/{job.stem}.jpg"
        clean_path = self.out / job.folder / clean_name
        page_source = self._write_clean(job, clean_path, rng, result)
        clean_bytes = clean_path.read_bytes()
        clean = read_rgb(clean_path)
        counts = {"hand": 0, "head": 0}
        choose = _CutoutsOfOnePage(self.choose, result.broken)
        for photo in range(job.first, job.first + job.occlusions):
            kind = "head" if rng.random() < self.style.head_probability else "hand"
            name = f"{kind}/{job.stem}_0_{counts[kind]:03d}"
            counts[kind] += 1
            choose.used = []
            content, mask = clean_bytes, np.zeros(clean.shape[:2], np.uint8)
            if self._is_occluded(photo):
                occluded, mask = paste(clean, choose, rng, self.style, kind=kind)
                content = encode_like(clean_bytes, clean_name, occluded, self.options.quality)
            folder = self.out / job.folder
            write_bytes(folder / f"{name}.jpg", content)
            write_bytes(folder / f"{name}.png", _mask_bytes(mask))
            result.lines.append((job.folder, f"{clean_name} {name}.jpg {name}.png"))
            area = round(float(mask.mean()), 5)
            group = {"occluded": f"{job.folder}/{name}.jpg", "page": page_source, "occluders": choose.used}
            result.groups.append({**group, "covered": area})
        return result

    def _is_occluded(self, photo: int) -> bool:
        """Whether this photo of the set shows an occluder: every other one where the share is a half."""
        share = self.options.occluded
        # 0.1 x 10 has to count as 1 whatever the rounding.
        return math.floor((photo + 1) * share + 1e-9) > math.floor(photo * share + 1e-9)

    def _write_clean(self, job: PageJob, path: Path, rng: np.random.Generator, result: PageResult) -> str:
        """Writes the clean photo and returns the name of its source."""
        long_side, print_it = self.options.long_side, rng.random() < self.options.printed_photos
        desk_rng = self._generator(job, _DESK_STREAM)
        on_desk = desk_rng.random() < self.options.desks
        people_rng = self._generator(job, _PEOPLE_STREAM)
        people = people_rng.random() < self.options.printed_people
        if not self.sources.pages:
            from data.drawing.pages import draw_page

            short_side = round(long_side * rng.uniform(0.7, 0.78))
            width, height = (short_side, long_side) if rng.random() < 0.8 else (long_side, short_side)
            page, source = draw_page(rng, width, height), "drawn page"
            page = print_on(page, self.pictures, rng) if print_it else page
            page = print_people(page, self.people, people_rng) if people else page
        else:
            page, page_path = self._read_page(job, rng, result)
            source = str(page_path)
            if long_side == 0 and not (print_it or people or on_desk) and page_path.suffix.lower() in _JPEG_SUFFIXES:
                with atomic_path(path) as temporary:
                    shutil.copyfile(page_path, temporary)
                return source
            page = print_on(page, self.pictures, rng) if print_it else page
            if people:
                # Cut first: what is cut off a strip afterwards would take printed people along.
                page = cut_strip(page, rng) if long_side else page
                page = print_people(page, self.people, people_rng)
            page = photograph(page, rng, long_side) if long_side else page
        page = lay_on_desk(page, desk_rng) if on_desk else page
        write_bytes(path, encode_image(page, ".jpg", quality=self.options.quality))
        return source

    def _generator(self, job: PageJob, *stream: int) -> np.random.Generator:
        subset = (*SUBSETS, "all").index(self.options.subset)
        words = [self.options.seed, subset, job.number]
        return np.random.default_rng(np.random.SeedSequence(words, spawn_key=stream))

    def _read_page(
        self, job: PageJob, rng: np.random.Generator, result: PageResult
    ) -> tuple[np.ndarray, Path]:
        """The page of this job: every page once, then all of them again; a broken one is replaced by another."""
        pages = self.sources.pages
        order = np.random.default_rng([self.options.seed, job.number // len(pages)]).permutation(len(pages))
        path = pages[int(order[job.number % len(pages)])]
        for _ in range(_TRIES):
            try:
                return read_rgb(path), path
            except BadImageError as error:
                result.broken.append(str(error))
                path = pages[int(rng.integers(len(pages)))]
        raise BadImageError(f"{_TRIES} pages in a row are broken, the last one: {result.broken[-1]}")


class _CutoutsOfOnePage:
    """A chooser that often takes a cut-out again which it has taken for this page before.

    A broken cut-out is noted in `broken`, and another one is taken.
    """

    def __init__(self, choose: Chooser, broken: list[str]) -> None:
        self.choose, self.broken = choose, broken
        self.known: dict[str, list[Occluder]] = {"hand": [], "head": []}
        self.used: list[str] = []

    def __call__(self, rng: np.random.Generator, kind: str) -> Occluder:
        known = self.known[kind]
        if known and rng.random() < _SAME_CUTOUT_PROBABILITY:
            occluder = known[int(rng.integers(len(known)))]
        else:
            occluder = self._whole_one(rng, kind)
            known.append(occluder)
        self.used.append(occluder.source)
        return occluder

    def _whole_one(self, rng: np.random.Generator, kind: str) -> Occluder:
        for _ in range(_TRIES):
            try:
                return self.choose(rng, kind)
            except BadImageError as error:
                self.broken.append(str(error))
        raise BadImageError(f"{_TRIES} cut-outs in a row are broken, the last one: {self.broken[-1]}")


def _mask_bytes(mask: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    contest_mask_image(mask).save(buffer, "PNG", compress_level=6)
    return buffer.getvalue()


def annotations(results: Sequence[PageResult]) -> dict[str, str]:
    """The text of each folder's annotation.txt."""
    texts: dict[str, str] = {}
    for result in results:
        for folder, line in result.lines:
            texts[folder] = texts.get(folder, "") + line + "\n"
    return texts
