"""Three steps over many pictures that overlap: while one is worked on, the next is read and the last is written.

Only so many pictures, and so many pixels, are on their way at once: memory is the same after a thousand pictures.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol, TypeVar

from utils.threads import available_cores

# Two photos of 48 megapixels overlap, two scans of 200 do not. One takes some 15 bytes a pixel on its way.
PIXELS_UNDER_WAY = 100_000_000
_MOST_HELPERS = 4


class Job(Protocol):
    """One picture on its way; each step keeps what the next one needs, and its own errors."""

    @property
    def pixels(self) -> int:
        """Height x width, known before the picture is read; 0 where that cannot be told."""

    def read(self) -> None:
        """Runs in a helper thread."""

    def work(self) -> None:
        """Runs in the caller's thread, one job at a time: the network takes all cores, and ctrl-C arrives here."""

    def write(self) -> None:
        """Runs in a helper thread."""


AnyJob = TypeVar("AnyJob", bound=Job)


def helpers_for(cores: int) -> int:
    """How many pictures are read, and how many written, beside the network: half the cores, 4 at most."""
    return max(1, min(_MOST_HELPERS, cores // 2))


def overlap(jobs: Iterable[AnyJob], helpers: int | None = None, pixels: int = PIXELS_UNDER_WAY) -> Iterator[AnyJob]:
    """Takes every job through its three steps and yields them when they are through, in their own order.

    Args:
        helpers: how many jobs are read, and how many written, at the same time; by default `helpers_for` the cores of
            this process. So many wait, read, for their turn.
        pixels: jobs that hold more than this together are not under way at the same time; a larger one goes alone.

    An exception of a step, ctrl-C, or closing the iterator ends the work: writes that have begun are finished, and
    nothing else is begun.
    """
    helpers = helpers or helpers_for(available_cores())
    reading: deque[tuple[AnyJob, Future[None]]] = deque()
    writing: deque[tuple[AnyJob, Future[None]]] = deque()
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
