"""A folder of photos in, the same folder restored out: names, sub-folders and formats stay.

While the network works on one picture, the next is read and the last is written. Only so many pictures, and so many
pixels, are on their way at once: memory is the same after a thousand pictures.
"""

from __future__ import annotations

import errno
import filecmp
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

from data.images import write_image
from data.masks import write_mask
from data.photos import Encoded, Photo, count_pixels, encode_photo, read_photo
from inference.restorer import Restored
from inference.sheet import draw_comparison
from inference.sources import MASK, SHEET, Listing, beside, require_regular
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
_MOST_STUCK = 3
_log = logging.getLogger(__name__)


class ResultsError(OSError):
    """The disk of the results takes nothing more."""


@dataclass(frozen=True)
class Orders:
    """Whether results that exist are made again, and whether a mask is written beside each result and a before/after
    sheet beside each restored one.
    """

    overwrite: bool = False
    save_mask: bool = False
    compare: bool = False


@dataclass(frozen=True)
class Outcome:
    """What became of one picture.

    Attributes:
        name: its path relative to the source.
        status: "restored", "untouched" (nothing covers it: the file is a copy), "skipped" (the result was there
            already) or "failed".
        steps: seconds by step: "decode", the restorer's own steps, "encode" (with writing). Waiting for the other
            pictures under way is not in it, but what overlaps shares the processor, so a step takes longer than alone.
        message: why it failed, or what was found; may be empty.
        notes: what of the file its result could not keep.
        results_stuck: it failed because the results' disk takes nothing more.
    """

    name: Path
    status: str
    steps: dict[str, float] = field(default_factory=dict)
    message: str = ""
    notes: tuple[str, ...] = ()
    results_stuck: bool = False

    @property
    def seconds(self) -> float:
        """From file to file, all steps together."""
        return sum(self.steps.values())

    def __str__(self) -> str:
        return printable(f"{self.status}: {self.name}" + (f": {self.message}" if self.message else ""))


def restore_folder(
    restorer: Callable[[np.ndarray], Restored],
    listing: Listing,
    results: str | os.PathLike[str],
    orders: Orders = Orders(),  # noqa: B008 - frozen
) -> Iterator[Outcome]:
    """Restores every picture of `listing` into `results` and tells of each, in that order, as soon as it is done.

    A result appears under its name only when it is whole, so one that exists is finished, and is skipped unless
    `overwrite`. A picture that cannot be restored is reported as failed, and the next one follows.

    Raises:
        ValueError: at once, when the mask or the sheet of one picture would take the place of another's result.
        ResultsError: while it runs, when three results in a row could not be written for want of space.
    """
    asked = [side for side, wanted in ((MASK, orders.save_mask), (SHEET, orders.compare)) if wanted]
    for name in sorted({beside(name, side) for name in listing.pictures for side in asked} & set(listing.pictures)):
        raise ValueError(
            f"{listing.root / name}: what is written beside another picture's result would take its place; leave it "
            "out with --include, or restore without --save-mask and --compare"
        )
    for path in remove_leftovers(results):
        _log.info("removed what a killed run left: %s", printable(path))
    return _outcomes(restorer, listing, Path(results), orders)


def _outcomes(
    restorer: Callable[[np.ndarray], Restored], listing: Listing, results: Path, orders: Orders
) -> Iterator[Outcome]:
    for name, reason in listing.closed.items():
        yield Outcome(name, FAILED, message=reason)
    stuck, noted = 0, set()
    pictures = (_Picture(restorer, listing.root / name, name, results / name, orders) for name in listing.pictures)
    with closing(overlap(pictures)) as done:
        for picture in done:
            outcome = picture.outcome
            for note in outcome.notes:
                _log.log(logging.INFO if note in noted else logging.WARNING, "%s: %s", printable(outcome.name), note)
            noted.update(outcome.notes)
            yield outcome
            if outcome.results_stuck:
                stuck += 1
            elif outcome.status in (RESTORED, UNTOUCHED):
                stuck = 0
            if stuck == _MOST_STUCK:
                raise ResultsError(f"{results}: {stuck} results in a row could not be written ({outcome.message})")


def overlap(jobs: Iterable[Any], helpers: int | None = None, pixels: int = PIXELS_UNDER_WAY) -> Iterator[Any]:
    """Takes every job through its steps `read`, `work` and `write` and yields them when they are through, in order.

    `read` and `write` run in helper threads, `work` in the caller's, one at a time: the network takes all cores, and
    ctrl-C arrives there. A job keeps what its next step needs, and its own errors, and says before it is read how many
    `pixels` it will hold.

    Args:
        helpers: how many jobs are read, and how many written, at the same time, by default `helpers_for` the cores of
            this process; so many wait, read, for their turn.
        pixels: jobs that hold more than this together are not under way at the same time; a larger one goes alone.

    An exception of a step, ctrl-C, or closing the iterator ends the work: writes that have begun are finished, and
    nothing else is begun.
    """
    helpers = helpers or helpers_for(available_cores())
    reading, writing = deque(), deque()
    upcoming = iter(jobs)
    following = next(upcoming, None)
    reader = ThreadPoolExecutor(helpers, thread_name_prefix="reader")
    writer = ThreadPoolExecutor(helpers, thread_name_prefix="writer")
    try:
        while following is not None or reading or writing:
            under_way = sum(job.pixels for job, _ in (*reading, *writing))
            # One more than there are helpers: the first of them goes to the network right below.
            while following is not None and len(reading) <= helpers:
                if under_way and under_way + following.pixels > pixels:
                    break
                under_way += following.pixels
                reading.append((following, reader.submit(following.read)))
                following = next(upcoming, None)
            if reading:
                job, step = reading.popleft()
                step.result()
                job.work()
                writing.append((job, writer.submit(job.write)))
            # Without one that is read, what follows is too large for now, or nothing follows.
            while writing and (writing[0][1].done() or len(writing) > helpers or not reading):
                job, step = writing.popleft()
                step.result()
                yield job
    finally:
        reader.shutdown(wait=False, cancel_futures=True)
        writer.shutdown(wait=True, cancel_futures=True)
        reader.shutdown(wait=True)


def helpers_for(cores: int) -> int:
    """How many pictures are read, and how many written, beside the network: half the cores, 4 at most."""
    return max(1, min(_MOST_HELPERS, cores // 2))


class _Picture:
    """One picture on its way from file to file, a job of `overlap`; whatever goes wrong becomes its outcome."""

    def __init__(
        self, restorer: Callable[[np.ndarray], Restored], source: Path, name: Path, target: Path, orders: Orders
    ) -> None:
        self.outcome: Outcome | None = None
        self.pixels = 0
        self._restorer, self._orders = restorer, orders
        self._source, self._name, self._target = source, name, target
        self._mask, self._sheet = beside(target, MASK), beside(target, SHEET)
        self._steps: dict[str, float] = {}
        self._photo: Photo | None = None
        self._restored: Restored | None = None
        self._attempt(self._begin)

    def read(self) -> None:
        self._attempt(self._read, "decode")

    def work(self) -> None:
        self._attempt(self._work)

    def write(self) -> None:
        self._attempt(self._write, "encode")

    def _attempt(self, action: Callable[[], None], step: str = "") -> None:
        if self.outcome is not None:
            return
        start = time.perf_counter()
        try:
            action()
        except Exception as error:
            # One bad file must not cost the user the other thousand.
            stuck = action == self._write and isinstance(error, OSError) and error.errno in _STUCK
            _log.info("%s failed:", printable(self._name), exc_info=True)
            self._end(FAILED, f"{type(error).__name__}: {error}", stuck=stuck)
        finally:
            if step:
                self._steps[step] = time.perf_counter() - start

    def _end(self, status: str, message: str = "", notes: tuple[str, ...] = (), stuck: bool = False) -> None:
        self.outcome = Outcome(self._name, status, self._steps, message, notes, stuck)
        self._photo = self._restored = None

    def _begin(self) -> None:
        require_regular(self._source)
        if not self._orders.overwrite and self._is_finished():
            self._end(SKIPPED)
        else:
            self.pixels = count_pixels(self._source)

    def _is_finished(self) -> bool:
        if not self._target.is_file() or (self._orders.save_mask and not self._mask.is_file()):
            return False
        # A picture that came back as it was has no sheet.
        sheet_is_due = self._orders.compare and not self._sheet.is_file()
        return not sheet_is_due or filecmp.cmp(self._source, self._target, shallow=False)

    def _read(self) -> None:
        self._photo = read_photo(self._source)

    def _work(self) -> None:
        self._restored = self._restorer(self._photo.pixels)
        self._steps.update(self._restored.seconds)

    def _write(self) -> None:
        photo, restored = self._photo, self._restored
        touched = bool(restored.mask.any())
        # Encoding again would change a picture that nothing was removed from.
        copy = None if touched else Encoded(self._source.read_bytes())
        encoded = copy or encode_photo(photo, restored.image, restored.mask)
        if self._orders.save_mask:
            write_mask(self._mask, restored.mask)
        if self._orders.compare and touched:
            write_image(self._sheet, draw_comparison(photo.pixels, restored.image, restored.mask), _SHEET_QUALITY)
        elif self._orders.compare:
            # One of an earlier run, with other weights.
            self._sheet.unlink(missing_ok=True)
        # The picture comes last: where it exists, everything about it is finished.
        write_bytes(self._target, encoded.content)
        count = restored.occluders
        found = f"{count} occluder{'s' if count != 1 else ''}" if count else ""
        self._end(RESTORED if touched else UNTOUCHED, found if touched else "no occluder found, copied", encoded.notes)
