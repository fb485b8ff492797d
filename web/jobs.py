"""Photos that are being restored: one worker, a queue with an end, and files that go away again.

Everything lies in one private temporary folder, a folder for each photo. It is removed when its owner asks for it, when
nobody has asked for it for a time, when the process ends, and, after a process that was killed, by the next one.
"""

from __future__ import annotations

import fcntl
import io
import logging
import os
import re
import secrets
import shutil
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from queue import Empty, PriorityQueue
from typing import BinaryIO

import cv2
import numpy as np
from PIL import Image

from data.images import BadImageError, eight_bit
from data.masks import read_mask, write_mask
from data.photos import Encoded, Photo, count_pixels, encode_photo, read_photo
from inference.find.locate import enlarge_mask
from inference.restorer import Restored
from utils.command import sentence
from utils.files import write_bytes

WAITING, WORKING, DONE, FAILED = "waiting", "working", "done", "failed"
_PREFIX = "uncover-web-"
# What the page shows is a JPEG of at most so many pixels: more than a browser holds of every picture with ease.
_SHOWN_PIXELS, _SHOWN_QUALITY, _THUMB_SIDE = 40_000_000, 90, 240
_log = logging.getLogger(__name__)


class RefusedError(ValueError):
    """What is not done, in a sentence, with the HTTP status and a word for programs; `retry`: seconds to wait."""

    def __init__(self, status: int, code: str, message: str, retry: int | None = None) -> None:
        super().__init__(message)
        self.status, self.code, self.retry = status, code, retry


@dataclass(frozen=True)
class Limits:
    """What is taken at most."""

    bytes: int = 100_000_000  # of an upload
    pixels: int = 100_000_000  # of a photo
    photos: int = 200  # kept at the same time, of all people together
    waiting: int = 32  # photos that wait for the worker
    seconds: float = 3600.0  # that a photo is kept after it was last asked for


@dataclass(eq=False)
class Job:
    """A photo. Its folder holds it as it came (`source`) and, when it was restored, `result` and what the page shows:
    `before.jpg`, `after.jpg`, `thumb.jpg`, and `mask.png` (255 = covered, of the photo's size, upright).
    """

    id: str
    name: str  # As its owner calls it, without what a file's name cannot hold.
    folder: Path
    state: str = WAITING
    message: str = ""  # Why it failed
    bad: bool = False  # It failed for the photo's sake, not for ours.
    version: int = 0  # Goes up with every result
    size: tuple[int, int] = (0, 0)  # (height, width) of the photo, upright
    kind: str = ""  # "JPEG", "PNG", ...
    occluders: int = 0
    seconds: float = 0.0
    notes: tuple[str, ...] = ()  # What of the file the result could not keep
    used: float = field(default_factory=time.monotonic)
    ticket: int = 0  # Its place in the queue
    finished: Future = field(default_factory=Future)

    @property
    def source(self) -> Path:
        return self.folder / "source" / self.name


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
        self._lock, self._tickets, self._closed = threading.Lock(), count(1), False
        self._queue: PriorityQueue[tuple[int, int, Job, np.ndarray | None]] = PriorityQueue()
        self._worker = threading.Thread(target=self._work, name="restorer", daemon=True)
        self._worker.start()

    def close(self) -> None:
        """Ends the worker after the photo at hand, and removes every file."""
        if not self._closed:
            self._closed = True
            self._worker.join()
            shutil.rmtree(self.folder, ignore_errors=True)
            os.close(self._mark)

    def add(self, upload: BinaryIO, name: str, mask: BinaryIO | None = None) -> Job:
        """Takes a photo in and queues it; `mask`, a picture, says what is covered.

        Raises:
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
            self._check_picture(job.source, job)
            self._queue_up(job, None if mask is None else self._read_mask(job, mask), hurry=False)
        except BaseException:
            self.remove(job)
            raise
        return job

    def correct(self, job: Job, mask: BinaryIO) -> None:
        """Restores a photo again, told by `mask` what is covered, before photos that nobody has seen yet."""
        if job.state in (WAITING, WORKING):
            raise RefusedError(409, "unfinished", f"{job.name}: is being restored; wait until that is done")
        self._check_queue()
        self._queue_up(job, self._read_mask(job, mask), hurry=True)

    def get(self, identity: str) -> Job:
        """The photo of that name; using it keeps it."""
        job = self._jobs.get(identity)
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
        if not job.finished.done():
            job.finished.set_result(None)

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

    def _check_picture(self, path: Path, job: Job) -> None:
        if path.stat().st_size > self.limits.bytes:
            raise too_large(self.limits)
        try:
            pixels = count_pixels(path)
        except BadImageError as error:
            raise RefusedError(415, "no_picture", _without_folder(sentence(error), path)) from error
        if pixels > self.limits.pixels:
            message = f"{path.name}: {pixels / 1e6:.1f} megapixels; the limit is {self.limits.pixels / 1e6:g}"
            raise RefusedError(413, "too_large", message)

    def _read_mask(self, job: Job, mask: BinaryIO) -> np.ndarray:
        """uint8 [h, w], 1 = covered; whether it fits the photo is known when that is read."""
        with tempfile.TemporaryDirectory(dir=job.folder) as folder:
            path = Path(folder, "mask")
            with open(path, "wb") as file:
                shutil.copyfileobj(mask, file, 1 << 20)
            try:
                self._check_picture(path, job)
                return read_mask(path)
            except BadImageError as error:
                raise RefusedError(422, "broken", _without_folder(sentence(error), path)) from error

    def _queue_up(self, job: Job, mask: np.ndarray | None, hurry: bool) -> None:
        job.finished, job.ticket, job.state, job.message = Future(), next(self._tickets), WAITING, ""
        self._queue.put((0 if hurry else 1, job.ticket, job, mask))

    def _work(self) -> None:
        while not self._closed:
            self._sweep()
            try:
                _, _, job, mask = self._queue.get(timeout=0.5)
            except Empty:
                continue
            with self._lock:
                if job.id not in self._jobs:
                    continue
                job.state = WORKING
            try:
                self._restore(job, mask)
                job.state, job.bad = DONE, False
            except Exception as error:
                # One bad photo must not cost the others their answers.
                job.message, job.bad = _without_folder(sentence(error), job.source), isinstance(error, ValueError)
                if not isinstance(error, (BadImageError, RefusedError)):
                    _log.exception("%s could not be restored", job.name)
                job.state = FAILED
            job.used = time.monotonic()
            with self._lock:
                if job.id not in self._jobs:
                    shutil.rmtree(job.folder, ignore_errors=True)
                if not job.finished.done():
                    job.finished.set_result(None)

    def _restore(self, job: Job, told: np.ndarray | None) -> None:
        """From file to file as `predict.py` does it, and what the page shows of it."""
        start, photo = time.perf_counter(), read_photo(job.source)
        job.size, job.kind = photo.pixels.shape[:2], photo.kind
        if told is not None:
            told = fitted(told, job.size)
        restored = self._restorer(photo.pixels, told)
        encoded = Encoded(photo.source)
        if restored.mask.any():
            encoded = encode_photo(photo, restored.image, restored.mask)
        found = np.zeros(job.size, np.uint8) if restored.located is None else enlarge_mask(restored.located, job.size)
        write_mask(job.folder / "mask.png", found if told is None else told)
        for what, pixels in (("before.jpg", photo.pixels), ("after.jpg", restored.image)):
            if what != "before.jpg" or not job.version:
                write_bytes(job.folder / what, _shown(pixels, photo, _SHOWN_PIXELS))
        write_bytes(job.folder / "thumb.jpg", _shown(restored.image, photo, _THUMB_SIDE**2))
        # The photo comes last: where it exists, everything about it does.
        write_bytes(job.folder / "result", encoded.content)
        job.occluders, job.notes, job.version = restored.occluders, encoded.notes, job.version + 1
        job.seconds = time.perf_counter() - start

    def _sweep(self) -> None:
        """Removes what nobody has asked for in a long time."""
        oldest = time.monotonic() - self.limits.seconds
        for job in list(self._jobs.values()):
            if job.used < oldest and job.state in (DONE, FAILED):
                self.remove(job)


def too_large(limits: Limits) -> RefusedError:
    return RefusedError(413, "too_large", f"the upload is larger than the limit of {limits.bytes / 1e6:g} MB")


def clean_name(name: str) -> str:
    """A file's name from an upload: no folders, no control characters, none that some system refuses, not too long."""
    name = re.split(r"[/\\]", name)[-1].encode("utf-8", "replace").decode()
    name = re.sub(r'[\x00-\x1f\x7f-\x9f:*?"<>|\u2028\u2029\u202a-\u202e\u2066-\u2069]', "_", name).strip().lstrip(".")
    stem, suffix = os.path.splitext(name)
    while len((stem + suffix).encode()) > 200:
        stem, suffix = stem[:-1], suffix[:20]
    return stem + suffix or "photo"


def fitted(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A 0/1 mask at a photo's (height, width); `RefusedError` where its sides do not go with that."""
    (height, width), (rows, columns) = size, mask.shape
    if abs(rows * width - columns * height) > max(width, height):
        expected = f"expected {width} x {height}, or smaller in the same proportions"
        raise RefusedError(422, "mask_size", f"the mask is {columns} x {rows} pixels; {expected}")
    return enlarge_mask(mask, size)


def _shown(rgb: np.ndarray, photo: Photo, pixels: int) -> bytes:
    """A JPEG for the page, of at most so many pixels, in the colours of the photo's own profile."""
    scale = min(1.0, (pixels / (rgb.shape[0] * rgb.shape[1])) ** 0.5)
    if scale < 1:
        size = tuple(max(1, round(side * scale)) for side in rgb.shape[1::-1])
        rgb = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)
    profile = b""
    with suppress(Exception), Image.open(io.BytesIO(photo.source)) as image:
        profile = image.info.get("icc_profile") or b""
    buffer = io.BytesIO()
    profile = profile if profile[16:20] == b"RGB " else b""
    Image.fromarray(eight_bit(rgb)).save(buffer, "JPEG", quality=_SHOWN_QUALITY, icc_profile=profile)
    return buffer.getvalue()


def _without_folder(message: str, path: Path) -> str:
    return message.replace(f"{path.parent}{os.sep}", "")


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
