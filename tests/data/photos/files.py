"""Files for the tests of `data.photos`, and what each of them has to survive."""

import io
import re
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from data.images import BadImageError
from data.photos import Encoded, Photo, encode_photo, read_photo

# EXIF orientation -> how a file of that orientation stores an upright picture.
STORE = {
    1: lambda upright: upright,
    2: lambda upright: upright[:, ::-1],
    3: lambda upright: upright[::-1, ::-1],
    4: lambda upright: upright[::-1],
    5: lambda upright: upright.swapaxes(0, 1),
    6: lambda upright: np.rot90(upright),
    7: lambda upright: np.rot90(upright.swapaxes(0, 1), 2),
    8: lambda upright: np.rot90(upright, -1),
}
PAGE_SIZE = (61, 78)
# Pillow's format and mode, and how it is saved.
KINDS = {
    "JPEG": ("JPEG", "RGB", {"quality": 95, "subsampling": 0}),
    "progressive grey JPEG": ("JPEG", "L", {"quality": 95, "progressive": True}),
    "PNG": ("PNG", "RGB", {}),
    "grey PNG with alpha": ("PNG", "LA", {}),
    "one-bit PNG": ("PNG", "1", {}),
    **{f"TIFF {codec}": ("TIFF", "RGB", {"compression": codec}) for codec in ("raw", "tiff_lzw", "lzma", "packbits")},
    "grey TIFF": ("TIFF", "L", {"compression": "tiff_adobe_deflate"}),
    "fax": ("TIFF", "1", {"compression": "group4"}),
    "BMP": ("BMP", "RGB", {}),
    "WEBP": ("WEBP", "RGB", {"lossless": True}),
    "WEBP with alpha": ("WEBP", "RGBA", {"lossless": True, "exact": True}),
}
# The same for what is encoded anew as a whole, at another quality.
ANEW = {
    f"lossy {form} in {mode}": (form, mode, {"quality": 95, **options})
    for form, options in {"WEBP": {"exact": True}, "HEIF": {}, "AVIF": {"speed": 10}}.items()
    for mode in ("RGB", "RGBA")
}
# First row and column of each pass of an interlaced PNG, and the steps from one to the next.
_PASSES = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))


def mask_of(shape: tuple[int, ...]) -> np.ndarray:
    """A blob inside, and one that reaches the last row and column."""
    mask = np.zeros(shape[:2], np.uint8)
    mask[3:9, 5:12] = 1
    mask[-4:, -3:] = 1
    return mask


def noise(shape: tuple[int, ...], high: int = 256, seed: int = 0, dtype: type = np.uint8) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, high, shape, dtype)


def page(size: tuple[int, int] = PAGE_SIZE) -> np.ndarray:
    """Smooth, so that JPEG and lossy WebP change little, and not alike in any two corners."""
    rows, columns = np.mgrid[: size[0], : size[1]]
    return np.stack([100 + rows, 80 + columns, 60 + (rows + columns) // 2], axis=2).astype(np.uint8)


def saved(form: str, picture: np.ndarray | Image.Image | None = None, **options: object) -> bytes:
    """A file of one of Pillow's formats; without a picture it shows a small page."""
    picture, buffer = page((30, 40)) if picture is None else picture, io.BytesIO()
    (Image.fromarray(picture) if isinstance(picture, np.ndarray) else picture).save(buffer, form, **options)
    return buffer.getvalue()


def file_of(name: str, pixels: np.ndarray, **more: object) -> bytes:
    form, mode, options = {**KINDS, **ANEW}[name]
    return saved(form, Image.fromarray(pixels).convert(mode), **options, **more)


def exif_of(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = orientation, "a page"
    return exif


def assert_refused(path: Path, words: str, *uses: Callable[[Path], object]) -> None:
    """Each use, or else the reading, of the file is refused with its path and a sentence of this pattern."""
    for use in uses or (read_photo,):
        with pytest.raises(BadImageError, match=rf"^{re.escape(str(path))}: .*({words})"):
            use(path)


def filled(photo: Photo, colour: tuple[int, ...] = (200, 190, 180)) -> tuple[np.ndarray, np.ndarray]:
    """Its pixels with the mask in one colour, and the mask."""
    mask = mask_of(photo.pixels.shape)
    return np.where(mask[..., None] == 1, np.array(colour, np.uint8), photo.pixels), mask


def restore(path: Path, seed: int = 5) -> tuple[Photo, np.ndarray, np.ndarray, Encoded]:
    """Fills the mask with noise and writes the result over `path`: photo, wanted pixels, mask, what was encoded."""
    photo = read_photo(path)
    mask = mask_of(photo.pixels.shape)
    # Outside of the mask the pixels are not the photo's: nothing of them may get into the file.
    other = noise(photo.pixels.shape, np.iinfo(photo.pixels.dtype).max + 1, seed, photo.pixels.dtype)
    encoded = encode_photo(photo, other, mask)
    path.write_bytes(encoded.content)
    return photo, np.where(mask[..., None] == 1, other, photo.pixels), mask, encoded


def assert_restored(before, after, mask, pixels, step: float = 1, entries=None, inks: bool = False) -> None:
    """Outside of the mask samples stay, and so does alpha inside. There the rest is the fill in `pixels`: as it is, the
    mean for one or two channels (levels `step` apart), a palette's nearest `entries`, or inks without black.
    """
    before, after = (samples.reshape(*mask.shape, -1) for samples in (before, after))
    was, now, wanted = before[mask == 1], after[mask == 1], pixels[mask == 1].astype(float)
    assert np.array_equal(after[mask == 0], before[mask == 0])
    if entries is not None:
        distance = ((entries[None, :, :3] - wanted[:, None]) ** 2).sum(-1)
        assert np.array_equal(distance[np.arange(len(distance)), now[:, 0]], distance.min(1))
    elif inks:
        assert np.array_equal(now, np.c_[255 - wanted, 0 * wanted[:, 0]])
    elif now.shape[1] < 3:
        assert np.abs(now[:, 0] * step - np.floor(wanted.mean(-1) + 0.5)).max() <= step / 2
    else:
        assert np.array_equal(now[:, :3], wanted)
    if now.shape[1] in (2, 4) and not inks:
        assert np.array_equal(now[:, -1], was[:, -1])


def packed(levels: np.ndarray, bits: int, order: str = ">") -> bytes:
    """A row of samples as bytes, the first in the highest bits."""
    if bits >= 8:
        return levels.astype(f"{order}u{bits // 8}").tobytes()
    return np.packbits((levels.reshape(-1, 1) >> np.arange(bits - 1, -1, -1) & 1).astype(np.uint8)).tobytes()


def png_chunk(kind: bytes, data: bytes = b"") -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_bytes(
    samples: np.ndarray, colour: int, depth: int, interlaced: bool = False, before: bytes = b"", after: bytes = b""
) -> bytes:
    """A PNG of the plainest kind: filter 0, one IDAT; `before` and `after` are chunks around it."""
    header = struct.pack(">IIBBBBB", samples.shape[1], samples.shape[0], depth, colour, 0, 0, int(interlaced))
    passes = _PASSES if interlaced else ((0, 0, 1, 1),)
    parts = [samples[top::down, left::right] for top, left, down, right in passes]
    raw = b"".join(b"\0" + packed(row, depth) for part in parts for row in part if len(row))
    parts = (png_chunk(b"IHDR", header), before, png_chunk(b"IDAT", zlib.compress(raw)), after, png_chunk(b"IEND"))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def png_chunks(content: bytes) -> list[tuple[bytes, bytes]]:
    """Type and data of every chunk, checksums compared."""
    chunks, at = [], 8
    while not chunks or chunks[-1][0] != b"IEND":
        size, kind = struct.unpack_from(">I4s", content, at)
        chunks.append((kind, content[at + 8 : at + 8 + size]))
        assert content[at : at + 12 + size] == png_chunk(*chunks[-1])
        at += 12 + size
    return chunks


def tiff_of(*pages: tuple[np.ndarray, dict], **options: object) -> bytes:
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer, **options) as writer:
        for pixels, more in pages:
            writer.write(pixels, **{"photometric": "rgb", "metadata": None, **more})
    return buffer.getvalue()


def small_tiff(values: dict[int, int | list[int]], data: bytes, order: str = "<") -> bytes:
    """A TIFF of one strip from its tags (tag -> value, or a list of one of 16 bits) and the bytes of its pixels."""
    values = {**values, 273: 8, 279: len(data)}
    content = struct.pack(order + "2sHI", b"II" if order == "<" else b"MM", 42, 8 + len(data)) + data
    content += struct.pack(order + "H", len(values))
    for tag, value in sorted(values.items()):
        short = isinstance(value, list)
        content += struct.pack(order + "HHI", tag, 3 if short else 4, 1)
        content += struct.pack(order + ("HH" if short else "I"), *([value[0], 0] if short else [value]))
    return content + bytes(4)
