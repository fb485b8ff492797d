"""A user's own picture file: read whole, and given back as the same kind of file with only the masked pixels changed.

    photo = read_photo(path)
    encoded = encode_photo(photo, restored, mask)
    photo = next_page(photo, encoded.content)       # of a TIFF of several pages, read with several=True

What lies under the mask becomes the fill, as exactly as the kind of file can say it; every other pixel and everything
else that the file holds stays. What cannot stay is named in `Encoded.notes`.
"""

import math
import os
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from data import images
from data.images import STARTING_BYTES, BadImageError, kind_of, kind_of_file, open_picture, turn_back, turn_upright
from data.jpeg_segments import split
from data.photos import colours, jpeg, png, tiff
from data.photos.colours import Encoded


def _decode(source: bytes, name: str) -> tuple[np.ndarray, int]:
    """RGB uint8 height x width x 3 of a kind that Pillow decodes, and its EXIF orientation."""
    image = images.decoded(source, name)
    return images.to_array(image, "RGB"), images.stored_orientation(image)


# By Pillow's names: decode(source, name) and encode(source, name, rgb, mask), in the stored orientation.
_KINDS = {
    "JPEG": (_decode, jpeg.encode),
    "PNG": (png.decode, png.encode),
    "TIFF": (tiff.decode, tiff.encode),
    **dict.fromkeys(("WEBP", "BMP", "HEIF", "AVIF"), (_decode, colours.encode)),
}


class Photo(NamedTuple):
    """A decoded picture file."""

    path: Path
    kind: str  # Of `_KINDS`, by its content, whatever its name says.
    pixels: np.ndarray  # RGB height x width x 3, upright; uint16 where the file has more than 8 bits, else uint8.
    orientation: int  # EXIF orientation 1..8; the pixels lie that way again in what is encoded.
    source: bytes  # The whole file.
    page: int = 0  # Which of its `pages` this is.
    pages: int = 1


def read_photo(path: str | os.PathLike[str], several: bool = False) -> Photo:
    """Reads a picture file together with what is needed to write it back; of one of `several` pages, the first.

    BadImageError names the file: not a picture of a kind that is written back, cut short, several frames or (unless
    `several` is set) pages in one file, or larger than `data.images.MAX_PIXELS`.
    """
    path = Path(path)
    kind, pages = _kind(path), count_pages(path)
    images.check_single(1 if several else pages, str(path))
    return _decoded(path, kind, path.read_bytes(), 0, pages)


def _decoded(path: Path, kind: str, source: bytes, page: int = 0, pages: int = 1) -> Photo:
    decode, _ = _KINDS[kind]
    rgb, orientation = decode(source, str(path), *([page] if page else []))
    return Photo(path, kind, turn_upright(rgb, orientation), orientation, source, page, pages)


def count_pages(path: str | os.PathLike[str]) -> int:
    """How many pictures a file holds, from its directories; thumbnails and masks of one do not count."""
    return len(tiff.page_sizes(path)) if kind_of_file(path) == "TIFF" else 1


def is_book(path: str | os.PathLike[str]) -> bool:
    """Whether a file is a PDF, or a TIFF of several pages, which `inference.book` restores."""
    return kind_of_file(path) == "PDF" or count_pages(path) > 1


def next_page(photo: Photo, content: bytes | bytearray) -> Photo | None:
    """The page behind that of `photo` in `content`, the file as far as it has been changed; None behind the last."""
    number = photo.page + 1
    return None if number == photo.pages else _decoded(photo.path, photo.kind, bytes(content), number, photo.pages)


def count_pixels(path: str | os.PathLike[str]) -> int:
    """Height x width of a picture file, from its header alone; `BadImageError` for no picture, or too large a one."""
    if _kind(path) == "TIFF":
        return max(map(math.prod, tiff.page_sizes(path)))
    with open_picture(path, os.fspath(path)) as image:
        return image.width * image.height


def is_whole(content: bytes, as_long: bool = False) -> bool:
    """Whether a picture or PDF is there to its end, as far as its kind tells; if a whole one was `as_long`, zeros in
    the coded data of a JPEG, which a disk may leave and decoders take for blocks, tell as well.
    """
    kind = kind_of(content[:STARTING_BYTES]).replace("HEIC", "HEIF")
    if kind == "PDF":
        return b"%%EOF" in content[-STARTING_BYTES:]
    with suppress(BadImageError, KeyError):  # No picture, or of a kind that is never written.
        _KINDS[kind][0](content, "it")
        if kind != "JPEG":
            return True
        segments, end = split(content)
        zeros = as_long and any(bytes(256) in each.data for each in segments)
        return content[:end].endswith(b"\xff\xd9") and not zeros
    return False


def encode_photo(photo: Photo, pixels: np.ndarray, mask: np.ndarray) -> Encoded:
    """The file of `photo` with `pixels` in the place of its own where `mask` (height x width, upright) is not 0.

    `pixels` are upright RGB of the shape and type of `photo.pixels` (else ValueError); only those under the mask are
    looked at, but for a JPEG's blocks at the mask's border.
    """
    expected, got = ((array.dtype.name, array.shape) for array in (photo.pixels, pixels))
    if got != expected:
        raise ValueError(f"{photo.path}: expected pixels of type and shape {expected}, got {got}")
    rgb, covered = (turn_back(array, photo.orientation) for array in (pixels, (mask != 0).astype(np.uint8)))
    _, encode = _KINDS[photo.kind]
    return encode(photo.source, str(photo.path), rgb, covered, *([photo.page] if photo.page else []))


def _kind(path: str | os.PathLike[str]) -> str:
    """By Pillow's name. Told without Pillow, which opens fewer files than are restored here."""
    kind = kind_of_file(path)
    if kind == "HEIC" and "HEIF" in Image.OPEN:
        return "HEIF"
    if not kind:
        with open_picture(path) as image:  # Says what is wrong, or knows a kind that is rarer still.
            kind = image.format
    if kind not in _KINDS:
        raise BadImageError(f"{os.fspath(path)}: {images.unread(kind)}")
    return kind
