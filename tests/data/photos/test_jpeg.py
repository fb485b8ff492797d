import io

import numpy as np
import pytest
from PIL import Image

import data.photos.jpeg
from data.images import read_rgb
from data.photos import encode_photo, read_photo
from data.photos.jpeg_file import UnsupportedJpegError
from tests.data.photos import jpegs
from tests.data.photos.files import exif_of, filled, page


def metadata(content):
    """Every APPn and COM segment of a JPEG but Adobe's, in order."""
    return [segment for segment in jpegs.split(content)[0] if segment[0] in (*range(0xE0, 0xEE), 0xEF, jpegs.COM)]


@pytest.fixture
def _no_blocks(monkeypatch):
    """As where jpeglib is not installed."""

    def refuse(*_):
        raise UnsupportedJpegError("the package jpeglib is not installed")

    monkeypatch.setattr(data.photos.jpeg, "replace_blocks", refuse)


@pytest.mark.usefixtures("_no_blocks")
@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("sampling", [0, 2])
def test_a_jpeg_without_block_access_keeps_tables_segments_and_colours(tmp_path, mode, progressive, sampling):
    path = tmp_path / "x.jpg"
    Image.fromarray(page()).convert(mode).save(
        path, quality=85, progressive=progressive, subsampling=sampling, exif=exif_of(6), comment=b"by somebody",
        icc_profile=bytes(range(256)) * 300, dpi=(300, 300), xmp=b"<x:xmpmeta/>",
    )  # fmt: skip
    before = path.read_bytes()
    photo = read_photo(path)
    pixels, mask = filled(photo)
    encoded = encode_photo(photo, pixels, mask)
    old, new = Image.open(path), Image.open(io.BytesIO(encoded.content))
    assert new.mode == mode
    assert new.quantization == old.quantization
    assert new.info.get("progressive") == old.info.get("progressive")
    assert mode != "RGB" or new.layer == old.layer
    assert metadata(encoded.content) == metadata(before)
    assert encoded.notes == (
        "every block of the JPEG was encoded anew, with the same tables (the package jpeglib is not installed)",
    )
    path.write_bytes(encoded.content)
    grey = pixels[mask == 1].mean(-1, keepdims=True)
    expected = np.where(mask[..., None] == 1, grey.mean() if mode == "L" else pixels, photo.pixels)
    near = np.zeros(mask.shape, bool)
    near[:32, :32], near[-32:, -32:] = True, True
    again = read_rgb(path).astype(int)
    assert np.abs(again - expected)[~near].max() <= 3
    assert np.abs(again - expected).mean() < 3


def test_what_blocks_cost_is_noted(tmp_path):
    path, image = tmp_path / "x.jpg", Image.fromarray(page((96, 120)))
    image.save(path, format="MPO", quality=90, save_all=True, append_images=[image])
    photo = read_photo(path)
    encoded = encode_photo(photo, *filled(photo))
    assert photo.kind == "JPEG"
    assert encoded.notes == ("what lies behind the picture (further pictures, a video) is dropped",)


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_another_picture_like_a_jpeg_takes_its_tables_and_metadata(tmp_path, mode):
    path = tmp_path / "x.jpg"
    Image.fromarray(page()).convert(mode).save(path, quality=70, subsampling=1, progressive=True, exif=exif_of(6))
    upright = read_rgb(path)[::-1]
    path.write_bytes(data.photos.jpeg.encode_like(path.read_bytes(), "x.jpg", upright, 95))
    again = Image.open(path)
    assert np.abs(read_rgb(path).astype(int) - upright).mean() < 3
    if mode == "RGB":
        assert again.getexif()[0x010E] == "a page"
        assert again.info["progressive"]
        assert again.quantization[0][0] > 5
    else:
        assert 0x010E not in again.getexif()
        assert again.quantization[0][0] < 5


def test_metadata_stays_where_bytes_between_segments_forbid_to_replace_blocks(tmp_path):
    path, source = tmp_path / "x.jpg", jpegs.with_metadata()
    first = 4 + int.from_bytes(source[4:6], "big")
    path.write_bytes(source[:first] + b"\0\0" + source[first:])
    photo = read_photo(path)
    encoded = encode_photo(photo, *filled(photo))
    assert f"byte {first} belongs to no segment" in encoded.notes[0]
    assert metadata(encoded.content) == metadata(source)
