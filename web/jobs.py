"""Photos that are being restored: one worker, a queue with an end, and files that go away again.

Everything lies in one private temporary folder, a folder for each photo. It is removed when its owner asks for it, when
nobody has asked for it for a time, when the process ends, and, after a process that was killed, by the next one.
"""

from __future__ import annotations

import fcntl
import logging
import os
import secrets
import shutil
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from functools import partial
from itertools import count
from pathlib import Path
from queue import Empty, PriorityQueue
from typing import BinaryIO

import numpy as np

from data.images import BadImageError
from inference.restorer import Restored
from web.photo import DONE, FAILED, WAITING, WORKING, Job, Limits, RefusedError, clean_name, without_folder

_PREFIX = "uncover-web-"
_log = logging.getLogger(__name__)


class Jobs:
    """The photos of everybody, and the thread that runs `restorer(pixels, mask or None)` over one after the other."""

    def __init__(self, restorer: Callable[[np.ndarray, np.ndarray | None], Restored], limits: Limits | None = None):
        self.limits = limits or Limits()
        self._restorer = restorer
        _remove_abandoned()
        self.folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
        self._mark = os.open(self.folder / "lock", os.O_CREAT | os.O_RDWR, 0o600)
        fcntl.flock(self._mark, fcntl.LOCK_EX)
        self._jobs: dict[str, Job] = {}
        self._lock, self._tickets, self._closed = threading.RLock(), count(1), False
        self._queue: PriorityQueue[tuple[int, int, Job]] = PriorityQueue()
        self._worker = threading.Thread(target=self._work, name="restorer", daemon=True)
        self._worker.start()

    def close(self) -> None:
        """Ends the worker after the picture at hand, and removes every file."""
        if not self._closed:
            self._closed = True
            self._worker.join()
            shutil.rmtree(self.folder, ignore_errors=True)
            os.close(self._mark)

    def add(self, upload: BinaryIO, name: str, mask: BinaryIO | None = None, number: int = 1) -> Job:
        """Takes a file in and queues it; `mask`, a picture, says what is covered on that of such a number.

        RefusedError: no picture, too large, or no room; nothing is kept then.
        """
        with self._lock:
            if len(self._jobs) >= self.limits.photos:
                kept = f"{self.limits.photos} photos are kept already, the most there may be; remove some, or wait"
                raise RefusedError(503, "full", kept, 60)
            identity = secrets.token_urlsafe(16)
            job = self._jobs[identity] = Job(identity, clean_name(name), self.folder / identity)
        try:
            self._check_queue()
            job.source.parent.mkdir(parents=True)
            with open(job.source, "wb") as file:
                shutil.copyfileobj(upload, file, 1 << 20)
            self.limits.check_upload(job.source)
            if mask is not None:
                job.tell(mask, number, self.limits)
            with self._lock:
                self._check_queue()
                self._queue_up(job, hurry=False)
        except BaseException:
            self.remove(job)
            raise
        return job

    def correct(self, job: Job, mask: BinaryIO, number: int = 1) -> None:
        """Restores a file again, told by `mask` what is covered on a picture, before what nobody has seen yet."""
        with self._lock:
            if job.state in (WAITING, WORKING):
                raise RefusedError(409, "unfinished", f"{job.name}: is being restored; wait until that is done")
            if number > max(1, len(job.sizes)):
                raise RefusedError(404, "gone", f"{job.name}: has no picture {number}, but {len(job.sizes)} in all")
            self._check_queue()
            # From here on nobody else corrects it, and its files stay.
            before, job.state = job.state, WORKING
        try:
            job.tell(mask, number, self.limits)
            self._queue_up(job, hurry=True)
        except BaseException:
            self._lay_down(job, before, job.fault)
            raise

    def get(self, job_id: str) -> Job:
        """The photo of that name; using it keeps it."""
        job = self._jobs.get(job_id)
        if job is None:
            raise RefusedError(404, "gone", "there is no such photo, or it was removed")
        job.used = time.monotonic()
        return job

    def remove(self, job: Job) -> None:
        """Forgets a photo and removes its files: at once, or when the worker lays it down."""
        with self._lock:
            self._jobs.pop(job.id, None)
            if job.state != WORKING:
                shutil.rmtree(job.folder, ignore_errors=True)
            _finish(job)

    def ahead(self, job: Job) -> int:
        """How many photos wait before this one."""
        return sum(other.ticket < job.ticket for other in self._waiting()) if job.state == WAITING else 0

    def _waiting(self) -> list[Job]:
        return [job for job in list(self._jobs.values()) if job.state == WAITING and job.ticket]

    def _check_queue(self) -> None:
        waiting = len(self._waiting())
        if waiting >= self.limits.waiting:
            raise RefusedError(503, "busy", f"{waiting} photos wait already; send it again in a few seconds", 5)
        if shutil.disk_usage(self.folder).free < 8 * self.limits.bytes:
            raise RefusedError(503, "full", "the disk for temporary files is nearly full; try again later", 60)

    def _queue_up(self, job: Job, hurry: bool) -> None:
        with self._lock:
            self._check_wanted(job)
            job.finished, job.ticket, job.state, job.fault = Future(), next(self._tickets), WAITING, None
            self._queue.put((0 if hurry else 1, job.ticket, job))

    def _work(self) -> None:
        while not self._closed:
            try:
                self._sweep()
                with suppress(Empty):
                    self._restore(self._queue.get(timeout=0.5)[-1])
            except Exception:
                # Without this thread nobody would get an answer any more.
                _log.exception("the worker goes on after an error of its own")

    def _restore(self, job: Job) -> None:
        with self._lock:
            if job.id not in self._jobs:
                return
            job.state = WORKING
        state, fault = DONE, None
        try:
            job.restore(self._restorer, self.limits, partial(self._check_wanted, job))
        except Exception as error:
            # One bad photo must not cost the others their answers.
            state, fault = FAILED, error
            if not isinstance(error, RefusedError):
                status, code = (422, "broken") if isinstance(error, ValueError) else (500, "failed")
                fault = RefusedError(status, code, without_folder(error, job.source))
            if not isinstance(error, (BadImageError, RefusedError)):
                _log.exception("%s could not be restored", job.name)
        self._lay_down(job, state, fault)

    def _lay_down(self, job: Job, state: str, fault: RefusedError | None) -> None:
        """Ends the work on a photo; of one that was removed meanwhile the files go."""
        with self._lock:
            job.state, job.fault, job.used = state, fault, time.monotonic()
            if job.id not in self._jobs:
                shutil.rmtree(job.folder, ignore_errors=True)
            _finish(job)

    def _check_wanted(self, job: Job) -> None:
        if self._closed or job.id not in self._jobs:
            raise RefusedError(404, "gone", f"{job.name}: was removed meanwhile")

    def _sweep(self) -> None:
        """Removes what nobody has asked for in a long time."""
        oldest = time.monotonic() - self.limits.seconds
        with self._lock:
            for job in list(self._jobs.values()):
                if job.used < oldest and job.state in (DONE, FAILED):
                    self.remove(job)


def _finish(job: Job) -> None:
    """Wakes who waits for a photo; one that has gone away has cancelled that, at any moment."""
    with suppress(InvalidStateError):
        job.finished.set_result(None)


def _remove_abandoned() -> None:
    """Removes the folders of servers that were killed: nobody holds their lock any more."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with suppress(OSError):
            if folder.stat().st_uid != os.getuid():
                continue
            mark = os.open(folder / "lock", os.O_RDWR)
            try:
                fcntl.flock(mark, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(mark)
