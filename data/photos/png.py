"""A user's PNG of any depth and colour type: untouched pixels keep their values, every other chunk its bytes.

Only the chunks of the pixels are exchanged. OpenCV packs them: a PNG's pixels are rows of bytes, and how many bytes a
pixel has is all that packing needs to know. Format: the PNG specification (third edition), https://www.w3.org/TR/png-3/.
"""

import io
import struct
import zlib

import cv2
import numpy as np

from data import images
from data.images import BadImageError
from data.photos import colours, thumbnails
from data.photos.colours import Encoded

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_GREY, _RGB, _PALETTE, _GREY_ALPHA, _RGB_ALPHA = 0, 2, 3, 4, 6
_CODINGS = {_GREY: colours.GREY, _RGB: colours.RGB, _GREY_ALPHA: colours.GREY, _RGB_ALPHA: colours.RGB}
# What the pixels depend on: libpng comments on some of the rest, and makes alpha of a transparent colour.
_NEEDED = (b"IHDR", b"PLTE", b"IDAT", b"IEND")
_TELLING = (b"eXIf", b"tEXt", b"zTXt", b"iTXt")
_ONE_PIXEL = (b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, _GREY, 0, 0, 0)), (b"IDAT", zlib.compress(bytes(2)))
# Fast, and on photographs of pages smaller than the default of zlib; levels and indices of few bits need the latter.
_PACKING = (cv2.IMWRITE_PNG_COMPRESSION, 1, cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE)
_PACKING_OF_INDICES = (cv2.IMWRITE_PNG_COMPRESSION, 3)
_PLAIN_XMP = b"XML:com.adobe.xmp\0\0"  # Of a text: its keyword, and that it is not packed
_Chunks = list[tuple[bytes, memoryview]]


def decode(source: bytes, name: str) -> tuple[np.ndarray, int]:
    """RGB, uint16 where the file has 16 bits, and the EXIF orientation."""
    every = _read_chunks(source, name)
    frames = dict(every).get(b"acTL", b"")[:4]
    images.check_single(int.from_bytes(frames, "big"), name)
    images.check_size(*struct.unpack(">II", every[0][1][:8]), name)
    samples, colour = _samples(every, name), every[0][1][9]
    # One pixel with the file's texts and EXIF: decoders look for those behind the pixels, too, and are quick here.
    header, pixel = _ONE_PIXEL
    told = [chunk for chunk in every if chunk[0] in _TELLING]
    with images.open_picture(io.BytesIO(_picture(header, *told, pixel, (b"IEND", b""))), name) as image:
        orientation = images.stored_orientation(image)
    if colour == _PALETTE:
        palette, _ = _palette(dict(every[::-1]))
        if samples.max(initial=0) >= len(palette):
            raise BadImageError(f"{name}: entry {samples.max()} of a palette of {len(palette)} is used")
        return palette[samples], orientation
    return colours.rgb_of(samples, _CODINGS[colour]), orientation


def encode(source: bytes, name: str, rgb: np.ndarray, mask: np.ndarray) -> Encoded:
    """`source` with `rgb` (of the decoded type, stored orientation) where `mask` is 1.

    Grey takes the fill's mean, a palette its nearest colours of the opacity that was there; alpha stays.
    """
    every = _read_chunks(source, name)
    chunks, (depth, colour, *_, interlaced) = dict(every[::-1]), every[0][1][8:]
    samples, changed = _samples(every, name), {b"IHDR": _chunk(b"IHDR", bytes(every[0][1][:-1]) + b"\0")}
    if colour == _PALETTE:
        entries, opacity = _palette(chunks)
        before = opacity[samples]
        for level in np.unique(before[mask != 0]):
            same = (mask != 0) & (before == level)
            samples[same] = colours.nearest_entries(rgb[same], entries, opacity[: len(entries)] == level)
    else:
        colours.cover(samples, _CODINGS[colour], mask, rgb)
    if b"eXIf" in chunks:
        changed[b"eXIf"] = _chunk(b"eXIf", thumbnails.in_exif(bytes(chunks[b"eXIf"])))
    changed[b"IDAT"] = _packed(samples, depth, colour)
    parts, at = [_SIGNATURE], len(_SIGNATURE)
    for kind, data in every:
        end = at + 12 + len(data)
        xmp = kind == b"iTXt" and data[: len(_PLAIN_XMP)] == _PLAIN_XMP
        parts.append(_chunk(kind, thumbnails.in_xmp(bytes(data))) if xmp else changed.get(kind, source[at:end]))
        changed |= {kind: b""} if kind == b"IDAT" else {}
        at = end
    return Encoded(b"".join((*parts, source[at:])), ("a PNG is no longer interlaced",) if interlaced else ())


def _read_chunks(source: bytes, name: str) -> _Chunks:
    """Type and data of every chunk, IHDR first and IEND last; refuses what is cut short or fails a checksum."""
    view, chunks, at = memoryview(source), [], len(_SIGNATURE)
    while not chunks or chunks[-1][0] != b"IEND":
        if at + 12 > len(view):
            raise BadImageError(f"{name}: broken or cut short (its last chunk is missing)")
        size, kind = struct.unpack_from(">I4s", view, at)
        end = at + 12 + size
        if not chunks and (kind, size) != (b"IHDR", 13):
            raise BadImageError(f"{name}: its first chunk is {kind.decode('latin-1')!r}, expected the header IHDR")
        # An upper-case first letter marks what a picture cannot be shown without.
        chunks.append((kind, view[at + 8 : end - 4]))
        if end > len(view) or (kind[:1].isupper() and source[at:end] != _chunk(*chunks[-1])):
            raise BadImageError(f"{name}: broken or cut short (chunk {kind.decode('latin-1')!r} at byte {at})")
        at = end
    return chunks


def _chunk(kind: bytes, data: bytes | memoryview) -> bytes:
    return struct.pack(">I4s", len(data), kind) + data + struct.pack(">I", zlib.crc32(data, zlib.crc32(kind)))


def _picture(*chunks: tuple[bytes, bytes | memoryview]) -> bytes:
    return b"".join((_SIGNATURE, *(_chunk(kind, data) for kind, data in chunks)))


def _packed(samples: np.ndarray, depth: int, colour: int) -> bytes:
    """IDAT chunks of the pixels, taken from a picture of OpenCV's that has as many bytes a pixel."""
    options = _PACKING_OF_INDICES if depth < 8 or colour == _PALETTE else _PACKING
    pixels = samples if colour == _PALETTE else colours.to_levels(samples, depth)
    pixels = colours.to_bits(pixels, depth) if depth < 8 else pixels
    if colour == _GREY_ALPHA:  # As grey of 16 bits, or as four channels of 8.
        pixels = np.ascontiguousarray(pixels, ">u2" if depth == 16 else None)
        pixels = pixels.view(np.uint8) if depth == 16 else pixels.view(">u2").astype(np.uint16)
    if pixels.shape[2:] in ((3,), (4,)):
        order = cv2.COLOR_RGB2BGR if pixels.shape[2] == 3 else cv2.COLOR_RGBA2BGRA
        pixels = cv2.cvtColor(np.ascontiguousarray(pixels), order)
    content = cv2.imencode(".png", pixels, options)[1].tobytes()
    return b"".join(_chunk(*chunk) for chunk in _read_chunks(content, "OpenCV's PNG") if chunk[0] == b"IDAT")


def _samples(chunks: _Chunks, name: str) -> np.ndarray:
    """The file's own channels or indices, height x width or with channels last; grey of fewer bits as 8."""
    source, (depth, colour) = _picture(*(chunk for chunk in chunks if chunk[0] in _NEEDED)), chunks[0][1][8:10]
    if colour == _PALETTE:
        images.check_png_rows(source, name)
        with images.open_picture(io.BytesIO(source), name) as image:
            images.decode_picture(image, name)
            return images.to_array(image)
    # By OpenCV: Pillow cuts 16 bits to 8. Of a PNG, OpenCV refuses what ends early, and gives its own order of channels
    # but for plain RGB.
    flags = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_ANYDEPTH if colour == _RGB else cv2.IMREAD_UNCHANGED
    values = cv2.imdecode(np.frombuffer(source, np.uint8), flags)
    if values is None or values.dtype != (np.uint16 if depth == 16 else np.uint8):
        raise BadImageError(f"{name}: broken or cut short (libpng cannot decode it)")
    if colour == _GREY_ALPHA:
        return np.ascontiguousarray(values[..., [0, 3]])
    return cv2.cvtColor(values, cv2.COLOR_BGRA2RGBA) if colour == _RGB_ALPHA else values


def _palette(chunks: dict[bytes, memoryview]) -> tuple[np.ndarray, np.ndarray]:
    """Colours (uint8 [M, 3]) and the opacity of all 256 possible entries; what tRNS does not name is opaque."""
    opacity = np.frombuffer(bytes(chunks.get(b"tRNS", b"")).ljust(256, b"\xff"), np.uint8)
    return np.frombuffer(chunks[b"PLTE"], np.uint8).reshape(-1, 3), opacity
