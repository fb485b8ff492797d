import io

import cv2
import numpy as np
import pytest
from PIL import Image

from data.images import BadImageError, encode_image, read_photo, read_rgb, upright_size, write_image


def picture(height=61, width=45, seed=0):
    """A smooth picture with one dark bar, so that JPEG changes little and a turned picture is told from another."""
    rows, columns = np.mgrid[:height, :width]
    rgb = np.stack([rows * 3 % 256, columns * 4 % 256, (rows + columns) * 2 % 256], axis=2).astype(np.uint8) // 2 + 100
    rgb[3:9, 5:30] = np.random.default_rng(seed).integers(0, 60, 3)
    return rgb


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".webp"])
def test_lossless_formats_come_back_bit_for_bit(tmp_path, suffix):
    rgb = picture()
    write_image(tmp_path / f"x{suffix}", rgb)
    assert np.array_equal(read_rgb(tmp_path / f"x{suffix}"), rgb)
    assert [path.name for path in tmp_path.iterdir()] == [f"x{suffix}"]


def test_png_level_changes_the_file_and_not_the_picture():
    fast, small = encode_image(picture(400, 400), ".png", png_level=0), encode_image(picture(400, 400), ".png")
    assert len(small) < len(fast)
    assert np.array_equal(Image.open(io.BytesIO(fast)), Image.open(io.BytesIO(small)))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("reduce", [1, 2])
def test_exif_orientation_is_applied_when_reading_and_kept_when_writing(tmp_path, orientation, reduce):
    upright = picture(64, 48)
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.swapaxes(0, 1),
        6: np.rot90(upright),
        7: np.rot90(upright.swapaxes(0, 1), 2),
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(np.ascontiguousarray(stored)).save(tmp_path / "x.png", exif=exif)
    expected = np.asarray(Image.fromarray(upright).reduce(reduce))
    assert np.array_equal(read_rgb(tmp_path / "x.png", reduce), expected)
    photo = read_photo(tmp_path / "x.png")
    assert np.array_equal(photo.rgb, upright)
    write_image(tmp_path / "again.png", photo.rgb, like=photo)
    assert np.array_equal(np.asarray(Image.open(tmp_path / "again.png")), stored)
    assert np.array_equal(read_rgb(tmp_path / "again.png"), upright)


@pytest.mark.parametrize("size", [(61, 45), (64, 48), (7, 9), (1, 30), (8, 8), (9, 17)])
@pytest.mark.parametrize("reduce", [2, 4, 8])
def test_reduced_sizes_round_up_for_every_format_and_show_the_same(tmp_path, size, reduce):
    rgb = np.asarray(Image.fromarray(picture(*size)).resize(size[::-1], Image.Resampling.BILINEAR))
    expected_shape = (-(-size[0] // reduce), -(-size[1] // reduce), 3)
    Image.fromarray(rgb).save(tmp_path / "x.jpg", quality=100, subsampling=0)
    write_image(tmp_path / "x.png", rgb)
    from_jpeg, from_png = read_rgb(tmp_path / "x.jpg", reduce), read_rgb(tmp_path / "x.png", reduce)
    assert from_jpeg.shape == from_png.shape == expected_shape
    assert abs(from_jpeg.astype(float) - from_png).mean() < 6


def test_an_odd_sized_jpeg_is_decoded_at_reduced_size(tmp_path, monkeypatch):
    """Asked for the rounded-up half of an odd side, Pillow decodes the whole picture: several times slower."""
    Image.fromarray(picture(2001, 1501)).save(tmp_path / "x.jpg")
    decoded = []
    load = Image.core.new

    def watched(mode, size, *rest):
        decoded.append(tuple(size))
        return load(mode, size, *rest)

    monkeypatch.setattr(Image.core, "new", watched)
    assert read_rgb(tmp_path / "x.jpg", 4).shape == (501, 376, 3)
    assert decoded
    assert max(decoded) == (376, 501)


def test_a_truncated_jpeg_is_an_error_that_names_it(tmp_path):
    content = encode_image(picture(400, 300), ".jpg")
    (tmp_path / "cut.jpg").write_bytes(content[: len(content) // 2])
    for read in (read_rgb, read_photo, lambda path: read_rgb(path, 2)):
        with pytest.raises(BadImageError, match=r"cut\.jpg.*cut short"):
            read(tmp_path / "cut.jpg")


def test_files_that_are_no_pictures_are_errors_that_name_them(tmp_path):
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "text.jpg").write_text("not a picture")
    (tmp_path / "folder.jpg").mkdir()
    for name in ("empty.jpg", "text.jpg", "folder.jpg", "missing.jpg"):
        with pytest.raises(BadImageError, match=name):
            read_rgb(tmp_path / name)


def test_modes_become_rgb(tmp_path):
    grey = picture()[..., 0]
    Image.fromarray(grey).save(tmp_path / "grey.png")
    assert np.array_equal(read_rgb(tmp_path / "grey.png"), np.repeat(grey[..., None], 3, axis=2))
    Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / "deep.png")
    assert np.array_equal(read_rgb(tmp_path / "deep.png")[..., 0], grey)
    Image.fromarray(picture()).convert("CMYK").save(tmp_path / "cmyk.jpg", quality=95)
    assert abs(read_rgb(tmp_path / "cmyk.jpg").astype(int) - picture()).mean() < 3


def test_alpha_and_colour_profile_are_kept(tmp_path):
    alpha = np.full((61, 45), 128, np.uint8)
    image = Image.fromarray(np.dstack([picture(), alpha]))
    image.save(tmp_path / "x.png", icc_profile=b"profile", dpi=(300, 300))
    photo = read_photo(tmp_path / "x.png")
    assert np.array_equal(photo.alpha, alpha)
    write_image(tmp_path / "y.png", photo.rgb, like=photo)
    again = Image.open(tmp_path / "y.png")
    assert again.mode == "RGBA"
    assert again.info["icc_profile"] == b"profile"
    assert np.array_equal(np.asarray(again), np.asarray(image))


@pytest.mark.parametrize("quality", [75, 92])
@pytest.mark.parametrize("kind", ["JPEG", "MPO"])
def test_a_jpeg_is_written_again_as_it_was(tmp_path, quality, kind):
    """Also MPO, which phones name .jpg: a JPEG with a second picture behind the first."""
    image = Image.fromarray(picture(200, 300))
    more = {"save_all": True, "append_images": [image]} if kind == "MPO" else {}
    image.save(tmp_path / "x.jpg", format=kind, quality=quality, subsampling=0, **more)
    photo = read_photo(tmp_path / "x.jpg")
    write_image(tmp_path / "y.jpg", photo.rgb, like=photo)
    before, after = Image.open(tmp_path / "x.jpg"), Image.open(tmp_path / "y.jpg")
    assert before.quantization == after.quantization
    assert abs(read_rgb(tmp_path / "x.jpg").astype(int) - read_rgb(tmp_path / "y.jpg")).mean() < 0.5


def saved(path, image, **options):
    """The picture as a file, and what is read of it."""
    image.save(path, **options)
    return read_photo(path)


@pytest.mark.parametrize("name", ["pages.tif", "moving.webp", "moving.png", "moving_gif.png"])
def test_a_file_of_several_pages_or_frames_is_refused_with_their_number(tmp_path, name):
    frames = [Image.fromarray(picture(seed=seed)) for seed in range(3)]
    kind = {"format": "GIF"} if "gif" in name else {}
    frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:], **kind)
    with pytest.raises(BadImageError, match=rf"{name}: holds 3 pages or frames, and only the first"):
        read_photo(tmp_path / name)


def test_a_profile_goes_with_the_colours_that_it_describes(tmp_path):
    colour, grey = Image.fromarray(picture()), Image.fromarray(picture()[..., 0])
    cmyk = saved(tmp_path / "cmyk.jpg", colour.convert("CMYK"), icc_profile=b"for ink")
    assert cmyk.lost == ("CMYK becomes RGB, and its colour profile is dropped",)
    light = saved(tmp_path / "grey.png", grey, icc_profile=b"for grey")
    assert light.lost == ()
    for photo, rgb, profile in (
        (cmyk, cmyk.rgb, None),
        (light, light.rgb, b"for grey"),
        (light, picture(), None),
        (saved(tmp_path / "p.png", colour.quantize(16), icc_profile=b"for light"), picture(), b"for light"),
    ):
        again = Image.open(io.BytesIO(encode_image(rgb, ".png", photo)))
        assert again.info.get("icc_profile") == profile


def test_what_cannot_be_kept_is_said(tmp_path):
    colour, grey = Image.fromarray(picture()), Image.fromarray(picture()[..., 0])
    assert cv2.imwrite(str(tmp_path / "deep.png"), picture().astype(np.uint16) * 257)
    assert cv2.imwrite(str(tmp_path / "deep.tif"), picture().astype(np.uint16) * 257)
    depth = ("more than 8 bits per channel become 8",)
    assert read_photo(tmp_path / "deep.png").lost == read_photo(tmp_path / "deep.tif").lost == depth
    assert saved(tmp_path / "g.png", Image.fromarray(picture()[..., 0].astype(np.uint16) * 257)).lost == depth
    palette = ("the palette becomes RGB, and the file larger",)
    assert saved(tmp_path / "p.png", colour.quantize(16)).lost == palette
    see_through = (*palette, "the transparent colour becomes opaque")
    assert saved(tmp_path / "t.png", colour.quantize(16), transparency=0).lost == see_through
    fax = ("black and white becomes grey", "the compression group4 becomes deflate")
    assert saved(tmp_path / "fax.tif", grey.convert("1"), compression="group4").lost == fax
    for name, image in (("a.jpg", colour), ("a.png", colour.convert("RGBA")), ("b.png", grey), ("a.bmp", colour)):
        assert saved(tmp_path / name, image).lost == ()


@pytest.mark.parametrize("compression", ["raw", "packbits", "tiff_lzw", "tiff_adobe_deflate", "jpeg"])
def test_a_tiff_keeps_its_compression(tmp_path, compression):
    photo = saved(tmp_path / "x.tif", Image.fromarray(picture(200, 300)), compression=compression)
    again = Image.open(io.BytesIO(encode_image(photo.rgb, ".tif", photo)))
    assert again.info["compression"] == compression
    assert abs(np.asarray(again).astype(int) - photo.rgb).max() <= (0 if compression != "jpeg" else 40)
    assert photo.lost == ()


def test_a_fax_stays_compressed(tmp_path):
    photo = saved(tmp_path / "x.tif", Image.fromarray(picture(200, 300)[..., 0]).convert("1"), compression="group4")
    again = Image.open(io.BytesIO(encode_image(photo.rgb, ".tif", photo)))
    assert again.info["compression"] == "tiff_adobe_deflate"
    assert np.array_equal(np.asarray(again), photo.rgb[..., 0])


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_a_lossy_webp_stays_lossy_and_a_lossless_one_lossless(tmp_path, mode):
    noisy = np.random.default_rng(1).integers(0, 256, (120, 90, 3), np.uint8)
    image = Image.fromarray(noisy if mode == "RGB" else np.dstack([noisy, np.full_like(noisy[..., 0], 128)]))
    lossy = saved(tmp_path / "x.webp", image, quality=90, exif=Image.Exif())
    lossless = saved(tmp_path / "y.webp", image, lossless=True)
    small, large = encode_image(lossy.rgb, ".webp", lossy), encode_image(lossless.rgb, ".webp", lossless)
    assert len(small) < 0.7 * len(encode_image(lossy.rgb, ".webp"))
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(large)).convert("RGB")), lossless.rgb)


def test_wrong_arguments_are_refused(tmp_path):
    with pytest.raises(ValueError, match="reduce is 3"):
        read_rgb(tmp_path / "x.jpg", 3)
    with pytest.raises(ValueError, match="suffix"):
        encode_image(picture(), ".gif")
    with pytest.raises(ValueError, match="uint8"):
        encode_image(picture().astype(np.float32), ".png")


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_upright_size_is_that_of_what_is_read(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    for name in ("a.jpg", "a.png"):
        Image.new("RGB", (7, 4)).save(tmp_path / name, exif=exif)
        height, width = read_rgb(tmp_path / name).shape[:2]
        assert upright_size(tmp_path / name) == (width, height)
