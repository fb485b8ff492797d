"""A file that somebody hands over, photo, PDF or TIFF of pages: what is taken, restored and shown of it."""

import io
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException

from data.images import BadImageError, eight_bit, kind_of_file
from data.masks import read_mask, write_mask
from data.photos import count_pixels
from inference.book import restore_book
from inference.find import enlarge_mask
from inference.restorer import Restored
from utils.command import sentence
from utils.files import write_bytes

# What the page shows are JPEGs, no larger than browsers hold with ease.
_SHOWN_SIDE, _SHOWN_QUALITY, _THUMB_SIDE = 8000, 90, 240


class RefusedError(HTTPException):
    """What is not done, in a sentence, with the HTTP status and a word for programs; `retry`: seconds to wait."""

    def __init__(self, status: int, code: str, message: str, retry: int | None = None) -> None:
        super().__init__(status, message, None if retry is None else {"Retry-After": str(retry)})
        self.code = code


@dataclass(frozen=True)
class Limits:
    """What is taken at most."""

    bytes: int = 100_000_000  # of an upload
    pixels: int = 100_000_000  # of a photo, or of a picture of a page
    pages: int = 500  # of a file
    photos: int = 200  # kept at the same time, of all people together
    waiting: int = 32  # photos, beside the one that is worked on
    seconds: float = 3600.0  # that a photo is kept after it was last asked for

    def keep(self, upload: BinaryIO, path: Path) -> None:
        """Writes an upload to a file; `RefusedError` for what is no picture and no PDF, or too large."""
        with open(path, "wb") as file:
            shutil.copyfileobj(upload, file, 1 << 20)
        if path.stat().st_size > self.bytes:
            raise self.too_large()
        try:
            # Those of a PDF are counted as they come.
            self.check_pixels(path.name, 0 if kind_of_file(path) == "PDF" else count_pixels(path))
        except BadImageError as error:
            raise RefusedError(415, "no_picture", without_folder(error, path)) from error

    def check_pixels(self, name: str, pixels: int) -> None:
        if pixels > self.pixels:
            told = f"{name}: {pixels / 1e6:.1f} megapixels; the limit is {self.pixels / 1e6:g}"
            raise RefusedError(413, "too_large", told)

    def too_large(self) -> RefusedError:
        return RefusedError(413, "too_large", f"the upload is larger than the limit of {self.bytes / 1e6:g} MB")


class Status(BaseModel):
    """A photo and what became of it."""

    id: str
    name: str = Field(description="as its owner calls it, without what a file's name cannot hold")
    state: Literal["waiting", "working", "done", "failed"] = "working"
    message: str = Field("", description="why it failed")
    version: int = Field(0, description="how many results there have been; 0: none yet")
    page: int = Field(1, description="which page of a PDF or TIFF is worked on")
    pages: int = Field(1, description="of how many")
    sizes: list[tuple[int, int]] = Field([], description="width and height of each picture of a page: one in a photo")
    ahead: int = Field(0, description="photos that wait before this one")
    occluders: int = 0
    seconds: float = 0.0
    notes: list[str] = Field([], description="what of the file the result could not keep")


class Job(Status):
    """A file with pictures of pages, counted from 1, upright; a photo is the only picture of its own.

    `folder` holds it as it came (`source`), when it was restored `result` and `1.thumb.jpg`, and of every picture
    `1.before.jpg`, `1.after.jpg`, `1.mask.png` (255 = covered, of its size, upright) and, from a person, `1.told.png`.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    folder: Path
    fault: RefusedError | None = None  # Why it failed
    kind: str = ""  # "JPEG", "PNG", "PDF", ...
    used: float = Field(default_factory=time.monotonic)
    turn: tuple[bool, int] = (False, 0)  # Its place in the queue: the lowest comes next
    finished: Future = Field(default_factory=Future)

    @property
    def source(self) -> Path:
        return self.folder / "source" / self.name

    def tell(self, upload: BinaryIO, number: int, limits: Limits) -> None:
        """Keeps a person's mask of a picture; `RefusedError` where it is none, or known to be of other sides."""
        with tempfile.TemporaryDirectory(dir=self.folder) as folder:
            path = Path(folder, "mask")
            limits.keep(upload, path)
            try:
                mask = read_mask(path)
            except BadImageError as error:
                raise RefusedError(422, "broken", without_folder(error, path)) from error
        mask = _fitted(mask, self.sizes[number - 1]) if self.sizes else mask
        write_mask(self.folder / f"{number}.told.png", mask)

    def restore(
        self, restorer: Callable[[np.ndarray, np.ndarray | None], Restored], limits: Limits, go_on: Callable[[], None]
    ) -> None:
        """From file to file as `predict.py` does it, and what the page shows of it; `go_on` may raise, at each page."""
        start, sizes = time.perf_counter(), []

        def restore(pixels: np.ndarray) -> Restored:
            limits.check_pixels(f"{self.name}: page {self.page}", pixels.shape[0] * pixels.shape[1])
            sizes.append(size := pixels.shape[1::-1])
            number, told = len(sizes), self.folder / f"{len(sizes)}.told.png"
            mask = _fitted(read_mask(told), size) if told.exists() else None
            restored = restorer(pixels, mask)
            found = enlarge_mask(restored.located, pixels.shape[:2]) if mask is None else mask
            write_mask(self.folder / f"{number}.mask.png", found)
            shown = [("after", restored.image, _SHOWN_SIDE)]
            shown += [("before", pixels, _SHOWN_SIDE)] * (not self.version)
            shown += [("thumb", restored.image, _THUMB_SIDE)] * (number == 1)
            for what, rgb, side in shown:
                write_bytes(self.folder / f"{number}.{what}.jpg", _shown(rgb, self.source, side))
            return restored

        def tell(page: int, pages: int) -> None:
            self.page, self.pages = page, pages
            if pages > limits.pages:
                raise RefusedError(413, "too_large", f"{self.name}: {pages} pages; the limit is {limits.pages}")
            go_on()

        book = restore_book(self.source, restore, tell=tell)
        # The file comes last: where it exists, everything about it does.
        write_bytes(self.folder / "result", book.content)
        self.kind, self.occluders, self.notes = kind_of_file(self.source), book.occluders, book.notes
        self.sizes, self.version = sizes, self.version + 1
        self.seconds = time.perf_counter() - start


def clean_name(name: str) -> str:
    """A file's name from an upload: no folders, no control characters, none that some system refuses, not too long."""
    name = re.split(r"[/\\]", name)[-1].encode("utf-8", "replace").decode()
    name = re.sub(r'[\x00-\x1f\x7f-\x9f:*?"<>|\u2028\u2029\u202a-\u202e\u2066-\u2069]', "_", name).strip().lstrip(".")
    stem, suffix = os.path.splitext(name)
    while len((stem + suffix).encode()) > 200:
        stem, suffix = stem[:-1], suffix[:20]
    return stem + suffix or "photo"


def without_folder(error: BaseException, path: Path) -> str:
    """What `error` says, without the folder of ours that `path` lies in."""
    return sentence(error).replace(f"{path.parent}{os.sep}", "")


def _fitted(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A 0/1 mask at a picture's (width, height); `RefusedError` where its sides do not go with that."""
    (width, height), (rows, columns) = size, mask.shape
    if abs(rows * width - columns * height) > max(width, height):
        expected = f"expected {width} x {height}, or smaller in the same proportions"
        raise RefusedError(422, "mask_size", f"the mask is {columns} x {rows} pixels; {expected}")
    return enlarge_mask(mask, (height, width))


def _shown(rgb: np.ndarray, source: Path, side: int) -> bytes:
    """A JPEG for the page, no longer than `side`, in the colours of the profile of `source`."""
    profile, buffer = b"", io.BytesIO()
    with suppress(Exception), Image.open(source) as image:
        profile = image.info.get("icc_profile") or b""
    image = Image.fromarray(eight_bit(rgb))
    image.thumbnail((side, side), Image.Resampling.BOX)
    image.save(buffer, "JPEG", quality=_SHOWN_QUALITY, icc_profile=profile if profile[16:20] == b"RGB " else b"")
    return buffer.getvalue()
