from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data import images
from data.images import kind_of, read_rgb, read_rgba, turn_back, turn_upright, write_image
from inference.sheet import draw_comparison
from tests.data.photos.files import STORE, exif_of, page, saved


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".webp"])
def test_lossless_formats_come_back_bit_for_bit(tmp_path, suffix):
    rgb = page((1200, 900))  # Large enough to leave Pillow in bands.
    write_image(tmp_path / f"x{suffix}", rgb)
    assert np.array_equal(read_rgb(tmp_path / f"x{suffix}"), rgb)
    assert [path.name for path in tmp_path.iterdir()] == [f"x{suffix}"]
    with Image.open(tmp_path / f"x{suffix}") as image:
        assert np.array_equal(images.to_array(image, "L"), np.asarray(image.convert("L")))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".png", ".tif", ".jpg"])
def test_exif_orientation_is_applied_also_to_alpha_and_at_half_the_size(tmp_path, orientation, suffix):
    rgb, path = page((64, 48)), tmp_path / f"x{suffix}"
    upright = rgb if suffix == ".jpg" else np.dstack([rgb, rgb[..., 1]])
    stored = np.ascontiguousarray(STORE[orientation](upright))
    assert np.array_equal(turn_upright(stored, orientation), upright)
    assert np.array_equal(turn_back(upright, orientation), stored)
    Image.fromarray(stored).save(path, exif=exif_of(orientation), quality=95)
    error = read_rgb(path, reduce=2) - np.asarray(Image.fromarray(rgb).reduce(2)).astype(int)
    assert np.abs(error).max() <= (4 if suffix == ".jpg" else 0)
    seen, alpha = read_rgba(path)
    assert alpha is None if suffix == ".jpg" else np.array_equal(np.dstack([seen, alpha]), upright)


def test_a_colour_of_a_palette_that_stands_for_nothing_is_an_alpha_channel(tmp_path):
    image = Image.fromarray(page((64, 48))).quantize(4)
    image.save(tmp_path / "x.png", transparency=2)
    assert np.array_equal(read_rgba(tmp_path / "x.png")[1] == 0, np.array(image) == 2)


@pytest.mark.parametrize("size", [(61, 45), (64, 48), (7, 9), (1, 30), (8, 8), (9, 17), (2001, 1501)])
@pytest.mark.parametrize("reduce", [2, 4, 8])
def test_reduced_sizes_round_up_for_every_format_and_show_the_same(tmp_path, monkeypatch, size, reduce):
    """Asked for the rounded-up half of an odd side, Pillow decodes the whole JPEG: several times slower."""
    rgb = np.asarray(Image.fromarray(page(size)).resize(size[::-1], Image.Resampling.BILINEAR))
    reduced = (-(-size[0] // reduce), -(-size[1] // reduce))
    write_image(tmp_path / "x.png", rgb)
    Image.fromarray(rgb).save(tmp_path / "x.jpg", quality=100, subsampling=0)
    from_png, decoded, new = read_rgb(tmp_path / "x.png", reduce), [], Image.core.new
    monkeypatch.setattr(Image.core, "new", lambda mode, size, *rest: decoded.append(size) or new(mode, size, *rest))
    from_jpeg = read_rgb(tmp_path / "x.jpg", reduce)
    assert from_jpeg.shape == from_png.shape == (*reduced, 3)
    assert abs(from_jpeg.astype(float) - from_png).mean() < 6
    assert min(size) < reduce or max(decoded)[0] == reduced[1]


def test_sixteen_bits_become_the_nearest_eight_everywhere(tmp_path):
    values = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    nearest = np.rint(values / 257).astype(np.uint8)
    Image.fromarray(values).save(tmp_path / "x.png")
    assert np.array_equal(read_rgb(tmp_path / "x.png")[..., 0], nearest)
    wide, narrow = (np.repeat(each[..., None], 3, 2) for each in (values, nearest))
    assert np.array_equal(*(draw_comparison(each, each, np.zeros((256, 256), np.uint8)) for each in (wide, narrow)))


def test_pictures_of_sub_folders_sorted_and_nothing_hidden(tmp_path):
    for name in ("b.JPG", "sub/a.png", "a.tiff", "notes.txt", ".half.png", ".cache/c.png", "sub/.1-2.tmp.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "folder.jpg").mkdir()
    (tmp_path / "sub" / "up").symlink_to(tmp_path)
    assert images.pictures_below(tmp_path) == [Path("a.tiff"), Path("b.JPG"), Path("sub/a.png")]
    assert images.pictures_below(tmp_path / "nowhere") == []


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
