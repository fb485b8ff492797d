"""A user's JPEG: decoded, and written back with every block that is not touched as it was.

Blocks are `data.photos.jpeg_blocks`' business. Where it cannot (its library is missing, or the file is of a rare kind),
the picture is encoded anew with the same tables, and only the segments around the picture stay byte for byte.
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from PIL import Image, JpegImagePlugin

from data.images import (
    DEFAULT_JPEG_QUALITY,
    decode_picture,
    encode_image,
    open_picture,
    stored_orientation,
    to_array,
    turn_back,
)
from data.photos.colours import Encoded, Stored, cover, rgb_of
from data.photos.jpeg_blocks import losses, replace_blocks
from data.photos.jpeg_file import APP0, APP14, COM, Segment, UnsupportedJpegError, encode_jpeg, split_jpeg

# By the first component's factors, of pictures that have one or four.
_SAMPLINGS = {(1, 1): 0, (2, 1): 1, (2, 2): 2}


def decode(source: bytes, name: str) -> Stored:
    """Decodes a JPEG (grey, colour or inks) as RGB uint8."""
    with open_picture(io.BytesIO(source), name) as image:
        decode_picture(image, name)
        return Stored(rgb_of(to_array(image), image.mode), stored_orientation(image))


def encode(source: bytes, name: str, info: dict[str, Any], rgb: np.ndarray, mask: np.ndarray) -> Encoded:
    """`source` with `rgb` (uint8, stored orientation) where `mask` is 1."""
    try:
        return Encoded(replace_blocks(source, rgb, mask), losses(source))
    except UnsupportedJpegError as error:
        notes = [f"every block of the JPEG was encoded anew, with the same tables ({error})"]
    with open_picture(io.BytesIO(source), name) as image:
        samples = to_array(image)
        cover(samples, image.mode, mask, rgb)
        notes += ["its chroma is no longer subsampled"] if _sampling(image) < 0 else []
        # MPO is what phones call a JPEG with a second picture behind it.
        notes += ["the further pictures behind the first are dropped"] if image.format == "MPO" else []
        return Encoded(_encode_in_place_of(image, samples), tuple(notes))


def encode_like(source: bytes, name: str, rgb: np.ndarray, quality: int) -> bytes:
    """Another picture (RGB uint8, upright, of the same size) as the JPEG that a photo editor would make of `source`.

    Every block is encoded anew, with the tables, sampling and metadata of the source. Where that is no colour JPEG,
    the result is a plain one of `quality`.
    """
    with open_picture(io.BytesIO(source), name) as image:
        if image.format not in ("JPEG", "MPO") or image.mode != "RGB":
            return encode_image(rgb, ".jpg", quality)
        return _encode_in_place_of(image, turn_back(rgb, stored_orientation(image)))


def _sampling(image: Image.Image) -> int:
    """Pillow's number of it, or -1 for one that Pillow does not write."""
    few = _SAMPLINGS.get(tuple(image.layer[0][1:3]), -1)
    return JpegImagePlugin.get_sampling(image) if image.mode == "RGB" else few


def _encode_in_place_of(image: Image.Image, samples: np.ndarray) -> bytes:
    """`samples`, in stored orientation, with the tables of the JPEG `image` and its metadata in front.

    Adobe's segment tells how colours are coded, so it is the new one; an index of further pictures goes with those.
    """
    picture, buffer = Image.fromarray(samples, image.mode), io.BytesIO()
    progressive = bool(image.info.get("progressive"))
    tables = {"qtables": image.quantization, "subsampling": max(_sampling(image), 0)}
    try:
        picture.save(buffer, "JPEG", progressive=progressive, **tables)
    except (ValueError, OSError):  # Tables that Pillow does not write, such as those of 16 bits.
        buffer = io.BytesIO()
        picture.save(buffer, "JPEG", progressive=progressive, quality=DEFAULT_JPEG_QUALITY)
    metadata = [Segment(COM if kind == "COM" else APP0 + int(kind[3:]), payload) for kind, payload in image.applist]
    kept = [each for each in metadata if each.marker != APP14 and not each.is_picture_index]
    new = [each for each in split_jpeg(buffer.getvalue())[0] if each.marker == APP14 or not each.is_metadata]
    return encode_jpeg(kept + new)
