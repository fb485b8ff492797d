"""A JPEG file as its segments, and whether its data are all there, which decoders do not tell.

Marker names and layouts: ITU-T T.81, annex B.
"""

import io
import math
import re
import struct
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageChops, JpegImagePlugin

# What Pillow raises at broken files.
BROKEN = (OSError, SyntaxError, ValueError, EOFError, LookupError, OverflowError, RuntimeError, struct.error)
EOI, SOS, DQT, DHT, DRI, COM = 0xD9, 0xDA, 0xDB, 0xC4, 0xDD, 0xFE
ADOBE, _METADATA = 0xEE, (*range(0xE0, 0xF0), COM)
# Labels of metadata, each by its own specification.
JFIF, JFXX, EXIF, MPF = (0xE0, b"JFIF\0"), (0xE0, b"JFXX\0"), (0xE1, b"Exif\0"), (0xE2, b"MPF\0")
XMP, PHOTOSHOP = (0xE1, b"http://ns.adobe.com/xap/1.0/\0"), (0xED, b"Photoshop 3.0\0")
FRAMES, PROGRESSIVE = (0xC0, 0xC1, 0xC2), 0xC2  # Start of frame: baseline, extended sequential, progressive
# FF may be repeated as fill; neither a restart marker nor the start of a picture begins a segment.
_MARKER = re.compile(rb"\xff+([\xc0-\xcf\xd9-\xfe])")
_NEXT_MARKER = re.compile(_MARKER.pattern.replace(b"+", b""))  # A search for this takes no longer where FF is repeated
# Within entropy-coded data FF is followed by 00 (a stuffed byte), a restart marker, or more FF (fill).
_END_OF_DATA = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_RESTART = re.compile(rb"\xff+[\xd0-\xd7]")
# Bits that no complete scan needs; no FF, which would begin a marker.
_MORE_DATA = bytes((0x55, 0xA5, 0x3C, 0x00)) * 16
# Pillow's own way makes another kind, MPO, of a JPEG with an index of further pictures; here it is its first one.
Image.register_open("JPEG", JpegImagePlugin.JpegImageFile, lambda start: start.startswith(b"\xff\xd8\xff"))


class UnsupportedJpegError(ValueError):
    """A JPEG that lost data, or whose blocks cannot be replaced one by one; the message is the reason, without name."""


class Segment(NamedTuple):
    """The byte after FF, what follows the two bytes of length, and the coded bytes behind a start of scan."""

    marker: int
    payload: bytes
    data: bytes = b""

    @property
    def is_metadata(self) -> bool:
        return self.marker in _METADATA

    @property
    def label(self) -> tuple[int, bytes]:
        """The marker, and the word that metadata begin with, up to its zero."""
        return self.marker, self.payload[: self.payload.find(b"\0") + 1]

    def huffman_tables(self) -> Iterator[tuple[int, int]]:
        """The number of each table that it defines, with 16 added for AC, and how many symbols it has."""
        position = 0
        while self.marker == DHT and position < len(self.payload):
            symbols = sum(self.payload[position + 1 : position + 17])
            yield self.payload[position], symbols
            position += 17 + symbols


def join(segments: Iterable[Segment]) -> bytes:
    parts = [b"\xff\xd8"]
    for marker, payload, data in segments:
        parts += [bytes((0xFF, marker)), (len(payload) + 2).to_bytes(2, "big"), payload, data]
    return b"".join((*parts, b"\xff\xd9"))


def split(source: bytes, at: int = 0, most: float = math.inf) -> tuple[list[Segment], int]:
    """Segments, at `most` so many, of the picture that begins in `source` at `at`, and where it ends.

    As decoders do, it skips bytes in front of the first scan, and where something else than segments follows a scan,
    such as a phone's trailer, or nothing, the picture ends there without an end marker.
    """
    demand(source[at : at + 2] == b"\xff\xd8", "no JPEG file: it does not begin with FFD8")
    segments, position, ended = [], at + 2, None
    try:
        while True:
            demand(len(segments) < most, "too many segments")
            found = _MARKER.match(source, position) if ended else _NEXT_MARKER.search(source, position)
            demand(found, "cut short: no end of image")
            marker, start = found[1][0], found.end()
            if marker == EOI:
                return segments, start
            position = start + int.from_bytes(source[start : start + 2], "big")
            demand(start + 2 <= position <= len(source), "cut short, or a segment of impossible length")
            payload, data = source[start + 2 : position], b""
            if marker == SOS:
                found = _END_OF_DATA.search(source, position)
                end = found.start() if found else len(source)
                data, position = source[position:end].rstrip(b"\xff"), end
                ended = len(segments) + 1, end
            segments.append(Segment(marker, payload, data))
    except UnsupportedJpegError:
        if not ended:
            raise
        return segments[: ended[0]], ended[1]


def load_whole(image: JpegImagePlugin.JpegImageFile) -> None:
    """Decodes what Pillow has opened, perhaps at a fraction of its size; the file may lack its end marker.

    UnsupportedJpegError: the data end before the picture, where decoders show grey without a word; else of `BROKEN`.
    """
    image.fp.seek(0)
    source = image.fp.read()
    with suppress(UnsupportedJpegError):  # Whatever that is, Pillow says what is wrong with it.
        _, end = split(source)
        image.fp.close()
        image.fp = io.BytesIO(source[:end].removesuffix(b"\xff\xd9") + b"\xff\xd9")
    image.load()
    segments, _ = split(source)
    frame = next((segment for segment in segments if segment.marker in FRAMES), None)
    demand(frame, "a lossless, hierarchical or arithmetic JPEG, which is not read; save it as a usual one")
    factors = {id: (vertical, horizontal) for id, horizontal, vertical, _ in image.layer}
    if not _lasts_for_more(segments, frame, factors):
        # Where data lack, more of them change what is seen; where none do, more are ignored. Intervals between restart
        # markers end early each for itself.
        longer = (
            each._replace(data=_RESTART.sub(_MORE_DATA + rb"\g<0>", each.data) + _MORE_DATA * (each.marker == SOS))
            for each in segments
        )
        again = _loaded(longer, (*image.decoderconfig, 1)[0])
        demand(not ImageChops.difference(image, again).getbbox(), "cut short: the data end before the picture")
    _demand_all_parts(segments, frame, factors)


def _demand_all_parts(segments: list[Segment], frame: Segment, factors: dict[int, tuple[int, int]]) -> None:
    """That no restart interval, component or bit of a coefficient lacks, which more data would not show."""
    largest, interval = [max(axis) for axis in zip(*factors.values(), strict=True)], 0
    sides, missing = struct.unpack(">HH", frame.payload[1:5]), {id: np.full(64, -1) for id in factors}
    for marker, payload, data in segments:
        if marker == DRI:
            interval = int.from_bytes(payload[:2], "big")
        if marker != SOS:
            continue
        ids = [id for id in payload[1:-3:2] if id in factors]
        first, last, bits = payload[-3:] if frame.marker == PROGRESSIVE else (0, 63, 0)
        for id in ids:
            missing[id][first : last + 1] = bits & 15
        # A scan of one component counts its blocks, one of several the units of all of them together.
        own = factors[ids[0]] if len(ids) == 1 else (1, 1)
        units = math.prod(-(-side * n // (8 * most)) for side, n, most in zip(sides, own, largest, strict=True))
        complete = not interval or len(_RESTART.findall(data)) >= -(-units // interval) - 1
        demand(complete, "cut short: restart markers are missing")
    demand(all(not each.any() for each in missing.values()), "cut short: scans that leave out components or bits")


def _lasts_for_more(segments: list[Segment], frame: Segment, factors: dict[int, tuple[int, int]]) -> bool:
    """Whether the data of one plain scan are whole, in a quarter of the time that more data take; False proves nothing.

    Said to be higher by a row of units, the picture goes on below its last one with what is made of the bits that fill
    up the last byte; but where the data end early, decoders leave all that lacks one middle grey.
    """
    markers, (high, wide) = [each.marker for each in segments], struct.unpack(">HH", frame.payload[1:5])
    if frame.marker == PROGRESSIVE or DRI in markers or markers.count(SOS) > 1 or min(high, wide) < 8 or high > 65000:
        return False
    tallest = max(vertical for vertical, _ in factors.values())
    payload = frame.payload[:1] + (high + 8 * tallest).to_bytes(2, "big") + frame.payload[3:]
    taller = _loaded((each._replace(payload=payload) if each is frame else each for each in segments), 8)
    below = taller.crop((0, tallest * -(-high // (8 * tallest)), *taller.size))
    return below.getcolors(1) is None


def _loaded(segments: Iterable[Segment], scale: int) -> JpegImagePlugin.JpegImageFile:
    """Decoded at a `scale`-th of its size."""
    image = JpegImagePlugin.JpegImageFile(io.BytesIO(join(segments)))
    image.draft(None, (max(1, image.width // scale), max(1, image.height // scale)))
    image.load()
    return image


def demand(condition: object, otherwise: str) -> None:
    """Refuses the file with the reason `otherwise`."""
    if not condition:
        raise UnsupportedJpegError(otherwise)
