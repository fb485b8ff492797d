"""What is encoded anew as a whole: a BMP and a lossless WebP value for value, HEIC and AVIF upright; with metadata."""

from __future__ import annotations

import io
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


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
@pytest.mark.parametrize("lossless", [True, False])
def test_a_webp_stays_lossless_or_lossy_and_keeps_alpha_and_metadata(tmp_path, mode, lossless):
    path = tmp_path / "x.webp"
    opacity = np.full(PAGE_SIZE, 255, np.uint8)
    opacity[20:40] = 0
    image = Image.fromarray(np.dstack([page(), opacity]))
    metadata = {"exif": exif_of(1).tobytes(), "icc_profile": b"no real profile", "xmp": b"<x:xmpmeta/>"}
    image.convert(mode).save(path, lossless=lossless, quality=90, exact=True, **metadata)
    before, photo = Image.open(path).info, read_photo(path)
    pixels, mask = filled(photo)
    encoded = encode_photo(photo, pixels, mask)
    again = Image.open(io.BytesIO(encoded.content))
    values = np.asarray(again)
    assert again.mode == mode
    assert {key: again.info[key] for key in metadata} == {key: before[key] for key in metadata}
    assert (b"VP8L" in encoded.content) == lossless
    assert mode == "RGB" or np.array_equal(values[..., 3], opacity)
    assert np.abs(values[..., :3].astype(int) - pixels)[opacity > 0].mean() < (1e-9 if lossless else 3)
    note = "a lossy WEBP was encoded anew as a whole, at quality 95"
    assert encoded.notes == (() if lossless else (note,))
    assert not lossless or np.array_equal(values[..., :3], pixels)


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
@pytest.mark.parametrize("kind", ["HEIF", "AVIF"])
def test_a_photo_comes_back_in_kind_upright_and_with_its_metadata(tmp_path, kind, orientation, mode):
    if kind == "HEIF":
        pytest.importorskip("pillow_heif")
    path = tmp_path / f"a.{kind.lower()}"
    stored = Image.fromarray(np.ascontiguousarray(STORE[orientation](page()))).convert(mode)
    if mode == "RGBA":
        stored.putpixel((0, 0), (200, 200, 200, 90))
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    stored.save(path, kind, quality=95, exif=exif_of(orientation).tobytes(), icc_profile=profile, xmp=b"<x:xmpmeta/>")
    photo = read_photo(path)
    assert photo.kind == kind
    assert np.abs(photo.pixels.astype(int) - page()).mean() < 4
    pixels, mask = filled(photo)
    encoded = encode_photo(photo, pixels, mask)
    assert "encoded anew" in encoded.notes[0]
    path.write_bytes(encoded.content)
    with Image.open(path) as again:
        assert (again.format, again.mode, again.getexif()[0x010E]) == (kind, mode, "a page")
        assert again.info["icc_profile"] == profile
    assert np.abs(read_photo(path).pixels.astype(int) - pixels).mean() < 4
