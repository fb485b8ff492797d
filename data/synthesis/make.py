"""Makes a set in the contest's layout: page by page, over processes, then annotations and manifest.

Every page is a job of its own whose randomness comes from (seed, subset, page number) alone, so that the files do
not depend on how many processes share the work.
"""

from __future__ import annotations

import io
import json
import math
import shutil
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
from tqdm import tqdm

from data.images import BadImageError, encode_image, read_rgb
from data.masks import contest_mask_image
from data.photos.jpeg import encode_like
from data.synthesis.occluders import KINDS, SUBSETS, Occluder, OccluderLibrary
from data.synthesis.pages import draw_page
from data.synthesis.paste import Chooser, paste
from data.synthesis.printed import PeoplePictures, WholePictures, print_on, print_people
from data.synthesis.scenes import cut_strip, lay_on_desk, photograph
from data.synthesis.sets import PageJob, SetOptions, Sources, find_sources, plan
from data.synthesis.styles import STYLES
from utils.child import run_parallel
from utils.files import atomic_path, write_bytes, write_text

MANIFEST = "manifest.json"
_QUALITY = 95
# A contest page shows the same cut-out again and again.
_SAME_CUTOUT_PROBABILITY = 0.5
# Sources that may be broken one after the other before it is given up.
_TRIES = 20
# Desks and printed people have random numbers of their own, so that a seed gives the same pages and occluders with and
# without them.
_DESK_STREAM = 1
_PEOPLE_STREAM = 2
_maker: PageMaker | None = None


@dataclass
class PageResult:
    """What a job has made: (folder, annotation line) in order, entries of the manifest, messages about bad sources."""

    lines: list[tuple[str, str]] = field(default_factory=list)
    groups: list[dict[str, object]] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)


def make_set(options: SetOptions, out: str | Path, workers: int = 1, progress: bool = False) -> list[str]:
    """Writes a whole set; the same options give the same bytes whatever `workers` is.

    Annotation files and manifest come last: a folder without them is an unfinished set.

    Returns:
        One message for each source that could not be used.

    Raises:
        FileExistsError: `out` holds something already.
        FileNotFoundError: sources are missing, or the subset is empty.
        BadImageError: hardly any page or occluder can be read.
    """
    out = Path(out)
    sources, jobs = find_sources(options), plan(options)
    if out.exists() and any(out.iterdir()):
        raise FileExistsError(f"{out}: is not empty; choose another folder, or delete this one first")
    for folder in sorted({job.folder for job in jobs}):
        for name in ("gt", *KINDS):
            (out / folder / name).mkdir(parents=True, exist_ok=True)
    made = run_parallel(_work, jobs, workers, prepare=partial(_prepare, options, sources, out))
    results = list(tqdm(made, "pages", len(jobs), disable=not progress))
    annotations: dict[str, str] = {}
    for folder, line in (pair for result in results for pair in result.lines):
        annotations[folder] = annotations.get(folder, "") + line + "\n"
    for folder, text in annotations.items():
        write_text(out / folder / "annotation.txt", text)
    broken = sorted({message for result in results for message in result.broken})
    groups = [group for result in results for group in result.groups]
    manifest = {"options": asdict(options), "groups": groups, "broken_sources": broken}
    write_text(out / MANIFEST, json.dumps(manifest, indent=1, ensure_ascii=False) + "\n")
    return broken


def _prepare(options: SetOptions, sources: Sources, out: Path) -> None:
    global _maker
    _maker = PageMaker(options, sources, out)


def _work(job: PageJob) -> PageResult:
    assert _maker is not None
    return _maker(job)


class PageMaker:
    """Does the jobs of one process; holds the occluders that it has decoded."""

    def __init__(self, options: SetOptions, sources: Sources, out: Path) -> None:
        self.options, self.sources, self.out = options, sources, out
        # The photo becomes a JPEG file anyway; twice would be once too often.
        self.style = replace(STYLES[options.style], jpeg_probability=0.0)
        self.choose = OccluderLibrary(sources.occluders)
        self.pictures = WholePictures(sources.occluders)
        self.people = PeoplePictures(sources.occluders, self.choose)

    def __call__(self, job: PageJob) -> PageResult:
        """Writes a clean page and its occluded photos."""
        rng, result, folder = self._generator(job), PageResult(), self.out / job.folder
        clean_name = f"gt/{job.stem}.jpg"
        page_source = self._write_clean(job, folder / clean_name, rng, result)
        clean_bytes = (folder / clean_name).read_bytes()
        clean = read_rgb(folder / clean_name)
        counts = dict.fromkeys(KINDS, 0)
        choose = _CutoutsOfOnePage(self.choose, result.broken)
        for photo in range(job.first, job.first + job.occlusions):
            kind = "head" if rng.random() < self.style.head_probability else "hand"
            name = f"{kind}/{job.stem}_0_{counts[kind]:03d}"
            counts[kind] += 1
            choose.used = []
            content, mask = clean_bytes, np.zeros(clean.shape[:2], np.uint8)
            if self._is_occluded(photo):
                occluded, mask = paste(clean, choose, rng, self.style, kind=kind)
                content = encode_like(clean_bytes, clean_name, occluded, _QUALITY)
            write_bytes(folder / f"{name}.jpg", content)
            write_bytes(folder / f"{name}.png", _mask_bytes(mask))
            result.lines.append((job.folder, f"{clean_name} {name}.jpg {name}.png"))
            group = {"occluded": f"{job.folder}/{name}.jpg", "page": page_source, "occluders": choose.used}
            result.groups.append({**group, "covered": round(float(mask.mean()), 5)})
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
            short_side = round(long_side * rng.uniform(0.7, 0.78))
            width, height = (short_side, long_side) if rng.random() < 0.8 else (long_side, short_side)
            page, source = draw_page(rng, width, height), "drawn page"
        else:
            page, page_path = self._read_page(job, rng, result)
            source = str(page_path)
            as_it_is = not (long_side or print_it or people or on_desk)
            if as_it_is and page_path.suffix.lower() in (".jpg", ".jpeg"):
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
        write_bytes(path, encode_image(page, ".jpg", quality=_QUALITY))
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
        self.known: dict[str, list[Occluder]] = {kind: [] for kind in KINDS}
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
