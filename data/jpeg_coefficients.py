"""Quantised DCT coefficients of JPEG files, read and written by the libjpeg-turbo inside the package jpeglib.

Its C functions are called directly. jpeglib's own Python layer keeps markers in global variables (at most 50, and not
thread-safe), prints, puts temporary files where a killed process leaves them, and never writes a fourth component.
Here it sees a file without any metadata, and what it writes is used for its entropy-coded data only.
"""

from __future__ import annotations

import ctypes
import functools
import io
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import JpegImagePlugin

from data.jpeg_segments import (
    BASELINE,
    DHT,
    PROGRESSIVE,
    SOS,
    JpegFile,
    Segment,
    UnsupportedJpegError,
    encode_jpeg,
    parse_jpeg,
)

# The fastest of the libraries in the package, and the only kind in it that writes progressive files from coefficients.
_LIBRARY = "turbo210"
_PROGRESSIVE_LIBRARY = "mozjpeg300"
_GREY, _YCC = 1, 3
_OPTIMIZE_CODING = 1 << 6
_ALL_BITS = 0xFFFFFFFF


def read_coefficients(jpeg: JpegFile) -> list[np.ndarray]:
    """Quantised coefficients of each component, int16 [rows, columns, 8, 8] in blocks; rows of a block are
    vertical frequencies.

    Raises:
        UnsupportedJpegError: data that Pillow cannot decode, or with coefficients out of range.
    """
    content = _bare(jpeg)
    _check_decodes(content)
    planes = [np.zeros((*jpeg.grid(component), 8, 8), np.int16) for component in jpeg.components]
    pointers = [plane.ctypes.data for plane in planes] + [None] * (4 - len(planes))
    with _nameless_file(content) as path:
        if not _library(_LIBRARY).read_jpeg_dct(os.fsencode(path), *pointers, None, None):
            raise UnsupportedJpegError("its blocks cannot be read")
    if not all(_in_range(plane) for plane in planes):
        raise UnsupportedJpegError("coefficients out of range")
    return planes


def write_scans(jpeg: JpegFile, planes: list[np.ndarray]) -> tuple[int, list[Segment]]:
    """Entropy-codes coefficients for a file with the frame and the tables of `jpeg`.

    Progressive files stay progressive (but for four components, which the library cannot write), restart markers go,
    and Huffman codes that were fitted to the picture are fitted again.

    Returns:
        The process (`BASELINE`, ...) that belongs into the frame, and the Huffman tables and scans in order.
    """
    ids = [component.id for component in jpeg.components]
    if jpeg.process == PROGRESSIVE and len(planes) < 4:
        return PROGRESSIVE, _write(jpeg, planes, ids)
    if len(planes) == 4 or not jpeg.interleaved:
        segments = []
        for component, plane, id in zip(jpeg.components, planes, ids, strict=True):
            segments += _write(jpeg.plane(component), [plane], [id])
    else:
        segments = _write(jpeg, planes, ids)
    return (BASELINE if jpeg.process == PROGRESSIVE else jpeg.process), segments


def _write(jpeg: JpegFile, planes: list[np.ndarray], ids: list[int]) -> list[Segment]:
    dims = (ctypes.c_int * 2)(jpeg.height, jpeg.width)
    grids = (ctypes.c_int * 8)(*(side for plane in planes for side in plane.shape[:2]))
    single = len(planes) == 1
    factors = [(1, 1)] if single else [(c.vertical, c.horizontal) for c in jpeg.components]
    sampling = (ctypes.c_int * 8)(*(factor for pair in factors for factor in pair))
    planes = [np.ascontiguousarray(plane) for plane in planes]
    pointers = [plane.ctypes.data for plane in planes] + [None] * (4 - len(planes))
    progressive = jpeg.process == PROGRESSIVE
    overwritten = 0 if progressive or jpeg.standard_codes else _OPTIMIZE_CODING
    library = _library(_PROGRESSIVE_LIBRARY if progressive else _LIBRARY)
    # The progressive writer starts from a file, whose coefficients are then replaced.
    with _nameless_file(_bare(jpeg) if progressive else b"") as source, _nameless_file() as path:
        done = library.write_jpeg_dct(
            os.fsencode(source) if progressive else None,
            os.fsencode(path),
            *pointers,
            dims,
            grids,
            sampling,
            _GREY if single else _YCC,
            len(planes),
            None,  # quantisation tables, quality and the assignment of tables: the source's segments are kept
            -1,
            None,
            0,
            None,
            None,
            None,
            ctypes.c_uint(overwritten),
            ctypes.c_uint(_ALL_BITS),
        )
        if not done:
            raise UnsupportedJpegError("its blocks cannot be written")
        written = parse_jpeg(Path(path).read_bytes())
    return [
        _with_ids(segment, ids) if segment.marker == SOS else segment
        for segment in written.segments
        if segment.marker in (DHT, SOS)
    ]


def _in_range(plane: np.ndarray) -> bool:
    """Whether all coefficients are such as 8-bit samples come to: the writers' code tables end there, unchecked."""
    lowest, highest = int(plane.min()), int(plane.max())
    if lowest == -1024:
        lowest = int(plane.reshape(-1, 64)[:, 1:].min())
    return -1024 < lowest and highest < 1024


def _with_ids(scan: Segment, ids: list[int]) -> Segment:
    """A scan of components 1, 2, 3 as one of the components `ids`."""
    payload = bytearray(scan.payload)
    for at in range(1, len(payload) - 3, 2):
        payload[at] = ids[payload[at] - 1]
    return Segment(scan.marker, bytes(payload), scan.data)


def _bare(jpeg: JpegFile) -> bytes:
    """The file without metadata and with components 1, 2, 3 (4), so that every reader takes it the same way."""
    numbers = {component.id: number for number, component in enumerate(jpeg.components, 1)}
    segments = []
    for segment in jpeg.segments:
        payload = bytearray(segment.payload)
        if segment.marker == jpeg.process:
            payload[6::3] = bytes(numbers[id] for id in payload[6::3])
        elif segment.marker == SOS:
            payload[1:-3:2] = bytes(numbers[id] for id in payload[1:-3:2])
        if not segment.is_metadata:
            segments.append(Segment(segment.marker, bytes(payload), segment.data))
    return encode_jpeg(segments)


def _check_decodes(content: bytes) -> None:
    """Lets Pillow decode all data (to an eighth of the size, for speed): jpeglib would end the process on errors."""
    try:
        with JpegImagePlugin.JpegImageFile(io.BytesIO(content)) as image:
            image.draft(None, (1, 1))
            image.load()
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise UnsupportedJpegError(f"broken or cut short ({error})") from error


@contextmanager
def _nameless_file(content: bytes = b"") -> Iterator[str]:
    """Path of a file in memory that vanishes with the process, however it ends; a temporary file where there is none."""
    if hasattr(os, "memfd_create") and os.path.isdir("/proc/self/fd"):
        with open(os.memfd_create("jpeg"), "wb") as file:
            file.write(content)
            file.flush()
            yield f"/proc/self/fd/{file.fileno()}"
    else:
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "picture.jpg")
            with open(path, "wb") as file:
                file.write(content)
            yield path


@functools.cache
def _library(version: str) -> ctypes.CDLL:
    try:
        import jpeglib.cjpeglib
    except ImportError as error:
        raise UnsupportedJpegError("the package jpeglib is not installed") from error
    folder = Path(next(iter(jpeglib.cjpeglib.__path__)))
    files = sorted(folder.glob(f"cjpeglib_{version}.*"))
    if not files:
        raise UnsupportedJpegError(f"the package jpeglib lacks {version}; install the version in requirements.txt")
    library = ctypes.CDLL(str(files[0]))
    pointer, text = ctypes.c_void_p, ctypes.c_char_p
    library.read_jpeg_dct.argtypes = [text] + [pointer] * 6
    library.write_jpeg_dct.argtypes = [
        *(text, text, pointer, pointer, pointer, pointer),
        *(pointer, pointer, pointer, ctypes.c_int, ctypes.c_int, pointer, ctypes.c_short, pointer),
        *(ctypes.c_int, pointer, pointer, pointer, ctypes.c_uint, ctypes.c_uint),
    ]
    return library
