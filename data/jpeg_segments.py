"""What a JPEG file is made of: its segments, frame and scans, read strictly.

libjpeg forgives, and the copy inside jpeglib ends the process at what it does not forgive. So every header is checked
here before a byte reaches it, and whatever is unusual is refused with a reason. Marker names, table layouts and
the limits below are those of ITU-T T.81 (annex B), the rules of colour those of libjpeg.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import numpy as np

SOI, EOI, SOS, DQT, DHT, DRI, COM = 0xD8, 0xD9, 0xDA, 0xDB, 0xC4, 0xDD, 0xFE
BASELINE, EXTENDED, PROGRESSIVE = 0xC0, 0xC1, 0xC2
_APP0, _APP2, _APP14, _APP15 = 0xE0, 0xE2, 0xEE, 0xEF
_OTHER_FRAMES = {
    0xC3: "lossless coding",
    **dict.fromkeys((0xC5, 0xC6, 0xC7, 0xCD, 0xCE, 0xCF), "hierarchical coding"),
    **dict.fromkeys((0xC9, 0xCA, 0xCC), "arithmetic coding"),
    0xCB: "lossless coding",
    0xDC: "a height that follows the data (DNL)",
}
_MAX_SIDE = 65500
_MAX_SCANS = 256
_MAX_BLOCKS_IN_MCU = 10
# Within entropy-coded data FF is followed by 00 (a stuffed byte), a restart marker, or more FF (fill).
_END_OF_DATA = re.compile(rb"\xff+[^\x00\xd0-\xd7\xff]")
# Where each of a quantisation table's 64 values, in the file's zigzag order, lies in the 8x8 block.
_DIAGONALS = sorted(
    ((row, column) for row in range(8) for column in range(8)),
    key=lambda at: (sum(at), at[0] if sum(at) % 2 else at[1]),
)
ZIGZAG = np.array([8 * row + column for row, column in _DIAGONALS])


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
        return _APP0 <= self.marker <= _APP15 or self.marker == COM

    @property
    def is_picture_index(self) -> bool:
        """Whether it is the Multi-Picture Format's list of the pictures behind the first."""
        return self.marker == _APP2 and self.payload.startswith(b"MPF\0")

    def encode(self) -> bytes:
        length = (len(self.payload) + 2).to_bytes(2, "big")
        return b"".join((bytes((0xFF, self.marker)), length, self.payload, self.data))


@dataclass(frozen=True)
class Component:
    """A plane of the picture: its id in the file, horizontal and vertical sampling factor, quantisation table."""

    id: int
    horizontal: int
    vertical: int
    table: int


@dataclass(frozen=True)
class JpegFile:
    """A checked JPEG file.

    Attributes:
        segments: all segments between start and end of the picture, in order.
        process: `BASELINE`, `EXTENDED` or `PROGRESSIVE`.
        components: 1, 3 or 4.
        colours: "grey", "ycc", "rgb", "cmyk" or "ycck": what the planes hold.
        tables: quantisation steps by table number, float32 8x8, rows are vertical frequencies.
        standard_codes: whether its Huffman codes seem to be those of the standard's annex K and not fitted to it.
        trailing: what lies behind the end of the picture.
    """

    segments: tuple[Segment, ...]
    process: int
    height: int
    width: int
    components: tuple[Component, ...]
    colours: str
    tables: dict[int, np.ndarray] = field(repr=False)
    standard_codes: bool
    trailing: bytes = field(repr=False)

    @property
    def max_horizontal(self) -> int:
        return max(component.horizontal for component in self.components)

    @property
    def max_vertical(self) -> int:
        return max(component.vertical for component in self.components)

    def plane_size(self, component: Component) -> tuple[int, int]:
        """Height and width of a component in samples."""
        return (
            -(-self.height * component.vertical // self.max_vertical),
            -(-self.width * component.horizontal // self.max_horizontal),
        )

    def grid(self, component: Component) -> tuple[int, int]:
        """Height and width of a component in blocks."""
        height, width = self.plane_size(component)
        return -(-height // 8), -(-width // 8)

    def plane(self, component: Component) -> JpegFile:
        """The file as it were if `component` were all of the picture."""
        height, width = self.plane_size(component)
        return replace(self, height=height, width=width, components=(component,), colours="grey")

    @property
    def interleaved(self) -> bool:
        """Whether one scan may hold all components."""
        blocks = sum(component.horizontal * component.vertical for component in self.components)
        return len(self.components) == 1 or blocks <= _MAX_BLOCKS_IN_MCU


def encode_jpeg(segments: Iterable[Segment]) -> bytes:
    """The file that consists of `segments`."""
    return b"".join((b"\xff\xd8", *(segment.encode() for segment in segments), b"\xff\xd9"))


def parse_jpeg(source: bytes) -> JpegFile:
    """Splits a JPEG file into segments and checks all but the entropy-coded data.

    Raises:
        UnsupportedJpegError: no JPEG, cut short, malformed, or of a kind whose blocks cannot be replaced.
    """
    segments, end = _split(source)
    frame: Segment | None = None
    components: tuple[Component, ...] = ()
    tables: dict[int, np.ndarray] = {}
    codes: dict[tuple[int, int], int] = {}
    known: np.ndarray | None = None
    scans = 0
    for segment in segments:
        if segment.marker in (BASELINE, EXTENDED, PROGRESSIVE):
            _demand(frame is None, "several frames")
            frame, components = segment, _read_frame(segment.payload)
            known = np.full((len(components), 64), -1)
        elif segment.marker == DQT:
            _demand(scans == 0, "quantisation tables that change between scans")
            tables.update(_read_quantisation(segment.payload))
        elif segment.marker == DHT:
            codes.update(_read_codes(segment.payload))
        elif segment.marker == DRI:
            _demand(len(segment.payload) == 2, "a malformed restart interval")
        elif segment.marker == SOS:
            scans += 1
            _demand(frame is not None, "a scan before the frame")
            _demand(scans <= _MAX_SCANS, f"more than {_MAX_SCANS} scans")
            _read_scan(segment.payload, frame.marker, components, codes, known)
        else:
            _demand(segment.is_metadata, f"marker FF{segment.marker:02X}")
    _demand(scans > 0, "no picture data")
    # Decoders smooth what a progressive file leaves out, and would show the written file differently.
    _demand(bool(np.all(known == 0)), "scans that leave out components or bits")
    for component in components:
        _demand(component.table in tables, f"quantisation table {component.table} is missing")
    height, width = (int.from_bytes(frame.payload[at : at + 2], "big") for at in (1, 3))
    standard = all(count == 162 for (kind, _), count in codes.items() if kind == 1)
    colours = _colours(segments, components)
    return JpegFile(
        tuple(segments), frame.marker, height, width, components, colours, tables, standard, source[end:]
    )


def _demand(condition: bool, otherwise: str) -> None:
    if not condition:
        raise UnsupportedJpegError(otherwise)


def _split(source: bytes) -> tuple[list[Segment], int]:
    """Segments of the first picture in `source`, and where it ends."""
    _demand(source[:2] == b"\xff\xd8", "no JPEG file: it does not begin with FFD8")
    segments = []
    position = 2
    while True:
        _demand(position + 1 < len(source), "cut short: no end of image")
        _demand(source[position] == 0xFF, f"byte {position} belongs to no segment")
        while position + 1 < len(source) and source[position + 1] == 0xFF:
            position += 1
        _demand(position + 1 < len(source), "cut short: no end of image")
        marker = source[position + 1]
        position += 2
        if marker == EOI:
            return segments, position
        _demand(marker not in _OTHER_FRAMES, _OTHER_FRAMES.get(marker, ""))
        _demand(0xC0 <= marker <= 0xFE and not 0xD0 <= marker <= 0xD8, f"marker FF{marker:02X} where none may be")
        length = int.from_bytes(source[position : position + 2], "big")
        _demand(length >= 2 and position + length <= len(source), "cut short, or a segment of impossible length")
        payload = source[position + 2 : position + length]
        position += length
        data = b""
        if marker == SOS:
            found = _END_OF_DATA.search(source, position)
            _demand(found is not None, "cut short: no end of image")
            data = source[position : found.start()]
            position = found.start()
        segments.append(Segment(marker, payload, data))


def _read_frame(payload: bytes) -> tuple[Component, ...]:
    _demand(len(payload) >= 6 and len(payload) == 6 + 3 * payload[5], "a malformed frame")
    _demand(payload[0] == 8, f"{payload[0]} bits per sample instead of 8")
    height, width = (int.from_bytes(payload[at : at + 2], "big") for at in (1, 3))
    _demand(height > 0, "a height that follows the data (DNL)")
    _demand(0 < width <= _MAX_SIDE and height <= _MAX_SIDE, f"a size of {width}x{height}")
    _demand(payload[5] in (1, 3, 4), f"{payload[5]} components")
    components = tuple(
        Component(payload[at], payload[at + 1] >> 4, payload[at + 1] & 15, payload[at + 2])
        for at in range(6, len(payload), 3)
    )
    _demand(len({component.id for component in components}) == len(components), "component ids that repeat")
    _demand(all(1 <= c.horizontal <= 4 and 1 <= c.vertical <= 4 and c.table <= 3 for c in components), "a malformed frame")
    wide, high = (max(c.horizontal for c in components), max(c.vertical for c in components))
    whole = all(wide % c.horizontal == 0 and high % c.vertical == 0 for c in components)
    _demand(whole, "sampling factors that are no whole fractions of the largest")
    return components


def _read_quantisation(payload: bytes) -> dict[int, np.ndarray]:
    tables = {}
    position = 0
    while position < len(payload):
        wide, slot = payload[position] >> 4, payload[position] & 15
        size = 64 * (wide + 1)
        raw = payload[position + 1 : position + 1 + size]
        _demand(wide <= 1 and slot <= 3 and len(raw) == size, "a malformed quantisation table")
        table = np.empty(64, np.float32)
        table[ZIGZAG] = np.frombuffer(raw, ">u2" if wide else "u1")
        _demand(bool(np.all(table > 0)), "a quantisation table with zeros")
        tables[slot] = table.reshape(8, 8)
        position += 1 + size
    return tables


def _read_codes(payload: bytes) -> dict[tuple[int, int], int]:
    """Numbers of symbols of the Huffman tables in a segment, by class (0 DC, 1 AC) and number."""
    sizes = {}
    position = 0
    while position < len(payload):
        kind, slot = payload[position] >> 4, payload[position] & 15
        lengths = payload[position + 1 : position + 17]
        count = sum(lengths)
        values = payload[position + 17 : position + 17 + count]
        _demand(kind <= 1 and slot <= 3 and len(lengths) == 16 and len(values) == count, "a malformed Huffman table")
        # A code of n bits takes 2**-n of all codes, and the code of all ones is never given.
        room = sum(number << (16 - bits) for bits, number in enumerate(lengths, 1))
        _demand(0 < count <= 256 and room < 1 << 16, "a Huffman table without room for its codes")
        _demand(kind == 1 or max(values) <= 11, "a malformed Huffman table")
        sizes[kind, slot] = count
        position += 17 + count
    return sizes


def _read_scan(
    payload: bytes,
    process: int,
    components: tuple[Component, ...],
    codes: dict[tuple[int, int], int],
    known: np.ndarray,
) -> None:
    """Checks a scan header and notes in `known` [components, 64] how many low bits are still to come."""
    malformed = "a malformed scan header"
    _demand(len(payload) >= 1 and len(payload) == 4 + 2 * payload[0] and 1 <= payload[0] <= 4, malformed)
    first, last, bits = payload[-3:]
    before, low = bits >> 4, bits & 15
    ids = [component.id for component in components]
    chosen = []
    for at in range(1, len(payload) - 3, 2):
        _demand(payload[at] in ids, malformed)
        chosen.append(ids.index(payload[at]))
        dc, ac = payload[at + 1] >> 4, payload[at + 1] & 15
        refining = process == PROGRESSIVE and before > 0
        if first == 0 and not refining:
            _demand((0, dc) in codes, f"Huffman table {dc} for DC is missing")
        if last > 0:
            _demand((1, ac) in codes, f"Huffman table {ac} for AC is missing")
    _demand(chosen == sorted(set(chosen)), malformed)
    if len(chosen) > 1:
        blocks = sum(components[at].horizontal * components[at].vertical for at in chosen)
        _demand(blocks <= _MAX_BLOCKS_IN_MCU, malformed)
    if process == PROGRESSIVE:
        spectral = first == last == 0 or (0 < first <= last <= 63 and len(chosen) == 1)
        _demand(spectral and low <= 13, malformed)
    else:
        _demand((first, last, bits) == (0, 63, 0), malformed)
    span = known[chosen, first : last + 1]
    _demand(bool(np.all(span == (before if before else -1))) and (not before or low == before - 1), malformed)
    _demand(first == 0 or bool(np.all(known[chosen, 0] >= 0)), malformed)
    known[chosen, first : last + 1] = low


def _colours(segments: list[Segment], components: tuple[Component, ...]) -> str:
    """What the planes hold, by libjpeg's rules (`default_decompress_parms`)."""
    if len(components) == 1:
        return "grey"
    jfif, transform = False, None
    for segment in segments:
        if segment.marker == SOS:
            break
        if segment.marker == _APP0 and segment.payload.startswith(b"JFIF\0") and len(segment.payload) >= 14:
            jfif = True
        if segment.marker == _APP14 and segment.payload.startswith(b"Adobe") and len(segment.payload) >= 12:
            transform = segment.payload[11]
    if len(components) == 4:
        return "cmyk" if transform in (None, 0) else "ycck"
    if jfif:
        return "ycc"
    if transform is not None:
        return "rgb" if transform == 0 else "ycc"
    return "rgb" if bytes(component.id for component in components) == b"RGB" else "ycc"
