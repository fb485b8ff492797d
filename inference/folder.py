"""A folder of photos in, the same folder restored out: names, sub-folders and formats stay."""

from __future__ import annotations

import errno
import filecmp
import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data.images import write_image
from data.masks import write_mask
from data.photo import Encoded, Photo, count_pixels, encode_photo, read_photo
from inference.outcomes import FAILED, RESTORED, SKIPPED, UNTOUCHED, Outcome
from inference.pipeline import overlap
from inference.restorer import Restored
from inference.sheet import draw_comparison
from inference.sources import MASK, SHEET, Listing, require_regular
from utils.atomic import remove_leftovers, write_bytes
from utils.printable import printable

LOG = logging.getLogger(__name__)
# What the next picture will meet as well: no space, no quota left, a disk that failed or was made read-only.
_STUCK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)
# One large result may not fit where a smaller one does; three in a row mean that nothing does.
_MOST_STUCK = 3
_SHEET_QUALITY = 90


class ResultsError(OSError):
    """The disk of the results takes nothing more."""


@dataclass(frozen=True)
class Orders:
    """What is written for each picture.

    Attributes:
        overwrite: results that exist are made again.
        save_mask: `mask_path` of each result.
        compare: `comparison_path` of each restored one.
    """

    overwrite: bool = False
    save_mask: bool = False
    compare: bool = False


def mask_path(target: Path) -> Path:
    """Where the mask of a result goes: beside it, with its whole name in front, so that no two can meet."""
    return target.with_name(target.name + MASK)


def comparison_path(target: Path) -> Path:
    """Where the before/after sheet of a result goes."""
    return target.with_name(target.name + SHEET)


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
    _refuse_shared_places(listing, orders)
    for path in remove_leftovers(results):
        LOG.info("removed what a killed run left: %s", printable(path))
    return _outcomes(restorer, listing, Path(results), orders)


def _outcomes(
    restorer: Callable[[np.ndarray], Restored], listing: Listing, results: Path, orders: Orders
) -> Iterator[Outcome]:
    for name, reason in listing.closed.items():
        yield Outcome(name, FAILED, message=reason)
    stuck, noted = 0, set()
    pictures = (_Picture(restorer, listing.root, name, results / name, orders) for name in listing.pictures)
    with closing(overlap(pictures)) as done:
        for picture in done:
            outcome = picture.outcome
            for note in outcome.notes:
                LOG.log(logging.INFO if note in noted else logging.WARNING, "%s: %s", printable(outcome.name), note)
            noted.update(outcome.notes)
            yield outcome
            if outcome.results_stuck:
                stuck += 1
            elif outcome.status in (RESTORED, UNTOUCHED):
                stuck = 0
            if stuck == _MOST_STUCK:
                raise ResultsError(f"{results}: {stuck} results in a row could not be written ({outcome.message})")


def _refuse_shared_places(listing: Listing, orders: Orders) -> None:
    names = set(listing.pictures)
    sides = [beside for beside, asked in ((mask_path, orders.save_mask), (comparison_path, orders.compare)) if asked]
    for name in listing.pictures:
        for beside in sides:
            if beside(name) in names:
                raise ValueError(
                    f"{listing.root / beside(name)}: what is written beside the result of {name} would take its "
                    "place; leave it out with --include, or restore without --save-mask and --compare"
                )


class _Picture:
    """One picture on its way through `inference.pipeline`; whatever goes wrong becomes its outcome."""

    def __init__(
        self, restorer: Callable[[np.ndarray], Restored], root: Path, name: Path, target: Path, orders: Orders
    ) -> None:
        self.outcome: Outcome | None = None
        self.pixels = 0
        self._restorer = restorer
        self._name, self._source, self._target = name, root / name, target
        self._orders = orders
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
            LOG.info("%s failed:", printable(self._name), exc_info=True)
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
            return
        self.pixels = count_pixels(self._source)

    def _is_finished(self) -> bool:
        if not self._target.is_file() or (self._orders.save_mask and not mask_path(self._target).is_file()):
            return False
        # A picture that came back as it was has no sheet.
        return (
            not self._orders.compare
            or comparison_path(self._target).is_file()
            or filecmp.cmp(self._source, self._target, shallow=False)
        )

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
            write_mask(mask_path(self._target), restored.mask)
        if self._orders.compare:
            self._write_sheet(touched)
        # The picture comes last: where it exists, everything about it is finished.
        write_bytes(self._target, encoded.content)
        found = _count(restored.occluders) if touched else "no occluder found, copied"
        self._end(RESTORED if touched else UNTOUCHED, found, encoded.notes)

    def _write_sheet(self, touched: bool) -> None:
        path = comparison_path(self._target)
        if touched:
            sheet = draw_comparison(self._photo.pixels, self._restored.image, self._restored.mask)
            write_image(path, sheet, quality=_SHEET_QUALITY)
        else:
            # One of an earlier run, with other weights.
            path.unlink(missing_ok=True)


def _count(occluders: int) -> str:
    return f"{occluders} occluder{'s' if occluders != 1 else ''}" if occluders else ""
