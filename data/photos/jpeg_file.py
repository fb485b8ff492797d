"""A JPEG file as its segments, and what its headers say about its blocks.

libjpeg forgives, and the copy inside jpeglib ends the process at what it does not forgive. So Pillow is asked first,
and only what it takes and jpeglib does not, or what would come back differently, is looked for here. Marker names and
layouts are those of ITU-T T.81, annex B; the rules of colour are libjpeg's.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import takewhile
from typing import NamedTuple

import numpy as np
from PIL import JpegImagePlugin

from data.images import BROKEN

EOI, SOS, DQT, DHT, DRI, COM = 0xD9, 0xDA, 0xDB, 0xC4, 0xDD, 0xFE
APP0, APP2, APP14, APP15 = 0xE0, 0xE2, 0xEE, 0xEF
BASELINE, EXTENDED, PROGRESSIVE = 0xC0, 0xC1, 0xC2
# Within entropy-coded data FF is followed by 00 (a stuffed byte), a restart marker, or more FF (fill).
_END_OF_DATA = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
# Files of a few kilobytes with thousands of scans take decoders minutes.
_MAX_SCANS = 256


class UnsupportedJpegError(ValueError):
    """A JPEG whose blocks cannot be replaced one by one; the message is the reason, without the file's name."""


class Segment(NamedTuple):
    """The byte after FF, what follows the two bytes of length, and the coded bytes behind a start of scan."""

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

    def with_ids(self, ids: dict[int, int]) -> Segment:
        """A frame or scan with other component ids; any other segment as it is."""
        payload = bytearray(self.payload)
        if self.marker == SOS or self.is_frame:
            places = slice(1, -3, 2) if self.marker == SOS else slice(6, None, 3)
            payload[places] = bytes(ids[id] for id in payload[places])
        return self._replace(payload=bytes(payload))


class Component(NamedTuple):
    """A plane of the picture: its id in the file, horizontal and vertical sampling factor, quantisation table."""

    id: int
    horizontal: int
    vertical: int
    table: int


class JpegFile(NamedTuple):
    """A checked JPEG file.

    Attributes:
        segments: all segments between start and end of the picture, in order.
        process: `BASELINE`, `EXTENDED` or `PROGRESSIVE`.
        height, width: in pixels.
        components: 1, 3 or 4.
        colours: "grey", "ycc", "rgb", "cmyk" or "ycck": what the components hold.
        tables: quantisation steps by table number, float32 8x8, rows are vertical frequencies.
        standard_codes: whether its Huffman codes seem to be those of the standard's annex K and not fitted to it.
        trailing: what lies behind the end of the picture.
    """

    segments: list[Segment]
    process: int
    height: int
    width: int
    components: list[Component]
    colours: str
    tables: dict[int, np.ndarray]
    standard_codes: bool
    trailing: bytes

    def spacing(self, component: Component) -> tuple[int, int]:
        """How many pixels a sample of `component` stands for, vertically and horizontally."""
        vertical, horizontal = _largest_factors(self.components)
        return vertical // component.vertical, horizontal // component.horizontal

    def size_of(self, component: Component) -> tuple[int, int]:
        """Height and width of `component` in samples."""
        vertical, horizontal = self.spacing(component)
        return -(-self.height // vertical), -(-self.width // horizontal)

    def bare(self, more_data: bytes = b"") -> bytes:
        """The file without metadata and with component ids 1, 2, 3, 4, so that every decoder takes it the same way.

        `more_data` are appended to the data of each scan.
        """
        ids = {component.id: number for number, component in enumerate(self.components, 1)}
        shown = (segment.with_ids(ids) for segment in self.segments if not segment.is_metadata)
        return encode_jpeg(each._replace(data=each.data + more_data) if each.marker == SOS else each for each in shown)


def encode_jpeg(segments: Iterable[Segment]) -> bytes:
    parts = [b"\xff\xd8"]
    for marker, payload, data in segments:
        parts += [bytes((0xFF, marker)), (len(payload) + 2).to_bytes(2, "big"), payload, data]
    return b"".join((*parts, b"\xff\xd9"))


def split_jpeg(source: bytes) -> tuple[list[Segment], int]:
    """Segments of the first picture in `source`, and where it ends; refuses bytes and markers where none may be."""
    _demand(source[:2] == b"\xff\xd8", "no JPEG file: it does not begin with FFD8")
    segments, position = [], 2
    while True:
        _demand(source[position : position + 1] in (b"\xff", b""), f"byte {position} belongs to no segment")
        while source[position + 1 : position + 2] == b"\xff":
            position += 1
        _demand(position + 1 < len(source), "cut short: no end of image")
        marker, position = source[position + 1], position + 2
        if marker == EOI:
            return segments, position
        _demand(0xC0 <= marker <= 0xFE and not 0xD0 <= marker <= 0xD8, f"marker FF{marker:02X} where none may be")
        end = position + int.from_bytes(source[position : position + 2], "big")
        _demand(position + 2 <= end <= len(source), "cut short, or a segment of impossible length")
        payload, data, position = source[position + 2 : end], b"", end
        if marker == SOS:
            found = _END_OF_DATA.search(source, position)
            _demand(found is not None, "cut short: no end of image")
            data, position = source[position : found.start()].rstrip(b"\xff"), found.start()
        segments.append(Segment(marker, payload, data))


def parse_jpeg(source: bytes) -> JpegFile:
    """Splits a JPEG file into segments and checks all but the coded data.

    Raises:
        UnsupportedJpegError: no JPEG, cut short, malformed, or of a kind whose blocks cannot be replaced.
    """
    segments, end = split_jpeg(source)
    coding = [segment for segment in segments if not segment.is_metadata]
    kinds = [segment.marker for segment in coding if not segment.is_frame]
    for marker in kinds:
        known = marker in (DQT, DHT, DRI, SOS)
        _demand(known, f"marker FF{marker:02X}: lossless, hierarchical or arithmetic coding, or worse")
    _demand(len(coding) - len(kinds) == 1, f"{len(coding) - len(kinds)} frames")
    with opened(encode_jpeg(coding)) as image:
        (width, height), components = image.size, [Component(*layer) for layer in image.layer]
        steps = {slot: np.array(table, np.float32).reshape(8, 8) for slot, table in image.quantization.items()}
    _demand(DQT not in kinds[kinds.index(SOS) :], "quantisation tables that change between scans")
    _demand(len({each.id for each in components}) == len(components) in (1, 3, 4), "component ids that repeat")
    high, wide = _largest_factors(components)
    for each in components:
        whole = each.vertical and each.horizontal and high % each.vertical == wide % each.horizontal == 0
        _demand(whole, "sampling factors that are no whole fractions of the largest")
        _demand(each.table in steps, f"quantisation table {each.table} is missing")
        _demand(np.all(steps[each.table] > 0), "a quantisation table with zeros")
    process = next(segment.marker for segment in coding if segment.is_frame)
    ids = bytes(each.id for each in components)
    standard = _check_scans(coding, ids, process == PROGRESSIVE)
    colours = _colours(segments, ids)
    return JpegFile(segments, process, height, width, components, colours, steps, standard, source[end:])


@contextmanager
def opened(content: bytes) -> Iterator[JpegImagePlugin.JpegImageFile]:
    """Pillow's view of a file, and `UnsupportedJpegError` for what it refuses, now or while it is looked at."""
    try:
        with JpegImagePlugin.JpegImageFile(io.BytesIO(content)) as image:
            yield image
    except BROKEN as error:
        raise UnsupportedJpegError(f"broken or cut short ({error})") from error


def _demand(condition: object, otherwise: str) -> None:
    """Refuses the file with the reason `otherwise`."""
    if not condition:
        raise UnsupportedJpegError(otherwise)


def _largest_factors(components: list[Component]) -> tuple[int, int]:
    return max(each.vertical for each in components), max(each.horizontal for each in components)


def _check_scans(coding: list[Segment], ids: bytes, progressive: bool) -> bool:
    """That each scan has its Huffman tables, without which jpeglib crashes, and that together they hold every bit:
    decoders smooth what a progressive file leaves out, and would show its copy differently.

    Returns:
        Whether all tables for AC are as long as those of the standard.
    """
    _demand(sum(segment.marker == SOS for segment in coding) <= _MAX_SCANS, f"more than {_MAX_SCANS} scans")
    codes: dict[tuple[int, int], int] = {}
    # Low bits of every coefficient that are still to come; -1 before the first scan that holds it.
    missing = np.full((len(ids), 64), -1)
    for marker, payload, _ in coding:
        if marker == DHT:
            codes.update(_code_counts(payload))
        if marker != SOS:
            continue
        chosen = [ids.find(id) for id in payload[1:-3:2]]
        fine = len(payload) == 4 + 2 * len(chosen) and -1 not in chosen and chosen == sorted(set(chosen))
        _demand(chosen and fine, "a malformed scan")
        first, last, before, low = 0, 63, 0, 0
        if progressive:
            first, last, before, low = payload[-3], payload[-2], payload[-1] >> 4, payload[-1] & 15
        for slots in payload[2:-3:2]:
            _demand(first > 0 or before > 0 or (0, slots >> 4) in codes, f"Huffman table {slots >> 4} is missing")
            _demand(last == 0 or (1, slots & 15) in codes, f"Huffman table {slots & 15} is missing")
        held = missing[chosen, first : last + 1]
        _demand(np.all(held == (before or -1)), "scans that repeat or leave out bits")
        missing[chosen, first : last + 1] = low
    _demand(np.all(missing == 0), "scans that leave out components or bits")
    return all(count == 162 for (kind, _), count in codes.items() if kind == 1)


def _code_counts(payload: bytes) -> Iterator[tuple[tuple[int, int], int]]:
    """Class (0 DC, 1 AC) and number of the Huffman tables of a segment, and how many symbols they have."""
    position = 0
    while position < len(payload):
        count = sum(payload[position + 1 : position + 17])
        _demand(position + 17 + count <= len(payload) and count, "a malformed Huffman table")
        yield (payload[position] >> 4, payload[position] & 15), count
        position += 17 + count


def _colours(segments: list[Segment], ids: bytes) -> str:
    """What the components hold, by libjpeg's rules (`default_decompress_parms`)."""
    jfif, transform = False, None
    for marker, payload, _ in takewhile(lambda segment: segment.marker != SOS, segments):
        if marker == APP0 and payload.startswith(b"JFIF\0") and len(payload) >= 14:
            jfif = True
        if marker == APP14 and payload.startswith(b"Adobe") and len(payload) >= 12:
            transform = payload[11]
    if len(ids) == 1:
        return "grey"
    if len(ids) == 4:
        return "ycck" if transform else "cmyk"
    if jfif or transform is not None:
        return "ycc" if jfif or transform else "rgb"
    return "rgb" if ids == b"RGB" else "ycc"
