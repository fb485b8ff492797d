"""A user's BMP: the bytes of the masked pixels are replaced in the file itself, so that everything else stays.

Format: BITMAPFILEHEADER and BITMAPINFOHEADER of the Windows API reference, and its core, V4 and V5 variants.
"""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from data.images import BadImageError, decode_picture, open_picture, to_array
from data.photos.levels import Encoded, Stored, nearest_entries

_CORE_HEADER, _INFO_HEADER = 12, 40
_PLAIN, _MASKS, _ALPHA_MASKS = 0, 3, 6
# Red, green and blue of 16 and 32 bits where the file gives no masks, or empty ones.
_DEFAULT_MASKS = {16: (0x7C00, 0x03E0, 0x001F), 32: (0xFF0000, 0x00FF00, 0x0000FF)}


@dataclass(frozen=True)
class Layout:
    """Where and how a BMP holds its pixels.

    Attributes:
        offset: byte at which the rows begin.
        stride: bytes from row to row.
        bottom_up: the last row of the picture comes first.
        bits: per pixel.
        masks: bits of red, green and blue within a pixel of 16 or 32 bits; empty otherwise.
        palette: RGB uint8 [M, 3] up to 8 bits; empty otherwise.
    """

    offset: int
    stride: int
    bottom_up: bool
    bits: int
    masks: tuple[int, ...]
    palette: np.ndarray


def decode(source: bytes, name: str) -> Stored:
    """Decodes a BMP of any kind that Pillow knows.

    Raises:
        BadImageError: cut short or broken.
    """
    with open_picture(io.BytesIO(source), name) as image:
        decode_picture(image, name)
        return Stored(to_array(image, lambda band: band.convert("RGB")), info={"name": name})


def encode(source: bytes, info: dict[str, Any], rgb: np.ndarray, mask: np.ndarray) -> Encoded:
    """`source` with `rgb` (uint8) where `mask` is 1; a palette's nearest colours where it has one."""
    layout = _read_layout(source, info["name"])
    if layout is None:
        return _encode_anew(source, info["name"], rgb, mask)
    content = bytearray(source)
    flat = np.frombuffer(content, np.uint8)
    rows, columns = np.nonzero(mask)
    fill = rgb[rows, columns]
    rows = len(mask) - 1 - rows if layout.bottom_up else rows
    first = layout.offset + rows * layout.stride + columns * layout.bits // 8
    if layout.bits == 24:
        for channel in range(3):
            flat[first + channel] = fill[:, 2 - channel]
    elif layout.masks:
        _write_words(flat, first, fill, layout)
    else:
        _write_indices(flat, first, columns, nearest_entries(fill, layout.palette), layout.bits)
    return Encoded(content)


def _read_layout(source: bytes, name: str) -> Layout | None:
    """None for compressed rows (run lengths, JPEG or PNG inside)."""
    offset, header = struct.unpack_from("<II", source, 10)
    if header == _CORE_HEADER:
        width, height, _, bits = struct.unpack_from("<HHHH", source, 18)
        compression, used, entry = _PLAIN, 0, 3
    else:
        width, height, _, bits, compression = struct.unpack_from("<iiHHI", source, 18)
        used, entry = struct.unpack_from("<I", source, 46)[0], 4
    if compression not in (_PLAIN, _MASKS, _ALPHA_MASKS) or bits not in (1, 4, 8, 16, 24, 32):
        return None
    masks, palette = _DEFAULT_MASKS.get(bits, ()), np.empty((0, 3), np.uint8)
    if masks and compression != _PLAIN:
        # Behind the first 40 bytes in every variant: inside the larger headers, after the small one.
        named = struct.unpack_from("<III", source, 14 + _INFO_HEADER)
        masks = named if all(named) else masks
    if bits <= 8:
        count = min(used or 2**bits, 2**bits, (offset - 14 - header) // entry)
        if count < 1:
            raise BadImageError(f"{name}: broken (no room for a palette between its header and its pixels)")
        palette = np.frombuffer(source, np.uint8, count * entry, 14 + header).reshape(-1, entry)[:, 2::-1]
    return Layout(offset, (width * bits + 31) // 32 * 4, height > 0, bits, masks, palette)


def _write_words(flat: np.ndarray, first: np.ndarray, fill: np.ndarray, layout: Layout) -> None:
    """Replaces the masked bits of pixels of 16 or 32 bits; their other bits (alpha) stay."""
    size = layout.bits // 8
    words = np.zeros(len(first), np.uint32)
    for byte in range(size):
        words |= flat[first + byte].astype(np.uint32) << 8 * byte
    for channel, mask in enumerate(layout.masks):
        shift = (mask & -mask).bit_length() - 1
        highest = mask >> shift
        level = (fill[:, channel].astype(np.uint64) * highest + 127) // 255
        words = words & np.uint32(~mask & 0xFFFFFFFF) | (level << np.uint64(shift)).astype(np.uint32)
    for byte in range(size):
        flat[first + byte] = words >> 8 * byte & 255


def _write_indices(flat: np.ndarray, first: np.ndarray, columns: np.ndarray, indices: np.ndarray, bits: int) -> None:
    """Replaces palette indices, the leftmost in the highest bits of its byte."""
    per_byte, full = 8 // bits, 2**bits - 1
    for place in range(per_byte):
        here = columns % per_byte == place
        shift = bits * (per_byte - 1 - place)
        kept = flat[first[here]] & np.uint8(~(full << shift) & 255)
        flat[first[here]] = kept | indices[here] << np.uint8(shift)


def _encode_anew(source: bytes, name: str, rgb: np.ndarray, mask: np.ndarray) -> Encoded:
    with open_picture(io.BytesIO(source), name) as image:
        samples = to_array(image, lambda band: band.convert("RGB"))
        dpi = image.info.get("dpi")
    samples[mask != 0] = rgb[mask != 0]
    buffer = io.BytesIO()
    Image.fromarray(samples).save(buffer, format="BMP", **({"dpi": dpi} if dpi else {}))
    return Encoded(buffer.getvalue(), ("the compressed BMP becomes one of 24 bits without compression",))
