"""What may be restored: arrays, files and Pillow images of every mode become one kind of array, or are refused."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from PIL import ExifTags, Image

from data.images import BadImageError
from inference.restorer import as_pixels

RGB = np.random.default_rng(1).integers(0, 256, (5, 7, 3), np.uint8)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_an_array_is_taken_as_it_is(kind):
    array = RGB.astype(kind)
    assert as_pixels(array) is array


def test_a_file_is_turned_upright_and_keeps_its_depth(tmp_path):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    Image.fromarray(RGB).save(tmp_path / "lying.png", exif=exif)
    assert np.array_equal(as_pixels(tmp_path / "lying.png"), np.rot90(RGB, -1))
    assert np.array_equal(as_pixels(str(tmp_path / "lying.png")), np.rot90(RGB, -1))
    deep = np.random.default_rng(2).integers(0, 65536, (5, 7, 3), np.uint16)
    cv2.imwrite(str(tmp_path / "deep.png"), deep[..., ::-1])
    assert as_pixels(tmp_path / "deep.png").dtype == np.uint16
    assert np.array_equal(as_pixels(tmp_path / "deep.png"), deep)


def test_pillow_images_of_every_mode_become_rgb():
    image = Image.fromarray(RGB)
    grey = np.asarray(image.convert("L"))
    assert np.array_equal(as_pixels(image), RGB)
    assert np.array_equal(as_pixels(image.convert("RGBA")), RGB)
    assert np.array_equal(as_pixels(image.convert("L")), np.dstack([grey] * 3))
    assert np.array_equal(as_pixels(image.convert("LA")), np.dstack([grey] * 3))
    assert np.array_equal(as_pixels(image.convert("1")), np.asarray(image.convert("1").convert("RGB")))
    for mode in ("P", "CMYK", "YCbCr", "HSV"):
        converted = image.convert(mode)
        assert np.array_equal(as_pixels(converted), np.asarray(converted.convert("RGB")))


@pytest.mark.parametrize("mode", ["I;16", "I;16B", "I"])
def test_sixteen_bit_grey_keeps_its_depth(mode):
    values = np.random.default_rng(3).integers(0, 65536, (4, 6), np.uint16)
    image = Image.fromarray(values.astype(np.int32)) if mode == "I" else Image.frombytes(
        mode, (6, 4), values.astype(">u2" if mode.endswith("B") else "<u2").tobytes()
    )
    assert image.mode == mode
    pixels = as_pixels(image)
    assert pixels.dtype == np.uint16
    assert np.array_equal(pixels, np.dstack([values] * 3))


@pytest.mark.parametrize("image", [Image.new("F", (3, 3)), Image.fromarray(np.full((3, 3), 70000, np.int32))])
def test_pillow_images_beyond_16_bits_are_refused(image):
    with pytest.raises(ValueError, match="scale it first"):
        as_pixels(image)


@pytest.mark.parametrize("thing", [123, None, 4.5, [[1, 2]], b"photo.jpg"])
def test_anything_else_is_refused_with_what_would_do(thing):
    with pytest.raises(TypeError, match=rf"{type(thing).__name__} .*array.*Pillow.*path"):
        as_pixels(thing)


@pytest.mark.parametrize(
    ("shape", "kind", "advice"),
    [
        ((4, 4), np.uint8, "np.dstack"),
        ((4, 4, 1), np.uint8, "np.dstack"),
        ((4, 4, 4), np.uint8, "alpha"),
        ((4, 4, 3), np.float32, "astype"),
        ((4, 4, 3), np.int32, ""),
        ((0, 4, 3), np.uint8, ""),
    ],
)
def test_other_arrays_are_refused_with_advice(shape, kind, advice):
    with pytest.raises(ValueError, match=rf"expected RGB uint8 or uint16 .*got .*{advice}"):
        as_pixels(np.zeros(shape, kind))


def test_an_image_without_pixels_and_a_broken_file_are_refused(tmp_path):
    with pytest.raises(ValueError, match="expected RGB"):
        as_pixels(Image.new("RGB", (0, 5)))
    (tmp_path / "bad.jpg").write_bytes(b"nothing")
    with pytest.raises(BadImageError, match=r"bad\.jpg"):
        as_pixels(tmp_path / "bad.jpg")
    with pytest.raises((BadImageError, OSError), match=r"gone\.jpg"):
        as_pixels(tmp_path / "gone.jpg")
