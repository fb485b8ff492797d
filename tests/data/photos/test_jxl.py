"""JPEG XL: a JPEG packed as one comes back by its blocks, with all that it held; others are refused in a sentence."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image, ImageCms

from data.images import BadImageError
from data.photos import count_pixels, encode_photo, read_photo

imagecodecs = pytest.importorskip("imagecodecs")


def packed(orientation: int = 1, mode: str = "RGB", **options) -> tuple[bytes, bytes]:
    """A JPEG of 140 x 90 with a profile, EXIF and XMP, and the JPEG XL that was made of it."""
    exif, buffer = Image.Exif(), io.BytesIO()
    exif[0x0112], exif[0x010F] = orientation, "A phone"
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    noise = np.random.default_rng(0).integers(0, 255, (90, 140, 3), np.uint8)
    picture = Image.fromarray(noise).convert(mode)
    picture.save(buffer, "JPEG", exif=exif, icc_profile=profile, xmp=b"<x:xmpmeta/>", **options)
    return buffer.getvalue(), imagecodecs.jpegxl_encode_jpeg(buffer.getvalue())


@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize("options", [{}, {"mode": "L"}, {"progressive": True, "subsampling": 0}])
def test_it_is_restored_as_the_jpeg_inside_is(tmp_path, orientation, options):
    jpeg, content = packed(orientation, **options)
    for name, source in (("a.jpg", jpeg), ("a.jxl", content)):
        (tmp_path / name).write_bytes(source)
    theirs, ours = (read_photo(tmp_path / name) for name in ("a.jpg", "a.jxl"))
    assert (ours.kind, count_pixels(tmp_path / "a.jxl")) == ("JPEG XL", 140 * 90)
    assert np.array_equal(ours.pixels, theirs.pixels)
    result, mask = ours.pixels.copy(), np.zeros(ours.pixels.shape[:2], np.uint8)
    result[20:40, 30:60], mask[20:40, 30:60] = 200, 1
    encoded = encode_photo(ours, result, mask)
    assert imagecodecs.jpegxl_decode_jpeg(encoded.content) == encode_photo(theirs, result, mask).content
    assert encoded.notes == ()


BARE = imagecodecs.jpegxl_encode(np.zeros((20, 30, 3), np.uint8), lossless=True)
PACKED = packed()[1]
# The size header gives 90 by 140 in 27 bits; 60,000 by 60,000 takes the place of its beginning.
AT = PACKED.index(b"\xff\x0a") + 2
HUGE = (3 << 1 | 59_999 << 3 | 0 << 33 | 3 << 36 | 59_999 << 38).to_bytes(9, "little")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (BARE, "was not made of a JPEG, which is not read; save it as PNG or TIFF"),
        (PACKED[:-400], "broken or cut short"),
        (PACKED[:60], "was not made of a JPEG|broken or cut short"),
        (PACKED[:AT] + HUGE + PACKED[AT + 9 :], "60000 x 60000 = 3,600,000,000 pixels; the limit is"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path, content, words):
    (tmp_path / "a.jxl").write_bytes(content)
    for read in (read_photo, count_pixels):
        with pytest.raises(BadImageError, match=f"^{tmp_path}/a.jxl: .*({words})"):
            read(tmp_path / "a.jxl")
