"""The directory of a TIFF file, and pictures changed in place with all other tags byte for byte.

Format: TIFF revision 6.0 and its 64-bit variant, BigTIFF.

The strips and tiles of a TIFF: from their bytes to samples and back, for any compression that works on bytes.

LZW, PackBits and their like know nothing of pixels. So a block of any depth is shown to Pillow (libtiff) as rows of
grey bytes, which also brings 16-bit colours through a library that has no mode for them.

How a TIFF lays out its picture (strips or tiles, planes together or apart): one array out, and patches in.

A user's TIFF: only the strips or tiles below the mask change, and every tag keeps its bytes.

Kinds whose blocks need a decoder of their own (JPEG and fax compression, YCbCr) go through Pillow as a whole picture;
the tags stay even then.
"""

from __future__ import annotations

import io
import mmap
import os
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
from PIL import Image

from data.images import BadImageError, check_size, decode_picture, open_picture, several, to_array, turn_back
from data.photos.levels import Encoded, Stored, grey_of, grey_to_rgb, ink_of, narrow, nearest_entries, widen

# Classic and big, of either byte order.
SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_SHORT, _LONG, _UNDEFINED, _LONG8 = 3, 4, 7, 16
_LETTERS = {1: "B", _SHORT: "H", _LONG: "I", 13: "I", _LONG8: "Q", 18: "Q"}
_SIZES = {1: 1, 2: 1, _SHORT: 2, _LONG: 4, 5: 8, 6: 1, _UNDEFINED: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
_SIZES |= {_LONG8: 8, 17: 8, 18: 8}
# Widths of a classic and of a big file: header, pointer and count of values, count of entries.
_CLASSIC, _BIG = (8, "I", "H"), (16, "Q", "Q")
_LARGEST_CLASSIC = 2**32 - 1


@dataclass(frozen=True)
class Directory:
    """The first directory of a TIFF.

    Attributes:
        name: the file, for messages.
        order: "<" or ">", the byte order of the whole file.
        big: pointers have 64 bits.
        entries: tag -> its entry as it lies in the file.
        following: where the next directory begins; 0 for none.
        source: the file.
    """

    name: str
    order: str
    big: bool
    entries: dict[int, bytes]
    following: int
    source: bytes | mmap.mmap

    def raw(self, tag: int) -> bytes:
        """The bytes of a tag's values; empty where the tag is missing."""
        if tag not in self.entries:
            return b""
        entry, (_, pointer, _) = self.entries[tag], _BIG if self.big else _CLASSIC
        kind, count = struct.unpack_from(f"{self.order}H{pointer}", entry, 2)
        size = count * _SIZES.get(kind, 0)
        start = struct.calcsize(f"<HH{pointer}")
        if size <= struct.calcsize(pointer):
            return entry[start : start + size]
        at = struct.unpack_from(self.order + pointer, entry, start)[0]
        if at + size > len(self.source):
            raise BadImageError(f"{self.name}: broken or cut short (the values of tag {tag} lie behind its end)")
        return self.source[at : at + size]

    def values(self, tag: int, default: Sequence[int] = ()) -> tuple[int, ...]:
        """A tag's whole numbers, or `default`."""
        if tag not in self.entries:
            return tuple(default)
        kind = struct.unpack_from(self.order + "H", self.entries[tag], 2)[0]
        if kind not in _LETTERS:
            raise BadImageError(f"{self.name}: tag {tag} holds values of type {kind}, expected whole numbers")
        raw = self.raw(tag)
        return struct.unpack(f"{self.order}{len(raw) // _SIZES[kind]}{_LETTERS[kind]}", raw)

    def value(self, tag: int, default: int) -> int:
        """A tag's first whole number, or `default`."""
        return (self.values(tag) or (default,))[0]


def read_directory(source: bytes | mmap.mmap, name: str) -> Directory:
    """Reads where everything of a TIFF's first picture lies.

    Raises:
        BadImageError: cut short or broken.
    """
    order = "<" if source[:2] == b"II" else ">"
    big = source[:4] in SIGNATURES[2:]
    header, pointer, counter = _BIG if big else _CLASSIC
    length = struct.calcsize(f"<HH{pointer}{pointer}")
    try:
        at = struct.unpack_from(order + pointer, source, header // 2)[0]
        count = struct.unpack_from(order + counter, source, at)[0]
        start = at + struct.calcsize(counter)
        # Before anything is read: a broken file may claim any number of entries.
        following = struct.unpack_from(order + pointer, source, start + count * length)[0]
        lines = [source[start + index * length : start + (index + 1) * length] for index in range(count)]
    except (struct.error, OverflowError) as error:
        raise BadImageError(f"{name}: broken or cut short (its directory lies behind its end)") from error
    entries = {struct.unpack_from(order + "H", line)[0]: line for line in lines}
    return Directory(name, order, big, entries, following, source)


def count_pages(directory: Directory) -> int:
    """How many directories follow each other in the file, the first included; a chain that ends nowhere ends there."""
    seen, at = set(), directory.following
    _, pointer, counter = _BIG if directory.big else _CLASSIC
    length = struct.calcsize(f"<HH{pointer}{pointer}")
    while at and at not in seen and at + struct.calcsize(counter) <= len(directory.source):
        seen.add(at)
        count = struct.unpack_from(directory.order + counter, directory.source, at)[0]
        behind = at + struct.calcsize(counter) + count * length
        if behind + struct.calcsize(pointer) > len(directory.source):
            break
        at = struct.unpack_from(directory.order + pointer, directory.source, behind)[0]
    return 1 + len(seen)


class Rewriter:
    """A TIFF file under change: blocks of pixels are freed and placed, then the directory is written anew.

    Tags that are not named in `finish` keep their bytes and whatever they point to.
    """

    def __init__(self, directory: Directory) -> None:
        self.directory = directory
        self.content = bytearray(directory.source)
        self.free: list[tuple[int, int]] = []

    def release(self, blocks: Sequence[tuple[int, int]]) -> None:
        """Gives blocks (offset, size) free and wipes them: what covered the page shall not stay in the file."""
        for at, size in sorted(blocks):
            self.content[at : at + size] = bytes(size)
            if self.free and self.free[-1][1] == at:
                self.free[-1] = (self.free[-1][0], at + size)
            else:
                self.free.append((at, at + size))

    def exchange(self, at: int, size: int, block: bytes) -> int:
        """Writes `block` in the place of one of `size` bytes at `at` (0 to leave that alone); returns its offset."""
        if len(block) > size:
            if size:
                self.release([(at, size)])
            return self.place(block)
        self.content[at : at + size] = block.ljust(size, b"\0")
        return at

    def place(self, block: bytes) -> int:
        """Writes a block where there is room, at the end of the file otherwise; returns its offset."""
        for index, (start, end) in enumerate(self.free):
            if end - start >= len(block):
                self.content[start : start + len(block)] = block
                self.free[index] = (start + len(block) + len(block) % 2, end)
                return start
        self.content += bytes(len(self.content) % 2)
        self.content += block
        return len(self.content) - len(block)

    def finish(self, changes: Mapping[int, Sequence[int] | bytes | None]) -> bytearray:
        """The file with a new directory.

        Args:
            changes: tag -> whole numbers, raw bytes, or None to drop the tag; without any, the
                directory stays too.
        """
        directory = self.directory
        if not changes:
            return self.content
        header, pointer, counter = _BIG if directory.big else _CLASSIC
        entries = {tag: entry for tag, entry in directory.entries.items() if tag not in changes}
        for tag, values in changes.items():
            if values is not None:
                entries[tag] = self._entry(tag, values, pointer)
        lines = b"".join(entries[tag] for tag in sorted(entries))
        count = struct.pack(directory.order + counter, len(entries))
        at = self.place(count + lines + struct.pack(directory.order + pointer, directory.following))
        if len(self.content) > _LARGEST_CLASSIC and not directory.big:
            raise BadImageError(f"{directory.name}: would grow above the 4 GB of a classic TIFF; save it as BigTIFF")
        struct.pack_into(directory.order + pointer, self.content, header // 2, at)
        return self.content

    def _entry(self, tag: int, values: Sequence[int] | bytes, pointer: str) -> bytes:
        order, room = self.directory.order, struct.calcsize(pointer)
        if isinstance(values, bytes):
            kind, data = _UNDEFINED, values
        else:
            highest = max(values, default=0)
            kind = _SHORT if highest < 2**16 else _LONG if highest < 2**32 else _LONG8
            data = struct.pack(f"{order}{len(values)}{_LETTERS[kind]}", *values)
        count = len(data) // _SIZES[kind]
        where = data.ljust(room, b"\0") if len(data) <= room else struct.pack(order + pointer, self.place(data))
        return struct.pack(f"{order}HH{pointer}", tag, kind, count) + where


NONE, DEFLATE, OLD_DEFLATE = 1, 8, 32946
# By Pillow's names for writing.
_LIBRARY_CODECS = {5: "tiff_lzw", 32773: "packbits", 34925: "lzma"}
BYTE_CODECS = (NONE, DEFLATE, OLD_DEFLATE, *_LIBRARY_CODECS)
_BATCH_BYTES = 1 << 25


@dataclass(frozen=True)
class BlockForm:
    """What all blocks of a picture have in common.

    Attributes:
        rows, columns: of a block, in pixels; the last strip may have fewer rows.
        channels: samples per pixel within a block (1 where planes are apart).
        bits: 1, 2, 4, 8 or 16 per sample.
        compression: TIFF's number, one of `BYTE_CODECS`.
        differences: the predictor "horizontal differencing" is on.
        order: "<" or ">", of samples of 16 bits.
    """

    rows: int
    columns: int
    channels: int
    bits: int
    compression: int
    differences: bool
    order: str

    @property
    def row_bytes(self) -> int:
        return (self.columns * self.channels * self.bits + 7) // 8


def decode_blocks(
    blocks: Sequence[bytes | memoryview], heights: Sequence[int], form: BlockForm, name: str
) -> Iterator[np.ndarray]:
    """Samples of each block: rows x columns x channels, uint8 or uint16, levels below 8 bits unpacked.

    Raises:
        BadImageError: a block ends early or makes no sense.
    """
    batch = max(_BATCH_BYTES // (form.rows * form.row_bytes), 1)
    for start in range(0, len(blocks), batch):
        part, rows = blocks[start : start + batch], heights[start : start + batch]
        flat = _decompress(part, rows, form, name)
        at = 0
        for height in rows:
            yield _to_samples(flat[at : at + height], form)
            at += height


def encode_blocks(samples: Sequence[np.ndarray], form: BlockForm) -> list[bytes]:
    """The opposite of `decode_blocks`."""
    flat = [_from_samples(block, form) for block in samples]
    if form.compression == NONE:
        return [block.tobytes() for block in flat]
    if form.compression in (DEFLATE, OLD_DEFLATE):
        return [zlib.compress(block.tobytes()) for block in flat]
    encoded = []
    batch = max(_BATCH_BYTES // (form.rows * form.row_bytes), 1)
    for start in range(0, len(flat), batch):
        stacked = Image.fromarray(np.concatenate(flat[start : start + batch]))
        buffer = io.BytesIO()
        size = form.rows * form.row_bytes
        stacked.save(buffer, format="TIFF", compression=_LIBRARY_CODECS[form.compression], strip_size=size)
        directory = read_directory(buffer.getvalue(), "block")
        for at, length in zip(directory.values(273), directory.values(279), strict=True):
            encoded.append(buffer.getvalue()[at : at + length])
    return encoded


def _decompress(
    blocks: Sequence[bytes | memoryview], heights: Sequence[int], form: BlockForm, name: str
) -> np.ndarray:
    """Blocks below each other as rows of bytes."""
    if form.compression in _LIBRARY_CODECS:
        # Only the last block may be shorter: strips of a file are in order.
        strips = _as_grey_tiff(blocks, sum(heights), form)
        with open_picture(io.BytesIO(strips), name) as image:
            decode_picture(image, name)
            return np.asarray(image)
    rows = []
    for block, height in zip(blocks, heights, strict=True):
        size = height * form.row_bytes
        if form.compression != NONE:
            try:
                block = zlib.decompressobj().decompress(block, size)
            except zlib.error as error:
                raise BadImageError(f"{name}: broken or cut short ({error})") from error
        if len(block) < size:
            raise BadImageError(f"{name}: broken or cut short (a block holds {len(block)} of {size} bytes)")
        rows.append(np.frombuffer(block, np.uint8, size).reshape(height, form.row_bytes))
    return rows[0] if len(rows) == 1 else np.concatenate(rows)


def _as_grey_tiff(blocks: Sequence[bytes | memoryview], height: int, form: BlockForm) -> bytes:
    count, ends, data = len(blocks), np.cumsum([len(block) for block in blocks]), b"".join(blocks)
    offsets, sizes = 8 + ends - [len(block) for block in blocks], [len(block) for block in blocks]
    after = 8 + len(data)
    many = struct.pack(f"<{count}I{count}I", *offsets, *sizes)
    directory_at = after + (len(many) if count > 1 else 0)
    tags = ((256, form.row_bytes), (257, height), (258, 8), (259, form.compression), (262, 1))
    entries = [struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags]
    entries.append(struct.pack("<HHII", 273, 4, count, after if count > 1 else offsets[0]))
    entries += [struct.pack("<HHII", tag, 4, 1, value) for tag, value in ((277, 1), (278, form.rows))]
    entries.append(struct.pack("<HHII", 279, 4, count, after + 4 * count if count > 1 else sizes[0]))
    head = struct.pack("<2sHI", b"II", 42, directory_at)
    directory = struct.pack("<H", len(entries)) + b"".join(entries) + bytes(4)
    return head + data + (many if count > 1 else b"") + directory


def _to_samples(rows: np.ndarray, form: BlockForm) -> np.ndarray:
    shape = (len(rows), form.columns, form.channels)
    if form.bits == 16:
        samples = np.ascontiguousarray(rows).view(form.order + "u2").astype(np.uint16).reshape(shape)
    elif form.bits == 8:
        samples = rows.reshape(shape)
    else:
        bits = np.unpackbits(rows, axis=1)[:, : form.columns * form.channels * form.bits].reshape(*shape, form.bits)
        weights = 1 << np.arange(form.bits - 1, -1, -1, dtype=np.uint8)
        samples = (bits * weights).sum(-1, dtype=np.uint8)
    return np.cumsum(samples, axis=1, dtype=samples.dtype) if form.differences else samples


def _from_samples(samples: np.ndarray, form: BlockForm) -> np.ndarray:
    if form.differences:
        samples = np.concatenate([samples[:, :1], samples[:, 1:] - samples[:, :-1]], axis=1)
    flat = np.ascontiguousarray(samples).reshape(len(samples), -1)
    if form.bits == 16:
        return flat.astype(form.order + "u2").view(np.uint8)
    if form.bits == 8:
        return flat
    shifts = np.arange(form.bits - 1, -1, -1, dtype=np.uint8)
    return np.packbits((flat[..., None] >> shifts & 1).reshape(len(samples), -1), axis=1)


WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, INKS = 0, 1, 2, 3, 5
COLOURS = {WHITE_IS_ZERO: 1, BLACK_IS_ZERO: 1, RGB: 3, PALETTE: 1, INKS: 4}
_STRIP_TAGS, _TILE_TAGS = (273, 279), (324, 325)


@dataclass(frozen=True)
class Layout:
    """Where the samples of a TIFF's first picture lie.

    Attributes:
        directory: the file.
        width, height, channels: of the picture; the colours' channels come first, others (alpha) follow.
        photometric: TIFF's number for what the samples mean.
        planes: 1, or `channels` where each lies apart.
        form: of the blocks.
        tags: of the blocks' offsets and sizes.
        offsets, sizes: of the blocks in bytes, plane by plane, row by row.
    """

    directory: Directory
    width: int
    height: int
    channels: int
    photometric: int
    planes: int
    form: BlockForm
    tags: tuple[int, int]
    offsets: tuple[int, ...]
    sizes: tuple[int, ...]

    def boxes(self) -> list[tuple[int, int]]:
        """First row and column of each block of one plane."""
        rows, columns = range(0, self.height, self.form.rows), range(0, self.width, self.form.columns)
        return [(row, column) for row in rows for column in columns]

    def samples(self) -> np.ndarray:
        """The whole picture, height x width x channels, uint8 or uint16 (levels below 8 bits one per byte)."""
        result = np.empty((self.height, self.width, self.channels), np.uint16 if self.form.bits == 16 else np.uint8)
        boxes = self.boxes()
        for plane in range(self.planes):
            channels = slice(None) if self.planes == 1 else slice(plane, plane + 1)
            numbers = range(plane * len(boxes), (plane + 1) * len(boxes))
            for (row, column), block in zip(boxes, self._decode(numbers), strict=True):
                target = result[row : row + len(block), column : column + self.form.columns, channels]
                target[:] = block[: target.shape[0], : target.shape[1]]
        return result

    def patched(self, mask: np.ndarray, fill: Callable[[np.ndarray], np.ndarray]) -> bytearray:
        """The file with other samples where `mask` (stored orientation) is not 0; other blocks keep their bytes.

        `fill` gives the samples (N x colours) for the pixels of a part of the picture; its argument is their flat
        indices.
        """
        rewriter, boxes = Rewriter(self.directory), self.boxes()
        rows, columns = self.form.rows, self.form.columns
        touched = [number for number, (y, x) in enumerate(boxes) if mask[y : y + rows, x : x + columns].any()]
        offsets, sizes = list(self.offsets), list(self.sizes)
        apart = self.blocks_are_apart()
        for plane in range(self.planes):
            numbers = [plane * len(boxes) + number for number in touched]
            changed = []
            for number, decoded in zip(touched, self._decode(numbers), strict=True):
                block, (row, column) = decoded.copy(), boxes[number]
                ys, xs = np.nonzero(mask[row : row + rows, column : column + columns])
                colours = fill((ys + row) * self.width + xs + column)
                if self.planes == 1:
                    block[ys, xs, : colours.shape[1]] = colours
                elif plane < colours.shape[1]:
                    block[ys, xs, 0] = colours[:, plane]
                changed.append(block)
            for number, block in zip(numbers, encode_blocks(changed, self.form), strict=True):
                offsets[number] = rewriter.exchange(offsets[number], sizes[number] if apart else 0, block)
                sizes[number] = len(block)
        moved = tuple(offsets) != self.offsets or tuple(sizes) != self.sizes
        return rewriter.finish({self.tags[0]: offsets, self.tags[1]: sizes} if moved else {})

    def _decode(self, numbers: range | list[int]) -> Iterator[np.ndarray]:
        boxes, form = self.boxes(), self.form
        source = memoryview(self.directory.source)
        blocks = [source[self.offsets[n] : self.offsets[n] + self.sizes[n]] for n in numbers]
        heights = [form.rows] * len(blocks)
        if self.tags == _STRIP_TAGS:
            heights = [min(form.rows, self.height - boxes[number % len(boxes)][0]) for number in numbers]
        return decode_blocks(blocks, heights, form, self.directory.name)

    def blocks_are_apart(self) -> bool:
        """Whether no two blocks share bytes: some writers store equal blocks once."""
        spans = sorted(zip(self.offsets, self.sizes, strict=True))
        return all(at + size <= following for (at, size), (following, _) in pairwise(spans))


def read_layout(directory: Directory) -> Layout | None:
    """None where the compression or the colours need a decoder of their own (JPEG, fax, YCbCr, Lab).

    Raises:
        BadImageError: samples that this project does not restore (floating point, signed, 12 or 32 bits), or a
            directory that contradicts itself.
    """
    name, value = directory.name, directory.value
    width, height, channels = value(256, 0), value(257, 0), value(277, 1)
    check_size(width, height, name)
    bits = _bits(directory)
    photometric, compression = value(262, BLACK_IS_ZERO), value(259, NONE)
    differences, planes = value(317, 1), channels if value(284, 1) == 2 else 1
    simple = photometric in COLOURS and compression in BYTE_CODECS and value(266, 1) == 1
    if not simple or differences > 2 or (differences == 2 and bits < 8) or (photometric == INKS and bits < 8):
        return None
    if photometric == INKS and bits == 16:
        raise BadImageError(f"{name}: inks of 16 bits; save it with 8 bits or as RGB")
    tiled = 322 in directory.entries
    rows, columns = (value(323, 0), value(322, 0)) if tiled else (min(value(278, height), height), width)
    if min(rows, columns, width, height) < 1 or channels < COLOURS[photometric]:
        raise BadImageError(f"{name}: broken (blocks of {columns} x {rows} pixels, {channels} samples per pixel)")
    check_size(columns, rows, name)
    form = BlockForm(
        rows, columns, 1 if planes > 1 else channels, bits, compression, differences == 2, directory.order
    )
    tags = _TILE_TAGS if tiled else _STRIP_TAGS
    offsets = directory.values(tags[0])
    count = planes * -(-height // rows) * -(-width // columns)
    sizes = directory.values(tags[1])
    if compression == NONE and len(offsets) == count:
        # Old writers leave the sizes out, or round them.
        down, across = -(-height // rows), -(-width // columns)
        last = rows if tiled else height - (down - 1) * rows
        lines = [rows] * ((down - 1) * across) + [last] * across
        sizes = tuple(line * form.row_bytes for line in lines * planes)
    if not len(offsets) == len(sizes) == count:
        raise BadImageError(f"{name}: broken ({len(offsets)} blocks, expected {count})")
    if max(at + size for at, size in zip(offsets, sizes, strict=True)) > len(directory.source):
        raise BadImageError(f"{name}: broken or cut short (its pixels lie behind its end)")
    layout = Layout(directory, width, height, channels, photometric, planes, form, tags, offsets, sizes)
    return _by_rows(layout) if compression == NONE and not tiled and layout.blocks_are_apart() else layout


def _by_rows(layout: Layout) -> Layout:
    """Strips that are not compressed as strips of one row each: a whole picture may be one strip, and none moves."""
    size, offsets = layout.form.row_bytes, []
    for at, length in zip(layout.offsets, layout.sizes, strict=True):
        offsets += range(at, at + length, size)
    form = replace(layout.form, rows=1)
    return replace(layout, form=form, offsets=tuple(offsets), sizes=(size,) * len(offsets))


def _bits(directory: Directory) -> int:
    every = set(directory.values(258, (1,)))
    kinds = set(directory.values(339, (1,)))
    # 1 is unsigned, 4 "undefined"; 2 is signed and 3 floating point.
    if not kinds <= {1, 4}:
        kind = "floating point" if 3 in kinds else "signed or complex numbers"
        raise BadImageError(f"{directory.name}: its samples are {kind}; save it with 8 or 16 bits per channel")
    if len(every) != 1 or not every <= {1, 2, 4, 8, 16}:
        raise BadImageError(f"{directory.name}: {sorted(every)} bits per sample, expected one of 1, 2, 4, 8, 16")
    return every.pop()


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
