"""A user's WebP: lossless stays lossless, value for value; a lossy one has no parts that could be left alone."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from PIL import Image

from data.images import decode_picture, open_picture, stored_orientation, to_array
from data.photos.levels import Encoded, Stored

# Of a lossy file that is encoded once more: high, because every encoding costs.
LOSSY_QUALITY = 95
# Methods go from 0 (fast) to 6 (small), the effort for lossless pictures from 0 to 100: these take about as long as
# PNG, and make a photo of a page a third larger than the slowest.
_METHOD, _LOSSLESS_METHOD, _LOSSLESS_EFFORT = 1, 0, 20


def decode(source: bytes, name: str) -> Stored:
    """Decodes a WebP of one picture.

    Raises:
        BadImageError: cut short or broken.
    """
    with open_picture(io.BytesIO(source), name) as image:
        decode_picture(image, name)
        samples = to_array(image)
        info: dict[str, Any] = {"samples": samples, "lossy": _is_lossy(source)}
        info["metadata"] = {key: image.info[key] for key in ("exif", "icc_profile", "xmp") if image.info.get(key)}
        rgb = np.ascontiguousarray(samples[..., :3])
        return Stored(rgb, stored_orientation(image), info)


def encode(source: bytes, info: dict[str, Any], rgb: np.ndarray, mask: np.ndarray) -> Encoded:
    """`source` with `rgb` (uint8, stored orientation) where `mask` is 1; alpha and metadata stay."""
    samples = info["samples"].copy()
    covered = mask.astype(bool)
    samples[..., :3][covered] = rgb[covered]
    lossy = info["lossy"]
    options: dict[str, Any] = {"quality": LOSSY_QUALITY, "method": _METHOD}
    if not lossy:
        options = {"lossless": True, "quality": _LOSSLESS_EFFORT, "method": _LOSSLESS_METHOD}
    buffer = io.BytesIO()
    # "exact": the colours below a transparent pixel are values of the file like any other.
    image = Image.fromarray(samples)
    image.save(buffer, format="WEBP", exact=True, **options, **info["metadata"])
    note = f"a lossy WebP cannot be changed in part: the whole picture was encoded anew at quality {LOSSY_QUALITY}"
    return Encoded(buffer.getvalue(), (note,) if lossy else ())


def _is_lossy(source: bytes) -> bool:
    """Whether the first picture chunk is `VP8 ` (lossy) and not `VP8L`; the container is RIFF, see RFC 9649."""
    at = 12
    while at + 8 <= len(source):
        if source[at : at + 4] in (b"VP8 ", b"VP8L"):
            return source[at : at + 4] == b"VP8 "
        size = int.from_bytes(source[at + 4 : at + 8], "little")
        at += 8 + size + size % 2
    return False
