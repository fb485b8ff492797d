"""What in a file's metadata shows the photo as it was: thumbnails become zeros, or blanks, when the photo changes.

Every other byte stays, and stays in its place: makers' notes point into EXIF by offsets that nobody else knows.
Layouts: EXIF 2.32, JFIF 1.02, Adobe's Photoshop File Formats (image resources) and XMP Specification, part 2.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Iterator
from contextlib import suppress

from data.jpeg_segments import APP0, APP1, APP13, Segment

_ORDERS = {b"II": "<", b"MM": ">"}
# Tags of a directory that say where the bytes of its picture lie, and how many: of a JPEG, and of strips.
_PICTURES = {513: 514, 273: 279}
_WHOLE_NUMBERS = {3: "H", 4: "I"}
# Numbers of the resources of Photoshop that hold a thumbnail.
_RESOURCES = (0x0409, 0x040C)
_XMP_PICTURE = re.compile(rb"(xmpGImg:image\s*(?:>|=\s*[\"']))([^<\"']*)")
_EXIF, _XMP, _PHOTOSHOP = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0", b"Photoshop 3.0\0"


def in_exif(exif: bytes) -> bytes:
    """EXIF, with "Exif" in front or without; the directories behind the first and their pictures become zeros."""
    head = _EXIF if exif.startswith(_EXIF) else b""
    order, tiff = _ORDERS.get(exif[len(head) :][:2]), bytearray(exif[len(head) :])
    # What is broken ends the walk: no reader goes on there either.
    with suppress(struct.error, KeyError, TypeError):
        (first,) = struct.unpack_from(f"{order}I", tiff, 4)
        pointer = _end(tiff, order, first)
        (at,) = struct.unpack_from(f"{order}I", tiff, pointer)
        kept = {0: bytes(tiff[:8]), first: bytes(tiff[first:pointer]) + bytes(4)}
        while at:
            end = _end(tiff, order, at)
            (following,) = struct.unpack_from(f"{order}I", tiff, end)
            entries = {struct.unpack_from(f"{order}H", tiff, entry)[0]: entry for entry in range(at + 2, end, 12)}
            for start, size in _PICTURES.items():
                if start in entries and size in entries:
                    spans = (_numbers(tiff, order, entries[tag]) for tag in (start, size))
                    for span in zip(*spans, strict=False):
                        _wipe(tiff, *span)
            _wipe(tiff, at, end + 4 - at)  # So a circle of directories ends, too.
            for place, content in kept.items():
                tiff[place : place + len(content)] = content
            at = following
    return head + bytes(tiff)


def _end(tiff: bytearray, order: str, at: int) -> int:
    """Behind the entries of a directory, where the place of the next one stands."""
    return at + 2 + 12 * struct.unpack_from(f"{order}H", tiff, at)[0]


def _numbers(tiff: bytearray, order: str, entry: int) -> tuple[int, ...]:
    kind, count = struct.unpack_from(f"{order}HI", tiff, entry + 2)
    layout = f"{order}{count}{_WHOLE_NUMBERS[kind]}"
    if struct.calcsize(layout) <= 4:
        return struct.unpack_from(layout, tiff, entry + 8)
    return struct.unpack_from(layout, tiff, *struct.unpack_from(f"{order}I", tiff, entry + 8))


def _wipe(content: bytearray, start: int, size: int) -> None:
    content[start : start + size] = bytes(len(content[start : start + size]))


def in_photoshop(resources: bytes) -> bytes:
    """Photoshop's image resources; a thumbnail among them becomes one of no pixels."""
    content, at = bytearray(resources), 0
    with suppress(struct.error):
        while content[at : at + 4] == b"8BIM":
            number, letters = struct.unpack_from(">HB", content, at + 4)
            at += 11 + letters + (letters + 1) % 2
            (size,) = struct.unpack_from(">I", content, at - 4)
            if number in _RESOURCES:
                _wipe(content, at, size)
            at += size + size % 2
    return bytes(content)


def in_xmp(xmp: bytes) -> bytes:
    """XMP; the pictures of its thumbnails become blanks."""
    return _XMP_PICTURE.sub(lambda found: found[1] + b" " * len(found[2]), xmp)


def in_segments(segments: Iterable[Segment]) -> Iterator[Segment]:
    """The segments of a JPEG, without the thumbnails of JFIF and its extension."""
    for each in segments:
        kind, payload = each.marker, each.payload
        if kind == APP0 and payload.startswith(b"JFXX\0"):
            continue
        if kind == APP0 and payload.startswith(b"JFIF\0"):
            payload = payload[:12] + bytes(len(payload[12:14]))
        for marker, start, change in ((APP1, _EXIF, in_exif), (APP1, _XMP, in_xmp), (APP13, _PHOTOSHOP, in_photoshop)):
            if kind == marker and payload.startswith(start):
                payload = start + change(payload[len(start) :])
        yield each._replace(payload=payload)
