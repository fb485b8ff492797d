"""What is encoded anew as a whole: a BMP and a lossless WebP value for value, HEIC and AVIF upright; with metadata."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from PIL import Image, ImageCms

from data.photos import encode_photo, read_photo
from tests.data.photos.files import PAGE_SIZE, STORE, assert_restored, exif_of, filled, noise, page, restore


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA"])
def test_a_bmp_changes_only_below_the_mask_and_says_when_it_becomes_another_kind(tmp_path, mode):
    path, rgba = tmp_path / "x.bmp", noise((40, 48, 4), seed=3)
    if mode == "RGBA":
        masks = 0xFF0000, 0xFF00, 0xFF, 0xFF000000
        start = (b"BM", 0, 0, 0, 138, 124, 48, 40, 1, 32, 3, 0, 11811, 11811, 0, 0, *masks)
        path.write_bytes(struct.pack("<2sIHHIIiiHHIIiiII4I", *start).ljust(138, b"\0") + rgba.tobytes())
    else:
        image = Image.fromarray(rgba[..., :3])
        (image.quantize(200) if mode == "P" else image.convert(mode)).save(path, dpi=(300, 300))
    kept = mode if mode == "L" else "RGB"
    with Image.open(path) as image:
        assert image.mode == mode
        seen = np.asarray(image.convert(kept))
    _, pixels, mask, encoded = restore(path)
    again = Image.open(path)
    assert (again.mode, round(again.info["dpi"][0])) == (kept, 300)
    assert_restored(seen, np.asarray(again), mask, pixels)
    note = "a BMP with a palette or alpha becomes one of 24 bits"
    assert encoded.notes == (() if mode in ("L", "RGB") else (note,))


PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
KINDS = {
    "lossless WEBP": ("WEBP", {"lossless": True, "exact": True}, 0),
    "WEBP": ("WEBP", {"quality": 90, "exact": True}, 95),
    "HEIF": ("HEIF", {"quality": 95}, 92),
    "AVIF": ("AVIF", {"quality": 95}, 92),
}


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
@pytest.mark.parametrize("kind", KINDS)
def test_a_photo_comes_back_in_kind_upright_and_with_alpha_and_metadata(tmp_path, kind, orientation, mode):
    form, options, quality = KINDS[kind]
    if form == "HEIF":
        pytest.importorskip("pillow_heif")
    path, opacity = tmp_path / f"x.{form.lower()}", np.full(PAGE_SIZE, 255, np.uint8)
    opacity[20:40] = 0
    stored = Image.fromarray(np.ascontiguousarray(STORE[orientation](np.dstack([page(), opacity])))).convert(mode)
    metadata = {"exif": exif_of(orientation).tobytes(), "icc_profile": PROFILE, "xmp": b"<x:xmpmeta/>"}
    stored.save(path, form, **metadata, **options)
    before, photo = Image.open(path).info, read_photo(path)
    assert photo.kind == form
    pixels, mask = filled(photo)
    encoded = encode_photo(photo, pixels, mask)
    note = f"a lossy {form} was encoded anew as a whole, at quality {quality}"
    assert encoded.notes == ((note,) if quality else ())
    assert (b"VP8L" in encoded.content) == (not quality)
    path.write_bytes(encoded.content)
    with Image.open(path) as again:
        assert (again.format, again.mode, again.getexif()[0x010E]) == (form, mode, "a page")
        assert (again.info["icc_profile"], again.info["xmp"]) == (before["icc_profile"], before["xmp"])
        assert form != "WEBP" or mode == "RGB" or np.array_equal(np.asarray(again)[..., 3], np.asarray(stored)[..., 3])
    for read, wanted in ((photo.pixels, page()), (read_photo(path).pixels, pixels)):
        error = np.abs(read.astype(int) - wanted)
        assert error[(opacity > 0) | (mode == "RGB")].mean() < 4
        assert quality or not error.any()
