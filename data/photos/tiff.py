"""A user's TIFF: only the strips or tiles below the mask are written anew; tags and other blocks keep their bytes.

tifffile says where everything lies, imagecodecs unpacks and packs a block. Kinds whose blocks are more than packed
samples (fax, JPEG, YCbCr) are decoded and encoded as a whole picture by Pillow, with the tags that it writes.
"""

from __future__ import annotations

import io
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise, product
from typing import Any

import numpy as np
from PIL import Image, TiffImagePlugin

from data.images import BadImageError, check_single, check_size, decode_picture, open_picture, to_array, turn_back
from data.photos import colours
from data.photos.colours import Encoded, Stored

try:
    import imagecodecs
    import tifffile
except ImportError:  # A machine that is given JPEGs alone, as the contest's is, does without.
    imagecodecs = tifffile = None
else:
    # What is wrong with a file is told once, by the error.
    logging.getLogger("tifffile").setLevel(logging.CRITICAL)

# Classic and big, of either byte order.
SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_LARGEST_CLASSIC = 2**32 - 1
# TIFF's numbers of what packs bytes: nothing, LZW, deflate (two numbers), PackBits, LZMA and Zstandard.
_PLAIN, _BYTE_CODECS = 1, (1, 5, 8, 32946, 32773, 34925, 50000)
# Fax and JPEG, by Pillow's names.
_WHOLE_CODECS = {2: "tiff_ccitt", 3: "group3", 4: "group4", 6: "jpeg", 7: "jpeg"}
_WHOLE_MODES, _JPEG_QUALITY = ("1", "L", "RGB", "RGBA", "CMYK"), 95
# What says how the pixels are stored: size, depth, compression, colours, fill order, strips, planes, fax options,
# predictor, palette, tiles, further channels, JPEG, YCbCr.
_CODING_TAGS = {256, 257, 258, 259, 262, 266, 273, 277, 278, 279, 284, 292, 293, 317, 320, 322, 323, 324, 325, 338}
_CODING_TAGS |= {339, 347, *range(512, 522), *range(529, 533)}
# What Pillow's libtiff writes safely, given values of these types: at others, as of a broken file, it may crash.
_KEPT_TAGS = dict.fromkeys((269, 270, 271, 272, 285, 305, 306, 315, 316, 33432), str)
_KEPT_TAGS |= {274: int, 282: TiffImagePlugin.IFDRational, 283: TiffImagePlugin.IFDRational, 296: int}
_KEPT_TAGS |= dict.fromkeys((700, 33723, 34377, 34675), bytes)
_WHITE_IS_ZERO, _RGB, _PALETTE, _INKS = 0, 2, 3, 5
# How many channels colours take; 1 is grey of which 0 is black.
_COLOURS = {_WHITE_IS_ZERO: 1, 1: 1, _RGB: 3, _PALETTE: 1, _INKS: 4}


def count_pixels(path: str | os.PathLike[str]) -> int:
    """Height x width, from the directory alone, which may lie behind gigabytes of pixels."""
    with _refusing_what_is_broken(os.fspath(path)), tifffile.TiffFile(path) as file:
        page = file.pages[0]
        check_size(page.imagewidth, page.imagelength, os.fspath(path))
        return page.imagewidth * page.imagelength


def decode(source: bytes, name: str) -> Stored:
    """Decodes a TIFF, uint16 where it has 16 bits; several pages, floats, signed, 12 and 32 bits are refused."""
    with _refusing_what_is_broken(name):
        file = tifffile.TiffFile(io.BytesIO(source))
        check_single(len(file.pages), name)
        page = file.pages[0]
        check_size(page.imagewidth, page.imagelength, name)
        orientation = page.tags.valueof(274, 1)
        orientation = orientation if orientation in range(1, 9) else 1
        if _has_plain_blocks(page, name):
            return Stored(_Blocks(page, name).picture(source), orientation)
        samples, mode = _decode_whole(source, name, page, orientation)
        return Stored(colours.rgb_of(samples, mode), orientation, {"orientation": orientation})


def encode(source: bytes, name: str, info: dict[str, Any], rgb: np.ndarray, mask: np.ndarray) -> Encoded:
    """`source` with `rgb` (of the decoded type, stored orientation) where `mask` is 1.

    Grey takes the mean of the fill's channels, a palette its nearest colours, inks no black; alpha stays. What covered
    the page is wiped from the file.
    """
    content = io.BytesIO(source)
    page = tifffile.TiffFile(content).pages[0]
    if not _has_plain_blocks(page, name):
        return _encode_whole(source, name, page, info["orientation"], rgb, mask)
    blocks = _Blocks(page, name)
    offsets, sizes, end = list(blocks.offsets), list(blocks.sizes), len(source)
    # Some writers store equal blocks once; then all that changes moves to the end.
    spans = sorted(zip(offsets, sizes, strict=True))
    apart = all(at + size <= following for (at, size), (following, _) in pairwise(spans))
    for index, (plane, row, column) in enumerate(blocks.places):
        ys, xs = np.nonzero(mask[row : row + blocks.rows, column : column + blocks.columns])
        fill = blocks.from_rgb(rgb[ys + row, xs + column])[:, plane : plane + blocks.channels]
        if fill.size == 0:  # Nothing of the mask, or a plane of alpha.
            continue
        samples = blocks.unpacked(source, index).copy()
        samples[ys, xs, : fill.shape[1]] = fill
        packed, room = blocks.packed(samples), sizes[index] if apart else 0
        sizes[index] = len(packed)
        content.seek(offsets[index])
        content.write((packed if len(packed) <= room else b"").ljust(room, b"\0"))
        if len(packed) > room:
            offsets[index] = content.seek(end + end % 2)
            end = offsets[index] + content.write(packed)
    big = page.parent.is_bigtiff
    if end + 8 * len(offsets) > _LARGEST_CLASSIC and not big:
        raise BadImageError(f"{name}: would grow above the 4 GB of a classic TIFF; save it as BigTIFF")
    for tag, old, new in zip(blocks.tags, (blocks.offsets, blocks.sizes), (offsets, sizes), strict=True):
        if new != old:
            page.tags[tag].overwrite(new, dtype="Q" if big else "I")
    return Encoded(content.getvalue())


@contextmanager
def _refusing_what_is_broken(name: str) -> Iterator[None]:
    if tifffile is None:
        raise BadImageError(f"{name}: a TIFF needs the packages tifffile and imagecodecs")
    try:
        yield
    except (BadImageError, OSError):
        raise
    except Exception as error:  # Both libraries meet broken files with exceptions of every type.
        raise BadImageError(f"{name}: broken or cut short ({error})") from error


def _has_plain_blocks(page: Any, name: str) -> bool:
    """Whether blocks are packed samples, or need a decoder of their own; refuses samples that are not restored."""
    # 1 is unsigned, 4 "undefined"; 2 is signed and 3 floating point.
    if page.sampleformat not in (1, 4):
        kind = "floating point" if page.sampleformat == 3 else "signed or complex numbers"
        raise BadImageError(f"{name}: its samples are {kind}; save it with 8 or 16 bits per channel")
    bits = page.bitspersample
    if bits not in (1, 2, 4, 8, 16):
        raise BadImageError(f"{name}: {bits} bits per sample, expected one of 1, 2, 4, 8, 16")
    if page.photometric not in _COLOURS or page.compression not in _BYTE_CODECS or page.predictor > 2:
        return False
    if page.photometric == _INKS and bits == 16:
        raise BadImageError(f"{name}: inks of 16 bits; save it with 8 bits or as RGB")
    return bits >= 8 or (page.predictor == 1 and page.photometric != _INKS)


class _Blocks:
    """The strips or tiles of a page, plane by plane and row by row.

    Attributes:
        places: plane, first row and first column of each.
        tags: those of their offsets and sizes in the file; `offsets`, `sizes`: what the file says there.
        rows, columns: of a block; the last strip has fewer rows, the last tiles go on beyond the picture.
        planes: 1, or as many as there are channels where each lies by itself; `channels`: within a block.
    """

    def __init__(self, page: Any, name: str) -> None:
        """Refuses a directory that contradicts itself."""
        self.page, self.bits = page, page.bitspersample
        self.height, self.width = page.imagelength, page.imagewidth
        self.rows = page.tilelength if page.is_tiled else min(page.rowsperstrip or self.height, self.height)
        self.columns = page.tilewidth if page.is_tiled else self.width
        self.planes = page.samplesperpixel if page.planarconfig == 2 else 1
        self.channels = page.samplesperpixel // self.planes
        self.type = np.dtype(np.uint16 if self.bits == 16 else np.uint8)
        self.type_in_file = self.type.newbyteorder(page.parent.byteorder)
        self.row_bytes = (self.columns * self.channels * self.bits + 7) // 8
        sides = (self.rows, self.columns, self.width, self.height)
        if min(sides) < 1 or page.samplesperpixel < _COLOURS[page.photometric]:
            sizes = f"blocks of {self.columns} x {self.rows} pixels, {page.samplesperpixel} samples per pixel"
            raise BadImageError(f"{name}: broken ({sizes})")
        check_size(self.columns, self.rows, name)
        rows, columns = range(0, self.height, self.rows), range(0, self.width, self.columns)
        self.places = list(product(range(self.planes), rows, columns))
        self.tags = (324, 325) if page.is_tiled else (273, 279)
        self.offsets, self.sizes = list(page.dataoffsets), list(page.databytecounts)
        if page.compression == _PLAIN:  # Old writers leave the sizes out, or round them.
            self.sizes = [self._rows_of(index) * self.row_bytes for index in range(len(self.places))]
        elif self.tags[1] not in page.tags:
            raise BadImageError(f"{name}: broken (nothing says how large its blocks are)")
        if not len(self.offsets) == len(self.sizes) == len(self.places):
            raise BadImageError(f"{name}: broken ({len(self.offsets)} blocks, expected {len(self.places)})")
        if max(map(sum, zip(self.offsets, self.sizes, strict=True))) > page.parent.filehandle.size:
            raise BadImageError(f"{name}: broken or cut short (its pixels lie behind its end)")
        self.palette = self._read_palette(name) if page.photometric == _PALETTE else None

    def picture(self, source: bytes) -> np.ndarray:
        """RGB height x width x 3."""
        samples = np.empty((self.height, self.width, self.planes * self.channels), self.type)
        for index, (plane, row, column) in enumerate(self.places):
            target = samples[row : row + self.rows, column : column + self.columns, plane : plane + self.channels]
            target[:] = self.unpacked(source, index)[: target.shape[0], : target.shape[1]]
        if self.palette is not None:
            return self.palette[samples[..., 0]]
        if self.page.photometric == _RGB:
            return colours.rgb_of(samples)
        if self.page.photometric == _INKS:
            return colours.rgb_of(np.ascontiguousarray(samples[..., :4]), "CMYK")
        return colours.rgb_of(colours.widen(self._black_is_zero(samples[..., 0]), self.bits))

    def from_rgb(self, fill: np.ndarray) -> np.ndarray:
        """RGB [N, 3] as samples [N, colours]."""
        if self.page.photometric == _RGB:
            return fill
        if self.page.photometric == _INKS:
            return colours.ink_of(fill)
        if self.palette is not None:
            return colours.nearest_entries(fill, self.palette)[:, None]
        return self._black_is_zero(colours.narrow(colours.grey_of(fill), self.bits))[:, None]

    def unpacked(self, source: bytes, index: int) -> np.ndarray:
        """Samples of a block, rows x columns x channels; levels below 8 bits take a byte each."""
        data = source[self.offsets[index] : self.offsets[index] + self.sizes[index]]
        data = imagecodecs.bitorder_decode(data) if self.page.fillorder == 2 else data
        if self.page.compression != _PLAIN:
            # Told a size, it does not blow a few bytes up to gigabytes. Some writers fill the last strip up.
            data = tifffile.TIFF.DECOMPRESSORS[self.page.compression](data, out=self.rows * self.row_bytes)
        rows = self._rows_of(index)
        if len(data) < rows * self.row_bytes:
            raise ValueError(f"a block holds {len(data)} of {rows * self.row_bytes} bytes")
        shape, flat = (rows, self.columns, self.channels), np.frombuffer(data, np.uint8, rows * self.row_bytes)
        if self.bits < 8:
            levels = self.columns * self.channels
            return imagecodecs.packints_decode(flat.tobytes(), "B", self.bits, runlen=levels).reshape(shape)
        samples = flat.view(self.type_in_file).astype(self.type, copy=False).reshape(shape)
        return np.cumsum(samples, axis=1, dtype=self.type) if self.page.predictor == 2 else samples

    def packed(self, samples: np.ndarray) -> bytes:
        """The opposite of `unpacked`."""
        if self.bits < 8:
            samples = colours.to_bits(samples, self.bits)
        elif self.page.predictor == 2:
            samples = np.diff(samples, axis=1, prepend=self.type.type(0))
        data = samples.astype(self.type_in_file, copy=False).tobytes()
        if self.page.compression != _PLAIN:
            data = tifffile.TIFF.COMPRESSORS[self.page.compression](data)
        return imagecodecs.bitorder_encode(data) if self.page.fillorder == 2 else data

    def _rows_of(self, index: int) -> int:
        return self.rows if self.page.is_tiled else min(self.rows, self.height - self.places[index][1])

    def _black_is_zero(self, levels: np.ndarray) -> np.ndarray:
        """From the file's levels, or back."""
        return self.type.type(2**self.bits - 1) - levels if self.page.photometric == _WHITE_IS_ZERO else levels

    def _read_palette(self, name: str) -> np.ndarray:
        """The colour map as uint8 [M, 3]; its values have 16 bits, or 8 in files of some careless writers."""
        values = np.array(self.page.tags.valueof(320, ()), np.uint16).ravel()
        if self.bits > 8 or len(values) != 3 * 2**self.bits:
            raise BadImageError(f"{name}: broken ({len(values)} values in the colour map of {self.bits} bits)")
        values = values >> 8 if values.max() > 255 else values
        return np.ascontiguousarray(values.reshape(3, -1).T.astype(np.uint8))


def _decode_whole(source: bytes, name: str, page: Any, orientation: int) -> tuple[np.ndarray, str]:
    """Samples in the stored orientation, and Pillow's mode; 1 bit as 0 and 255."""
    with open_picture(io.BytesIO(source), name) as image:
        if image.mode not in _WHOLE_MODES or page.compression not in (*_BYTE_CODECS, *_WHOLE_CODECS):
            kind = f"colours {image.mode}, compression {int(page.compression)}, photometric {int(page.photometric)}"
            raise BadImageError(f"{name}: a TIFF of a kind that is not restored ({kind}); save it as RGB with LZW")
        decode_picture(image, name)
        samples = to_array(image.convert("L") if image.mode == "1" else image)
        # Pillow turns a TIFF upright while it decodes, and no other kind of file.
        return turn_back(samples, orientation), image.mode


def _encode_whole(source: bytes, name: str, page: Any, orientation: int, rgb: np.ndarray, mask: np.ndarray) -> Encoded:
    samples, mode = _decode_whole(source, name, page, orientation)
    colours.cover(samples, mode, mask, rgb)
    codec = _WHOLE_CODECS.get(page.compression, "tiff_adobe_deflate")
    options = {"quality": _JPEG_QUALITY} if codec == "jpeg" else {}
    with open_picture(io.BytesIO(source), name) as image:
        before, kept = dict(image.tag_v2), TiffImagePlugin.ImageFileDirectory_v2()
    for tag, types in _KEPT_TAGS.items():
        if isinstance(before.get(tag), types):
            kept[tag] = before[tag]
    buffer = io.BytesIO()
    image = Image.fromarray(samples, "L" if mode == "1" else mode).convert(mode, dither=Image.Dither.NONE)
    image.save(buffer, format="TIFF", compression=codec, tiffinfo=kept, **options)
    with Image.open(buffer) as image:
        lost = sorted(set(before) - _CODING_TAGS - set(image.tag_v2))
    notes = [f"a TIFF with {codec} compression was encoded anew as a whole"] if mode != "1" else []
    notes += [f"tags of the TIFF are dropped: {', '.join(map(str, lost))}"] if lost else []
    return Encoded(buffer.getvalue(), tuple(notes))
