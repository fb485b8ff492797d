"""A user's JPEG, written back with every block that is not touched as it was.

Its quantised DCT coefficients are taken out of the file, those of blocks with changed pixels are computed anew, and all
are coded again without loss. Where that cannot be done (jpeglib is missing, or the file is of a rare kind), the picture
is encoded anew with the same tables, and only the segments around it stay byte for byte.

libjpeg forgives, and the copies of it inside the package jpeglib end the process at what they do not forgive. So Pillow
decodes the file first, and only what it takes and jpeglib does not, or what would come back differently, is looked for.
jpeglib's C functions are called directly: its Python layer keeps markers in global variables (50 at most), prints,
leaves files behind when the process is killed, and never writes a fourth component. They see no metadata, and of what
they write the coded data alone is used.
"""

import ctypes
import functools
import importlib.metadata
import importlib.util
import io
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image, JpegImagePlugin

from data import jpeg_segments
from data.jpeg_segments import DHT, DQT, DRI, FRAMES, SOS, Segment, UnsupportedJpegError, demand, join, split
from data.photos import colours, thumbnails
from data.photos.colours import Encoded

# Other versions' functions may take other arguments, which nothing would notice before they crash.
JPEGLIB_VERSION = "1.0.2"
# The fastest library in the package, and the faster of the two that make progressive files out of coefficients.
_LIBRARY, _PROGRESSIVE_LIBRARY = "turbo210", "mozjpeg300"
# Values of the libraries' J_COLOR_SPACE and flags.
_JCS_GREY, _JCS_YCC, _OPTIMIZE_CODING, _ALL_FLAGS = 1, 3, 1 << 6, 0xFFFFFFFF
# Of the standard: blocks that scans may interleave, and symbols of the Huffman tables for AC in annex K.
_MAX_BLOCKS_IN_UNIT, _STANDARD_SYMBOLS = 10, 162
_BATCH_PIXELS = 1 << 20  # Pixels that are transformed at a time; the arrays between take about 50 bytes for each.
_YCC = np.array([[0.299, 0.587, 0.114], [-0.168735892, -0.331264108, 0.5], [0.5, -0.418687589, -0.081312411]])
# Weights [components, 3] and offsets [components] that make RGB in 0..255 to level-shifted samples. Y, Cb and Cr are
# JFIF's (ITU-R BT.601 with full range). CMYK lies inverted in the file, as Adobe's programs write it and Pillow takes
# it: without black ink, red lies there as it is. YCCK has that inverted once more, but for the black.
_FROM_RGB = {
    "grey": (_YCC[:1], [-128]),
    "ycc": (_YCC, [-128, 0, 0]),
    "rgb": (np.eye(3), [-128, -128, -128]),
    "cmyk": (np.eye(4, 3), [-128, -128, -128, 127]),
    "ycck": (np.eye(4, 3) @ -_YCC, [127, 0, 0, 127]),
    # As they lie in a PDF that does not turn them round.
    "plain cmyk": (-np.eye(4, 3), [127, 127, 127, -128]),
    "plain ycck": (np.eye(4, 3) @ _YCC, [-128, 0, 0, -128]),
}
_FREQUENCY, _POSITION = np.ogrid[:8, :8]
_DCT = np.cos((2 * _POSITION + 1) * _FREQUENCY * np.pi / 16) / np.where(_FREQUENCY, 2, np.sqrt(8))


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
        return join(segment for segment in self.segments if not segment.is_metadata)


def encode(source: bytes, name: str, rgb: np.ndarray, mask: np.ndarray, plain_inks: bool = False) -> Encoded:
    """`source`, which was decoded before, with `rgb` (uint8, stored orientation) where `mask` is 1.

    `plain_inks`: what is CMYK in it lies there as 0 = no ink, which Pillow takes for all of it.
    """
    try:
        return replace_blocks(source, rgb, mask, plain_inks)
    except UnsupportedJpegError as error:
        note = f"every block of the JPEG was encoded anew, with the same tables ({error})"
    samples, coding, image = colours.read(source, name)
    samples ^= np.uint8(255 * plain_inks)
    colours.cover(samples, coding, mask, rgb)
    samples ^= np.uint8(255 * plain_inks)
    buffer, tables = io.BytesIO(), [image.quantization[slot] for slot in sorted(image.quantization)]
    # 0 is no subsampling: for grey, for inks, and for what Pillow does not write.
    how = {"qtables": tables, "subsampling": max(JpegImagePlugin.get_sampling(image), 0)}
    Image.fromarray(samples, image.mode).save(buffer, "JPEG", progressive="progressive" in image.info, **how)
    (old, end), (new, _) = map(split, (source, buffer.getvalue()))
    # Adobe's segment, which tells how colours are coded, is the new one.
    kept = [each for each in without_thumbnails(old) if each.is_metadata and each.marker != jpeg_segments.ADOBE]
    content = join(kept + [each for each in new if each.marker == jpeg_segments.ADOBE or not each.is_metadata])
    return Encoded(content, (note, *_dropped(source[end:])))


def replace_blocks(source: bytes, rgb: np.ndarray, changed: np.ndarray, plain_inks: bool = False) -> Encoded:
    """Writes `rgb` into the blocks of a JPEG file that have changed pixels; all others keep their coefficients exactly.

    APPn and COM segments stay byte for byte and in order, but for `without_thumbnails`. `source` was decoded before,
    which tells what lacks; `UnsupportedJpegError` says why it cannot be done for it.
    """
    jpeg = parse(source)
    jpeg = jpeg._replace(segments=[*without_thumbnails(jpeg.segments)])
    planes = coefficients(jpeg)
    _put_blocks(jpeg, planes, rgb, changed, f"plain {_colours(jpeg)}" if plain_inks else _colours(jpeg))
    content = with_coefficients(jpeg, planes)
    # Nothing is returned that does not read back as what was to be written.
    written = parse(content)
    same = all(map(np.array_equal, planes, coefficients(written))) and _colours(written) == _colours(jpeg)
    demand(same, "what was written reads back differently")
    return Encoded(content, _dropped(jpeg.trailing))


def _dropped(trailing: bytes) -> tuple[str, ...]:
    """The note on what lies behind a picture, for a camera's MPO its further views."""
    return ("what lies behind the picture (further pictures, a video) is dropped",) if trailing.strip(b"\0") else ()


def without_thumbnails(segments: list[Segment]) -> Iterator[Segment]:
    """Segments whose thumbnails are blank; that of JFIF's extension and the index of further pictures are left out."""
    photoshop, start = jpeg_segments.PHOTOSHOP, len(jpeg_segments.PHOTOSHOP[1])
    parts = [each.payload[start:] for each in segments if each.label == photoshop]
    # A picture may go on from segment to segment.
    resources = io.BytesIO(thumbnails.without_jpegs(b"".join(parts)) if parts else b"")
    for each in segments:
        payload = each.payload
        if each.label in (jpeg_segments.JFXX, jpeg_segments.MPF):
            continue
        if each.label == jpeg_segments.JFIF:
            payload = payload[:12] + bytes(len(payload[12:14]))
        elif each.label == jpeg_segments.EXIF:
            payload = thumbnails.in_exif(payload)
        elif each.label == jpeg_segments.XMP:
            payload = thumbnails.in_xmp(payload)
        elif each.label == photoshop:
            payload = payload[:start] + resources.read(len(payload) - start)
        yield each._replace(payload=payload)


def _colours(jpeg: JpegFile) -> str:
    """What the components hold, by libjpeg's rules (`default_decompress_parms`)."""
    ids, info = bytes(component.id for component in jpeg.components), jpeg.header.info
    transform = info.get("adobe_transform")
    if len(ids) != 3:
        return "grey" if len(ids) == 1 else "ycck" if transform else "cmyk"
    marked = "jfif" in info or transform
    return "rgb" if not marked and (transform == 0 or ids == b"RGB") else "ycc"


def _put_blocks(jpeg: JpegFile, planes: list[np.ndarray], rgb: np.ndarray, changed: np.ndarray, coded: str) -> None:
    """Overwrites the coefficients of all touched blocks in `planes`; `coded` is a key of `_FROM_RGB`."""
    # Whole blocks of every component; beyond the picture its last pixels go on.
    units = (8 * max(component.spacing[axis] for component in jpeg.components) for axis in (0, 1))
    below, beside = (-side % unit for side, unit in zip(changed.shape, units, strict=True))
    rgb = cv2.copyMakeBorder(rgb, 0, below, 0, beside, cv2.BORDER_REPLICATE)
    changed = np.pad(changed != 0, ((0, below), (0, beside)))
    weights, offsets, transform = (np.float32(values) for values in (*_FROM_RGB[coded], _DCT))
    for plane, component, weight, offset in zip(planes, jpeg.components, weights, offsets, strict=True):
        high, wide = component.spacing
        rows, columns = len(rgb) // (8 * high), rgb.shape[1] // (8 * wide)
        areas = rgb.reshape(rows, 8 * high, columns, 8 * wide, 3)
        touched = changed.reshape(rows, 8 * high, -1).any(axis=1).reshape(rows, columns, -1).any(axis=2)
        ys, xs = np.nonzero(touched)
        batch = max(1, _BATCH_PIXELS // (64 * high * wide))
        for start in range(0, len(ys), batch):
            where = ys[start : start + batch], xs[start : start + batch]
            samples = areas[where[0], :, where[1]].astype(np.float32) @ weight + offset
            means = samples.reshape(-1, 8, high, 8, wide).mean(axis=(2, 4))
            blocks = transform @ means @ transform.T / component.steps
            plane[where] = np.clip(np.rint(blocks), -1023, 1023).astype(np.int16)


def parse(source: bytes) -> JpegFile:
    """Splits a JPEG file that Pillow has decoded into segments, and refuses what would make jpeglib crash."""
    segments, end = split(source)
    markers = [segment.marker for segment in segments if not segment.is_metadata]
    demand({*markers} <= {DQT, DHT, DRI, SOS, *FRAMES}, "lossless, hierarchical or arithmetic coding, or worse")
    image = JpegImagePlugin.JpegImageFile(io.BytesIO(source))
    demand(DQT not in markers[markers.index(SOS) :], "quantisation tables that change between scans")
    demand(len({id for id, *_ in image.layer}) == len(image.layer), "component ids that repeat")
    wide, high = (max(layer[axis] for layer in image.layer) for axis in (1, 2))
    components = []
    for id, horizontal, vertical, table in image.layer:
        steps = np.array(image.quantization[table], np.float32).reshape(8, 8)
        demand(steps.all(), f"quantisation table {table} has zeros")
        spacing = high // vertical, wide // horizontal
        size = -(-image.height // spacing[0]), -(-image.width // spacing[1])
        components.append(Component(id, (vertical, horizontal), spacing, size, steps))
    jpeg = JpegFile(segments, image, components, jpeg_segments.PROGRESSIVE in markers, source[end:])
    _demand_huffman_tables(jpeg)
    return jpeg


def _demand_huffman_tables(jpeg: JpegFile) -> None:
    tables = set()
    for segment in jpeg.segments:
        tables.update(table for table, symbols in segment.huffman_tables() if symbols)
        if segment.marker == SOS:
            payload = segment.payload
            first, last, bits = payload[-3:] if jpeg.progressive else (0, 63, 0)
            for slots in payload[2:-3:2]:
                demand(first > 0 or bits >> 4 or slots >> 4 in tables, f"Huffman table {slots >> 4} is missing")
                demand(last == 0 or slots & 15 | 16 in tables, f"Huffman table {slots & 15} is missing")


def coefficients(jpeg: JpegFile) -> list[np.ndarray]:
    """Quantised coefficients of each component: int16 [rows, columns, 8, 8], rows of a block by vertical frequency."""
    sizes = [component.size for component in jpeg.components]
    planes = [np.zeros((-(-height // 8), -(-width // 8), 8, 8), np.int16) for height, width in sizes]
    with _file_in_memory(jpeg.bare()) as path:
        done = _library(_LIBRARY).read_jpeg_dct(path, *_addresses(planes), None, None)
    demand(done, "its coefficients cannot be read")
    return planes


def with_coefficients(jpeg: JpegFile, planes: list[np.ndarray]) -> bytes:
    """The file with other coefficients, of the same shapes; restart markers go, and fitted codes are fitted again."""
    # What 8-bit samples come to; the library's code tables end there, unchecked.
    lowest = [-1024] + [-1023] * 63
    for blocks in (plane.reshape(-1, 64) for plane in planes):
        demand(blocks.max() < 1024 and (blocks.min(axis=0) >= lowest).all(), "coefficients out of range")
    progressive = jpeg.progressive and len(planes) < 4  # The library writes three.
    blocks_in_unit = sum(vertical * horizontal for _, (vertical, horizontal), *_ in jpeg.components)
    kept = [each for each in jpeg.segments if each.marker not in (DHT, DRI, SOS)]
    if jpeg.progressive and not progressive:
        kept = [each._replace(marker=FRAMES[0]) if each.marker in FRAMES else each for each in kept]
    together = progressive or len(planes) == 1 or (len(planes) < 4 and blocks_in_unit <= _MAX_BLOCKS_IN_UNIT)
    parts = [slice(None)] if together else [slice(at, at + 1) for at in range(len(planes))]
    return join(chain(kept, *(_scans(jpeg, jpeg.components[part], planes[part], progressive) for part in parts)))


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
            _integers(size), _integers(blocks), _integers(factors), _JCS_GREY if single else _JCS_YCC, len(planes),
            None, -1, None,  # Quantisation, which stays in segments that are not taken from here.
            0, None, None, None,  # Metadata, likewise.
            0 if progressive or standard else _OPTIMIZE_CODING, _ALL_FLAGS,
        )  # fmt: skip
        demand(done, "its coefficients cannot be written")
        segments, _ = split(Path(os.fsdecode(path)).read_bytes())
    frame = next(segment.payload for segment in segments if segment.marker in FRAMES)
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
    demand(spec, "the package jpeglib is not installed")
    version = importlib.metadata.version("jpeglib")
    demand(version == JPEGLIB_VERSION, f"the package jpeglib is {version}, and {JPEGLIB_VERSION} is needed")
    (file,) = Path(spec.submodule_search_locations[0], "cjpeglib").glob(f"cjpeglib_{name}.*")
    return ctypes.CDLL(str(file))
