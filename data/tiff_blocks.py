"""The strips and tiles of a TIFF: from their bytes to samples and back, for any compression that works on bytes.

LZW, PackBits and their like know nothing of pixels. So a block of any depth is shown to Pillow (libtiff) as rows of
grey bytes, which also brings 16-bit colours through a library that has no mode for them.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from data.images import BadImageError, decode_picture, open_picture
from data.tiff_directory import read_directory

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
