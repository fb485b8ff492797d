"""The chunks of a PNG file, and writing its pixels while every other chunk stays byte for byte.

Format: the PNG specification (third edition), https://www.w3.org/TR/png-3/.

A user's PNG of any depth and colour type: untouched pixels keep their values, every other chunk its bytes.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from data.images import BadImageError, decode_picture, open_picture, stored_orientation, to_array
from data.photos.levels import (
    Encoded,
    Stored,
    grey_of,
    grey_to_rgb,
    narrow,
    nearest_entries,
    representative_colours,
    widen,
)

SIGNATURE = b"\x89PNG\r\n\x1a\n"
GREY, RGB, PALETTE, GREY_ALPHA, RGB_ALPHA = 0, 2, 3, 4, 6
CHANNELS = {GREY: 1, RGB: 3, PALETTE: 1, GREY_ALPHA: 2, RGB_ALPHA: 4}
_TELLING = (b"eXIf", b"tEXt", b"zTXt", b"iTXt")
# First column and row, then step between columns and rows, of Adam7's seven passes.
_ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
# Effort of zlib and bytes of pixels that are filtered at a time.
_LEVEL, _BAND_BYTES = 3, 1 << 20
_IDAT_BYTES = 1 << 20


@dataclass(frozen=True)
class Header:
    """What IHDR says: size in pixels, bits per sample, colour type and whether Adam7 interlaces the rows."""

    width: int
    height: int
    depth: int
    colour: int
    interlaced: bool


def read_chunks(source: bytes, name: str) -> list[tuple[bytes, memoryview]]:
    """Type and data of every chunk, IHDR first and IEND last.

    Raises:
        BadImageError: cut short, or a chunk that the picture needs fails its checksum.
    """
    view, chunks, at = memoryview(source), [], len(SIGNATURE)
    while not chunks or chunks[-1][0] != b"IEND":
        if at + 12 > len(view):
            raise BadImageError(f"{name}: broken or cut short (its last chunk is missing)")
        size, kind = struct.unpack_from(">I4s", view, at)
        end = at + 12 + size
        # An upper-case first letter marks what a picture cannot be shown without.
        if not chunks and (kind, size) != (b"IHDR", 13):
            raise BadImageError(f"{name}: its first chunk is {kind.decode('latin-1')!r}, expected the header IHDR")
        if end > len(view) or (kind[:1].isupper() and zlib.crc32(view[at + 4 : end - 4]) != _word(view, end - 4)):
            raise BadImageError(f"{name}: broken or cut short (chunk {kind.decode('latin-1')!r} at byte {at})")
        chunks.append((kind, view[at + 8 : end - 4]))
        at = end
    return chunks


def read_header(chunks: list[tuple[bytes, memoryview]]) -> Header:
    """What the IHDR chunk says."""
    width, height, depth, colour, _, _, interlace = struct.unpack(">IIBBBBB", chunks[0][1])
    return Header(width, height, depth, colour, interlace == 1)


def bare(chunks: list[tuple[bytes, memoryview]], kinds: tuple[bytes, ...]) -> bytes:
    """A PNG of the chunks of some kinds only."""
    return b"".join((SIGNATURE, *(_chunk(kind, data) for kind, data in chunks if kind in kinds)))


def metadata_picture(chunks: list[tuple[bytes, memoryview]]) -> bytes:
    """One pixel with the file's texts and EXIF: decoders look for those behind the pixels, too, and are quick here."""
    told = [_chunk(kind, data) for kind, data in chunks if kind in _TELLING]
    header = _chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, GREY, 0, 0, 0))
    return b"".join((SIGNATURE, header, *told, _chunk(b"IDAT", zlib.compress(bytes(2))), _chunk(b"IEND", b"")))


def check_rows(source: bytes, name: str) -> None:
    """Refuses a PNG whose pixels end before its last row, which Pillow shows as black without a word.

    Raises:
        BadImageError: they do, or the file is cut short.
    """
    chunks = read_chunks(source, name)
    header = read_header(chunks)
    width, height = header.width, header.height
    sizes = [(width, height)]
    if header.interlaced:
        sizes = [(-(-(width - x) // across), -(-(height - y) // down)) for x, y, across, down in _ADAM7]
    bits = header.depth * CHANNELS[header.colour]
    missing = sum(rows * (1 + (columns * bits + 7) // 8) for columns, rows in sizes if columns > 0 and rows > 0)
    stream = zlib.decompressobj()
    try:
        for data in (data for kind, data in chunks if kind == b"IDAT"):
            while missing > 0 and len(data):
                missing -= len(stream.decompress(data, _IDAT_BYTES))
                data = stream.unconsumed_tail
    except zlib.error as error:
        raise BadImageError(f"{name}: broken or cut short ({error})") from error
    if missing > 0:
        raise BadImageError(f"{name}: broken or cut short ({missing} bytes of pixels are missing)")


def replace_pixels(source: bytes, name: str, samples: np.ndarray, palette: bytes | None = None) -> bytes:
    """`source` with other pixels and everything else byte for byte, what follows its end included.

    Args:
        samples: height x width [x channels], uint8 (uint16 for 16 bits): grey levels, palette indices or colours of
            the header's type and depth.
        palette: RGB bytes of another palette, or None to keep the source's.
    """
    chunks = read_chunks(source, name)
    header = read_header(chunks)
    parts, at, written = [SIGNATURE], len(SIGNATURE), False
    for kind, data in chunks:
        end = at + 12 + len(data)
        if kind == b"IDAT":
            if not written:
                parts.extend(_chunk(b"IDAT", part) for part in _compressed(samples, header))
            written = True
        elif kind == b"PLTE" and palette is not None:
            parts.append(_chunk(kind, palette))
        # A histogram counts the entries of the palette that was.
        elif not (kind == b"hIST" and palette is not None):
            parts.append(source[at:end])
        at = end
    return b"".join((*parts, source[at:]))


def _word(view: memoryview, at: int) -> int:
    return struct.unpack_from(">I", view, at)[0]


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(data, zlib.crc32(kind)))


def _compressed(samples: np.ndarray, header: Header) -> Iterator[bytes]:
    """The zlib stream of the pixels, in pieces."""
    compressor = zlib.compressobj(_LEVEL)
    held = bytearray()
    if header.interlaced:
        passes = [samples[row::row_step, column::column_step] for column, row, column_step, row_step in _ADAM7]
    else:
        passes = [samples]
    for part in passes:
        if part.size == 0:
            continue
        for band in _filtered(part, header):
            held += compressor.compress(band)
            if len(held) >= _IDAT_BYTES:
                yield bytes(held)
                held.clear()
    yield bytes(held) + compressor.flush()


def _filtered(samples: np.ndarray, header: Header) -> Iterator[np.ndarray]:
    """Rows as PNG stores them, each behind its filter's number, some megabytes at a time."""
    height, width = samples.shape[:2]
    step = max(1, header.depth * CHANNELS[header.colour] // 8)
    row_bytes = (width * header.depth * CHANNELS[header.colour] + 7) // 8
    rows = max(_BAND_BYTES // row_bytes, 1)
    # Differences of indices mean nothing, and those of packed levels little.
    plain = header.depth < 8 or header.colour == PALETTE
    above = np.zeros((1, row_bytes), np.uint8)
    for top in range(0, height, rows):
        raw = _packed(samples[top : top + rows], header.depth)
        band = np.zeros((len(raw), 1 + row_bytes), np.uint8)
        band[:, 1:] = raw
        if not plain:
            upper = np.concatenate([above, raw[:-1]])
            candidates = [(1, raw.copy()), (2, raw - upper)]
            candidates[0][1][:, step:] -= raw[:, :-step]
            costs = [np.minimum(c, -c).sum(1, dtype=np.int64) for _, c in candidates]
            choice = np.argmin(costs, axis=0)
            for index, (number, candidate) in enumerate(candidates):
                band[choice == index, 0] = number
                band[choice == index, 1:] = candidate[choice == index]
            above = raw[-1:]
        yield band


def _packed(samples: np.ndarray, depth: int) -> np.ndarray:
    """Samples as rows of bytes: big-endian words for 16 bits, several to a byte below 8."""
    rows = len(samples)
    if depth == 16:
        return np.ascontiguousarray(samples).astype(">u2").reshape(rows, -1).view(np.uint8)
    if depth == 8:
        return np.ascontiguousarray(samples).reshape(rows, -1)
    shifts = np.arange(depth - 1, -1, -1, dtype=np.uint8)
    bits = (samples[..., None] >> shifts & 1).reshape(rows, -1)
    return np.packbits(bits, axis=1)


# What the pixels depend on: libpng comments on some of the rest, and makes alpha of a transparent colour.
_NEEDED = (b"IHDR", b"PLTE", b"IDAT", b"IEND")


def decode(source: bytes, name: str) -> Stored:
    """Decodes a PNG.

    Raises:
        BadImageError: cut short or broken.
    """
    every = read_chunks(source, name)
    chunks, header = dict(every[::-1]), read_header(every)
    if header.depth < 8 or header.colour == PALETTE:
        check_rows(source, name)
        samples = _levels_or_indices(bare(every, _NEEDED), header, name)
    else:
        samples = _channels(bare(every, _NEEDED), header, name)
    with open_picture(io.BytesIO(metadata_picture(every)), name) as image:
        orientation = stored_orientation(image)
    info: dict[str, Any] = {"samples": samples, "name": name}
    if header.colour == PALETTE:
        if len(chunks.get(b"PLTE", b"")) not in range(3, 769, 3):
            raise BadImageError(f"{name}: broken (no palette of 1 to 256 colours)")
        palette, _ = _palette(chunks)
        if samples.max(initial=0) >= len(palette):
            raise BadImageError(f"{name}: entry {samples.max()} of a palette of {len(palette)} is used")
        rgb = palette[samples]
    elif header.colour in (GREY, GREY_ALPHA):
        grey = samples if header.colour == GREY else samples[..., 0]
        rgb = grey_to_rgb(widen(grey, header.depth) if header.depth < 8 else grey)
    else:
        rgb = samples if header.colour == RGB else np.ascontiguousarray(samples[..., :3])
    return Stored(rgb, orientation, info)


def encode(source: bytes, info: dict[str, Any], rgb: np.ndarray, mask: np.ndarray) -> Encoded:
    """`source` with `rgb` (of the decoded type, stored orientation) where `mask` is 1.

    Grey files get the mean of the fill's channels. Alpha stays. A palette gets the fill's colours in its free entries
    as far as they reach; beyond, the fill takes the nearest colour, of the same opacity as the pixel that it replaces.
    """
    name, covered = info["name"], mask.astype(bool)
    every = read_chunks(source, name)
    chunks, header = dict(every[::-1]), read_header(every)
    samples, fill, palette, notes = info["samples"].copy(), rgb[covered], None, ()
    if header.colour == PALETTE:
        entries, opacity = _palette(chunks)
        free = 2**header.depth - len(entries)
        if free > 0 and len(fill):
            entries = np.concatenate([entries, representative_colours(fill, free)])
            palette = entries.tobytes()
            notes = ("the histogram of the palette is dropped",) if b"hIST" in chunks else ()
        samples[covered] = _indices(fill, samples[covered], entries, opacity[: len(entries)])
    elif header.colour in (GREY, GREY_ALPHA):
        grey = grey_of(fill)
        grey = narrow(grey, header.depth) if header.depth < 8 else grey
        if header.colour == GREY:
            samples[covered] = _beside_key(grey[:, None], chunks)[:, 0]
        else:
            samples[..., 0][covered] = grey
    else:
        samples[..., :3][covered] = _beside_key(fill, chunks)
    return Encoded(replace_pixels(source, name, samples, palette), notes)


def _levels_or_indices(source: bytes, header: Header, name: str) -> np.ndarray:
    """The file's own values: Pillow spreads grey levels of 2 and 4 bits over 0..255."""
    with open_picture(io.BytesIO(source), name) as image:
        decode_picture(image, name)
        values = to_array(image)
    if header.colour == PALETTE:
        return values
    return values.astype(np.uint8) if header.depth == 1 else narrow(values, header.depth)


def _channels(source: bytes, header: Header, name: str) -> np.ndarray:
    """Channels of 8 or 16 bits by OpenCV: Pillow cuts 16 to 8. Of a PNG, OpenCV refuses what ends early."""
    # OpenCV makes OpenCV's own order of channels of all but plain RGB.
    flags = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_ANYDEPTH if header.colour == RGB else cv2.IMREAD_UNCHANGED
    values = cv2.imdecode(np.frombuffer(source, np.uint8), flags)
    if values is None or values.dtype != (np.uint16 if header.depth == 16 else np.uint8):
        raise BadImageError(f"{name}: broken or cut short (libpng cannot decode it)")
    if header.colour == GREY_ALPHA:
        return np.ascontiguousarray(values[..., [0, 3]])
    return cv2.cvtColor(values, cv2.COLOR_BGRA2RGBA) if header.colour == RGB_ALPHA else values


def _palette(chunks: dict[bytes, memoryview]) -> tuple[np.ndarray, np.ndarray]:
    """Colours (uint8 [M, 3]) and the opacity of all 256 possible entries; what tRNS does not name is opaque."""
    opacity = np.full(256, 255, np.uint8)
    named = np.frombuffer(chunks.get(b"tRNS", b""), np.uint8)
    opacity[: len(named)] = named
    return np.frombuffer(chunks[b"PLTE"], np.uint8).reshape(-1, 3), opacity


def _indices(fill: np.ndarray, before: np.ndarray, entries: np.ndarray, opacity: np.ndarray) -> np.ndarray:
    indices = np.empty(len(fill), np.uint8)
    for level in np.unique(opacity[before]):
        pixels = opacity[before] == level
        indices[pixels] = nearest_entries(fill[pixels], entries, opacity == level)
    return indices


def _beside_key(fill: np.ndarray, chunks: dict[bytes, memoryview]) -> np.ndarray:
    """The fill without the colour that the file declares transparent: one step beside it in the last channel."""
    if b"tRNS" not in chunks:
        return fill
    key = np.frombuffer(chunks[b"tRNS"], ">u2").astype(fill.dtype)
    hit = (fill == key).all(axis=1)
    fill = fill.copy()
    fill[hit, -1] += np.where(key[-1] > 0, -1, 1).astype(fill.dtype)
    return fill
