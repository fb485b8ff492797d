"""Files for the tests of `data.photos.photo`, and what every one of them has to survive."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

from data.photos.photo import Encoded, Photo, encode_photo, read_photo

# EXIF orientation -> how a file of that orientation stores an upright picture.
STORE = {
    1: lambda upright: upright,
    2: lambda upright: upright[:, ::-1],
    3: lambda upright: upright[::-1, ::-1],
    4: lambda upright: upright[::-1],
    5: lambda upright: upright.swapaxes(0, 1),
    6: lambda upright: np.rot90(upright),
    7: lambda upright: np.rot90(upright.swapaxes(0, 1), 2),
    8: lambda upright: np.rot90(upright, -1),
}
PAGE_SIZE = (61, 78)
_ADAM7 = np.array(
    [
        [1, 6, 4, 6, 2, 6, 4, 6],
        [7, 7, 7, 7, 7, 7, 7, 7],
        [5, 6, 5, 6, 5, 6, 5, 6],
        [7, 7, 7, 7, 7, 7, 7, 7],
        [3, 6, 4, 6, 3, 6, 4, 6],
        [7, 7, 7, 7, 7, 7, 7, 7],
        [5, 6, 5, 6, 5, 6, 5, 6],
        [7, 7, 7, 7, 7, 7, 7, 7],
    ]
)


def mask_of(shape: tuple[int, ...]) -> np.ndarray:
    """A blob inside, and one that reaches the last row and column."""
    mask = np.zeros(shape[:2], np.uint8)
    mask[3:9, 5:12] = 1
    mask[-4:, -3:] = 1
    return mask


def noise(shape: tuple[int, ...], high: int = 256, seed: int = 0, dtype: type = np.uint8) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, high, shape, dtype)


def restore(path: Path, seed: int = 5) -> tuple[Photo, np.ndarray, np.ndarray, Encoded]:
    """Reads `path`, fills its mask with noise and writes the result over it.

    Returns:
        The photo as it was, the pixels with the fill, the mask, and what was encoded.
    """
    photo = read_photo(path)
    mask = mask_of(photo.pixels.shape)
    # Outside of the mask the pixels are not the photo's: nothing of them may get into the file.
    other = noise(photo.pixels.shape, np.iinfo(photo.pixels.dtype).max + 1, seed, photo.pixels.dtype)
    pixels = np.where(mask[..., None] == 1, other, photo.pixels)
    given = pixels if photo.kind == "JPEG" else other
    encoded = encode_photo(photo, given, mask)
    path.write_bytes(encoded.content)
    return photo, pixels, mask, encoded


def page(size: tuple[int, int] = PAGE_SIZE) -> np.ndarray:
    """Smooth, so that JPEG and lossy WebP change little, and not alike in any two corners."""
    rows, columns = np.mgrid[: size[0], : size[1]]
    return np.stack([100 + rows, 80 + columns, 60 + (rows + columns) // 2], axis=2).astype(np.uint8)


def exif_of(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = orientation, "a page"
    return exif


def filled(photo: Photo, colour: tuple[int, ...] = (200, 190, 180)) -> tuple[np.ndarray, np.ndarray]:
    """Its pixels with the mask in one colour, and the mask."""
    mask = mask_of(photo.pixels.shape)
    return np.where(mask[..., None] == 1, np.array(colour, np.uint8), photo.pixels), mask


def png_chunk(kind: bytes, data: bytes = b"") -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_bytes(
    samples: np.ndarray, colour: int, depth: int, interlaced: bool = False, before: bytes = b"", after: bytes = b""
) -> bytes:
    """A PNG of the plainest kind: filter 0, one IDAT; `before` and `after` are chunks around it."""
    height, width = samples.shape[:2]
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, int(interlaced))
    raw = b""
    passes = np.tile(_ADAM7, (height // 8 + 1, width // 8 + 1))[:height, :width] if interlaced else None
    for number in range(1, 8) if interlaced else (0,):
        for row in range(height):
            line = samples[row] if passes is None else samples[row][passes[row] == number]
            if len(line):
                raw += b"\0" + _packed(line.reshape(-1), depth)
    parts = (png_chunk(b"IHDR", header), before, png_chunk(b"IDAT", zlib.compress(raw)), after, png_chunk(b"IEND"))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def _packed(line: np.ndarray, depth: int) -> bytes:
    if depth >= 8:
        return line.astype(">u2" if depth == 16 else np.uint8).tobytes()
    digits = "".join(f"{value:0{depth}b}" for value in line.tolist())
    digits += "0" * (-len(digits) % 8)
    return int(digits, 2).to_bytes(len(digits) // 8, "big")


def png_chunks(content: bytes) -> list[tuple[bytes, bytes]]:
    """Type and data of every chunk, checksums compared."""
    chunks, at = [], 8
    while at < len(content):
        size, kind = struct.unpack_from(">I4s", content, at)
        data = content[at + 8 : at + 8 + size]
        assert content[at : at + 12 + size] == png_chunk(kind, data)
        chunks.append((kind, data))
        at += 12 + size
        if kind == b"IEND":
            break
    return chunks


def small_tiff(values: dict[int, int | list[int]], data: bytes, order: str = "<") -> bytes:
    """A TIFF of one strip from its tags (tag -> value or 16-bit values) and the bytes of its pixels."""
    entries, more, start = b"", b"", 8 + len(data)
    values = {**values, 273: 8, 279: len(data)}
    behind = start + 2 + 12 * len(values) + 4
    for tag, value in sorted(values.items()):
        if isinstance(value, int):
            entries += struct.pack(order + "HHII", tag, 4, 1, value)
        elif len(value) == 1:
            entries += struct.pack(order + "HHIHH", tag, 3, 1, value[0], 0)
        else:
            entries += struct.pack(order + "HHII", tag, 3, len(value), behind + len(more))
            more += struct.pack(f"{order}{len(value)}H", *value)
    head = struct.pack(order + "2sHI", b"II" if order == "<" else b"MM", 42, start)
    return head + data + struct.pack(order + "H", len(values)) + entries + bytes(4) + more
