"""A folder of photos in, the same folder restored out: names, sub-folders and formats stay.

While the network works on one picture, the next is read and the last is written. Only so many pictures, and so many
pixels, are on their way at once: memory is the same after a thousand pictures.
"""

import errno
import logging
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from data.images import SUFFIXES, BadImageError, encode_image, kind_of_file, pictures_below
from data.masks import encode_mask, read_mask
from data.photos import Encoded, Photo, count_pixels, encode_photo, is_book, read_photo
from inference.book import restore_book
from inference.files import MASK, SHEET, Listing, Record, beside, require_regular
from inference.restorer import Restored, timed
from inference.sheet import draw_comparison
from utils.command import counted, sentence
from utils.files import printable, remove_leftovers, write_bytes
from utils.machine import available_cores

RESTORED, FOUND, UNTOUCHED, SKIPPED, FAILED = "restored", "found", "untouched", "skipped", "failed"
# Two photos of 48 megapixels overlap, two scans of 200 do not. One takes some 15 bytes a pixel on its way.
PIXELS_UNDER_WAY = 100_000_000
_MOST_HELPERS = 4
_SHEET_QUALITY = 90
# What the next picture will meet as well: no space, no quota left, a disk that failed or was made read-only.
STUCK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)
MOST_STUCK = 3  # One large result may not fit where a smaller one does; three in a row mean that nothing does.
# What comes out of a job, and what is done for it, in four parts that yield to each other: a look at the file, after
# which it yields how many pixels it will hold; reading; the network; writing. It may end after any of them.
Job = tuple[Any, Iterator[int]]
_log = logging.getLogger(__name__)


class ResultsError(OSError):
    """The disk of the results takes nothing more."""


@dataclass
class Outcome:
    """What became of one picture."""

    name: Path  # Its path relative to the source
    # "restored", "untouched" (nothing covers it: a copy), "skipped" (the result was there), "failed"; "found": one that
    # is only looked at is covered.
    status: str = ""
    # Seconds by step: "decode", the restorer's own steps, "encode" (with writing). Waiting for other pictures is not in
    # it, but what overlaps shares the processor, so a step takes longer than alone.
    steps: dict[str, float] = field(default_factory=dict)
    message: str = ""  # Why it failed, or what was found
    notes: tuple[str, ...] = ()  # What of the file its result could not keep, why it was done again
    measures: tuple[float, ...] = ()  # Of a single picture: the share that is covered, and the least certainty
    results_stuck: bool = False  # It failed because the results' disk takes nothing more

    @property
    def seconds(self) -> float:
        """From file to file, all steps together."""
        return sum(self.steps.values())

    def __str__(self) -> str:
        return printable(f"{self.status}: {self.name}" + (f": {self.message}" if self.message else ""))


class Masks:
    """Those that a person has made: below `folder`, `NAME.jpg.mask.png`, as --save-mask writes it, or `NAME.png`; never
    what a record there, or in a folder above or below, knows as a result."""

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self._folder, self._record = Path(folder), cache(Record)

    def of(self, name: Path) -> np.ndarray | None:
        """The mask of a photo, by its name below the source: uint8 [H, W], 1 = covered; None without one."""
        return next((read_mask(file) for file in self._files(name) if self._may_be(file)), None)

    def of_none(self, names: Iterable[Path]) -> list[Path]:
        """The pictures that are no mask of the photos `names`, nor results with their masks and sheets."""
        known = {file for name in names for file in self._files(name)}
        others = (self._folder / file for file in pictures_below(self._folder))
        return [file.relative_to(self._folder) for file in others if file not in known and self._may_be(file)
                and not file.name.endswith(SHEET) and not os.path.isfile(beside(file, MASK))]  # fmt: skip

    def _files(self, name: Path) -> tuple[Path, Path]:
        # The second may be what a run has made of the first.
        return (self._folder / name).with_suffix(".png"), beside(self._folder / name, MASK)

    def _may_be(self, file: Path) -> bool:  # Path.is_file raises an error at a name that is too long.
        real = Path(os.path.realpath(file))
        return os.path.isfile(real) and not any(self._record(place).is_result(real) for place in real.parents)


def restore_folder(restorer: Callable[..., Restored], listing: Listing, results: str | os.PathLike[str], *,
                   overwrite: bool = False, save_mask: bool = False, compare: bool = False, look: bool = False,
                   record: Callable[..., Record] = Record, **orders: Callable) -> Iterator[Outcome]:  # fmt: skip
    """Restores every picture of `listing` into `results` and tells of each, in that order, as soon as it is done.

    What is finished, or not this program's, is kept as `inference.files` says. A picture that cannot be restored is
    reported as failed, and the next one follows. `save_mask` writes a mask beside each result, `compare` a before/after
    sheet beside each restored one; `look` writes nothing. More orders: `told(name)` gives the mask that a person has
    made for a picture, or None; `see(outcome, before, after, mask)` is shown the pixels of each picture with an
    occluder, and of one that is only looked at its mask.

    Raises:
        ValueError: at once, when the mask or the sheet of one picture would take the place of another's result.
        ResultsError: while it runs, when three results in a row could not be written for want of space.
    """
    asked = [side for side, wanted in ((MASK, save_mask), (SHEET, compare)) if wanted]
    listing.refuse_clashes(asked)
    # A restorer may come with some arguments given, by functools.partial; those count where a mask does.
    fingerprint = getattr(getattr(restorer, "func", restorer), "fingerprint", "")
    kept = None if look else record(results, fingerprint, listing, overwrite)
    for path in remove_leftovers(results) if kept else ():
        _log.info("removed what a killed run left: %s", printable(path))
    parts = partial(_parts, write=kept and kept.write, results=Path(results), record=kept, asked=asked, **orders)

    def jobs() -> Iterator[Job]:
        for name, why in listing.closed.items():
            yield Outcome(name, FAILED, message=why), iter(())
        for outcome in map(Outcome, listing.pictures):
            yield outcome, parts(outcome, restorer, listing.root / outcome.name)

    return watched(overlap(jobs(), max(1, min(_MOST_HELPERS, available_cores() // 2))), results)


def restore_file(
    restorer: Callable[..., Restored], listing: Listing, target: Path, overwrite: bool = False, **orders: Callable
) -> Iterator[Outcome]:
    """Restores the one picture of `listing` into a file of the same kind, and tells of it.

    ValueError, OSError: `target` is the picture itself, is there (without `overwrite`), or is named as another kind."""
    source = listing.root / listing.pictures[0]
    if target.exists() and target.samefile(source):
        raise ValueError(f"{target}: is the photo itself; name another file")
    if target.exists() and not overwrite:
        raise FileExistsError(f"{target}: is there already; name another file, or give --overwrite")
    kind = kind_of_file(source)
    if kind and kind != SUFFIXES.get(target.suffix.lower()):
        suffix = next((suffix for suffix, named in SUFFIXES.items() if named == kind), source.suffix)
        raise ValueError(f"{target}: a result is of its photo's kind, {kind} by its content; name it *{suffix}")
    outcome = Outcome(listing.pictures[0])
    parts = _parts(outcome, restorer, source, lambda photo, _, contents, *__: write_bytes(target, contents[photo]),
                   target.parent, **orders)  # fmt: skip
    return overlap([(outcome, parts)], 1)


def watched(outcomes: Iterator[Outcome], results: str | os.PathLike[str]) -> Iterator[Outcome]:
    """Passes outcomes on, and warns once of what results lose; ResultsError: three in a row could not be written."""
    stuck, noted = 0, set()
    with closing(outcomes):
        for outcome in outcomes:
            for note in outcome.notes:
                known = note in noted and outcome.status != SKIPPED  # Each file that a person has changed is named.
                _log.log(logging.INFO if known else logging.WARNING, "%s: %s", printable(outcome.name), note)
            noted.update(outcome.notes)
            yield outcome
            if outcome.results_stuck:
                stuck += 1
            elif outcome.status in (RESTORED, UNTOUCHED):
                stuck = 0
            if stuck == MOST_STUCK:
                raise ResultsError(f"{results}: {stuck} results in a row could not be written ({outcome.message})")


def _parts(outcome: Outcome, restorer: Callable[..., Restored], source: Path, write: Callable[..., None] | None,
           results: Path, record: Record | None = None, asked: Sequence[str] = (),
           told: Callable[[Path], np.ndarray | None] = lambda name: None, see: Callable[..., None] | None = None
           ) -> Iterator[int]:  # fmt: skip
    """One picture from file to file, in the parts of a `Job`; whatever goes wrong becomes its outcome. `write` takes
    what `Record.write` takes; None only looks. `asked`: MASK, SHEET; the others are orders of `restore_folder`."""
    name, origin, writing = outcome.name, {}, False
    try:
        seen, paged, mask = require_regular(source), is_book(source), told(name)
        if paged and mask is not None:
            raise ValueError("has pages, and a mask by hand (--mask) is for a single picture; take the mask away, or "
                             "save the pages as pictures")  # fmt: skip
        if record:
            # Masks and sheets are for single pictures.
            files = [*(beside(name, side) for side in asked if not paged), name]
            origin = record.origin(seen, mask, getattr(restorer, "keywords", ""))
            if mask is not None and MASK in asked and _holds(results / beside(name, MASK), mask):
                files.remove(beside(name, MASK))
            kept = [file for file in files if record.is_changed(file)]
            files = [file for file in files if file not in kept]
            asked = [side for side in asked if beside(name, side) in files]
            again = record.why_again(name, origin, files) if name in files else None
            words = {name: "result", beside(name, MASK): "mask", beside(name, SHEET): "sheet"}
            by_hand = (f"its {words[file]} was changed by hand: kept; --overwrite does it again" for file in kept)
            outcome.notes = (*filter(None, [again]), *by_hand)
            if again is None:
                outcome.status, outcome.measures = SKIPPED, record.measures(name)
                if see and outcome.measures and outcome.measures[0]:
                    yield 2 * count_pixels(source)
                    with suppress(BadImageError, OSError):  # Then the report has no picture of it.
                        see(outcome, read_photo(source).pixels, read_photo(results / name).pixels)
                return
        yield PIXELS_UNDER_WAY if paged else count_pixels(source)
        if not paged:
            with timed(outcome.steps, "decode"):
                photo = read_photo(source)
        yield 0
        if paged:
            tell = partial(_log.info, "%s: page %d of %d", printable(name))
            book = restore_book(source, restorer, encode=write is not None, tell=tell)
            touched, count, steps, notes = book.changed, book.occluders, book.steps, book.notes
        else:
            restored = restorer(photo.pixels) if mask is None else restorer(photo.pixels, mask)
            touched, count, steps, notes = np.count_nonzero(restored.mask), restored.occluders, restored.seconds, ()
            outcome.measures = touched / restored.mask.size, restored.certainty
            if see and touched:
                see(outcome, photo.pixels, restored.image, None if write else restored.mask)
        outcome.steps.update(steps)
        yield 0
        if write:
            writing = True
            with timed(outcome.steps, "encode"):
                files, notes = ({name: book.content}, notes) if paged else _encoded(photo, restored, name, asked)
                write(name, origin, files, bool(touched), outcome.measures)
                if record and SHEET in asked and not touched:
                    record.remove(beside(name, SHEET))  # One of an earlier run, with other weights.
        outcome.notes += tuple(notes)
        outcome.status = (RESTORED if write else FOUND) if touched else UNTOUCHED
        if not touched:
            nothing = "no occluder found" if mask is None else "nothing to remove, with its mask by hand"
            looked = not paged or len(book.unseen) < book.pages
            found = ", ".join([nothing] * looked + ["copied"] * (write is not None))
        elif paged:
            found = f"{touched} {'restored' if write else 'would be restored'}, {counted(count, 'occluder')}"
        elif write:
            found = counted(count, "occluder") if count else ""
        else:
            found = "{:.2%} would be removed, certainty {:.2f}".format(*outcome.measures)
        told = [counted(book.pages, "page")] if paged else []
        told += [f"{len(book.unseen)} not looked at"] if paged and book.unseen else []
        outcome.message = ", ".join(filter(None, (*told, found)))
    except Exception as error:
        # One bad file must not cost the user the other thousand.
        _log.info("%s failed:", printable(name), exc_info=True)
        message = sentence(error).removeprefix(f"{printable(source)}: ")  # Its own path stands before it.
        if not isinstance(error, OSError | ValueError | MemoryError):
            message = f"{type(error).__name__}: {message}"  # What nobody foresaw, with its kind.
        outcome.status, outcome.message, outcome.notes, outcome.measures = FAILED, message, (), ()
        outcome.results_stuck = writing and isinstance(error, OSError) and error.errno in STUCK


def _holds(file: Path, mask: np.ndarray) -> bool:
    """Whether a file is the `mask` that a person has given: what is made of that must not take its place."""
    with suppress(BadImageError, OSError):
        return np.array_equal(read_mask(file), mask)
    return False


def _encoded(photo: Photo, restored: Restored, name: Path, asked: Sequence[str]) -> tuple[dict[Path, bytes], Sequence]:
    """The files of a photo, itself the last: where it exists, everything about it is finished; and what it lost."""
    touched, contents = restored.mask.any(), {}
    if MASK in asked:
        contents[beside(name, MASK)] = encode_mask(restored.mask)
    if SHEET in asked and touched:
        sheet = draw_comparison(photo.pixels, restored.image, restored.mask)
        contents[beside(name, SHEET)] = encode_image(sheet, ".jpg", _SHEET_QUALITY)
    # Encoding again would change a picture that nothing was removed from.
    encoded = encode_photo(photo, restored.image, restored.mask) if touched else Encoded(photo.source)
    return contents | {name: encoded.content}, encoded.notes


def overlap(jobs: Iterable[Job], helpers: int, pixels: int = PIXELS_UNDER_WAY) -> Iterator[Any]:
    """Takes every job through its parts and yields what comes out of it, in order.

    So many `helpers` read, and so many write; the rest runs in the caller's thread, one job at a time. Jobs that hold
    more than `pixels` together are not under way at the same time; a larger one goes alone. An exception of a job,
    ctrl-C, or closing the iterator ends the work: only writes that have begun are finished, and told of after ctrl-C.
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
                _, outcome, _, step = writing[0]
                step.result()
                writing.popleft()
                yield outcome
    except KeyboardInterrupt:
        pool.shutdown(wait=True, cancel_futures=True)
        yield from (outcome for _, outcome, _, step in writing if not (step.cancelled() or step.exception()))
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
