"""How a TIFF lays out its picture (strips or tiles, planes together or apart): one array out, and patches in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from data.images import BadImageError, check_size
from data.tiff_blocks import BYTE_CODECS, NONE, BlockForm, decode_blocks, encode_blocks
from data.tiff_directory import Directory, Rewriter

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
