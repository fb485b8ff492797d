"""A JPEG file as its segments: split strictly and put together again; the metadata also of files that break the rules.

Marker names and layouts are those of ITU-T T.81, annex B.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

EOI, SOS, DQT, DHT, DRI, COM = 0xD9, 0xDA, 0xDB, 0xC4, 0xDD, 0xFE
APP0, APP2, APP14, APP15 = 0xE0, 0xE2, 0xEE, 0xEF
BASELINE, EXTENDED, PROGRESSIVE = 0xC0, 0xC1, 0xC2
_UNSUPPORTED = {
    **dict.fromkeys((0xC3, 0xCB), "lossless coding"),
    **dict.fromkeys((0xC5, 0xC6, 0xC7, 0xCD, 0xCE, 0xCF), "hierarchical coding"),
    **dict.fromkeys((0xC9, 0xCA, 0xCC), "arithmetic coding"),
    0xDC: "a height that follows the data (DNL)",
}
# Within entropy-coded data FF is followed by 00 (a stuffed byte), a restart marker, or more FF (fill).
_END_OF_DATA = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_CUT_SHORT = "cut short: no end of image"


class UnsupportedJpegError(ValueError):
    """A JPEG whose blocks cannot be replaced one by one; the message is the reason, without the file's name."""


@dataclass(frozen=True)
class Segment:
    """One marker and what belongs to it.

    Attributes:
        marker: the byte after FF.
        payload: what follows the two bytes of length.
        data: entropy-coded bytes behind a start of scan, restart markers included.
    """

    marker: int
    payload: bytes
    data: bytes = b""

    @property
    def is_metadata(self) -> bool:
        return APP0 <= self.marker <= APP15 or self.marker == COM

    @property
    def is_frame(self) -> bool:
        return self.marker in (BASELINE, EXTENDED, PROGRESSIVE)

    @property
    def is_picture_index(self) -> bool:
        """Whether it is the Multi-Picture Format's list of the pictures behind the first."""
        return self.marker == APP2 and self.payload.startswith(b"MPF\0")

    def encode(self) -> bytes:
        length = (len(self.payload) + 2).to_bytes(2, "big")
        return b"".join((bytes((0xFF, self.marker)), length, self.payload, self.data))


def encode_jpeg(segments: Iterable[Segment]) -> bytes:
    """The file that consists of `segments`."""
    return b"".join((b"\xff\xd8", *(segment.encode() for segment in segments), b"\xff\xd9"))


def demand(condition: bool, otherwise: str) -> None:
    """Refuses the file with the reason `otherwise`.

    Raises:
        UnsupportedJpegError: `condition` does not hold.
    """
    if not condition:
        raise UnsupportedJpegError(otherwise)


def split_jpeg(source: bytes) -> tuple[list[Segment], int]:
    """Segments of the first picture in `source`, and where it ends.

    Raises:
        UnsupportedJpegError: no JPEG, cut short, or with markers that no supported file has.
    """
    demand(source[:2] == b"\xff\xd8", "no JPEG file: it does not begin with FFD8")
    segments = []
    position = 2
    while True:
        demand(position + 1 < len(source), _CUT_SHORT)
        demand(source[position] == 0xFF, f"byte {position} belongs to no segment")
        while position + 1 < len(source) and source[position + 1] == 0xFF:
            position += 1
        demand(position + 1 < len(source), _CUT_SHORT)
        marker = source[position + 1]
        position += 2
        if marker == EOI:
            return segments, position
        demand(marker not in _UNSUPPORTED, _UNSUPPORTED.get(marker, ""))
        demand(0xC0 <= marker <= 0xFE and not 0xD0 <= marker <= 0xD8, f"marker FF{marker:02X} where none may be")
        length = int.from_bytes(source[position : position + 2], "big")
        demand(length >= 2 and position + length <= len(source), "cut short, or a segment of impossible length")
        payload = source[position + 2 : position + length]
        position += length
        data = b""
        if marker == SOS:
            found = _END_OF_DATA.search(source, position)
            demand(found is not None, _CUT_SHORT)
            data = source[position : found.start()].rstrip(b"\xff")
            position = found.start()
        segments.append(Segment(marker, payload, data))


def leading_metadata(source: bytes) -> list[Segment]:
    """Segments of metadata in front of the first scan, for files that `split_jpeg` refuses: whatever cannot be
    understood is passed over.
    """
    segments, position = [], 2
    while position + 4 <= len(source) and source[position : position + 2] != bytes((0xFF, SOS)):
        marker = source[position + 1]
        if source[position] != 0xFF or marker == 0xFF:  # Padding in front of a marker.
            position += 1
            continue
        end = position + 2 + int.from_bytes(source[position + 2 : position + 4], "big")
        segments.append(Segment(marker, source[position + 4 : end]))
        position = end
    return [segment for segment in segments if segment.is_metadata]
