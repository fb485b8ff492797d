"""A PDF of scanned or photographed pages: its page pictures are restored and put back in their places.

Everything else stays: the text layer, bookmarks, page labels, other pictures, and pages that are drawn as vectors. A
JPEG in the PDF is restored by its blocks, as a photo is (`data.photos`); a picture of another coding comes back
lossless. pikepdf, an optional package, reads and writes the file (`pip install pikepdf`).
"""

import io
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from data.images import BadImageError, check_size, kind_of_file
from data.photos import encode_photo, next_page, read_jpeg, read_photo
from inference.restorer import Restored, timed

# A picture with a shorter side below this is a logo or a stamp, and no page.
_SMALLEST_SIDE = 300
# Forms within forms, which a hostile file may nest without end.
_DEEPEST = 8
# What is made of the pixels of a page's picture, counted in its `Book`; None where nothing is to be encoded.
Changed = Callable[[np.ndarray], Restored | None]


@dataclass
class Book:
    """What became of a PDF, or of the pages of a picture file."""

    content: bytes = b""  # The file; that of the source, byte for byte, where nothing was removed
    pages: int = 0
    changed: int = 0  # How many pictures were restored
    occluders: int = 0
    notes: list[str] = field(default_factory=list)  # Why a picture stayed as it is, by page
    steps: Counter[str] = field(default_factory=Counter)  # Seconds by step, as of a photo


def restore_book(
    path: Path, restorer: Callable[[np.ndarray], Restored], encode: bool = True,
    tell: Callable[[int, int], None] = lambda page, pages: None,
) -> Book:  # fmt: skip
    """Restores the page pictures of a PDF, the pages of a TIFF, or a photo; without `encode` it only counts them.

    `tell` hears before each page which one it is, from 1, and of how many; it may raise an error that ends the work.
    BadImageError: not a file that can be read; a PDF is encrypted or signed; pikepdf is missing.
    """
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
        import pikepdf
    except ImportError as error:
        raise BadImageError(f"{path}: a PDF; to restore its pages, install pikepdf") from error
    book.content = path.read_bytes()
    try:
        pdf = pikepdf.open(io.BytesIO(book.content))
    except pikepdf.PasswordError as error:
        raise BadImageError(f"{path}: is encrypted and asks for a password; save a copy without one first") from error
    except pikepdf.PdfError as error:
        raise BadImageError(f"{path}: a PDF that is broken or cut short") from error
    with pdf:
        if pdf.is_encrypted:
            raise BadImageError(f"{path}: is encrypted, and its rights may forbid a change; save a copy without first")
        if _is_signed(pdf):
            raise BadImageError(f"{path}: is signed, and a change would break the signature; print it to a PDF first")
        book.pages, seen = len(pdf.pages), set()
        for number, page in enumerate(pdf.pages, 1):
            tell(number, book.pages)
            turns = int(page.obj.get("/Rotate", 0)) // 90 % 4
            for picture in _pictures(page.obj.get("/Resources"), _DEEPEST):
                if picture is None:
                    raise BadImageError(f"{path}: a PDF that is broken or cut short: page {number} lacks a picture")
                smallest = min(int(picture.get(side, 0)) for side in ("/Width", "/Height"))
                # A picture may stand on several pages.
                if picture.objgen in seen or smallest < _SMALLEST_SIDE:
                    continue
                seen.add(picture.objgen)
                try:
                    _restore_picture(picture, turns, changed, book.steps)
                except (ValueError, NotImplementedError, pikepdf.PdfError, pikepdf.models.image.ImageDecompressionError,
                        pikepdf.UnsupportedImageTypeError) as error:  # fmt: skip
                    reason = str(error).splitlines()[0].removeprefix("picture: ")
                    book.notes.append(f"page {number}: a picture stays as it is ({reason})")
        if "encode" in book.steps:
            for page in pdf.pages:
                if "/Thumb" in page.obj:  # It shows the page as it was.
                    del page.obj["/Thumb"]
            result = io.BytesIO()
            pdf.save(result, deterministic_id=True, compress_streams=False, fix_metadata_version=False,
                     linearize=pdf.is_linearized)  # fmt: skip
            book.content = result.getvalue()


def _is_signed(pdf: Any) -> bool:
    form = pdf.Root.get("/AcroForm")
    return "/Perms" in pdf.Root or (form is not None and bool(int(form.get("/SigFlags", 0)) & 1))


def _pictures(resources: Any, deepest: int) -> Iterator[Any]:
    """The picture objects of a page and of the forms on it; None for one that the file names and does not hold."""
    for item in (resources.get("/XObject", {}) if resources is not None else {}).values():
        if item is None or (item.get("/Subtype") == "/Image" and not item.get("/ImageMask", False)):
            yield item
        elif item.get("/Subtype") == "/Form" and deepest:
            yield from _pictures(item.get("/Resources"), deepest - 1)


def _restore_picture(picture: Any, turns: int, changed: Changed, steps: Counter[str]) -> None:
    """Restores one picture in place; `turns`: by how many quarters its page is shown turned clockwise."""
    import pikepdf

    check_size(int(picture.Width), int(picture.Height), "picture")
    filters = picture.get("/Filter")
    filters = [filters] if isinstance(filters, pikepdf.Name) else list(filters or [])
    with timed(steps, "decode"):
        if filters == [pikepdf.Name.DCTDecode]:
            photo = read_jpeg(picture.read_raw_bytes(), "picture")
            pixels = photo.pixels
        else:
            photo, image = None, pikepdf.PdfImage(picture).as_pil_image()
            pixels = np.array(image.convert("RGB"))
    restored = changed(np.ascontiguousarray(np.rot90(pixels, -turns)))
    if restored is None:
        return
    with timed(steps, "encode"):
        result, mask = (np.ascontiguousarray(np.rot90(array, turns)) for array in (restored.image, restored.mask))
        if photo is not None:
            picture.write(encode_photo(photo, result, mask).content, filter=pikepdf.Name.DCTDecode)
        else:
            _write_lossless(picture, result, image)


def _write_lossless(picture: Any, result: np.ndarray, image: Image.Image) -> None:
    """Puts RGB uint8 [H, W, 3] in the place of a picture that was read as `image`: grey where that was, else colour."""
    import pikepdf

    is_grey = image.mode in ("1", "L")
    values = np.asarray(Image.fromarray(result).convert("L")) if is_grey else result
    space = picture.get("/ColorSpace")
    # A profile of so many channels still fits; a palette or four colours do not.
    fits = isinstance(space, pikepdf.Array) and space[0] == "/ICCBased" and int(space[1].N) == (1 if is_grey else 3)
    picture.write(zlib.compress(values.tobytes(), 6), filter=pikepdf.Name.FlateDecode)
    if not fits:
        picture.ColorSpace = pikepdf.Name.DeviceGray if is_grey else pikepdf.Name.DeviceRGB
    picture.BitsPerComponent = 8
    for key in ("/Decode", "/DecodeParms"):
        if key in picture:
            del picture[key]
