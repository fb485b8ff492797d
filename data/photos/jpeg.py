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
from data.photos.colours import Encoded, Stored, grey_of, grey_to_rgb, ink_of
from data.photos.jpeg_blocks import UnsupportedJpegError, losses, replace_blocks
from data.photos.jpeg_file import APP14, encode_jpeg, leading_metadata, split_jpeg

# By the first component's factors, of pictures that have one or four.
_SAMPLINGS = {(1, 1): 0, (2, 1): 1, (2, 2): 2}


def decode(source: bytes, name: str) -> Stored:
    """Decodes a JPEG (grey, colour or inks) as RGB uint8.

    Raises:
        BadImageError: cut short or broken.
    """
    with open_picture(io.BytesIO(source), name) as image:
        decode_picture(image, name)
        rgb = grey_to_rgb(np.array(image)) if image.mode == "L" else to_array(image, "RGB")
        return Stored(rgb, stored_orientation(image), info=_settings(image, name))


def encode(source: bytes, name: str, info: dict[str, Any], rgb: np.ndarray, mask: np.ndarray) -> Encoded:
    """`source` with `rgb` (uint8, stored orientation) where `mask` is 1."""
    try:
        return Encoded(replace_blocks(source, rgb, mask), losses(source))
    except UnsupportedJpegError as error:
        return _encode_whole(source, info, rgb, mask, str(error))


def _encode_whole(source: bytes, info: dict[str, Any], rgb: np.ndarray, mask: np.ndarray, reason: str) -> Encoded:
    covered = mask.astype(bool)
    with open_picture(io.BytesIO(source), info["name"]) as image:
        samples = to_array(image)
    fill = rgb[covered]
    samples[covered] = {"L": grey_of, "CMYK": ink_of}.get(info["mode"], lambda colours: colours)(fill)
    notes = [f"every block of the JPEG was encoded anew, with the same tables ({reason})"]
    if info["resampled"]:
        notes.append("its chroma is no longer subsampled")
    if info["further"]:
        notes.append("the further pictures behind the first are dropped")
    return Encoded(_reencode(source, Image.fromarray(samples, info["mode"]), info), tuple(notes))


def encode_like(source: bytes, name: str, rgb: np.ndarray, quality: int) -> bytes:
    """Another picture (RGB uint8, upright, of the same size) as the JPEG that a photo editor would make of `source`.

    Every block is encoded anew, with the tables, sampling and metadata of the source. Where that is no colour JPEG,
    the result is a plain one of `quality`.
    """
    with open_picture(io.BytesIO(source), name) as image:
        if image.format not in ("JPEG", "MPO") or image.mode != "RGB":
            return encode_image(rgb, ".jpg", quality)
        orientation, info = stored_orientation(image), _settings(image, name)
    return _reencode(source, Image.fromarray(turn_back(rgb, orientation)), info)


def _settings(image: Image.Image, name: str) -> dict[str, Any]:
    # Pillow looks at three components, and writes 4:4:4 where it does not know the source's sampling.
    few = _SAMPLINGS.get(tuple(image.layer[0][1:3]), -1)
    sampling = JpegImagePlugin.get_sampling(image) if image.mode == "RGB" else few
    return {
        "name": name,
        "mode": image.mode,
        "qtables": image.quantization,
        "subsampling": max(sampling, 0),
        "progressive": bool(image.info.get("progressive")),
        "resampled": sampling < 0,
        # MPO is what phones call a JPEG with a second picture behind it.
        "further": image.format == "MPO",
    }


def _reencode(source: bytes, image: Image.Image, info: dict[str, Any]) -> bytes:
    """A new picture in stored orientation in the place of that of `source`."""
    options = {key: info[key] for key in ("progressive", "qtables", "subsampling")}
    buffer = io.BytesIO()
    try:
        image.save(buffer, format="JPEG", **options)
    except (ValueError, OSError):  # Tables that Pillow does not write, such as those of 16 bits.
        buffer = io.BytesIO()
        image.save(buffer, format="JPEG", progressive=info["progressive"], quality=DEFAULT_JPEG_QUALITY)
    return _with_metadata_of(source, buffer.getvalue())


def _with_metadata_of(source: bytes, picture: bytes) -> bytes:
    """The metadata of `source` in front of the tables and scans of `picture`.

    Adobe's segment tells how colours are coded, so it comes from `picture`; an index of further pictures goes with
    those.
    """
    kept = [each for each in leading_metadata(source) if each.marker != APP14 and not each.is_picture_index]
    own = [each for each in split_jpeg(picture)[0] if each.marker == APP14 or not each.is_metadata]
    return encode_jpeg(kept + own)
