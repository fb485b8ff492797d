"""A user's TIFF: only the strips or tiles below the mask change, and every tag keeps its bytes.

Kinds whose blocks need a decoder of their own (JPEG and fax compression, YCbCr) go through Pillow as a whole picture;
the tags stay even then.
"""

from __future__ import annotations

import io
import mmap
import os
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image

from data.images import BadImageError, check_size, decode_picture, open_picture, several, to_array, turn_back
from data.samples import Encoded, Stored, grey_of, grey_to_rgb, ink_of, narrow, nearest_entries, widen
from data.tiff_blocks import BYTE_CODECS, NONE
from data.tiff_directory import Directory, Rewriter, count_pages, read_directory
from data.tiff_layout import INKS, PALETTE, RGB, WHITE_IS_ZERO, Layout, read_layout

_JPEG_QUALITY = 95
# TIFF's numbers of compressions that only Pillow decodes, by the names under which it writes them.
_WHOLE_CODECS = {2: "tiff_ccitt", 3: "group3", 4: "group4", 6: "jpeg", 7: "jpeg"}
_WHOLE_MODES = ("1", "L", "RGB", "RGBA", "CMYK")
# What describes the blocks and their coding, and changes with them: size, depth, compression, colours, fill order,
# strips, planes, fax options, predictor, palette, tiles, further channels, JPEG tables, YCbCr.
_CODING_TAGS = (256, 257, 258, 259, 262, 266, 277, 278, 284, 292, 293, 317, 320, 322, 323, 324, 325, 338, 339, 347)
_CODING_TAGS += (512, 513, 514, 515, 519, 520, 521, 529, 530, 531, 532)


def decode(source: bytes, name: str) -> Stored:
    """Decodes a TIFF of one page: uint16 RGB where it has 16 bits, else uint8.

    Raises:
        BadImageError: cut short, broken, or samples of a kind that is not restored.
    """
    directory = read_directory(source, name)
    if (pages := count_pages(directory)) > 1:
        raise several(name, pages)
    orientation = directory.value(274, 1)
    orientation = orientation if orientation in range(1, 9) else 1
    info: dict[str, Any] = {"name": name, "orientation": orientation}
    layout = read_layout(directory)
    if layout is None:
        samples, mode = _decode_whole(directory, orientation)
        return Stored(_mode_to_rgb(samples, mode), orientation, info)
    return Stored(_to_rgb(layout.samples(), layout), orientation, info)


def count_pixels(path: str | os.PathLike[str]) -> int:
    """Height x width, from the directory alone, which may lie behind gigabytes of pixels.

    Raises:
        BadImageError: cut short, broken, or too large.
    """
    name = os.fspath(path)
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as source:
        directory = read_directory(source, name)
        width, height = directory.value(256, 0), directory.value(257, 0)
    check_size(width, height, name)
    return width * height


def encode(source: bytes, info: dict[str, Any], rgb: np.ndarray, mask: np.ndarray) -> Encoded:
    """`source` with `rgb` (of the decoded type, stored orientation) where `mask` is 1.

    Grey takes the mean of the fill's channels, a palette its nearest colours, inks no black; alpha stays.
    """
    directory = read_directory(source, info["name"])
    layout = read_layout(directory)
    if layout is None:
        return _encode_whole(directory, info["orientation"], rgb, mask)
    flat, fill = rgb.reshape(-1, 3), _fill_of(layout)
    return Encoded(layout.patched(mask, lambda pixels: fill(flat[pixels])))


def _to_rgb(samples: np.ndarray, layout: Layout) -> np.ndarray:
    if layout.photometric == RGB:
        return samples if layout.channels == 3 else np.ascontiguousarray(samples[..., :3])
    if layout.photometric == INKS:
        return _mode_to_rgb(np.ascontiguousarray(samples[..., :4]), "CMYK")
    levels, bits = samples[..., 0], layout.form.bits
    if layout.photometric == PALETTE:
        return _palette(layout)[levels]
    levels = _inverted(levels, bits) if layout.photometric == WHITE_IS_ZERO else levels
    return grey_to_rgb(widen(levels, bits) if bits < 8 else levels)


def _fill_of(layout: Layout) -> Callable[[np.ndarray], np.ndarray]:
    """The function from RGB (N x 3) to the samples of the picture's colours (N x channels)."""
    if layout.photometric == RGB:
        return lambda colours: colours
    if layout.photometric == INKS:
        return ink_of
    if layout.photometric == PALETTE:
        palette = _palette(layout)
        return lambda colours: nearest_entries(colours, palette)[:, None]
    bits = layout.form.bits

    def grey(colours: np.ndarray) -> np.ndarray:
        levels = narrow(grey_of(colours), bits) if bits < 8 else grey_of(colours)
        return (_inverted(levels, bits) if layout.photometric == WHITE_IS_ZERO else levels)[:, None]

    return grey


def _inverted(levels: np.ndarray, bits: int) -> np.ndarray:
    return levels.dtype.type(2**bits - 1) - levels


def _palette(layout: Layout) -> np.ndarray:
    """RGB uint8 [M, 3] of the colour map, whose values have 16 bits (8 in files of some careless writers)."""
    name, values = layout.directory.name, np.array(layout.directory.values(320), np.uint16)
    if layout.form.bits > 8 or len(values) != 3 * 2**layout.form.bits:
        raise BadImageError(f"{name}: broken ({len(values)} values in the colour map of {layout.form.bits} bits)")
    values = values >> 8 if values.max() > 255 else values
    return np.ascontiguousarray(values.reshape(3, -1).T.astype(np.uint8))


def _decode_whole(directory: Directory, orientation: int) -> tuple[np.ndarray, str]:
    """Samples in the stored orientation, and Pillow's mode."""
    name, compression = directory.name, directory.value(259, NONE)
    with open_picture(io.BytesIO(directory.source), name) as image:
        if image.mode not in _WHOLE_MODES or compression not in (*BYTE_CODECS, *_WHOLE_CODECS):
            kind = f"colours {image.mode}, compression {compression}, photometric {directory.value(262, 1)}"
            raise BadImageError(f"{name}: a TIFF of a kind that is not restored ({kind}); save it as RGB with LZW")
        decode_picture(image, name)
        # Pillow turns a TIFF upright while it decodes, and no other kind of file.
        samples = to_array(image)
        samples = samples.astype(np.uint8) * np.uint8(255) if image.mode == "1" else samples
        return turn_back(samples, orientation), image.mode


def _mode_to_rgb(samples: np.ndarray, mode: str) -> np.ndarray:
    if mode in ("1", "L"):
        return grey_to_rgb(samples)
    if mode == "CMYK":
        return to_array(Image.fromarray(samples, mode), lambda band: band.convert("RGB"))
    return np.ascontiguousarray(samples[..., :3])


def _encode_whole(directory: Directory, orientation: int, rgb: np.ndarray, mask: np.ndarray) -> Encoded:
    samples, mode = _decode_whole(directory, orientation)
    covered, fill = mask != 0, rgb[mask != 0]
    if mode in ("1", "L"):
        grey = grey_of(fill)
        samples[covered] = widen(narrow(grey, 1), 1) if mode == "1" else grey
    elif mode == "CMYK":
        samples[covered] = ink_of(fill)
    else:
        samples[..., :3][covered] = fill
    codec = _WHOLE_CODECS.get(directory.value(259, 1), "tiff_adobe_deflate")
    options = {"quality": _JPEG_QUALITY} if codec == "jpeg" else {}
    buffer = io.BytesIO()
    image = Image.fromarray(samples, "L" if mode == "1" else mode)
    (image.convert("1") if mode == "1" else image).save(buffer, format="TIFF", compression=codec, **options)
    note = f"a TIFF with {codec} compression was encoded anew as a whole"
    notes = () if codec in ("tiff_ccitt", "group3", "group4") else (note,)
    return Encoded(_with_picture(directory, read_directory(buffer.getvalue(), directory.name)), notes)


def _with_picture(directory: Directory, picture: Directory) -> bytearray:
    """The file of `directory` with the strips of another file in the place of its own strips or tiles."""
    rewriter = Rewriter(directory)
    for offsets, sizes in ((273, 279), (324, 325)):
        # Files without sizes exist; what is not known to be free stays.
        rewriter.release(sorted(set(zip(directory.values(offsets), directory.values(sizes), strict=False))))
    changes: dict[int, Any] = dict.fromkeys(_CODING_TAGS)
    for tag in _CODING_TAGS:
        if tag in picture.entries and tag != 532:
            changes[tag] = picture.raw(tag) if tag == 347 else picture.values(tag)
    strips = list(zip(picture.values(273), picture.values(279), strict=True))
    changes[273] = [rewriter.place(picture.source[at : at + size]) for at, size in strips]
    changes[279] = [size for _, size in strips]
    return rewriter.finish(changes)
