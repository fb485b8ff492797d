"""What in a file's metadata shows the photo as it was: thumbnails become zeros, or blanks, when the photo changes.

Every other byte stays, and stays in its place: makers' notes point into EXIF by offsets that nobody else knows.
Layouts: EXIF 2.32, JFIF 1.02, Adobe's Photoshop File Formats (image resources) and XMP Specification, part 2.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Iterator
from contextlib import suppress

from data.jpeg_segments import APP0, APP1, APP2, APP13, Segment

_ORDERS = {b"II": "<", b"MM": ">"}
# Tags of a directory that say where the bytes of its picture lie, and how many: of a JPEG, and of strips.
_PICTURES = {513: 514, 273: 279}
_WHOLE_NUMBERS = {3: "H", 4: "I"}
# Bytes of a value of each type, and the tags that name a directory below: EXIF, GPS, interoperability.
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8}
_DIRECTORIES = (0x8769, 0x8825, 0xA005)
# Numbers of the resources of Photoshop that hold a thumbnail.
_RESOURCES = (0x0409, 0x040C)
_XMP_PICTURE = re.compile(rb"(xmpGImg:image\s*(?:>|=\s*[\"']))([^<\"']*)")
_EXIF, _XMP, _PHOTOSHOP = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0", b"Photoshop 3.0\0"
_Spans = Iterable[tuple[int, int]]  # Starts and ends.


def in_exif(exif: bytes) -> bytes:
    """EXIF, with "Exif" in front or without; the directories behind the first and their pictures become zeros.

    What they state may be out of date: nothing that the first directory and those below it hold is touched.
    """
    head = _EXIF if exif.startswith(_EXIF) else b""
    order, tiff = _ORDERS.get(exif[len(head) :][:2]), bytearray(exif[len(head) :])
    # What is broken ends the walk: no reader goes on there either.
    with suppress(struct.error):
        (first,) = struct.unpack_from(f"{order}I", tiff, 4)
        kept, done = [(0, 8), *_held_below(tiff, order, first)], {0, first}
        _, end = _entries(tiff, order, first)
        (at,) = struct.unpack_from(f"{order}I", tiff, end)
        struct.pack_into(f"{order}I", tiff, end, 0)
        while at not in done:
            done.add(at)
            entries, end = _entries(tiff, order, at)
            (following,) = struct.unpack_from(f"{order}I", tiff, end)
            for span in (*_pictures(tiff, order, entries), (at, end + 4)):
                _wipe_beside(kept, tiff, *span)
            at = following
    return head + bytes(tiff)


def _entries(tiff: bytearray, order: str, at: int) -> tuple[list[tuple[int, int, int, int]], int]:
    """Tag, type, count and place of the values in a directory, and where the place of the next directory stands."""
    (count,) = struct.unpack_from(f"{order}H", tiff, at)
    entries, end = [], at + 2 + 12 * count
    for entry in range(at + 2, end, 12):
        tag, kind, count, place = struct.unpack_from(f"{order}HHII", tiff, entry)
        entries.append((tag, kind, count, place if _SIZES.get(kind, 0) * count > 4 else entry + 8))
    return entries, end


def _held_below(tiff: bytearray, order: str, first: int) -> _Spans:
    """A directory, its values, and the same of the directories below it."""
    waiting = [first]
    for at in waiting:
        with suppress(struct.error):
            entries, end = _entries(tiff, order, at)
            yield at, end + 4
            for tag, kind, count, place in entries:
                # What fits into the entry lies in the directory already.
                if (size := _SIZES.get(kind, 0) * count) > 4 and place + size <= len(tiff):
                    yield place, place + size
                if tag in _DIRECTORIES:
                    waiting += {*struct.unpack_from(f"{order}I", tiff, place)} - {*waiting}


def _pictures(tiff: bytearray, order: str, entries: list[tuple[int, int, int, int]]) -> _Spans:
    """What a directory says is its picture."""
    numbers = {}
    for tag, kind, count, place in entries:
        with suppress(struct.error, KeyError):
            numbers[tag] = struct.unpack_from(f"{order}{count}{_WHOLE_NUMBERS[kind]}", tiff, place)
    for starts, sizes in _PICTURES.items():
        for start, size in zip(numbers.get(starts, ()), numbers.get(sizes, ()), strict=False):
            yield start, start + size


def _wipe_beside(kept: _Spans, tiff: bytearray, start: int, end: int) -> None:
    """Zeros from `start` to `end`, but for what is kept, unless a JPEG fills a part of that (of a maker's note)."""
    met = [span for span in kept if span[0] < end and start < span[1]]
    if tiff[start : start + 2] == b"\xff\xd8" or (end <= len(tiff) and not met):
        before = bytes(tiff)
        _wipe(tiff, start, end)
        for low, high in met:
            if not low <= start < end <= high:
                tiff[low:high] = before[low:high]


def _wipe(content: bytearray, start: int, end: int) -> None:
    content[start:end] = bytes(len(content[start:end]))


def in_photoshop(resources: bytes) -> bytes:
    """Photoshop's image resources; a thumbnail among them becomes one of no pixels."""
    content, at = bytearray(resources), 0
    with suppress(struct.error):
        while content[at : at + 4] == b"8BIM":
            number, letters = struct.unpack_from(">HB", content, at + 4)
            at += 11 + letters + (letters + 1) % 2
            (size,) = struct.unpack_from(">I", content, at - 4)
            if number in _RESOURCES:
                _wipe(content, at, at + size)
            at += size + size % 2
    return bytes(content)


def in_xmp(xmp: bytes) -> bytes:
    """XMP; the pictures of its thumbnails become blanks."""
    return _XMP_PICTURE.sub(lambda found: found[1] + b" " * len(found[2]), xmp)


def in_segments(segments: Iterable[Segment]) -> Iterator[Segment]:
    """The segments of a JPEG, without the thumbnails of JFIF and its extension, and the index of further pictures."""
    segments = list(segments)
    resources = [each.payload for each in segments if (each.marker, each.payload[:14]) == (APP13, _PHOTOSHOP)]
    # They go on from segment to segment, or begin anew in each: some writers do the one, some the other.
    whole, at = in_photoshop(b"".join(each[14:] for each in resources)), 0
    for each in segments:
        kind, payload = each.marker, each.payload
        if (kind, payload[:5]) == (APP0, b"JFXX\0") or (kind, payload[:4]) == (APP2, b"MPF\0"):
            continue
        if (kind, payload[:5]) == (APP0, b"JFIF\0"):
            payload = payload[:12] + bytes(len(payload[12:14]))
        for start, change in ((_EXIF, in_exif), (_XMP, in_xmp)):
            if kind == APP1 and payload.startswith(start):
                payload = start + change(payload[len(start) :])
        if kind == APP13 and payload in resources:
            end = at + len(payload) - 14
            payload, at = _PHOTOSHOP + in_photoshop(whole[at:end]), end
        yield each._replace(payload=payload)
