"""What in a file's metadata shows the photo as it was: it becomes zeros, or blanks, when the photo changes.

Every other byte stays, and stays in its place: makers' notes point into EXIF by offsets that nobody else knows.
Layouts: EXIF 2.32, Adobe's Photoshop File Formats (image resources) and XMP Specification, part 2.
"""

import re
import struct
from collections.abc import Iterator
from contextlib import suppress

import numpy as np
from PIL import ExifTags, Image

from data.jpeg_segments import BROKEN, UnsupportedJpegError, split

# A segment that stands at the beginning of a picture follows the start of a JPEG.
_JPEG = re.compile(rb"\xff\xd8\xff[\xc0-\xc2\xc4\xdb\xdd\xe0-\xef\xfe]")
_XMP_PICTURE = re.compile(rb"(xmpGImg:image\s*(?:>|=\s*[\"']))([^<\"']*)")
# A resource of Photoshop for a thumbnail, up to the length of its name.
_RESOURCE = re.compile(rb"8BIM\x04[\x09\x0c](.)", re.DOTALL)
_EXIF = b"Exif\0\0"
_STRIP_OFFSETS, _STRIP_SIZES = 273, 279
# No metadata but hostile ones look like more JPEGs, or have pictures and directories of more parts.
_MOST_JPEGS, _MOST_PARTS = 100, 1000
_SIZES = dict(enumerate((1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8), 1))  # Bytes of a value of each type


def without_jpegs(metadata: bytes) -> bytes:
    """Any metadata; each JPEG in it becomes zeros, whatever follows too many of them, and Photoshop's thumbnails."""
    changed, at, left = bytearray(metadata), 0, _MOST_JPEGS
    while found := _JPEG.search(metadata, at):
        at, left = found.end(), left - 1
        with suppress(UnsupportedJpegError):  # Without a scan it shows nothing.
            at = split(metadata, found.start(), _MOST_PARTS)[1] if left else len(metadata)
            changed[found.start() : at] = bytes(at - found.start())
    at = 0
    while found := _RESOURCE.search(metadata, at):
        at = found.end() + (found[1][0] | 1) + 4
        size = int.from_bytes(metadata[at - 4 : at], "big")
        if at + size <= len(metadata):
            changed[at : at + size], at = bytes(size), at + size
    return bytes(changed)


def in_exif(exif: bytes) -> bytes:
    """EXIF, with "Exif" in front or without; each JPEG in it becomes zeros, and a thumbnail in strips.

    No directory follows the first one then. Where a JPEG lies is not asked of it: what it says may be out of date.
    """
    head, changed = len(_EXIF) * exif.startswith(_EXIF), bytearray(without_jpegs(exif))
    order = "<" if exif[head:].startswith(b"II") else ">"
    # What is broken is not shown by any reader.
    with suppress(*BROKEN, TypeError):
        (first,) = struct.unpack_from(f"{order}I", exif, head + 4)
        (count,) = struct.unpack_from(f"{order}H", exif, head + first)
        link = head + first + 2 + 12 * count
        struct.pack_into(f"{order}I", changed, link, 0)
        read = Image.Exif()
        read.load(exif)
        tags = read.get_ifd(ExifTags.IFD.IFD1)
        strips = (np.ravel(tags.get(tag, ())).tolist() for tag in (_STRIP_OFFSETS, _STRIP_SIZES))
        tiff, shown = exif[head:], np.zeros(len(exif) - head, bool)
        for start, size, _ in zip(*strips, range(_MOST_PARTS), strict=False):
            shown[start : start + size] = True
        for at in (first, read.get(ExifTags.IFD.Exif, first), read.get(ExifTags.IFD.GPSInfo, first)):
            for start, size in _held(tiff, order, at):
                shown[start : start + size] = False
        np.frombuffer(changed, np.uint8, offset=head)[shown] = 0
    return bytes(changed)


def _held(tiff: bytes, order: str, at: int) -> Iterator[tuple[int, int]]:
    """Start and size of the header, a directory and its values."""
    yield 0, 8
    with suppress(struct.error):
        (count,) = struct.unpack_from(f"{order}H", tiff, at)
        yield at, 6 + 12 * count
        for entry in range(at + 2, at + 2 + 12 * min(count, _MOST_PARTS), 12):
            kind, number, place = struct.unpack_from(f"{order}2xHII", tiff, entry)
            if (size := _SIZES.get(kind, 0) * number) > 4:
                yield place, size


def in_xmp(xmp: bytes) -> bytes:
    """XMP; the pictures of its thumbnails become blanks."""
    return _XMP_PICTURE.sub(lambda found: found[1] + b" " * len(found[2]), xmp)
