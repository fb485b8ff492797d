"""What is promised for every kind of file; what is particular to one has a test of its own beside this."""

import io
import struct

import numpy as np
import pytest
from PIL import Image, ImageCms

from data.images import BadImageError, read_rgb, upright_size
from data.photos import count_pixels, encode_photo, read_photo
from tests.data.photos.files import PAGE_SIZE, STORE, assert_restored, exif_of, filled, noise, page, restore, saved

# Suffix, Pillow's mode, and how it is saved.
KINDS = {
    "JPEG": (".jpg", "RGB", {"quality": 95, "subsampling": 0}),
    "progressive grey JPEG": (".jpg", "L", {"quality": 95, "progressive": True}),
    "PNG": (".png", "RGB", {}),
    "grey PNG with alpha": (".png", "LA", {}),
    "one-bit PNG": (".png", "1", {}),
    **{f"TIFF {codec}": (".tif", "RGB", {"compression": codec}) for codec in ("raw", "tiff_lzw", "lzma", "packbits")},
    "grey TIFF": (".tif", "L", {"compression": "tiff_adobe_deflate"}),
    "fax": (".tif", "1", {"compression": "group4"}),
    "BMP": (".bmp", "RGB", {}),
    "WEBP": (".webp", "RGB", {"lossless": True}),
    "WEBP with alpha": (".webp", "RGBA", {"lossless": True, "exact": True}),
}
# The same for what is encoded anew as a whole, at another quality.
ANEW = {
    f"lossy {kind} in {mode}": (f".{kind.lower()}", mode, {"quality": 95, **options})
    for kind, options in {"WEBP": {"exact": True}, "HEIF": {}, "AVIF": {"speed": 10}}.items()
    for mode in ("RGB", "RGBA")
}
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
OPACITY = np.full(PAGE_SIZE, 255, np.uint8)
OPACITY[20:40] = 0


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", [*(name for name in KINDS if name != "BMP"), *ANEW])
def test_pixels_beside_the_mask_orientation_alpha_and_metadata_stay(tmp_path, name, orientation):
    suffix, mode, options = {**KINDS, **ANEW}[name]
    if suffix == ".heif":
        pytest.importorskip("pillow_heif")
    upright = np.asarray(Image.fromarray(page()).convert(mode).convert("RGB"))
    stored = np.ascontiguousarray(STORE[orientation](np.dstack([upright, OPACITY])))
    path, told = tmp_path / f"x{suffix}", {"icc_profile": PROFILE, "xmp": b"<x:xmpmeta/>"}
    Image.fromarray(stored).convert(mode).save(path, exif=exif_of(orientation).tobytes(), **told, **options)
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
    assert suffix in (".heif", ".avif") or "A" not in mode or again.getchannel("A") == before.getchannel("A")
    note = f"a lossy {photo.kind} was encoded anew as a whole, at quality {95 if photo.kind == 'WEBP' else 92}"
    assert encoded.notes == ((note,) if name in ANEW else ())
    # Below what is transparent, lossy kinds keep no colours.
    seen, lossy = (OPACITY > 0) | (mode == "RGB") | (name in KINDS), name in ANEW or suffix == ".jpg"
    assert np.abs(photo.pixels.astype(int) - upright)[seen].mean() <= (4 if lossy else 0)
    fill = {"L": 190, "LA": 190, "1": 255}.get(mode, (200, 190, 180))
    assert np.abs(shown - fill)[(mask == 1) & seen].mean() <= (6 if lossy else 0)
    if suffix == ".jpg":
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
    assert_restored(seen, np.asarray(again), mask, pixels)
    note = "a BMP with a palette or alpha becomes one of 24 bits"
    assert encoded.notes == (() if mode in ("L", "RGB") else (note,))


@pytest.mark.parametrize("name", [*KINDS, "TIFF jpeg"])
def test_a_file_that_ends_early_is_refused_in_words_without_pythons_objects(tmp_path, name):
    suffix, mode, options = KINDS.get(name, (".tif", "RGB", {"compression": "jpeg"}))
    path = tmp_path / f"cut{suffix}"
    Image.fromarray(noise((200, 150, 3))).convert(mode).save(path, **options)
    content = path.read_bytes()
    for end in (3, 9, 20, 100, len(content) // 2, len(content) - 50):
        path.write_bytes(content[:end])
        for use in (read_photo, read_rgb) if end == len(content) // 2 and mode == "RGB" else (read_photo,):
            with pytest.raises(BadImageError, match=rf"cut\{suffix}: ((?! object at 0x).)*$"):
                use(path)


@pytest.mark.parametrize(("suffix", "kind"), [(".jpg", "PNG"), (".png", "JPEG"), (".webp", "TIFF"), (".tif", "BMP")])
def test_the_content_decides_and_not_the_name(tmp_path, suffix, kind):
    path = tmp_path / f"x{suffix}"
    Image.fromarray(page()).save(path, format=kind)
    photo, _, _, encoded = restore(path)
    assert photo.kind == kind
    assert Image.open(io.BytesIO(encoded.content)).format == kind


FRAMES = {"save_all": True, "append_images": [Image.fromarray(noise((30, 40, 3), seed=seed)) for seed in (1, 2)]}
REFUSED = {
    "ppm.png": (saved("PPM"), "a PPM picture, which is not read; save it as JPEG or PNG"),
    "tga.jpg": (saved("TGA"), "a TGA picture, which is not read"),
    "moving.webp": (saved("WEBP", **FRAMES), "holds 3 pages or frames"),
    "moving.png": (saved("PNG", **FRAMES), "holds 3 pages or frames"),
    "pages.tif": (saved("TIFF", **FRAMES), "holds 3 pages or frames"),
    # A lossless WebP cannot be a bomb: its sides stay below 16,384.
    "bomb.bmp": (saved("BMP").replace(b"\x28\0\0\0\x1e\0", b"\x28\xff\0\0\x1e\xff"), ".* pixels; the limit is"),
    "bomb.jpg": (saved("JPEG").replace(b"\0\x1e\0\x28", b"\x75\x30\xea\x60"), "60000 x 30000 = 1,800,000,000 pixels"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_other_kinds_several_pages_and_bombs_are_refused(tmp_path, name):
    content, reason = REFUSED[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BadImageError, match=rf"{name}: {reason}"):
        read_photo(tmp_path / name)


@pytest.mark.parametrize("use", [read_photo, read_rgb, count_pixels])
def test_files_that_are_no_pictures_are_errors_that_name_them(tmp_path, use):
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "text.jpg").write_text("not a picture")
    (tmp_path / "folder.jpg").mkdir()
    for name, reason in (("empty", "it is empty"), ("text", "another kind"), ("folder", "directory"),
                         ("missing", "cannot be opened")):  # fmt: skip
        with pytest.raises(BadImageError, match=rf"{name}\.jpg.*{reason}"):
            use(tmp_path / f"{name}.jpg")


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
