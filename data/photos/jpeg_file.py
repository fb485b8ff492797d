"""A JPEG file as its segments and as the quantised DCT coefficients of its components, and back.

libjpeg forgives, and the copies of it inside the package jpeglib end the process at what they do not forgive. So Pillow
is asked first, and only what it takes and jpeglib does not, or what would come back differently, is looked for here.
jpeglib's C functions are called directly: its Python layer keeps markers in global variables (50 at most), prints,
leaves files behind when the process is killed, and never writes a fourth component. They see no metadata, and of what
they write the coded data alone is used. Marker names and layouts: ITU-T T.81, annex B.
"""

from __future__ import annotations

import ctypes
import functools
import importlib.metadata
import importlib.util
import io
import math
import os
import re
import struct
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageChops, JpegImagePlugin

from data.images import BROKEN

EOI, SOS, DQT, DHT, DRI, COM = 0xD9, 0xDA, 0xDB, 0xC4, 0xDD, 0xFE
APP0, APP2, APP14 = 0xE0, 0xE2, 0xEE
_METADATA = (*range(APP0, APP0 + 16), COM)
# Start of frame: baseline, extended sequential, progressive; those and the arithmetic ones that Pillow takes.
_FRAMES = 0xC0, 0xC1, 0xC2
_READ_FRAMES, _PROGRESSIVE_FRAMES = (*_FRAMES, 0xC9, 0xCA), (0xC2, 0xCA)
# FF may be repeated as fill; neither a restart marker nor the start of a picture begins a segment.
_MARKER = re.compile(rb"\xff+([\xc0-\xcf\xd9-\xfe])")
# Within entropy-coded data FF is followed by 00 (a stuffed byte), a restart marker, or more FF (fill).
_END_OF_DATA = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_RESTART = re.compile(rb"\xff+[\xd0-\xd7]")

# Other versions' functions may take other arguments, which nothing would notice before they crash.
JPEGLIB_VERSION = "1.0.2"
# The fastest library in the package, and the faster of the two that make progressive files out of coefficients.
_LIBRARY, _PROGRESSIVE_LIBRARY = "turbo210", "mozjpeg300"
# Values of the libraries' J_COLOR_SPACE and flags.
_GREY, _YCC, _OPTIMIZE_CODING, _ALL_FLAGS = 1, 3, 1 << 6, 0xFFFFFFFF
# Bits that no complete scan needs; no FF, which would begin a marker.
_MORE_DATA = bytes((0x55, 0xA5, 0x3C, 0x00)) * 16
# Arithmetic coding leaves out the zeros at its end, so that more data may change some rows of a whole picture.
_ROWS_IN_ZEROS = 1 / 8
# Of the standard: blocks that scans may interleave, and symbols of the Huffman tables for AC in annex K.
_MAX_BLOCKS_IN_UNIT, _STANDARD_SYMBOLS = 10, 162


class UnsupportedJpegError(ValueError):
    """A JPEG whose blocks cannot be replaced one by one; the message is the reason, without the file's name."""


class Segment(NamedTuple):
    """The byte after FF, what follows the two bytes of length, and the coded bytes behind a start of scan."""

    marker: int
    payload: bytes
    data: bytes = b""

    @property
    def is_metadata(self) -> bool:
        return self.marker in _METADATA

    @property
    def is_picture_index(self) -> bool:
        """Whether it is the Multi-Picture Format's list of the pictures behind the first."""
        return self.marker == APP2 and self.payload.startswith(b"MPF\0")

    def huffman_tables(self) -> Iterator[tuple[int, int]]:
        """The number of each table that it defines, with 16 added for AC, and how many symbols it has."""
        position = 0
        while self.marker == DHT and position < len(self.payload):
            symbols = sum(self.payload[position + 1 : position + 17])
            yield self.payload[position], symbols
            position += 17 + symbols


class Component(NamedTuple):
    """A plane of the picture."""

    id: int
    factors: tuple[int, int]  # Of sampling, vertical and horizontal.
    spacing: tuple[int, int]  # How many pixels a sample stands for, likewise.
    size: tuple[int, int]  # Height and width in samples.
    steps: np.ndarray  # Of quantisation, float32 8x8; rows are vertical frequencies.


class JpegFile(NamedTuple):
    """A JPEG file of which all but the coded data has been checked."""

    segments: list[Segment]  # All between start and end of the picture, in order.
    header: JpegImagePlugin.JpegImageFile  # What Pillow reads in front of the first scan.
    components: list[Component]  # 1, 3 or 4.
    progressive: bool
    trailing: bytes  # What lies behind the end of the picture.

    def bare(self) -> bytes:
        """The file without metadata."""
        return encode(segment for segment in self.segments if not segment.is_metadata)


def encode(segments: Iterable[Segment]) -> bytes:
    parts = [b"\xff\xd8"]
    for marker, payload, data in segments:
        parts += [bytes((0xFF, marker)), (len(payload) + 2).to_bytes(2, "big"), payload, data]
    return b"".join((*parts, b"\xff\xd9"))


def split(source: bytes, forgiving: bool = False) -> tuple[list[Segment], int]:
    """Segments of the first picture in `source`, and where it ends; refuses bytes and markers where none may be.

    `forgiving` is as decoders are: it skips bytes in front of the first scan, and where something else than segments
    follows a scan, such as a phone's trailer, or nothing, the picture ends there without an end marker.
    """
    _demand(source[:2] == b"\xff\xd8", "no JPEG file: it does not begin with FFD8")
    segments, position, ended = [], 2, None
    try:
        while True:
            found = (_MARKER.search if forgiving and not ended else _MARKER.match)(source, position)
            _demand(found or source[position:].strip(b"\xff"), "cut short: no end of image")
            _demand(found, f"byte {position} belongs to no segment")
            marker, start = found[1][0], found.end()
            if marker == EOI:
                return segments, start
            position = start + int.from_bytes(source[start : start + 2], "big")
            _demand(start + 2 <= position <= len(source), "cut short, or a segment of impossible length")
            payload, data = source[start + 2 : position], b""
            if marker == SOS:
                found = _END_OF_DATA.search(source, position)
                _demand(found or forgiving, "cut short: no end of image")
                end = found.start() if found else len(source)
                data, position = source[position:end].rstrip(b"\xff"), end
                ended = len(segments) + 1, end
            segments.append(Segment(marker, payload, data))
    except UnsupportedJpegError:
        if not (forgiving and ended):
            raise
        return segments[: ended[0]], ended[1]


def with_end(source: bytes) -> bytes:
    """The file with an end marker behind its last scan, which some copies lack; `demand_whole` tells what else does."""
    try:
        _, end = split(source, forgiving=True)
    except UnsupportedJpegError:  # Whatever that is, Pillow says what is wrong with it.
        return source
    return source if source[end - 2 : end] == b"\xff\xd9" else b"%b\xff\xd9%b" % (source[:end], source[end:])


def demand_whole(segments: list[Segment], decoded: Image.Image) -> None:
    """Refuses data that end before the picture does, whatever follows them: decoders show grey there without a word.

    Where data lack, more of them change what is seen; where none do, more are ignored. `decoded` is by Pillow.
    """
    frame = next(segment for segment in segments if segment.marker in _READ_FRAMES)
    arithmetic, longer = frame.marker not in _FRAMES, []
    for segment in segments:
        # Intervals between restart markers end early each for itself.
        data = segment.data if arithmetic else _RESTART.sub(_MORE_DATA + rb"\g<0>", segment.data)
        longer += [segment._replace(data=data + _MORE_DATA) if segment.marker == SOS else segment]
    changed = ImageChops.difference(decoded, _opened(encode(longer), decode=True)).getbbox() or (0, 0, 0, 0)
    share = (changed[3] - changed[1]) / decoded.height
    _demand(share <= (_ROWS_IN_ZEROS if arithmetic else 0), "cut short: the data end before the picture")
    _demand_all_parts(segments, frame)


def _demand_all_parts(segments: list[Segment], frame: Segment) -> None:
    """That no restart interval, component or bit of a coefficient lacks, which more data would not show."""
    (high, wide), layers = struct.unpack(">HH", frame.payload[1:5]), frame.payload[6:]
    factors = {layers[at]: divmod(layers[at + 1], 16)[::-1] for at in range(0, len(layers), 3)}
    largest, interval = [max(axis) for axis in zip(*factors.values(), strict=True)], 0
    missing = {id: np.full(64, -1) for id in factors}
    for marker, payload, data in segments:
        if marker == DRI:
            interval = int.from_bytes(payload[:2], "big")
        if marker != SOS:
            continue
        ids = [id for id in payload[1:-3:2] if id in factors]
        first, last, bits = payload[-3:] if frame.marker in _PROGRESSIVE_FRAMES else (0, 63, 0)
        for id in ids:
            missing[id][first : last + 1] = bits & 15
        # A scan of one component counts its blocks, one of several the units of all of them together.
        own = factors[ids[0]] if len(ids) == 1 else (1, 1)
        units = math.prod(-(-side * n // (8 * most)) for side, n, most in zip((high, wide), own, largest, strict=True))
        complete = not interval or len(_RESTART.findall(data)) >= -(-units // interval) - 1
        _demand(complete, "cut short: restart markers are missing")
    _demand(all(not each.any() for each in missing.values()), "cut short: scans that leave out components or bits")


def parse(source: bytes) -> JpegFile:
    """Splits a JPEG file into segments and checks all but the coded data."""
    segments, end = split(source)
    markers = [segment.marker for segment in segments if not segment.is_metadata]
    for marker in {*markers} - {DQT, DHT, DRI, SOS, *_FRAMES}:
        _demand(False, f"marker FF{marker:02X}: lossless, hierarchical or arithmetic coding, or worse")
    image = _opened(source)
    _demand(DQT not in markers[markers.index(SOS) :], "quantisation tables that change between scans")
    ids = bytes(id for id, *_ in image.layer)
    _demand(len(set(ids)) == len(ids) in (1, 3, 4), "component ids that repeat, or are not 1, 3 or 4")
    wide, high = (max(layer[axis] for layer in image.layer) for axis in (1, 2))
    components = []
    for id, horizontal, vertical, table in image.layer:
        whole = vertical and horizontal and high % vertical == wide % horizontal == 0
        _demand(whole, "sampling factors that are no whole fractions of the largest")
        steps = np.array(image.quantization.get(table, [0] * 64), np.float32).reshape(8, 8)
        _demand(steps.all(), f"quantisation table {table} is missing or has zeros")
        spacing = high // vertical, wide // horizontal
        size = -(-image.height // spacing[0]), -(-image.width // spacing[1])
        components.append(Component(id, (vertical, horizontal), spacing, size, steps))
    return JpegFile(segments, image, components, bool(image.info.get("progressive")), source[end:])


def _opened(content: bytes, decode: bool = False) -> JpegImagePlugin.JpegImageFile:
    """Pillow's view of a file."""
    try:
        image = JpegImagePlugin.JpegImageFile(io.BytesIO(content))
        if decode:
            image.load()
    except BROKEN as error:
        raise UnsupportedJpegError(f"broken or cut short ({error})") from error
    return image


def _demand(condition: object, otherwise: str) -> None:
    """Refuses the file with the reason `otherwise`."""
    if not condition:
        raise UnsupportedJpegError(otherwise)


def checked_coefficients(jpeg: JpegFile, whole: bool = False) -> list[np.ndarray]:
    """What `coefficients` gives; refuses data that end early, lack tables, or hold what no picture has.

    `whole`: `demand_whole` has passed these data already, which takes two decodings.
    """
    # Pillow raises where jpeglib would end the process.
    if not whole:
        demand_whole(jpeg.segments, _opened(encode(jpeg.segments), decode=True))
    _check_scans(jpeg)
    planes = coefficients(jpeg)
    # What 8-bit samples come to; the writers' code tables end there, unchecked.
    lowest = [-1024] + [-1023] * 63
    for blocks in (plane.reshape(-1, 64) for plane in planes):
        _demand(blocks.max() < 1024 and (blocks.min(axis=0) >= lowest).all(), "coefficients out of range")
    return planes


def _check_scans(jpeg: JpegFile) -> None:
    """That each scan has its Huffman tables, without which jpeglib crashes, and that none repeats or skips bits."""
    tables, ids = set(), [component.id for component in jpeg.components]
    # Low bits of every coefficient that are still to come; -1 before the first scan that holds it.
    missing = np.full((len(ids), 64), -1)
    for segment in jpeg.segments:
        tables.update(table for table, symbols in segment.huffman_tables() if symbols)
        if segment.marker != SOS:
            continue
        payload = segment.payload
        first, last, bits = payload[-3:] if jpeg.progressive else (0, 63, 0)
        for slots in payload[2:-3:2]:
            _demand(first > 0 or bits >> 4 or slots >> 4 in tables, f"Huffman table {slots >> 4} is missing")
            _demand(last == 0 or slots & 15 | 16 in tables, f"Huffman table {slots & 15} is missing")
        part = [ids.index(id) for id in payload[1:-3:2]], slice(first, last + 1)
        _demand(np.all(missing[part] == (bits >> 4 or -1)), "scans that repeat or leave out bits")
        missing[part] = bits & 15


def coefficients(jpeg: JpegFile) -> list[np.ndarray]:
    """Quantised coefficients of each component: int16 [rows, columns, 8, 8], rows of a block by vertical frequency."""
    sizes = [component.size for component in jpeg.components]
    planes = [np.zeros((-(-height // 8), -(-width // 8), 8, 8), np.int16) for height, width in sizes]
    with _file_in_memory(jpeg.bare()) as path:
        done = _library(_LIBRARY).read_jpeg_dct(path, *_addresses(planes), None, None)
    _demand(done, "its coefficients cannot be read")
    return planes


def with_coefficients(jpeg: JpegFile, planes: list[np.ndarray]) -> bytes:
    """The file with other coefficients, of the same shapes; restart markers and the index of further pictures go.

    Progressive files stay so, but for four components: the library writes three. Fitted codes are fitted again.
    """
    progressive = jpeg.progressive and len(planes) < 4
    blocks_in_unit = sum(vertical * horizontal for _, (vertical, horizontal), *_ in jpeg.components)
    kept = [each for each in jpeg.segments if each.marker not in (DHT, DRI, SOS) and not each.is_picture_index]
    if jpeg.progressive and not progressive:
        kept = [each._replace(marker=_FRAMES[0]) if each.marker in _FRAMES else each for each in kept]
    together = progressive or len(planes) == 1 or (len(planes) < 4 and blocks_in_unit <= _MAX_BLOCKS_IN_UNIT)
    parts = [slice(None)] if together else [slice(at, at + 1) for at in range(len(planes))]
    return encode(chain(kept, *(_scans(jpeg, jpeg.components[part], planes[part], progressive) for part in parts)))


def _scans(
    jpeg: JpegFile, components: list[Component], planes: list[np.ndarray], progressive: bool
) -> Iterator[Segment]:
    """Huffman tables and scans of the coefficients of some components of `jpeg`."""
    tables = chain.from_iterable(segment.huffman_tables() for segment in jpeg.segments)
    standard = all(symbols == _STANDARD_SYMBOLS for table, symbols in tables if table & 16)
    single = len(planes) == 1
    size = components[0].size if single else jpeg.header.size[::-1]
    blocks = chain.from_iterable(plane.shape[:2] for plane in planes)
    factors = (1, 1) if single else chain.from_iterable(component.factors for component in components)
    # The library for progressive files takes the frame from a file.
    with _file_in_memory(jpeg.bare() if progressive else b"") as source, _file_in_memory() as path:
        done = _library(_PROGRESSIVE_LIBRARY if progressive else _LIBRARY).write_jpeg_dct(
            source if progressive else None, path, *_addresses(planes),
            _integers(size), _integers(blocks), _integers(factors), _GREY if single else _YCC, len(planes),
            None, -1, None,  # Quantisation, which stays in segments that are not taken from here.
            0, None, None, None,  # Metadata, likewise.
            0 if progressive or standard else _OPTIMIZE_CODING, _ALL_FLAGS,
        )  # fmt: skip
        _demand(done, "its coefficients cannot be written")
        segments, _ = split(Path(os.fsdecode(path)).read_bytes())
    frame = next(segment.payload for segment in segments if segment.marker in _FRAMES)
    ids = {written: component.id for written, component in zip(frame[6::3], components, strict=True)}
    for segment in segments:
        payload = bytearray(segment.payload)
        if segment.marker == SOS:
            payload[1:-3:2] = (ids[id] for id in payload[1:-3:2])
        if segment.marker in (SOS, DHT):
            yield segment._replace(payload=bytes(payload))


@contextmanager
def _file_in_memory(content: bytes = b"") -> Iterator[bytes]:
    """Path of a file that vanishes with the process, however that ends."""
    with open(os.memfd_create("picture"), "wb") as file:
        file.write(content)
        file.flush()
        yield b"/proc/self/fd/%d" % file.fileno()


def _addresses(planes: Sequence[np.ndarray]) -> list[ctypes.c_void_p]:
    """Of four contiguous arrays; NULL for those that lack."""
    return [ctypes.c_void_p(planes[at].ctypes.data if at < len(planes) else None) for at in range(4)]


def _integers(values: Iterable[int]) -> ctypes.Array:
    """As a C array of 8 (the functions read as many as there are components)."""
    return (ctypes.c_int * 8)(*values)


@functools.cache
def _library(name: str) -> ctypes.CDLL:
    # Not imported: that would load another of its libraries.
    spec = importlib.util.find_spec("jpeglib")
    _demand(spec, "the package jpeglib is not installed")
    version = importlib.metadata.version("jpeglib")
    _demand(version == JPEGLIB_VERSION, f"the package jpeglib is {version}, and {JPEGLIB_VERSION} is needed")
    (file,) = Path(spec.submodule_search_locations[0], "cjpeglib").glob(f"cjpeglib_{name}.*")
    return ctypes.CDLL(str(file))
