"""A user's PNG of any depth and colour type: untouched pixels keep their values, every other chunk its bytes."""

from __future__ import annotations

import io
from typing import Any

import cv2
import numpy as np

from data import png_chunks
from data.images import BadImageError, decode_picture, open_picture, stored_orientation, to_array
from data.png_chunks import GREY, GREY_ALPHA, PALETTE, RGB, RGB_ALPHA, Header
from data.samples import (
    Encoded,
    Stored,
    grey_of,
    grey_to_rgb,
    narrow,
    nearest_entries,
    representative_colours,
    widen,
)

# What the pixels depend on: libpng comments on some of the rest, and makes alpha of a transparent colour.
_NEEDED = (b"IHDR", b"PLTE", b"IDAT", b"IEND")


def decode(source: bytes, name: str) -> Stored:
    """Decodes a PNG.

    Raises:
        BadImageError: cut short or broken.
    """
    every = png_chunks.read_chunks(source, name)
    chunks, header = dict(every[::-1]), png_chunks.read_header(every)
    if header.depth < 8 or header.colour == PALETTE:
        png_chunks.check_rows(source, name)
        samples = _levels_or_indices(png_chunks.bare(every, _NEEDED), header, name)
    else:
        samples = _channels(png_chunks.bare(every, _NEEDED), header, name)
    with open_picture(io.BytesIO(png_chunks.metadata_picture(every)), name) as image:
        orientation = stored_orientation(image)
    info: dict[str, Any] = {"samples": samples, "name": name}
    if header.colour == PALETTE:
        if len(chunks.get(b"PLTE", b"")) not in range(3, 769, 3):
            raise BadImageError(f"{name}: broken (no palette of 1 to 256 colours)")
        palette, _ = _palette(chunks)
        if samples.max(initial=0) >= len(palette):
            raise BadImageError(f"{name}: entry {samples.max()} of a palette of {len(palette)} is used")
        rgb = palette[samples]
    elif header.colour in (GREY, GREY_ALPHA):
        grey = samples if header.colour == GREY else samples[..., 0]
        rgb = grey_to_rgb(widen(grey, header.depth) if header.depth < 8 else grey)
    else:
        rgb = samples if header.colour == RGB else np.ascontiguousarray(samples[..., :3])
    return Stored(rgb, orientation, info)


def encode(source: bytes, info: dict[str, Any], rgb: np.ndarray, mask: np.ndarray) -> Encoded:
    """`source` with `rgb` (of the decoded type, stored orientation) where `mask` is 1.

    Grey files get the mean of the fill's channels. Alpha stays. A palette gets the fill's colours in its free entries
    as far as they reach; beyond, the fill takes the nearest colour, of the same opacity as the pixel that it replaces.
    """
    name, covered = info["name"], mask.astype(bool)
    every = png_chunks.read_chunks(source, name)
    chunks, header = dict(every[::-1]), png_chunks.read_header(every)
    samples, fill, palette, notes = info["samples"].copy(), rgb[covered], None, ()
    if header.colour == PALETTE:
        entries, opacity = _palette(chunks)
        free = 2**header.depth - len(entries)
        if free > 0 and len(fill):
            entries = np.concatenate([entries, representative_colours(fill, free)])
            palette = entries.tobytes()
            notes = ("the histogram of the palette is dropped",) if b"hIST" in chunks else ()
        samples[covered] = _indices(fill, samples[covered], entries, opacity[: len(entries)])
    elif header.colour in (GREY, GREY_ALPHA):
        grey = grey_of(fill)
        grey = narrow(grey, header.depth) if header.depth < 8 else grey
        if header.colour == GREY:
            samples[covered] = _beside_key(grey[:, None], chunks)[:, 0]
        else:
            samples[..., 0][covered] = grey
    else:
        samples[..., :3][covered] = _beside_key(fill, chunks)
    return Encoded(png_chunks.replace_pixels(source, name, samples, palette), notes)


def _levels_or_indices(source: bytes, header: Header, name: str) -> np.ndarray:
    """The file's own values: Pillow spreads grey levels of 2 and 4 bits over 0..255."""
    with open_picture(io.BytesIO(source), name) as image:
        decode_picture(image, name)
        values = to_array(image)
    if header.colour == PALETTE:
        return values
    return values.astype(np.uint8) if header.depth == 1 else narrow(values, header.depth)


def _channels(source: bytes, header: Header, name: str) -> np.ndarray:
    """Channels of 8 or 16 bits by OpenCV: Pillow cuts 16 to 8. Of a PNG, OpenCV refuses what ends early."""
    # OpenCV makes OpenCV's own order of channels of all but plain RGB.
    flags = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_ANYDEPTH if header.colour == RGB else cv2.IMREAD_UNCHANGED
    values = cv2.imdecode(np.frombuffer(source, np.uint8), flags)
    if values is None or values.dtype != (np.uint16 if header.depth == 16 else np.uint8):
        raise BadImageError(f"{name}: broken or cut short (libpng cannot decode it)")
    if header.colour == GREY_ALPHA:
        return np.ascontiguousarray(values[..., [0, 3]])
    return cv2.cvtColor(values, cv2.COLOR_BGRA2RGBA) if header.colour == RGB_ALPHA else values


def _palette(chunks: dict[bytes, memoryview]) -> tuple[np.ndarray, np.ndarray]:
    """Colours (uint8 [M, 3]) and the opacity of all 256 possible entries; what tRNS does not name is opaque."""
    opacity = np.full(256, 255, np.uint8)
    named = np.frombuffer(chunks.get(b"tRNS", b""), np.uint8)
    opacity[: len(named)] = named
    return np.frombuffer(chunks[b"PLTE"], np.uint8).reshape(-1, 3), opacity


def _indices(fill: np.ndarray, before: np.ndarray, entries: np.ndarray, opacity: np.ndarray) -> np.ndarray:
    indices = np.empty(len(fill), np.uint8)
    for level in np.unique(opacity[before]):
        pixels = opacity[before] == level
        indices[pixels] = nearest_entries(fill[pixels], entries, opacity == level)
    return indices


def _beside_key(fill: np.ndarray, chunks: dict[bytes, memoryview]) -> np.ndarray:
    """The fill without the colour that the file declares transparent: one step beside it in the last channel."""
    if b"tRNS" not in chunks:
        return fill
    key = np.frombuffer(chunks[b"tRNS"], ">u2").astype(fill.dtype)
    hit = (fill == key).all(axis=1)
    fill = fill.copy()
    fill[hit, -1] += np.where(key[-1] > 0, -1, 1).astype(fill.dtype)
    return fill
