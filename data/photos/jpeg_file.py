"""A JPEG file as its segments: split strictly and put together again; the metadata also of files that break the rules.

Marker names and layouts are those of ITU-T T.81, annex B.

What a JPEG's headers say, read strictly.

libjpeg forgives, and the copy inside jpeglib ends the process at what it does not forgive. So every header is checked
here before a byte reaches it, and whatever is unusual is refused with a reason. Layouts and limits are those of
ITU-T T.81 (annex B; G for progressive scans), the rules of colour those of libjpeg.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

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


_MAX_SIDE = 65500
_MAX_SCANS = 256
_MAX_BLOCKS_IN_UNIT = 10
_RESTART_MARKER = re.compile(rb"\xff[\xd0-\xd7]")
# Where each of a quantisation table's 64 values, in the file's zigzag order, lies in the 8x8 block.
_DIAGONALS = sorted(
    ((row, column) for row in range(8) for column in range(8)),
    key=lambda at: (sum(at), at[0] if sum(at) % 2 else at[1]),
)
_ZIGZAG = np.array([8 * row + column for row, column in _DIAGONALS])


@dataclass(frozen=True)
class Component:
    """A plane of the picture: its id in the file, vertical and horizontal sampling factor, quantisation table."""

    id: int
    vertical: int
    horizontal: int
    table: int


@dataclass(frozen=True)
class Frame:
    """A picture's process (`BASELINE`, `EXTENDED` or `PROGRESSIVE`), size in pixels, and 1, 3 or 4 components."""

    process: int
    height: int
    width: int
    components: tuple[Component, ...]

    def spacing(self, component: Component) -> tuple[int, int]:
        """How many pixels a sample of `component` stands for, vertically and horizontally."""
        return (
            max(each.vertical for each in self.components) // component.vertical,
            max(each.horizontal for each in self.components) // component.horizontal,
        )

    def alone(self, component: Component) -> Frame:
        """The frame of a grey picture that `component` would make."""
        vertical, horizontal = self.spacing(component)
        size = (-(-self.height // vertical), -(-self.width // horizontal))
        return Frame(self.process, *size, (Component(component.id, 1, 1, component.table),))

    def grid(self, component: Component) -> tuple[int, int]:
        """Height and width of `component` in blocks."""
        alone = self.alone(component)
        return -(-alone.height // 8), -(-alone.width // 8)

    def blocks_in_unit(self, chosen: list[Component]) -> int:
        """Blocks that a scan of `chosen` holds of a minimum coded unit."""
        return 1 if len(chosen) == 1 else sum(each.vertical * each.horizontal for each in chosen)

    @property
    def fits_one_scan(self) -> bool:
        return self.blocks_in_unit(list(self.components)) <= _MAX_BLOCKS_IN_UNIT

    def units(self, chosen: list[Component]) -> int:
        """Number of minimum coded units in a scan of `chosen`."""
        if len(chosen) == 1:
            rows, columns = self.grid(chosen[0])
        else:
            rows = -(-self.height // (8 * max(each.vertical for each in self.components)))
            columns = -(-self.width // (8 * max(each.horizontal for each in self.components)))
        return rows * columns


@dataclass(frozen=True)
class JpegFile:
    """A checked JPEG file.

    Attributes:
        segments: all segments between start and end of the picture, in order.
        colours: "grey", "ycc", "rgb", "cmyk" or "ycck": what the components hold.
        tables: quantisation steps by table number, float32 8x8, rows are vertical frequencies.
        standard_codes: whether its Huffman codes seem to be those of the standard's annex K and not fitted to it.
        trailing: what lies behind the end of the picture.
    """

    segments: tuple[Segment, ...]
    frame: Frame
    colours: str
    tables: dict[int, np.ndarray] = field(repr=False)
    standard_codes: bool
    trailing: bytes = field(repr=False)


def parse_jpeg(source: bytes) -> JpegFile:
    """Splits a JPEG file into segments and checks all but the entropy-coded data.

    Raises:
        UnsupportedJpegError: no JPEG, cut short, malformed, or of a kind whose blocks cannot be replaced.
    """
    segments, end = split_jpeg(source)
    frame: Frame | None = None
    scans: _ScanReader | None = None
    tables: dict[int, np.ndarray] = {}
    codes: dict[tuple[int, int], int] = {}
    restart_interval = 0
    for segment in segments:
        if segment.is_frame:
            demand(frame is None, "several frames")
            frame = _read_frame(segment)
            scans = _ScanReader(frame)
        elif segment.marker == DQT:
            demand(scans is None or scans.count == 0, "quantisation tables that change between scans")
            tables.update(_read_quantisation(segment.payload))
        elif segment.marker == DHT:
            codes.update(_read_codes(segment.payload))
        elif segment.marker == DRI:
            demand(len(segment.payload) == 2, "a malformed restart interval")
            restart_interval = int.from_bytes(segment.payload, "big")
        elif segment.marker == SOS:
            demand(scans is not None, "a scan before the frame")
            scans.read(segment, codes, restart_interval)
        else:
            demand(segment.is_metadata, f"marker FF{segment.marker:02X} where none may be")
    demand(scans is not None and scans.count > 0, "no picture data")
    demand(scans.complete, "scans that leave out components or bits")
    for component in frame.components:
        demand(component.table in tables, f"quantisation table {component.table} is missing")
    standard = all(count == 162 for (kind, _), count in codes.items() if kind == 1)
    return JpegFile(tuple(segments), frame, _colours(segments, frame), tables, standard, source[end:])


def _read_frame(segment: Segment) -> Frame:
    payload = segment.payload
    demand(len(payload) >= 6 and len(payload) == 6 + 3 * payload[5], "a malformed frame")
    demand(payload[0] == 8, f"{payload[0]} bits per sample instead of 8")
    height, width = (int.from_bytes(payload[at : at + 2], "big") for at in (1, 3))
    demand(height > 0, "a height that follows the data (DNL)")
    demand(0 < width <= _MAX_SIDE and height <= _MAX_SIDE, f"a size of {width}x{height}")
    demand(payload[5] in (1, 3, 4), f"{payload[5]} components")
    components = tuple(
        Component(payload[at], payload[at + 1] & 15, payload[at + 1] >> 4, payload[at + 2])
        for at in range(6, len(payload), 3)
    )
    demand(len({each.id for each in components}) == len(components), "component ids that repeat")
    for each in components:
        demand(1 <= each.vertical <= 4 and 1 <= each.horizontal <= 4 and each.table <= 3, "a malformed frame")
    high, wide = max(each.vertical for each in components), max(each.horizontal for each in components)
    whole = all(high % each.vertical == 0 and wide % each.horizontal == 0 for each in components)
    demand(whole, "sampling factors that are no whole fractions of the largest")
    return Frame(segment.marker, height, width, components)


def _read_quantisation(payload: bytes) -> dict[int, np.ndarray]:
    tables = {}
    position = 0
    while position < len(payload):
        wide, slot = payload[position] >> 4, payload[position] & 15
        size = 64 * (wide + 1)
        raw = payload[position + 1 : position + 1 + size]
        demand(wide <= 1 and slot <= 3 and len(raw) == size, "a malformed quantisation table")
        table = np.empty(64, np.float32)
        table[_ZIGZAG] = np.frombuffer(raw, ">u2" if wide else "u1")
        demand(bool(np.all(table > 0)), "a quantisation table with zeros")
        tables[slot] = table.reshape(8, 8)
        position += 1 + size
    return tables


def _read_codes(payload: bytes) -> dict[tuple[int, int], int]:
    """How many symbols the Huffman tables of a segment have, by class (0 DC, 1 AC) and number."""
    counts = {}
    position = 0
    while position < len(payload):
        kind, slot = payload[position] >> 4, payload[position] & 15
        lengths = payload[position + 1 : position + 17]
        count = sum(lengths)
        values = payload[position + 17 : position + 17 + count]
        demand(kind <= 1 and slot <= 3 and len(lengths) == 16 and len(values) == count, "a malformed Huffman table")
        # A code of n bits takes 2**-n of all codes, and the code of all ones is never given.
        taken = sum(number << (16 - bits) for bits, number in enumerate(lengths, 1))
        demand(0 < count <= 256 and taken < 1 << 16, "a Huffman table with more codes than there are")
        demand(kind == 1 or max(values) <= 11, "a malformed Huffman table")
        counts[kind, slot] = count
        position += 17 + count
    return counts


class _ScanReader:
    """Checks the scans of a frame one after the other, and that together they hold all of it."""

    def __init__(self, frame: Frame) -> None:
        self._frame = frame
        # Low bits of every coefficient that are still to come; -1 before the first scan that holds it.
        self._missing_bits = np.full((len(frame.components), 64), -1)
        self.count = 0

    @property
    def complete(self) -> bool:
        """Decoders smooth what a progressive file leaves out, and would show its copy differently."""
        return bool(np.all(self._missing_bits == 0))

    def read(self, scan: Segment, codes: dict[tuple[int, int], int], restart_interval: int) -> None:
        self.count += 1
        demand(self.count <= _MAX_SCANS, f"more than {_MAX_SCANS} scans")
        malformed = "a malformed scan"
        payload = scan.payload
        demand(len(payload) >= 6 and len(payload) == 4 + 2 * payload[0], malformed)
        first, last, before, low = payload[-3], payload[-2], payload[-1] >> 4, payload[-1] & 15
        ids = [component.id for component in self._frame.components]
        demand(all(id in ids for id in payload[1:-3:2]), malformed)
        chosen = [ids.index(id) for id in payload[1:-3:2]]
        demand(chosen == sorted(set(chosen)), malformed)
        components = [self._frame.components[index] for index in chosen]
        demand(self._frame.blocks_in_unit(components) <= _MAX_BLOCKS_IN_UNIT, malformed)
        if self._frame.process == PROGRESSIVE:
            demand(first == last == 0 or (0 < first <= last <= 63 and len(chosen) == 1), malformed)
            demand(low <= 13 and before in (0, low + 1), malformed)
        else:
            demand((first, last, before, low) == (0, 63, 0, 0), malformed)
        for slots in payload[2:-3:2]:
            demand(first > 0 or before > 0 or (0, slots >> 4) in codes, f"Huffman table {slots >> 4} for DC is missing")
            demand(last == 0 or (1, slots & 15) in codes, f"Huffman table {slots & 15} for AC is missing")
        held = self._missing_bits[chosen, first : last + 1]
        demand(bool(np.all(held == (before or -1))), "scans that repeat or leave out bits")
        demand(first == 0 or bool(np.all(self._missing_bits[chosen, 0] >= 0)), malformed)
        self._missing_bits[chosen, first : last + 1] = low
        restarts = len(_RESTART_MARKER.findall(scan.data))
        expected = (self._frame.units(components) - 1) // restart_interval if restart_interval else 0
        demand(restarts == expected, f"{restarts} restart markers instead of {expected}: cut short or broken")


def _colours(segments: list[Segment], frame: Frame) -> str:
    """What the components hold, by libjpeg's rules (`default_decompress_parms`)."""
    if len(frame.components) == 1:
        return "grey"
    jfif, transform = False, None
    for segment in segments:
        if segment.marker == SOS:
            break
        if segment.marker == APP0 and segment.payload.startswith(b"JFIF\0") and len(segment.payload) >= 14:
            jfif = True
        if segment.marker == APP14 and segment.payload.startswith(b"Adobe") and len(segment.payload) >= 12:
            transform = segment.payload[11]
    if len(frame.components) == 4:
        return "cmyk" if transform in (None, 0) else "ycck"
    if jfif:
        return "ycc"
    if transform is not None:
        return "rgb" if transform == 0 else "ycc"
    return "rgb" if bytes(each.id for each in frame.components) == b"RGB" else "ycc"
