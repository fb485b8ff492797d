"""A user's HEIC, HEIF or AVIF: written in kind, encoded anew as a whole, with EXIF, profile and XMP.

Such files have no parts that could be left alone. Pillow reads and writes AVIF; HEIC, which iPhones take, needs the
optional package pillow-heif. Both turn a picture upright as the file says, and clear the EXIF orientation.
"""

from __future__ import annotations

import io
from contextlib import suppress

import numpy as np
from PIL import Image

from data.photos.colours import Encoded, cover, read_samples

# High, because every encoding costs.
QUALITY = 92


def register() -> None:
    """Lets Pillow open HEIC files, where the package for them is installed."""
    with suppress(ImportError):
        import pillow_heif

        pillow_heif.register_heif_opener(thumbnails=False)


def reads_heic() -> bool:
    return "HEIF" in Image.OPEN


def encode(source: bytes, name: str, rgb: np.ndarray, mask: np.ndarray) -> Encoded:
    """`source` with `rgb` (uint8) where `mask` is 1; alpha and metadata stay."""
    samples, mode, image = read_samples(source, name)
    cover(samples, mode, mask, rgb)
    kind, buffer = image.format, io.BytesIO()
    metadata = {key: image.info[key] for key in ("exif", "icc_profile", "xmp") if image.info.get(key)}
    how = {"chroma": 444} if kind == "HEIF" else {"subsampling": "4:4:4"}
    Image.fromarray(samples).save(buffer, kind, quality=QUALITY, **how, **metadata)
    deep = ", in 8 bits for each colour" if image.info.get("bit_depth", 8) > 8 else ""
    note = f"of {kind} no part can be changed: the whole picture was encoded anew at quality {QUALITY}{deep}"
    return Encoded(buffer.getvalue(), (note,))
