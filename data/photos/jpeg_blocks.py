"""New pixels in a JPEG file, with every block that they do not touch kept as it is.

Decoding and encoding a JPEG again changes all of it a little. Here the quantised DCT coefficients are taken out of the
file, those of the blocks with changed pixels are computed anew, and all are coded again without loss, by the libraries
inside the package jpeglib. Their C functions are called directly: jpeglib's own Python layer keeps markers in global
variables (50 at most, and not thread-safe), prints, leaves temporary files behind when the process is killed, and never
writes a fourth component. The libraries see a file without its metadata, and of what they write the coded data alone is
used.
"""

from __future__ import annotations

import ctypes
import functools
import importlib.metadata
import importlib.util
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from data.photos.jpeg_file import (
    BASELINE,
    DHT,
    DRI,
    PROGRESSIVE,
    SOS,
    Component,
    JpegFile,
    Segment,
    UnsupportedJpegError,
    encode_jpeg,
    opened,
    parse_jpeg,
    split_jpeg,
    with_ids,
)

__all__ = ["UnsupportedJpegError", "losses", "replace_blocks"]

# Other versions' functions may take other arguments, which nothing would notice before they crash.
JPEGLIB_VERSION = "1.0.2"
# The fastest library in the package, and the faster of the two that make progressive files out of coefficients.
_LIBRARY = "turbo210"
_PROGRESSIVE_LIBRARY = "mozjpeg300"
# Values of the libraries' J_COLOR_SPACE and flags.
_GREY, _YCC = 1, 3
_OPTIMIZE_CODING, _ALL_FLAGS = 1 << 6, 0xFFFFFFFF
# Bits that no complete scan needs; no FF, which would begin a marker.
_MORE_DATA = bytes((0x55, 0xA5, 0x3C, 0x00)) * 16
_MAX_BLOCKS_IN_UNIT = 10
# Pixels that are transformed at a time; the arrays between take about 50 bytes for each.
_BATCH_PIXELS = 1 << 20


def replace_blocks(source: bytes, rgb: np.ndarray, changed: np.ndarray) -> bytes:
    """Writes `rgb` into the blocks of a JPEG file that have changed pixels.

    An 8x8 block of a component without a changed pixel in its area keeps its quantised coefficients exactly; the
    others get those of `rgb`, by the file's own colours, sampling factors and quantisation tables. What is written is
    read back and compared before it is returned. In the decoded picture, pixels outside of the touched blocks stay as
    they were, but for one pixel beside a touched block of a subsampled component, where decoders blend neighbours.

    All APPn and COM segments stay byte for byte and in order, but for an index of further pictures (MPF); `losses`
    says what goes. Progressive files stay progressive. Grey files take the luma of `rgb`; touched blocks of CMYK files
    hold no black ink.

    Args:
        source: the file.
        rgb: uint8, height x width x 3, turned as the file stores it (before its EXIF orientation).
        changed: uint8 or bool, height x width; not 0 where `rgb` differs from the file.

    Raises:
        UnsupportedJpegError: this cannot be done for this file or kind of file; the message says why.
        ValueError: arrays that do not fit the file.
    """
    jpeg = parse_jpeg(source)
    size = (jpeg.height, jpeg.width)
    if rgb.dtype != np.uint8 or rgb.shape != (*size, 3) or changed.shape != size:
        raise ValueError(
            f"expected RGB uint8 of {size[0]} x {size[1]} x 3 and changed of {size[0]} x {size[1]}, "
            f"got {rgb.dtype} {rgb.shape} and {changed.shape}"
        )
    planes = _read_coefficients(jpeg)
    _put_blocks(jpeg, planes, rgb, changed)
    process, scans = _write_scans(jpeg, planes)
    content = encode_jpeg(_kept_segments(jpeg, process) + scans)
    written = parse_jpeg(content)
    if written.colours != jpeg.colours or not all(map(np.array_equal, planes, _read(written))):
        raise UnsupportedJpegError("what was written reads back differently")
    return content


def losses(source: bytes) -> tuple[str, ...]:
    """What `replace_blocks` does not keep of a file, in words; empty when nothing is lost.

    Raises:
        UnsupportedJpegError: as `replace_blocks` would, for what the headers say.
    """
    jpeg = parse_jpeg(source)
    lost = []
    if jpeg.trailing.strip(b"\0"):
        lost.append("what lies behind the picture (further pictures, a video) is dropped")
    if any(segment.marker == DRI and any(segment.payload) for segment in jpeg.segments):
        lost.append("restart markers are dropped")
    if jpeg.process == PROGRESSIVE and len(jpeg.components) == 4:
        lost.append("a progressive CMYK file becomes sequential")
    return tuple(lost)


def _kept_segments(jpeg: JpegFile, process: int) -> list[Segment]:
    """The source's segments but for the coding, and for an index of pictures that no longer follow."""
    kept = []
    for segment in jpeg.segments:
        if segment.is_frame:
            kept.append(segment._replace(marker=process))
        elif segment.marker not in (DHT, DRI, SOS) and not segment.is_picture_index:
            kept.append(segment)
    return kept


def _put_blocks(jpeg: JpegFile, planes: list[np.ndarray], rgb: np.ndarray, changed: np.ndarray) -> None:
    """Overwrites the coefficients of all touched blocks in `planes`."""
    cells = _touched_cells(changed)
    weights, offsets = _from_rgb(jpeg.colours)
    for plane, component, weight, offset in zip(planes, jpeg.components, weights, offsets, strict=True):
        high, wide = jpeg.spacing(component)
        rows, columns = np.nonzero(_any_in(cells, high, wide))
        batch = max(1, _BATCH_PIXELS // (64 * high * wide))
        for start in range(0, len(rows), batch):
            where = rows[start : start + batch], columns[start : start + batch]
            samples = _cut(rgb, *where, 8 * high, 8 * wide).astype(np.float32) @ weight + offset
            means = samples.reshape(-1, 8, high, 8, wide).mean(axis=(2, 4))
            plane[where] = _quantised_dct(means, jpeg.tables[component.table])


def _touched_cells(changed: np.ndarray) -> np.ndarray:
    """Which 8x8 cells of the picture hold a changed pixel, bool."""
    height, width = changed.shape
    rows, columns = -(-height // 8), -(-width // 8)
    padded = np.zeros((8 * rows, 8 * columns), bool)
    padded[:height, :width] = changed
    # Eight pixels at a time: a row of a cell is one number.
    return np.bitwise_or.reduce(padded.view(np.uint64).reshape(rows, 8, columns), axis=1) != 0


def _any_in(cells: np.ndarray, high: int, wide: int) -> np.ndarray:
    """Which groups of `high` x `wide` cells, such as a block of a subsampled component covers, hold a touched one."""
    rows = np.logical_or.reduceat(cells, np.arange(0, cells.shape[0], high), axis=0)
    return np.logical_or.reduceat(rows, np.arange(0, cells.shape[1], wide), axis=1)


def _cut(rgb: np.ndarray, rows: np.ndarray, columns: np.ndarray, height: int, width: int) -> np.ndarray:
    """Areas of `height` x `width` pixels, [n, height, width, 3]; beyond the picture its last pixels go on."""
    ys = np.minimum(rows[:, None] * height + np.arange(height), rgb.shape[0] - 1)
    xs = np.minimum(columns[:, None] * width + np.arange(width), rgb.shape[1] - 1)
    return rgb[ys[:, :, None], xs[:, None, :]]


def _from_rgb(colours: str) -> tuple[np.ndarray, np.ndarray]:
    """Weights [components, 3] and offsets [components] that make RGB in 0..255 to level-shifted samples.

    Y, Cb and Cr are those of JFIF (ITU-R BT.601 with full range). CMYK lies inverted in a JPEG file, as Adobe's
    programs write it and as Pillow takes it, so that red lies there as it is when there is no black ink. YCCK has that
    inverted once more, but for the black.
    """
    ycc = np.array([[0.299, 0.587, 0.114], [-0.168735892, -0.331264108, 0.5], [0.5, -0.418687589, -0.081312411]])
    none, black = np.zeros((1, 3)), [127.0]
    weights, offsets = {
        "grey": (ycc[:1], [-128]),
        "ycc": (ycc, [-128, 0, 0]),
        "rgb": (np.eye(3), [-128] * 3),
        "cmyk": (np.concatenate([np.eye(3), none]), [-128] * 3 + black),
        "ycck": (np.concatenate([-ycc, none]), [127, 0, 0, *black]),
    }[colours]
    return weights.astype(np.float32), np.array(offsets, np.float32)


def _quantised_dct(samples: np.ndarray, table: np.ndarray) -> np.ndarray:
    """DCT of level-shifted samples [n, 8, 8], divided by `table` and rounded, int16."""
    frequency, position = np.arange(8)[:, None], np.arange(8)
    matrix = np.cos((2 * position + 1) * frequency * np.pi / 16) / np.where(frequency, 2, np.sqrt(8))
    matrix = matrix.astype(np.float32)
    coefficients = matrix @ samples @ matrix.T / table
    return np.clip(np.rint(coefficients), -1023, 1023).astype(np.int16)


def _read_coefficients(jpeg: JpegFile) -> list[np.ndarray]:
    """Quantised coefficients of each component: int16 [rows, columns, 8, 8], where rows and columns count blocks and
    the rows of a block are vertical frequencies.

    Raises:
        UnsupportedJpegError: data that Pillow cannot decode, that end early, or with coefficients out of range.
    """
    scans = sum(segment.marker == SOS for segment in jpeg.segments)
    # Pillow raises where jpeglib would end the process. An eighth of the size is fastest, and all data are decoded.
    scale = 8 if scans == 1 else 1
    decoded = _decode(jpeg.bare(), scale)
    planes = _read(jpeg)
    if not all(_in_range(plane) for plane in planes):
        raise UnsupportedJpegError("coefficients out of range")
    # Units without data become 0 without a word (but for the one in which the data end). Then more data would change
    # them; where none lack, more is ignored.
    suspicious = scans > 1 or not planes[-1][-1, -1].any()
    if suspicious and not np.array_equal(decoded, _decode(jpeg.bare(_MORE_DATA), scale)):
        raise UnsupportedJpegError("cut short: the data end before the picture")
    return planes


def _decode(content: bytes, scale: int) -> np.ndarray:
    """Pixels at 1/`scale` of the size, by Pillow."""
    with opened(content) as image:
        image.draft(None, (max(1, image.width // scale), max(1, image.height // scale)))
        try:
            return np.asarray(image)
        except (OSError, SyntaxError, ValueError, EOFError) as error:
            raise UnsupportedJpegError(f"broken or cut short ({error})") from error


def _in_range(plane: np.ndarray) -> bool:
    """Whether all coefficients are such as 8-bit samples come to: the writers' code tables end there, unchecked."""
    lowest, highest = int(plane.min()), int(plane.max())
    if lowest == -1024:
        lowest = int(plane.reshape(-1, 64)[:, 1:].min())
    return lowest > -1024 and highest < 1024


def _read(jpeg: JpegFile) -> list[np.ndarray]:
    sizes = [jpeg.size_of(component) for component in jpeg.components]
    planes = [np.zeros((-(-height // 8), -(-width // 8), 8, 8), np.int16) for height, width in sizes]
    with _file_in_memory(jpeg.bare()) as path:
        if not _library(_LIBRARY).read_jpeg_dct(path, *_pointers(planes), None, None):
            raise UnsupportedJpegError("its coefficients cannot be read")
    return planes


def _write_scans(jpeg: JpegFile, planes: list[np.ndarray]) -> tuple[int, list[Segment]]:
    """Codes coefficients for a file with the frame and the quantisation tables of `jpeg`.

    Progressive files stay progressive (but for four components, of which the library writes three), restart markers
    go, and Huffman codes that were fitted to the picture are fitted again.

    Returns:
        The process (`BASELINE`, ...) to name in the frame, and the Huffman tables and scans in order.
    """
    if len(planes) < 4 and jpeg.process == PROGRESSIVE:
        return PROGRESSIVE, _write(jpeg, jpeg.components, planes, jpeg.bare())
    process = BASELINE if jpeg.process == PROGRESSIVE else jpeg.process
    unit = sum(component.vertical * component.horizontal for component in jpeg.components)
    if len(planes) == 1 or (len(planes) < 4 and unit <= _MAX_BLOCKS_IN_UNIT):
        return process, _write(jpeg, jpeg.components, planes)
    parts = [_write(jpeg, [each], [plane]) for each, plane in zip(jpeg.components, planes, strict=True)]
    return process, [segment for part in parts for segment in part]


def _write(
    jpeg: JpegFile, components: list[Component], planes: list[np.ndarray], progressive: bytes | None = None
) -> list[Segment]:
    """Huffman tables and scans of `planes`, the coefficients of some components of `jpeg`.

    `progressive` is a file of this frame, if the scans are to be progressive: that library takes the frame from it.
    """
    single = len(planes) == 1
    size = jpeg.size_of(components[0]) if single else (jpeg.height, jpeg.width)
    factors = [(1, 1)] if single else [(each.vertical, each.horizontal) for each in components]
    with _file_in_memory(progressive or b"") as source, _file_in_memory() as path:
        done = _library(_LIBRARY if progressive is None else _PROGRESSIVE_LIBRARY).write_jpeg_dct(
            None if progressive is None else source,
            path,
            *_pointers(planes),
            _integers(size),
            _integers(side for plane in planes for side in plane.shape[:2]),
            _integers(factor for pair in factors for factor in pair),
            _GREY if single else _YCC,
            len(planes),
            *(None, -1, None),  # Quantisation, which stays in segments that are not taken from here.
            *(0, None, None, None),  # Metadata, likewise.
            _OPTIMIZE_CODING if progressive is None and not jpeg.standard_codes else 0,
            _ALL_FLAGS,
        )
        if not done:
            raise UnsupportedJpegError("its coefficients cannot be written")
        segments, _ = split_jpeg(Path(os.fsdecode(path)).read_bytes())
    ids = {number: component.id for number, component in enumerate(components, 1)}
    return [with_ids(segment, ids) for segment in segments if segment.marker in (DHT, SOS)]


@contextmanager
def _file_in_memory(content: bytes = b"") -> Iterator[bytes]:
    """Path of a file that vanishes with the process, however that ends."""
    with open(os.memfd_create("picture"), "wb") as file:
        file.write(content)
        file.flush()
        yield b"/proc/self/fd/%d" % file.fileno()


def _pointers(planes: list[np.ndarray]) -> list[int | None]:
    """Addresses of four contiguous arrays; none for those that lack."""
    return [plane.ctypes.data for plane in planes] + [None] * (4 - len(planes))


def _integers(values: Iterable[int]) -> ctypes.Array:
    """As a C array of 8 (the functions read as many as there are components)."""
    return (ctypes.c_int * 8)(*values)


@functools.cache
def _library(name: str) -> ctypes.CDLL:
    # Not imported: that would load another of its libraries.
    spec = importlib.util.find_spec("jpeglib")
    if spec is None:
        raise UnsupportedJpegError("the package jpeglib is not installed")
    version = importlib.metadata.version("jpeglib")
    if version != JPEGLIB_VERSION:
        raise UnsupportedJpegError(f"the package jpeglib is {version}, and {JPEGLIB_VERSION} is needed")
    folder = Path(spec.submodule_search_locations[0], "cjpeglib")
    files = sorted(folder.glob(f"cjpeglib_{name}.*"))
    if not files:
        raise UnsupportedJpegError(f"the package jpeglib has no library {name} for this system")
    library = ctypes.CDLL(str(files[0]))
    path, address, number = ctypes.c_char_p, ctypes.c_void_p, ctypes.c_int
    library.read_jpeg_dct.argtypes = [path, *[address] * 6]
    library.write_jpeg_dct.argtypes = [
        *(path, path, *[address] * 4),
        *(address, address, address, number, number),  # size, sizes in blocks, sampling, colours, components
        *(address, ctypes.c_short, address),  # quantisation tables, quality, tables of components
        *(number, address, address, address),  # metadata
        *(ctypes.c_uint, ctypes.c_uint),  # which flags to set, and to what
    ]
    return library
