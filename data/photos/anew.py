"""A user's WebP, BMP, HEIC, HEIF or AVIF: written in kind, encoded anew as a whole, with alpha and metadata.

A BMP (but for alpha, which is rare there) and a lossless WebP stay so, value for value; the others have no parts that
could be left alone. HEIC, which iPhones take, needs the optional package pillow-heif. HEIC and AVIF are turned upright
as the file says, and their EXIF orientation is cleared.
"""

from __future__ import annotations

import io
from contextlib import suppress

import numpy as np
from PIL import Image

from data.photos import thumbnails
from data.photos.colours import Encoded, cover, read_samples

# Quality is high, because every encoding costs. WebP's methods go from 0 (fast) to 6 (small), and its effort for
# lossless pictures from 0 to 100: about as long as PNG takes. "exact": the colours below a transparent pixel are values
# of the file like any other.
_LOSSLESS = {"BMP": {}, "WEBP": {"lossless": True, "quality": 20, "method": 0, "exact": True}}
_LOSSY = {
    "WEBP": {"quality": 95, "method": 1, "exact": True}, "HEIF": {"quality": 92, "chroma": 444},
    "AVIF": {"quality": 92, "subsampling": "4:4:4"},
}  # fmt: skip
_METADATA = {"exif": thumbnails.in_exif, "icc_profile": bytes, "xmp": thumbnails.in_xmp, "dpi": tuple}


def register() -> None:
    """Lets Pillow open HEIC files, where the package for them is installed."""
    with suppress(ImportError):
        import pillow_heif

        pillow_heif.register_heif_opener(thumbnails=False)


def reads_heic() -> bool:
    return "HEIF" in Image.OPEN


def encode(source: bytes, name: str, rgb: np.ndarray, mask: np.ndarray) -> Encoded:
    """`source` with `rgb` (uint8, stored orientation) where `mask` is 1."""
    samples, mode, image = read_samples(source, name)
    cover(samples, mode, mask, rgb)
    kind, buffer, notes = image.format, io.BytesIO(), ()
    lossy = kind != "BMP" and not (kind == "WEBP" and _is_lossless_webp(source))
    how = (_LOSSY if lossy else _LOSSLESS)[kind]
    if lossy:
        deep = ", in 8 bits for each colour" if image.info.get("bit_depth", 8) > 8 else ""
        notes = (f"a lossy {kind} was encoded anew as a whole, at quality {how['quality']}{deep}",)
    elif kind == "BMP" and image.mode not in ("L", "RGB"):
        samples, notes = samples[..., :3], ("a BMP with a palette or alpha becomes one of 24 bits",)
    metadata = {key: change(image.info[key]) for key, change in _METADATA.items() if image.info.get(key)}
    Image.fromarray(np.ascontiguousarray(samples)).save(buffer, kind, **how, **metadata)
    return Encoded(buffer.getvalue(), notes)


def _is_lossless_webp(source: bytes) -> bool:
    """The container is RIFF, see RFC 9649; of its picture chunks VP8L is lossless, one with VP8 and a space is not."""
    at = 12
    while (chunk := source[at : at + 4]) not in (b"VP8 ", b"VP8L", b""):
        size = int.from_bytes(source[at + 4 : at + 8], "little")
        at += 8 + size + size % 2
    return chunk != b"VP8 "
