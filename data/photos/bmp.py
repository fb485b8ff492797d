"""A user's BMP: the bytes of 8, 24 or 32 bits below the mask are replaced in the file itself.

Rarer kinds are encoded anew. Layouts: BITMAPINFOHEADER of the Windows API, and its V4 and V5 variants.
"""

from __future__ import annotations

import io
import struct

import numpy as np
from PIL import Image

from data.images import BadImageError
from data.photos.colours import Encoded, cover, nearest_entries, read_samples

_INFO_HEADER = 40
_PLAIN, _MASKS = 0, (3, 6)
# Which byte of a pixel a mask stands for; red, green and blue are 2, 1 and 0 where the file gives no masks.
_BYTES, _USUAL_BYTES = {0xFF: 0, 0xFF00: 1, 0xFF0000: 2, 0xFF000000: 3}, (2, 1, 0)


def encode(source: bytes, name: str, rgb: np.ndarray, mask: np.ndarray) -> Encoded:
    """`source` with `rgb` (uint8) where `mask` is 1; a palette's nearest colours where it has one."""
    start, header = struct.unpack_from("<II", source, 10)
    bits, compression = struct.unpack_from("<HI", source, 28) if header >= _INFO_HEADER else (0, 0)
    places = _USUAL_BYTES
    if compression in _MASKS and bits == 32:
        # Behind the first 40 bytes in every variant: inside the larger headers, after the small one.
        masks = struct.unpack_from("<III", source, 14 + _INFO_HEADER)
        places = tuple(_BYTES.get(mask, -1) for mask in masks) if all(masks) else places
    elif compression != _PLAIN:
        bits = 0
    if bits not in (8, 24, 32) or -1 in places:
        return _encode_anew(source, name, rgb, mask)
    content, (rows, columns) = bytearray(source), np.nonzero(mask)
    flat, fill = np.frombuffer(content, np.uint8), rgb[rows, columns]
    width, height = struct.unpack_from("<ii", source, 18)
    # A positive height is that of a picture whose last row comes first; rows fill whole units of 4 bytes.
    rows = len(mask) - 1 - rows if height > 0 else rows
    first = start + rows * ((width * bits + 31) // 32 * 4) + columns * (bits // 8)
    if bits > 8:
        flat[first[:, None] + places] = fill
        return Encoded(content)
    count = min(struct.unpack_from("<I", source, 46)[0] or 256, 256, (start - 14 - header) // 4)
    if count <= 0:
        raise BadImageError(f"{name}: broken (no room for a palette between its header and its pixels)")
    palette = np.frombuffer(source, np.uint8, count * 4, 14 + header).reshape(-1, 4)[:, 2::-1]
    flat[first] = nearest_entries(fill, palette)
    return Encoded(content)


def _encode_anew(source: bytes, name: str, rgb: np.ndarray, mask: np.ndarray) -> Encoded:
    samples, mode, image = read_samples(source, name)
    cover(samples, mode, mask, rgb)
    buffer = io.BytesIO()
    Image.fromarray(samples).convert("RGB").save(buffer, "BMP", dpi=image.info.get("dpi", (96, 96)))
    note = "a BMP of a rare kind (run lengths, 1, 4 or 16 bits, other masks) becomes one of 24 bits"
    return Encoded(buffer.getvalue(), (note,))
