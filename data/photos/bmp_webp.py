"""A user's BMP or WebP.

Of a BMP of 8, 24 or 32 bits the bytes below the mask are replaced in the file itself; rarer kinds are encoded anew (see
BITMAPINFOHEADER of the Windows API, and its V4 and V5 variants). A lossless WebP stays so, value for value; a lossy one
has no parts that could be left alone.
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
# Of a lossy file that is encoded once more: high, because every encoding costs.
LOSSY_QUALITY = 95
# Methods go from 0 (fast) to 6 (small), the effort for lossless pictures from 0 to 100: about as long as PNG takes.
_LOSSY = {"quality": LOSSY_QUALITY, "method": 1}
_LOSSLESS = {"lossless": True, "quality": 20, "method": 0}


def encode_bmp(source: bytes, name: str, rgb: np.ndarray, mask: np.ndarray) -> Encoded:
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
        return _encode_bmp_anew(source, name, rgb, mask)
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


def _encode_bmp_anew(source: bytes, name: str, rgb: np.ndarray, mask: np.ndarray) -> Encoded:
    samples, mode, image = read_samples(source, name)
    cover(samples, mode, mask, rgb)
    buffer = io.BytesIO()
    Image.fromarray(samples).convert("RGB").save(buffer, "BMP", dpi=image.info.get("dpi", (96, 96)))
    note = "a BMP of a rare kind (run lengths, 1, 4 or 16 bits, other masks) becomes one of 24 bits"
    return Encoded(buffer.getvalue(), (note,))


def encode_webp(source: bytes, name: str, rgb: np.ndarray, mask: np.ndarray) -> Encoded:
    """`source` with `rgb` (uint8, stored orientation) where `mask` is 1; alpha and metadata stay."""
    samples, mode, image = read_samples(source, name)
    metadata = {key: image.info[key] for key in ("exif", "icc_profile", "xmp") if image.info.get(key)}
    cover(samples, mode, mask, rgb)
    # The container is RIFF, see RFC 9649; of its picture chunks one with VP8 and a space is lossy, VP8L is not.
    at, buffer = 12, io.BytesIO()
    while (chunk := source[at : at + 4]) not in (b"VP8 ", b"VP8L", b""):
        size = int.from_bytes(source[at + 4 : at + 8], "little")
        at += 8 + size + size % 2
    lossy = chunk == b"VP8 "
    # "exact": the colours below a transparent pixel are values of the file like any other.
    Image.fromarray(samples).save(buffer, "WEBP", exact=True, **(_LOSSY if lossy else _LOSSLESS), **metadata)
    note = f"a lossy WebP cannot be changed in part: the whole picture was encoded anew at quality {LOSSY_QUALITY}"
    return Encoded(buffer.getvalue(), (note,) if lossy else ())
