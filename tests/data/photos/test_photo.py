"""What is promised for every kind of file; what is particular to one has a test of its own beside this."""

import io
import struct

import imagecodecs
import numpy as np
import pytest
from PIL import Image, ImageCms

from data.images import BadImageError, read_rgb, upright_size
from data.photos import count_pixels, encode_photo, read_photo
from tests.data.photos import files
from tests.data.photos.files import ANEW, KINDS, PAGE_SIZE, exif_of, file_of, filled, noise, page, restore, saved

PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
OPACITY = np.full(PAGE_SIZE, 255, np.uint8)
OPACITY[20:40] = 0


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", [*(name for name in KINDS if name != "BMP"), *ANEW])
def test_pixels_beside_the_mask_orientation_alpha_and_metadata_stay(tmp_path, name, orientation):
    form, mode, _ = {**KINDS, **ANEW}[name]
    if form == "HEIF":
        pytest.importorskip("pillow_heif")
    upright = np.asarray(Image.fromarray(page()).convert(mode).convert("RGB"))
    stored = np.ascontiguousarray(files.STORE[orientation](np.dstack([upright, OPACITY])))
    path, told = tmp_path / "x", {"icc_profile": PROFILE, "xmp": b"<x:xmpmeta/>"}
    path.write_bytes(file_of(name, stored, exif=exif_of(orientation).tobytes(), **told))
    photo = read_photo(path)
    pixels, mask = filled(photo)
    encoded = encode_photo(photo, pixels, mask)
    path.write_bytes(encoded.content)
    before, again, shown = Image.open(io.BytesIO(photo.source)), Image.open(path), read_rgb(path).astype(int)
    assert photo.orientation == again.getexif().get(0x0112, 1)
    assert name in ANEW or photo.orientation == orientation
    assert (again.format, again.mode, again.getexif()[0x010E]) == (photo.kind, mode, "a page")
    assert [again.info.get(key) for key in told] == [before.info.get(key) for key in told]
    assert upright_size(path) == PAGE_SIZE[::-1] == shown.shape[1::-1]
    assert form in ("HEIF", "AVIF") or "A" not in mode or again.getchannel("A") == before.getchannel("A")
    note = f"a lossy {photo.kind} was encoded anew as a whole, at quality {95 if photo.kind == 'WEBP' else 92}"
    assert encoded.notes == ((note,) if name in ANEW else ())
    # Below what is transparent, lossy kinds keep no colours.
    seen, lossy = (OPACITY > 0) | (mode == "RGB") | (name in KINDS), name in ANEW or form == "JPEG"
    assert np.abs(photo.pixels.astype(int) - upright)[seen].mean() <= (4 if lossy else 0)
    fill = {"L": 190, "LA": 190, "1": 255}.get(mode, (200, 190, 180))
    assert np.abs(shown - fill)[(mask == 1) & seen].mean() <= (6 if lossy else 0)
    if form == "JPEG":
        seen[:24, :24] = seen[-24:, -24:] = False
    error = np.abs(shown - photo.pixels)[(mask == 0) & seen]
    assert error.mean() < 4 if name in ANEW else not error.any()


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
    files.assert_restored(seen, np.asarray(again), mask, pixels)
    note = "a BMP with a palette or alpha becomes one of 24 bits"
    assert encoded.notes == (() if mode in ("L", "RGB") else (note,))


def test_what_a_heic_or_avif_loses_is_named(tmp_path):
    path, deep = tmp_path / "x", noise((40, 48, 3), 1024, dtype=np.uint16)
    contents = {"in 8 bits for each colour": imagecodecs.avif_encode(deep, level=95, bitspersample=10)}
    for name in ANEW:
        if "RGBA" in name and "WEBP" not in name and ("HEIF" not in name or "HEIF" in Image.OPEN):
            told, alpha = f"pictures beside that of a {name.split()[1]}", file_of(name, np.dstack([page(), OPACITY]))
            contents[told] = alpha.replace(b"auxid:1", b"auxid:2").replace(b"auxiliary:alpha", b"auxiliary:depth")
    for told, content in contents.items():
        path.write_bytes(content)
        assert told in restore(path)[-1].notes[-1]


@pytest.mark.parametrize("name", [*KINDS, "TIFF jpeg", *(name for name in ANEW if "HEIF" not in name)])
def test_a_file_that_ends_early_is_refused_in_words_without_pythons_objects(tmp_path, name):
    path, pixels = tmp_path / "cut", noise((200, 150, 3))
    content = file_of(name, pixels) if name != "TIFF jpeg" else saved("TIFF", pixels, compression="jpeg")
    for end in (3, 9, 20, 100, len(content) // 2, len(content) - 50):
        path.write_bytes(content[:end])
        for use in (read_photo, read_rgb) if end == len(content) // 2 else (read_photo,):
            with pytest.raises(BadImageError, match=r"cut: ((?! object at 0x|is not read).)*$"):
                use(path)


def test_pixels_are_counted_and_wrong_arrays_refused(tmp_path):
    for suffix in (".jpg", ".png", ".tif", ".bmp", ".webp"):
        path = tmp_path / f"x{suffix}"
        Image.fromarray(page()).save(path)
        assert count_pixels(path) == PAGE_SIZE[0] * PAGE_SIZE[1]
        photo = read_photo(path)
        for wrong in (photo.pixels.astype(np.uint16), photo.pixels[1:]):
            with pytest.raises(ValueError, match=rf"x\{suffix}: expected .* \('uint8', \(61, 78, 3\)\), got \('uint"):
                encode_photo(photo, wrong, np.ones(PAGE_SIZE))
    # Pillow's own limit does not hold.
    Image.new("1", (20_000, 10_000)).save(tmp_path / "large.png")
    assert count_pixels(tmp_path / "large.png") == 200_000_000


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
@pytest.mark.parametrize("broken", [b"II*\0", b"XX*\0\0\0\0\0" + bytes(range(90)), b"", b"II*\0\xff\xff\xff\x7f"])
def test_broken_exif_is_no_reason_to_refuse_a_picture_and_stays(tmp_path, suffix, broken):
    path, exif = tmp_path / f"x{suffix}", b"Exif\0\0" + broken
    Image.fromarray(page()).save(path, exif=exif)
    seen, (photo, _, _, encoded) = read_rgb(path), restore(path)
    assert photo.orientation == 1
    assert np.array_equal(seen, photo.pixels)
    assert broken in encoded.content
