"""What is refused, of every kind: by its path, in words, whatever its name says, and before it fills the memory."""

import io
import struct
import zlib

import numpy as np
import pytest
import tifffile
from PIL import Image

from data.images import read_rgb
from data.photos import count_pixels, read_photo, tiff
from tests.data.photos.files import assert_refused, noise, png_bytes, png_chunk, saved, small_tiff, tiff_of
from tests.data.test_images import STARTS

COLOURS, GREY = np.full((20, 20, 3), 90, np.uint8), np.full((20, 20), 90, np.uint8)
RGB, PALETTE = 2, 3
TOO_LARGE = "{} x {} = .*000,000 pixels; the limit is"


def endless_directory() -> bytes:
    content = bytearray(tiff_of((COLOURS, {}), bigtiff=True))
    struct.pack_into("<Q", content, struct.unpack_from("<Q", content, 8)[0], 1 << 59)
    return bytes(content)


def huge_tiles() -> bytes:
    """Of a small picture."""
    content = tiff_of((COLOURS, {"tile": (16, 16)}))
    for tag in (322, 323):
        content = content.replace(struct.pack("<HHII", tag, 4, 1, 16), struct.pack("<HHII", tag, 4, 1, 32752))
    return content


PAGES = tiff_of(*[(COLOURS, {})] * 3)


def linked(target: int, behind: bytes = b"") -> bytes:
    """`PAGES`, whose last directory names a next one, and what lies behind them."""
    at, content = tifffile.TiffFile(io.BytesIO(PAGES)).pages[2].offset, bytearray(PAGES)
    struct.pack_into("<I", content, at + 2 + 12 * struct.unpack_from("<H", content, at)[0], target)
    return bytes(content) + behind


def many_thumbnails() -> bytes:
    """All of them the same, which takes four bytes for each."""
    content = bytearray(tiff_of((COLOURS, {"subifds": 2}), *[(COLOURS, {"subfiletype": 1})] * 2))
    page = tifffile.TiffFile(io.BytesIO(content)).pages[0]
    struct.pack_into("<II", content, page.tags[330].offset + 4, 500_000, len(content))
    return bytes(content) + struct.pack("<I", page.subifds[0]) * 500_000


EMPTY_PAGES = b"".join(struct.pack("<HI", 0, len(PAGES) + 6 * at) for at in range(1, 250_000))
RAW, BROKEN = "a raw photo of a camera, which is not read; save it as", "broken or cut short"
# Also by what asks for no more than the size.
AT_ONCE = {
    **{kind: (STARTS[kind][-1] + bytes(2000), rf"an? {kind}( picture)?, which is not read; .*save it as")
       for kind in ("JPEG XL", "JPEG 2000", "HEIC", "Photoshop", "SVG", "raw photo of a camera")},
    "DNG": (tiff_of((COLOURS, {"extratags": [(50706, "B", 4, (1, 4, 0, 0), True)]})), RAW),
    "raw, thumbnail first": (tiff_of((COLOURS, {"subfiletype": 1}), (GREY, {"photometric": "minisblack"})), RAW),
    "raw, below": (tiff_of((COLOURS, {"subifds": 1}), (GREY, {"photometric": "minisblack"})), RAW),
    "raw of a sensor": (tiff_of((COLOURS, {}), (GREY, {"photometric": 32803})), RAW),
    "TIFF, huge tiles": (huge_tiles(), "32752 x 32752 = .* pixels; the limit is"),
    "TIFF, endless": (endless_directory(), BROKEN),
    **{f"TIFF, back to page {page.index}": (linked(page.offset), "directories lead in a circle")
       for page in tifffile.TiffFile(io.BytesIO(PAGES)).pages},
    "TIFF, many pages": (linked(len(PAGES), EMPTY_PAGES), "directories have over 200,000 tags"),
    "TIFF, many thumbnails": (many_thumbnails(), "directories have over 200,000 tags"),
    **{f"TIFF, {kept} of its pages": (PAGES[: int(kept * len(PAGES))], BROKEN) for kept in (0.4, 0.7)},
    "TIFF, a page lost": (linked(len(PAGES), b"\xff" * 70000), BROKEN),
}  # fmt: skip
FRAMES = {"save_all": True, "append_images": [Image.fromarray(noise((30, 40, 3), seed=seed)) for seed in (1, 2)]}
PNG, INDICES = png_bytes(noise((21, 29, 3)), RGB, 8), noise((21, 29), 8)
PNG_TEXT = png_chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(200_000_000), 1))
PNG_HUGE = png_chunk(b"IHDR", struct.pack(">IIBBBBB", 30_000, 20_000, 8, RGB, 0, 0, 0))
GREY_TIFF = {256: 40, 257: 30, 258: [8], 259: 1, 262: 1, 277: 1, 278: 30}
ODD_TIFFS = [
    ({258: [32], 339: [3]}, "floating point"), ({258: [16], 339: [2]}, "signed"),
    *(({258: [bits]}, f"{bits} bits per sample") for bits in (12, 32)),
    *((changes, "not a|kind that is not restored") for changes in ({259: 50001}, {259: 34892}, {262: 8, 277: 1})),
    ({256: 30_000, 257: 20_000, 278: 20_000}, r"600,?000,?000 pixels"),
    ({257: 3000, 278: 3000}, "cut short"), ({257: 300, 278: 30}, "broken|cut short"),
    *(({259: codec}, BROKEN) for codec in (5, 8, 50000)),
]  # fmt: skip
WHEN_READ = {
    "PPM": (saved("PPM"), "a PPM picture, which is not read; save it as JPEG or PNG"),
    "TGA": (saved("TGA"), "a TGA picture, which is not read"),
    **{f"{kind} of frames": (saved(kind, **FRAMES), "holds 3 pages or frames") for kind in ("WEBP", "PNG", "TIFF")},
    # A lossless WebP cannot be a bomb: its sides stay below 16,384.
    "BMP, huge": (saved("BMP").replace(b"\x28\0\0\0\x1e\0", b"\x28\xff\0\0\x1e\xff"), "pixels; the limit is"),
    "JPEG, huge": (saved("JPEG").replace(b"\0\x1e\0\x28", b"\x75\x30\xea\x60"), TOO_LARGE.format(60000, 30000)),
    "PNG, huge": (PNG[:8] + PNG_HUGE + PNG[33:], TOO_LARGE.format(30000, 20000)),
    "PNG, huge text": (png_bytes(noise((21, 29, 3)), RGB, 8, before=PNG_TEXT), "Decompressed data too large"),
    "PNG, a byte": (PNG[:900] + bytes([PNG[900] ^ 255]) + PNG[901:], BROKEN),
    # Apple's tools pack PNGs for their phones so, with pixels that no decoder of PNG reads.
    "CgBI": (PNG[:8] + png_chunk(b"CgBI", bytes(4)) + PNG[8:], "its first chunk is 'CgBI', expected the header"),
    "PNG, short palette": (png_bytes(INDICES, PALETTE, 8, before=png_chunk(b"PLTE", bytes(9))), "entry 7 of a palette"),
    "PNG, no palette": (png_bytes(INDICES, PALETTE, 8), BROKEN),
    **{f"TIFF {changes}": (small_tiff({**GREY_TIFF, **changes}, noise(30 * 40 * 4).tobytes()), words)
       for changes, words in ODD_TIFFS},
}  # fmt: skip


@pytest.mark.parametrize("name", [*AT_ONCE, *WHEN_READ])
def test_what_is_not_read_or_broken_or_too_large_is_refused(tmp_path, monkeypatch, name):
    if name == "HEIC":  # As where pillow-heif is not installed
        monkeypatch.delitem(Image.OPEN, "HEIF", raising=False)
    path, (content, words) = tmp_path / "photo.jpg", {**AT_ONCE, **WHEN_READ}[name]
    path.write_bytes(content)
    assert_refused(path, words, *((read_photo, count_pixels) if name in AT_ONCE else ()))


def test_what_is_no_picture_is_an_error_that_names_it(tmp_path):
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "text.jpg").write_text("not a picture")
    (tmp_path / "folder.jpg").mkdir()
    for name, words in (("empty", "it is empty"), ("text", "another kind"), ("folder", "directory"),
                        ("missing", "cannot be opened")):  # fmt: skip
        assert_refused(tmp_path / f"{name}.jpg", words, read_photo, read_rgb, count_pixels)


def test_a_tiff_is_refused_without_the_packages(tmp_path, monkeypatch):
    """The contest's machine has neither, and is given JPEGs."""
    monkeypatch.setattr(tiff, "tifffile", None)
    (tmp_path / "x.tif").write_bytes(saved("TIFF"))
    assert_refused(tmp_path / "x.tif", "a TIFF needs the packages tifffile and imagecodecs", read_photo, count_pixels)
