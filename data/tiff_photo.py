"""A user's TIFF."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from PIL import Image

from data.images import decode_picture, open_picture, stored_orientation, to_array
from data.samples import Encoded, Stored


def decode(source: bytes, name: str) -> Stored:
    """Decodes a TIFF as RGB uint8."""
    with open_picture(io.BytesIO(source), name) as image:
        decode_picture(image, name)
        # Pillow applies the orientation of a TIFF while it decodes.
        return Stored(to_array(image, lambda band: band.convert("RGB")), stored_orientation(image), info={"name": name})


def encode(source: bytes, info: dict[str, Any], rgb: np.ndarray, mask: np.ndarray) -> Encoded:
    """`source` with `rgb` where `mask` is 1."""
    with open_picture(io.BytesIO(source), info["name"]) as image:
        tags, compression = image.tag_v2, image.info.get("compression", "raw")
        samples = to_array(image, lambda band: band.convert("RGB"))
    samples[mask != 0] = rgb[mask != 0]
    buffer = io.BytesIO()
    Image.fromarray(samples).save(buffer, format="TIFF", compression=compression, tiffinfo=tags)
    return Encoded(buffer.getvalue(), ("the TIFF was written anew",))
