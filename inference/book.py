"""A PDF of scanned or photographed pages: its page pictures are restored and put back in their places.

Everything else stays: the text layer, bookmarks, page labels, other pictures, and pages that are drawn as vectors. A
JPEG in the PDF is restored by its blocks, as a photo is (`data.photos`); a picture of another coding comes back
lossless. pikepdf, an optional package, reads and writes the file (`pip install pikepdf`).
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from data.images import BadImageError, kind_of_file
from data.photos import encode_photo, next_page, read_photo
from inference.restorer import Restored, timed

# What is made of the pixels of a page's picture, counted in its `Book`; None where nothing is to be encoded.
Changed = Callable[[np.ndarray], Restored | None]


@dataclass
class Book:
    """What became of a PDF, or of the pages of a picture file."""

    content: bytes = b""  # The file; that of the source, byte for byte, where nothing was removed
    pages: int = 0
    unseen: list[int] = field(default_factory=list)  # Pages with pictures, none of which was looked at; from 1
    changed: int = 0  # How many pictures were restored
    occluders: int = 0
    notes: list[str] = field(default_factory=list)  # Why a picture stayed as it is, by page
    steps: Counter[str] = field(default_factory=Counter)  # Seconds by step, as of a photo


def restore_book(path: Path, restorer: Callable[[np.ndarray], Restored], encode: bool = True,
                 tell: Callable[[int, int], None] = lambda page, pages: None) -> Book:  # fmt: skip
    """Restores the page pictures of a PDF, the pages of a TIFF, or a photo; without `encode` it only counts them.

    `tell` hears before each page which one it is, from 1, and of how many; it may raise an error that ends the work.
    BadImageError: not a file that can be read; a PDF is encrypted or signed; pikepdf is missing."""
    book = Book()

    def changed(pixels: np.ndarray) -> Restored | None:
        restored = restorer(pixels)
        book.steps.update(restored.seconds)
        book.changed += bool(restored.mask.any())
        book.occluders += restored.occluders
        return restored if encode and restored.mask.any() else None

    (_restore_pdf if kind_of_file(path) == "PDF" else _restore_pages)(path, changed, book, tell)
    return book


def _restore_pages(path: Path, changed: Changed, book: Book, tell: Callable[[int, int], None]) -> None:
    photo, notes = read_photo(path, several=True), {}
    book.content, book.pages = photo.source, photo.pages
    while photo:
        tell(photo.page + 1, photo.pages)
        if restored := changed(photo.pixels):
            encoded = encode_photo(photo, restored.image, restored.mask)
            book.content, notes = bytes(encoded.content), notes | dict.fromkeys(encoded.notes)
        photo = next_page(photo, book.content)
    book.notes.extend(notes)


def _restore_pdf(path: Path, changed: Changed, book: Book, tell: Callable[[int, int], None]) -> None:
    try:
        from data.photos import pdf as pdfs
    except ImportError as error:
        raise BadImageError(f"{path}: a PDF; to restore its pages, install pikepdf") from error
    book.content = path.read_bytes()
    with pdfs.open_pdf(book.content, str(path)) as pdf:
        book.pages, looked = len(pdf.pages), {}  # By picture, which may stand on several pages: whether that worked.
        for number, page in enumerate(pdf.pages, 1):
            tell(number, book.pages)
            drawn, turns = list(pdfs.drawn(page)), page.obj.get("/Rotate")
            turns = turns // 90 % 4 if isinstance(turns, int) else 0
            if any(each is None for each in drawn):
                raise BadImageError(f"{path}: a PDF that is broken or cut short: page {number} lacks a picture")
            pictures = [each for each in drawn if each.get("/Subtype") == "/Image"]
            for picture in pictures:
                if pdfs.is_page(picture) and picture.objgen not in looked:
                    try:
                        notes, looked[picture.objgen] = _restore_picture(picture, turns, changed, book.steps), True
                    except BadImageError as error:
                        notes, looked[picture.objgen] = [f"a picture stays as it is ({error})"], False
                    book.notes.extend(f"page {number}: {note}" for note in notes)
            is_seen = any(looked.get(picture.objgen) for picture in pictures)
            if not is_seen and (pictures or any(map(pdfs.holds_inline, (page, *drawn)))):
                book.unseen.append(number)
        told = {note.partition(":")[0] for note in book.notes}
        if silent := [str(number) for number in book.unseen if f"page {number}" not in told]:
            why = "their pictures are small, strips, stencils, inline, or stay as they are"
            book.notes.append(f"not looked at: page {', '.join(silent)} ({why})")
        if "encode" in book.steps:
            book.content = pdfs.save(pdf)


def _restore_picture(stream: Any, turns: int, changed: Changed, steps: Counter[str]) -> tuple[str, ...]:
    """Restores one picture in place, and tells what could not be kept; `turns`: by how many quarters its page is shown
    turned clockwise. BadImageError without a name: why it stays as it is."""
    from data.photos.pdf import read

    with timed(steps, "decode"):
        pixels, put = read(stream)
    restored = changed(np.ascontiguousarray(np.rot90(pixels, -turns)))
    if restored is None:
        return ()
    with timed(steps, "encode"):
        return put(*(np.ascontiguousarray(np.rot90(array, turns)) for array in (restored.image, restored.mask)))
