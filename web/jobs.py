"""Photos that are being restored: one worker, a queue with an end, and a folder for each in a private temporary one.

It goes when its owner says so, when nobody asks for it for a time, with the process, or, after a kill, by the next one.
"""

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
from typing import BinaryIO

import numpy as np

from inference.restorer import Restored
from web.photo import Job, Limits, RefusedError, clean_name, without_folder

_PREFIX = "uncover-web-"
_log = logging.getLogger(__name__)


class Jobs:
    """The photos of everybody, and the thread that runs `restorer(pixels, mask or None)` over one after the other. One
    is `working` while somebody uses its files: the worker, or who takes in the photo or a mask of it.
    """

    def __init__(self, restorer: Callable[[np.ndarray, np.ndarray | None], Restored], limits: Limits):
        self.limits, self._restorer = limits, restorer
        _remove_abandoned()
        self.folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
        self._mark = open(self.folder / "lock", "w")  # noqa: SIM115
        fcntl.flock(self._mark, fcntl.LOCK_EX)
        self._jobs: dict[str, Job] = {}
        self._news, self._turns, self._closed = threading.Condition(), count(1), False
        self._worker = threading.Thread(target=self._work, name="restorer", daemon=True)
        self._worker.start()

    def close(self) -> None:
        """Ends the worker after the picture at hand, and removes every file."""
        if not self._closed:
            self._closed = True
            self._worker.join()
            shutil.rmtree(self.folder, ignore_errors=True)
            self._mark.close()

    def add(self, upload: BinaryIO, name: str, mask: BinaryIO | None = None, number: int = 1) -> Job:
        """Queues a file; `mask`: what covers picture `number`. RefusedError: no picture, too large, or no room."""
        with self._news:
            if len(self._jobs) >= self.limits.photos:
                kept = f"{self.limits.photos} photos are kept already, the most there may be; remove some, or wait"
                raise RefusedError(503, "full", kept, 60)
            self._check_room()
            identity = secrets.token_urlsafe(16)
            job = self._jobs[identity] = Job(id=identity, name=clean_name(name), folder=self.folder / identity)
        try:
            job.source.parent.mkdir(parents=True)
            self.limits.keep(upload, job.source)
            if mask is not None:
                job.tell(mask, number, self.limits)
            return self._queue_up(job, hurry=False)
        except BaseException:
            self.remove(job)
            self._lay_down(job, "failed")
            raise

    def correct(self, job: Job, mask: BinaryIO, number: int = 1) -> Job:
        """Restores a file again, told by `mask` what is covered on a picture, before what nobody has seen yet."""
        with self._news:
            if job.state in ("waiting", "working"):
                raise RefusedError(409, "unfinished", f"{job.name}: is being restored; wait until that is done")
            if number > max(1, len(job.sizes)):
                raise RefusedError(404, "gone", f"{job.name}: has no picture {number}, but {len(job.sizes)} in all")
            self._check_room()
            # From here on nobody else corrects it, and its files stay.
            before, job.state = job.state, "working"
        try:
            job.tell(mask, number, self.limits)
            return self._queue_up(job, hurry=True)
        except BaseException:
            self._lay_down(job, before, job.fault)
            raise

    def get(self, job_id: str) -> Job:
        """The photo of that name; using it keeps it."""
        with self._news:
            if (job := self._jobs.get(job_id)) is None:
                raise RefusedError(404, "gone", "there is no such photo, or it was removed")
            job.used = time.monotonic()
            job.ahead = next((place for place, other in enumerate(self._waiting()) if other is job), 0)
        return job

    def remove(self, job: Job) -> None:
        """Forgets a photo and removes its files: at once, or when who uses them lays it down."""
        with self._news:
            self._jobs.pop(job.id, None)
            if job.state != "working":
                shutil.rmtree(job.folder, ignore_errors=True)

    def _waiting(self) -> list[Job]:
        """In the order in which they are restored."""
        return sorted((job for job in self._jobs.values() if job.state == "waiting"), key=lambda job: job.turn)

    def _check_room(self) -> None:
        if sum(job.state in ("waiting", "working") for job in self._jobs.values()) > self.limits.waiting:
            told = f"{self.limits.waiting} photos wait already; send it again in a few seconds"
            raise RefusedError(503, "busy", told, 5)
        if shutil.disk_usage(self.folder).free < 8 * self.limits.bytes:
            raise RefusedError(503, "full", "the disk for temporary files is nearly full; try again later", 60)

    def _queue_up(self, job: Job, hurry: bool) -> Job:
        with self._news:
            self._check_wanted(job)
            job.finished, job.turn, job.state = Future(), (not hurry, next(self._turns)), "waiting"
            job.fault, job.message = None, ""
            self._news.notify()
            return self.get(job.id)

    def _work(self) -> None:
        while not self._closed:
            try:
                self._sweep()
                with self._news:
                    if not (waiting := self._news.wait_for(self._waiting, 0.5)):
                        continue
                    waiting[0].state = "working"
                self._restore(waiting[0])
            except Exception:
                # Without this thread nobody would get an answer any more.
                _log.exception("the worker goes on after an error of its own")

    def _restore(self, job: Job) -> None:
        fault = None
        try:
            job.restore(self._restorer, self.limits, partial(self._check_wanted, job))
        except RefusedError as error:
            fault = error
        except Exception as error:
            # One bad photo must not cost the others their answers.
            status, code = (422, "broken") if isinstance(error, ValueError) else (500, "failed")
            fault = RefusedError(status, code, without_folder(error, job.source))
            if status == 500:  # What nobody foresaw; whose photo it was, no log tells.
                _log.exception("a photo could not be restored")
        self._lay_down(job, "failed" if fault else "done", fault)

    def _lay_down(self, job: Job, state: str, fault: RefusedError | None = None) -> None:
        """Ends the use of a photo's files; of one that was removed meanwhile they go."""
        with self._news:
            job.state, job.fault, job.message = state, fault, fault.detail if fault else ""
            job.used = time.monotonic()
            if job.id not in self._jobs:
                shutil.rmtree(job.folder, ignore_errors=True)
            # Who waited for it may have gone away, and has cancelled that.
            with suppress(InvalidStateError):
                job.finished.set_result(None)

    def _check_wanted(self, job: Job) -> None:
        if self._closed or job.id not in self._jobs:
            raise RefusedError(404, "gone", f"{job.name}: was removed meanwhile")

    def _sweep(self) -> None:
        """Removes what nobody has asked for in a long time."""
        oldest = time.monotonic() - self.limits.seconds
        with self._news:
            for job in list(self._jobs.values()):
                if job.used < oldest and job.state in ("done", "failed"):
                    self.remove(job)


def _remove_abandoned() -> None:
    """Removes the folders of servers that were killed: nobody holds their lock any more."""
    for lock in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*/lock"):
        with suppress(OSError), open(lock, "r+") as mark:
            fcntl.flock(mark, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if lock.parent.stat().st_uid == os.getuid():
                shutil.rmtree(lock.parent, ignore_errors=True)
