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
)

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
    others get those of `rgb`, by the file's own colours, sampling factors and quantisation tables; in CMYK, without
    black. In the decoded picture, pixels outside of the touched blocks stay, but for one pixel beside a touched block
    of a subsampled component, where decoders blend neighbours. All APPn and COM segments stay byte for byte and in
    order, but for an index of further pictures (MPF); `losses` says what else goes.

    Args:
        source: the file.
        rgb: uint8, height x width x 3, turned as the file stores it (before its EXIF orientation).
        changed: uint8 or bool, height x width; not 0 where `rgb` differs from the file.

    Raises:
        UnsupportedJpegError: this cannot be done for this file or kind of file; the message says why.
    """
    jpeg = parse_jpeg(source)
    planes = _read_coefficients(jpeg)
    _put_blocks(jpeg, planes, rgb, changed)
    process, scans = _write_scans(jpeg, planes)
    kept = [each._replace(marker=process) if each.is_frame else each for each in jpeg.segments]
    kept = [each for each in kept if each.marker not in (DHT, DRI, SOS) and not each.is_picture_index]
    content = encode_jpeg(kept + scans)
    # Nothing is returned that does not read back as what was to be written.
    written = parse_jpeg(content)
    if written.colours != jpeg.colours or not all(map(np.array_equal, planes, _read(written))):
        raise UnsupportedJpegError("what was written reads back differently")
    return content


def losses(source: bytes) -> tuple[str, ...]:
    """What `replace_blocks` does not keep of a file that it takes, in words; empty when nothing is lost."""
    jpeg = parse_jpeg(source)
    lost = {
        "what lies behind the picture (further pictures, a video) is dropped": jpeg.trailing.strip(b"\0"),
        "restart markers are dropped": any(each.marker == DRI and any(each.payload) for each in jpeg.segments),
        "a progressive CMYK file becomes sequential": jpeg.process == PROGRESSIVE and len(jpeg.components) == 4,
    }
    return tuple(words for words, happens in lost.items() if happens)


def _put_blocks(jpeg: JpegFile, planes: list[np.ndarray], rgb: np.ndarray, changed: np.ndarray) -> None:
    """Overwrites the coefficients of all touched blocks in `planes`."""
    # 8x8 cells of the picture: a row of a cell is one number.
    padded = np.ascontiguousarray(np.pad(changed != 0, [(0, -side % 8) for side in changed.shape]))
    rows, columns = (side // 8 for side in padded.shape)
    cells = np.bitwise_or.reduce(padded.view(np.uint64).reshape(rows, 8, columns), axis=1) != 0
    weights, offsets = _from_rgb(jpeg.colours)
    for plane, component, weight, offset in zip(planes, jpeg.components, weights, offsets, strict=True):
        # A block of a subsampled component covers several cells.
        high, wide = jpeg.spacing(component)
        touched = np.logical_or.reduceat(cells, np.arange(0, rows, high), axis=0)
        touched = np.logical_or.reduceat(touched, np.arange(0, columns, wide), axis=1)
        ys, xs = np.nonzero(touched)
        batch = max(1, _BATCH_PIXELS // (64 * high * wide))
        for start in range(0, len(ys), batch):
            where = ys[start : start + batch], xs[start : start + batch]
            samples = _cut(rgb, *where, 8 * high, 8 * wide).astype(np.float32) @ weight + offset
            means = samples.reshape(-1, 8, high, 8, wide).mean(axis=(2, 4))
            plane[where] = _quantised_dct(means, jpeg.tables[component.table])


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
    the rows of a block are vertical frequencies. Refuses data that end early, or of coefficients out of range.
    """
    scans = sum(segment.marker == SOS for segment in jpeg.segments)
    # Pillow raises where jpeglib would end the process. An eighth of the size is fastest, and all data are decoded.
    scale = 8 if scans == 1 else 1
    decoded = _decode(jpeg.bare(), scale)
    planes = _read(jpeg)
    if not all(map(_in_range, planes)):
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
        return np.asarray(image)


def _in_range(plane: np.ndarray) -> bool:
    """Whether all coefficients are such as 8-bit samples come to: the writers' code tables end there, unchecked."""
    # The first of a block, a mean, may be one lower than the others; most planes are told by one look at all.
    lowest = int(plane.min()) if plane.min() != -1024 else int(plane.reshape(-1, 64)[:, 1:].min())
    return lowest > -1024 and plane.max() < 1024


def _read(jpeg: JpegFile) -> list[np.ndarray]:
    sizes = [jpeg.size_of(component) for component in jpeg.components]
    planes = [np.zeros((-(-height // 8), -(-width // 8), 8, 8), np.int16) for height, width in sizes]
    with _file_in_memory(jpeg.bare()) as path:
        if not _library(_LIBRARY).read_jpeg_dct(path, *_pointers(planes), None, None):
            raise UnsupportedJpegError("its coefficients cannot be read")
    return planes


def _write_scans(jpeg: JpegFile, planes: list[np.ndarray]) -> tuple[int, list[Segment]]:
    """The process to name in the frame, and the Huffman tables and scans of `planes`, for a file with the frame and
    the quantisation tables of `jpeg`.

    Progressive files stay progressive (but for four components, of which the library writes three), restart markers
    go, and Huffman codes that were fitted to the picture are fitted again.
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
    jpeg: JpegFile, components: list[Component], planes: list[np.ndarray], progressive: bytes = b""
) -> list[Segment]:
    """Huffman tables and scans of `planes`, the coefficients of some components of `jpeg`.

    `progressive` is a file of this frame, if the scans are to be progressive: that library takes the frame from it.
    """
    single = len(planes) == 1
    size = jpeg.size_of(components[0]) if single else (jpeg.height, jpeg.width)
    factors = [(1, 1)] if single else [(each.vertical, each.horizontal) for each in components]
    with _file_in_memory(progressive) as source, _file_in_memory() as path:
        done = _library(_PROGRESSIVE_LIBRARY if progressive else _LIBRARY).write_jpeg_dct(
            source if progressive else None,
            path,
            *_pointers(planes),
            _integers(size),
            _integers(side for plane in planes for side in plane.shape[:2]),
            _integers(factor for pair in factors for factor in pair),
            _GREY if single else _YCC,
            len(planes),
            *(None, -1, None),  # Quantisation, which stays in segments that are not taken from here.
            *(0, None, None, None),  # Metadata, likewise.
            0 if progressive or jpeg.standard_codes else _OPTIMIZE_CODING,
            _ALL_FLAGS,
        )
        if not done:
            raise UnsupportedJpegError("its coefficients cannot be written")
        segments, _ = split_jpeg(Path(os.fsdecode(path)).read_bytes())
    ids = {number: component.id for number, component in enumerate(components, 1)}
    return [segment.with_ids(ids) for segment in segments if segment.marker in (DHT, SOS)]


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
    files = sorted(Path(spec.submodule_search_locations[0], "cjpeglib").glob(f"cjpeglib_{name}.*"))
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
