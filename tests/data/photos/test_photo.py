"""What is promised for every kind of file; what is particular to one has a test of its own beside this."""

import io

import numpy as np
import pytest
from PIL import Image

from data.images import BadImageError, read_rgb, upright_size
from data.photos import count_pixels, encode_photo, read_photo
from tests.data.photos.files import PAGE_SIZE, STORE, exif_of, filled, mask_of, noise, page, restore, saved

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
}


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", [name for name in KINDS if name != "BMP"])
def test_pixels_beside_the_mask_orientation_and_metadata_stay(tmp_path, name, orientation):
    suffix, mode, options = KINDS[name]
    path, lossy = tmp_path / f"x{suffix}", suffix == ".jpg"
    upright = np.asarray(Image.fromarray(page()).convert(mode).convert("RGB"))
    lying = Image.fromarray(np.ascontiguousarray(STORE[orientation](upright)))
    lying.convert(mode).save(path, exif=exif_of(orientation), **options)
    photo = read_photo(path)
    pixels, mask = filled(photo)
    encoded = encode_photo(photo, pixels, mask)
    path.write_bytes(encoded.content)
    assert (photo.orientation, encoded.notes) == (orientation, ())
    assert np.abs(photo.pixels.astype(int) - upright).max() <= (4 if lossy else 0)
    again, shown = Image.open(path), read_rgb(path).astype(int)
    assert again.mode == mode
    assert (again.getexif()[0x0112], again.getexif()[0x010E]) == (orientation, "a page")
    assert upright_size(path) == PAGE_SIZE[::-1] == shown.shape[1::-1]
    fill = {"L": 190, "LA": 190, "1": 255}.get(mode, (200, 190, 180))
    assert np.abs(shown - fill)[mask == 1].mean() <= (6 if lossy else 0)
    beside = mask == 0
    if lossy:
        beside[:24, :24] = beside[-24:, -24:] = False
    assert np.array_equal(shown[beside], photo.pixels[beside])


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
                encode_photo(photo, wrong, mask_of(PAGE_SIZE))
    # Pillow's own limit does not hold.
    Image.new("1", (20_000, 10_000)).save(tmp_path / "large.png")
    assert count_pixels(tmp_path / "large.png") == 200_000_000


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
@pytest.mark.parametrize("broken", [b"II*\0", b"XX*\0\0\0\0\0" + bytes(range(90)), b"", b"II*\0\xff\xff\xff\x7f"])
def test_broken_exif_is_no_reason_to_refuse_a_picture_and_stays(tmp_path, suffix, broken):
    path, exif = tmp_path / f"x{suffix}", b"Exif\0\0" + broken
    Image.fromarray(page()).save(path, exif=exif)
    photo = read_photo(path)
    assert photo.orientation == 1
    assert np.array_equal(read_rgb(path), photo.pixels)
    assert broken in encode_photo(photo, *filled(photo)).content
