"""A folder of photos in, the same folder restored out: names, sub-folders and formats stay.

While the network works on one picture, the next is read and the last is written. Only so many pictures, and so many
pixels, are on their way at once: memory is the same after a thousand pictures.
"""

from __future__ import annotations

import errno
import logging
import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from data.images import encode_image
from data.masks import encode_mask
from data.photos import Encoded, count_pixels, encode_photo, read_photo
from inference.book import is_book, restore_book
from inference.record import Record
from inference.restorer import Restored
from inference.sheet import draw_comparison
from inference.sources import MASK, SHEET, Listing, Originals, beside, require_regular
from utils.command import sentence
from utils.files import printable, remove_leftovers, write_bytes
from utils.machine import available_cores

RESTORED, UNTOUCHED, SKIPPED, FAILED = "restored", "untouched", "skipped", "failed"
# Two photos of 48 megapixels overlap, two scans of 200 do not. One takes some 15 bytes a pixel on its way.
PIXELS_UNDER_WAY = 100_000_000
_MOST_HELPERS = 4
_SHEET_QUALITY = 90
# What the next picture will meet as well: no space, no quota left, a disk that failed or was made read-only.
_STUCK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)
# One large result may not fit where a smaller one does; three in a row mean that nothing does.
MOST_STUCK = 3
_log = logging.getLogger(__name__)


class ResultsError(OSError):
    """The disk of the results takes nothing more."""


@dataclass
class Outcome:
    """What became of one picture."""

    name: Path  # Its path relative to the source
    status: str = ""  # "restored", "untouched" (nothing covers it: a copy), "skipped" (the result was there), "failed"
    # Seconds by step: "decode", the restorer's own steps, "encode" (with writing). Waiting for other pictures is not in
    # it, but what overlaps shares the processor, so a step takes longer than alone.
    steps: dict[str, float] = field(default_factory=dict)
    message: str = ""  # Why it failed, or what was found
    notes: tuple[str, ...] = ()  # What of the file its result could not keep, why it was done again
    results_stuck: bool = False  # It failed because the results' disk takes nothing more

    @property
    def seconds(self) -> float:
        """From file to file, all steps together."""
        return sum(self.steps.values())

    def __str__(self) -> str:
        return printable(f"{self.status}: {self.name}" + (f": {self.message}" if self.message else ""))


def restore_folder(
    restorer: Callable[..., Restored], listing: Listing, results: str | os.PathLike[str],
    *, overwrite: bool = False, save_mask: bool = False, compare: bool = False,
    told: Callable[[Path], np.ndarray | None] | None = None,
    see: Callable[[Outcome, np.ndarray, Restored], None] | None = None,
) -> Iterator[Outcome]:  # fmt: skip
    """Restores every picture of `listing` into `results` and tells of each, in that order, as soon as it is done.

    A result that `inference.record` knows as finished, for the same photo and restorer, is skipped unless `overwrite`.
    A file in its place that this program did not make is touched with `overwrite` only, a file or folder of the sources
    never. A picture that cannot be restored is reported as failed, and the next one follows. `save_mask` writes a mask
    beside each result, `compare` a before/after sheet beside each restored one. `told` gives the mask that a person has
    made for a picture; `see` is shown every picture's pixels and what was made of them.

    Raises:
        ValueError: at once, when the mask or the sheet of one picture would take the place of another's result.
        ResultsError: while it runs, when three results in a row could not be written for want of space.
    """
    asked = [side for side, wanted in ((MASK, save_mask), (SHEET, compare)) if wanted]
    for name in sorted({beside(name, side) for name in listing.pictures for side in asked} & set(listing.pictures)):
        raise ValueError(
            f"{listing.root / name}: what is written beside another picture's result would take its place; leave it "
            "out with --include, or restore without --save-mask and --compare"
        )
    for path in remove_leftovers(results):
        _log.info("removed what a killed run left: %s", printable(path))

    # A restorer may come with some arguments given, by functools.partial; those count where a mask does.
    fingerprint = getattr(getattr(restorer, "func", restorer), "fingerprint", "")
    record, originals = Record(results, fingerprint), Originals(listing, results)

    def refuse(file: Path) -> None:
        path = Path(results, file)
        originals.refuse(path)
        if os.path.lexists(path):
            if path.exists():
                require_regular(path)
            if not overwrite and not record.is_ours(file):
                raise OSError(f"{path}: there is a file that this program did not make, or a version of it that kept "
                              "no record; move it away or give --overwrite")

    place = Place(Path(results), refuse, overwrite, asked, told, see, record)

    def jobs() -> Iterator[Job]:
        for outcome in map(Outcome, listing.pictures):
            yield outcome, _parts(outcome, restorer, listing.root / outcome.name, outcome.name, place)

    return _told(listing, results, jobs())


def restore_file(
    restorer: Callable[..., Restored], listing: Listing, target: Path, *, overwrite: bool = False,
    told: Callable[[Path], np.ndarray | None] | None = None,
) -> Iterator[Outcome]:  # fmt: skip
    """Restores the one picture of `listing` into a file of the same kind, and tells of it.

    Raises:
        ValueError, OSError: at once, when `target` is the picture itself, is there (without `overwrite`), or has the
            name of another kind.
    """
    source = listing.root / listing.pictures[0]
    if target.exists() and target.samefile(source):
        raise ValueError(f"{target}: is the photo itself; name another file")
    if target.exists() and not overwrite:
        raise FileExistsError(f"{target}: is there already; name another file, or give --overwrite")
    kinds = [Image.registered_extensions().get(path.suffix.lower()) for path in (source, target)]
    if kinds[0] != kinds[1]:
        raise ValueError(f"{target}: a result is of its photo's kind; name it *{source.suffix}")
    outcome = Outcome(listing.pictures[0])
    place = Place(target.parent, lambda _: None, True, told=told)
    return overlap([(outcome, _parts(outcome, restorer, source, Path(target.name), place))], 1)


def _told(listing: Listing, results: str | os.PathLike[str], jobs: Iterator[Job]) -> Iterator[Outcome]:
    for name, reason in listing.closed.items():
        yield Outcome(name, FAILED, message=reason)
    stuck, noted = 0, set()
    with closing(overlap(jobs, max(1, min(_MOST_HELPERS, available_cores() // 2)))) as outcomes:
        for outcome in outcomes:
            for note in outcome.notes:
                _log.log(logging.INFO if note in noted else logging.WARNING, "%s: %s", printable(outcome.name), note)
            noted.update(outcome.notes)
            yield outcome
            if outcome.results_stuck:
                stuck += 1
            elif outcome.status in (RESTORED, UNTOUCHED):
                stuck = 0
            if stuck == MOST_STUCK:
                raise ResultsError(f"{results}: {stuck} results in a row could not be written ({outcome.message})")


@dataclass(frozen=True)
class Place:
    """Where results go, and what else `restore_folder` was asked for.

    `refuse` raises an `OSError` for a file, relative to `results`, that must not be written; `asked`: MASK, SHEET.
    """

    results: Path
    refuse: Callable[[Path], None]
    overwrite: bool
    asked: list[str] = field(default_factory=list)
    told: Callable[[Path], np.ndarray | None] | None = None
    see: Callable[[Outcome, np.ndarray, Restored], None] | None = None
    record: Record | None = None


def _parts(
    outcome: Outcome, restorer: Callable[..., Restored], source: Path, result: Path, place: Place
) -> Iterator[int]:
    """One picture from file to file, in the parts of a `Job`; whatever goes wrong becomes its outcome."""
    mask_file, sheet_file, writing = beside(result, MASK), beside(result, SHEET), False
    files, record, again = [*(beside(result, side) for side in place.asked), result], place.record, ""
    try:
        seen = require_regular(source)
        paged = is_book(source)
        if paged:
            # Masks and sheets are for single pictures.
            files = [result]
        for file in files:
            place.refuse(file)
        mask = place.told(outcome.name) if place.told else None
        origin = record.origin(seen, mask, getattr(restorer, "keywords", "")) if record else {}
        if record and not place.overwrite:
            again = record.why_again(result, origin, files, sheet_file)
        if again is None:
            outcome.status = SKIPPED
            return
        if paged:
            yield PIXELS_UNDER_WAY
            yield 0
            book = restore_book(source, restorer)
            outcome.steps.update(book.steps)
            yield 0
            start, writing = time.perf_counter(), True
            _write(result, origin, bool(book.changed), {result: book.content}, place)
            outcome.steps["encode"] = outcome.steps.get("encode", 0.0) + time.perf_counter() - start
            outcome.status, outcome.message = RESTORED if book.changed else UNTOUCHED, str(book)
            outcome.notes = (*filter(None, [again]), *book.notes)
            return
        yield count_pixels(source)
        start = time.perf_counter()
        photo = read_photo(source)
        outcome.steps["decode"] = time.perf_counter() - start
        yield 0
        restored = restorer(photo.pixels) if mask is None else restorer(photo.pixels, mask)
        if place.see:
            place.see(outcome, photo.pixels, restored)
        outcome.steps.update(restored.seconds)
        yield 0
        start, writing = time.perf_counter(), True
        touched = bool(restored.mask.any())
        # Encoding again would change a picture that nothing was removed from.
        copy = None if touched else Encoded(photo.source)
        encoded = copy or encode_photo(photo, restored.image, restored.mask)
        contents = {}
        if MASK in place.asked:
            contents[mask_file] = encode_mask(restored.mask)
        if SHEET in place.asked and touched:
            sheet = draw_comparison(photo.pixels, restored.image, restored.mask)
            contents[sheet_file] = encode_image(sheet, ".jpg", _SHEET_QUALITY)
        # The picture comes last: where it exists, everything about it is finished.
        contents[result] = encoded.content
        _write(result, origin, touched, contents, place)
        if SHEET in place.asked and not touched and record and record.is_ours(sheet_file):
            # One of an earlier run, with other weights.
            (place.results / sheet_file).unlink(missing_ok=True)
        outcome.steps["encode"] = time.perf_counter() - start
        outcome.status, outcome.notes = RESTORED if touched else UNTOUCHED, (*filter(None, [again]), *encoded.notes)
        if restored.occluders or not touched:
            found = f"{restored.occluders} occluder{'s' if restored.occluders > 1 else ''}"
            outcome.message = found if touched else "no occluder found, copied"
    except Exception as error:
        # One bad file must not cost the user the other thousand.
        _log.info("%s failed:", printable(outcome.name), exc_info=True)
        outcome.status, outcome.message = FAILED, reason(error, source)
        outcome.results_stuck = writing and isinstance(error, OSError) and error.errno in _STUCK


def reason(error: Exception, source: Path) -> str:
    """Why a picture failed, without its own path, which stands before it; what nobody foresaw with its kind."""
    told = sentence(error).removeprefix(f"{printable(source)}: ")
    return told if isinstance(error, (OSError, ValueError, MemoryError)) else f"{type(error).__name__}: {told}"


def _write(result: Path, origin: dict, touched: bool, contents: dict[Path, bytes], place: Place) -> None:
    """Writes the files of one picture between the two lines of the record that speak of them."""
    for file in contents:
        # Somebody may have put a file there meanwhile, or made a link of its folder.
        place.refuse(file)
    line = place.record.intend(result, origin, touched, contents) if place.record else None
    for file, content in contents.items():
        write_bytes(place.results / file, content)
    if line:
        place.record.finish(line)


# What comes out of a job, and what is done for it, in four parts that yield to each other: a look at the file, after
# which it yields how many pixels it will hold; reading; the network; writing. It may end after any of them.
Job = tuple[Any, Iterator[int]]


def overlap(jobs: Iterable[Job], helpers: int, pixels: int = PIXELS_UNDER_WAY) -> Iterator[Any]:
    """Takes every job through its parts and yields what comes out of it, in order.

    So many `helpers` read, and so many write; the rest runs in the caller's thread, one job at a time: the network
    takes all cores, and ctrl-C arrives there. Jobs that hold more than `pixels` together are not under way at the same
    time; a larger one goes alone. An exception of a job, ctrl-C, or closing the iterator ends the work: writes that
    have begun are finished, and nothing else is begun.
    """
    reading, writing = deque(), deque()
    upcoming = ((next(parts, 0), outcome, parts) for outcome, parts in jobs)
    following = next(upcoming, None)
    pool = ThreadPoolExecutor(2 * helpers)
    try:
        while following or reading or writing:
            under_way = sum(size for size, *_ in (*reading, *writing))
            # One more than there are helpers: the first of them goes to the network right below.
            while following and len(reading) <= helpers and (not under_way or under_way + following[0] <= pixels):
                under_way += following[0]
                reading.append((*following, pool.submit(next, following[2], 0)))
                following = next(upcoming, None)
            if reading:
                size, outcome, parts, step = reading.popleft()
                step.result()
                next(parts, 0)
                writing.append((size, outcome, parts, pool.submit(next, parts, 0)))
            # Without one that is read, what follows is too large for now, or nothing follows.
            while writing and (writing[0][-1].done() or len(writing) > helpers or not reading):
                _, outcome, _, step = writing.popleft()
                step.result()
                yield outcome
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
