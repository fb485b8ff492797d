"""Kinds of pictures are told by their first bytes, and what is no picture is not taken for one."""

import pytest
from PIL import Image

from data.images import BadImageError, kind_of
from data.photos import count_pixels, read_photo
from tests.data.photos.files import saved

BY_PILLOW = ("JPEG", "PNG", "TIFF", "WEBP", "BMP", "GIF", "PPM", "AVIF", "PDF")
NO_PICTURES = [b"", b"BM", b"BM is a company", b"hello", b"P1 is it", b"<html><svg>", bytes(64), b"II", b"\xff\x0a"]
STARTS = {
    **{kind: [saved(kind)] for kind in BY_PILLOW},
    "JPEG 2000": [saved("JPEG2000"), b"\xff\x4f\xff\x51\0"],
    "HEIC": [b"\0\0\0\x18ftyp" + brand + b"\0\0\0\0mif1" for brand in (b"heic", b"heix", b"hevc", b"mif1", b"msf1")],
    "JPEG XL": [b"\xff\x0a\xfa\x1f", b"\0\0\0\x0cJXL \r\n\x87\n\0"],
    "raw photo of a camera": [b"II*\0\x10\0\0\0CR\2\0", b"\0\0\0\x18ftypcrx \0", b"FUJIFILMCCD-RAW 0201", b"IIU\0\x18"],
    "Photoshop": [b"8BPS\0\1\0\0"],
    "SVG": [b'<?xml version="1.0"?>\n<!-- drawn -->\n<svg xmlns', b"<svg>", b"\xef\xbb\xbf<svg "],
    "": [*NO_PICTURES, b"RIFF\0\0\0\0WAVE"],
}


@pytest.mark.parametrize("kind", STARTS)
def test_every_kind_is_known_by_its_start(kind):
    assert {kind_of(start[:1024]) for start in STARTS[kind]} == {kind}


@pytest.mark.parametrize("kind", ["JPEG 2000", "HEIC", "Photoshop", "SVG", "raw photo of a camera"])
def test_what_is_not_read_is_told_as_what_it_is(tmp_path, monkeypatch, kind):
    path = tmp_path / "photo.jpg"
    monkeypatch.delitem(Image.OPEN, "HEIF", raising=False)
    path.write_bytes(STARTS[kind][-1] + bytes(2000))
    for use in (read_photo, count_pixels):
        with pytest.raises(BadImageError, match=rf"photo\.jpg: an? {kind}( picture)?, which is not read; .*save it as"):
            use(path)
