import io
import os
import struct

import numpy as np
import pytest
from PIL import Image

import data.jpeg_photo
from data.images import BadImageError, read_rgb
from data.jpeg_blocks import UnsupportedJpegError
from data.photo import encode_photo, read_photo
from tests.data.photos import STORE, mask_of, noise, restore

SIZE = (61, 78)


def page(size=SIZE):
    """Smooth, so that JPEG and lossy WebP change little, and not alike in any two corners."""
    rows, columns = np.mgrid[: size[0], : size[1]]
    return np.stack([100 + rows, 80 + columns, 60 + (rows + columns) // 2], axis=2).astype(np.uint8)


def exif_of(orientation):
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = orientation, "a page"
    return exif


def filled(photo, colour=(200, 190, 180)):
    mask = mask_of(photo.pixels.shape)
    return np.where(mask[..., None] == 1, np.array(colour, np.uint8), photo.pixels), mask


def segments(content):
    """Every APPn and COM segment of a JPEG, in order."""
    found, at = [], 2
    while content[at + 1] != 0xDA:
        size = 2 + int.from_bytes(content[at + 2 : at + 4], "big")
        if 0xE0 <= content[at + 1] <= 0xEF or content[at + 1] == 0xFE:
            found.append(content[at : at + size])
        at += size
    return found


@pytest.fixture
def _no_blocks(monkeypatch):
    """As where jpeglib is not installed."""

    def refuse(*_):
        raise UnsupportedJpegError("the package jpeglib is not installed")

    monkeypatch.setattr(data.jpeg_photo, "replace_blocks", refuse)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".jpg", ".webp"])
def test_orientation_is_respected_and_kept(tmp_path, suffix, orientation):
    upright, path = page(), tmp_path / f"x{suffix}"
    options = {"quality": 95, "subsampling": 0} if suffix == ".jpg" else {"lossless": True}
    stored = Image.fromarray(np.ascontiguousarray(STORE[orientation](upright)))
    stored.save(path, exif=exif_of(orientation), **options)
    photo = read_photo(path)
    pixels, mask = filled(photo)
    assert photo.orientation == orientation
    assert np.abs(photo.pixels.astype(int) - upright).max() <= (4 if suffix == ".jpg" else 0)
    path.write_bytes(encode_photo(photo, pixels, mask).content)
    again = Image.open(path)
    assert again.getexif()[0x0112] == orientation
    assert again.getexif()[0x010E] == "a page"
    assert np.abs(read_rgb(path)[mask == 1].astype(int) - pixels[mask == 1]).mean() <= (6 if suffix == ".jpg" else 0)
    far = np.ones(SIZE, bool)
    far[:24, :24], far[-24:, -24:] = False, False
    assert np.array_equal(read_rgb(path)[far], photo.pixels[far])
    assert np.asarray(again).shape[:2] == stored.size[::-1]


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
    assert new.layer == old.layer
    assert [s for s in segments(encoded.content) if s[1] != 0xEE] == [s for s in segments(before) if s[1] != 0xEE]
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


def test_jpeg_blocks_are_replaced_and_their_losses_noted(tmp_path):
    """What happens to the blocks is tested with `data.jpeg_blocks`."""
    path = tmp_path / "x.jpg"
    image = Image.fromarray(page((96, 120)))
    image.save(path, format="MPO", quality=90, save_all=True, append_images=[image])
    photo = read_photo(path)
    pixels, mask = filled(photo)
    encoded = encode_photo(photo, pixels, mask)
    assert photo.kind == "JPEG"
    assert photo.lost == ()
    assert len(encoded.notes) == 1
    assert "further pictures" in encoded.notes[0]
    again = np.asarray(Image.open(io.BytesIO(encoded.content)))
    assert np.array_equal(again[32:64], photo.pixels[32:64])
    assert np.abs(again[mask == 1].astype(int) - pixels[mask == 1]).mean() < 8


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
@pytest.mark.parametrize("lossless", [True, False])
def test_a_webp_stays_lossless_or_lossy_and_keeps_alpha_and_metadata(tmp_path, mode, lossless):
    path = tmp_path / "x.webp"
    opacity = np.full(SIZE, 255, np.uint8)
    opacity[20:40] = 0
    image = Image.fromarray(np.dstack([page(), opacity]))
    metadata = {"exif": exif_of(1).tobytes(), "icc_profile": b"no real profile", "xmp": b"<x:xmpmeta/>"}
    image.convert(mode).save(path, lossless=lossless, quality=90, exact=True, **metadata)
    before = Image.open(path).info
    photo = read_photo(path)
    pixels, mask = filled(photo)
    encoded = encode_photo(photo, pixels, mask)
    again = Image.open(io.BytesIO(encoded.content))
    values = np.asarray(again)
    assert again.mode == mode
    assert {key: again.info[key] for key in metadata} == {key: before[key] for key in metadata}
    assert (b"VP8L" in encoded.content) == lossless
    if mode == "RGBA":
        assert np.array_equal(photo.alpha, opacity)
        assert np.array_equal(values[..., 3], opacity)
    if lossless:
        assert np.array_equal(values[..., :3], pixels)
        assert encoded.notes == ()
    else:
        seen = opacity > 0
        assert np.abs(values[..., :3].astype(int) - pixels)[seen].mean() < 3
        assert encoded.notes == (
            "a lossy WebP cannot be changed in part: the whole picture was encoded anew at quality 95",
        )


def bmp_bytes(samples, bits, compression=0, masks=(), palette=b"", top_down=False, header=40):
    """A BMP from rows of bytes; the header's unused fields hold marks that have to stay."""
    width, height = samples.shape[1] * 8 // bits, samples.shape[0]
    stride = (samples.shape[1] + 3) // 4 * 4
    rows = [row.tobytes().ljust(stride, b"\0") for row in (samples if top_down else samples[::-1])]
    extra = b"".join(struct.pack("<I", mask) for mask in masks)
    size = 14 + header + (len(extra) if header == 40 else 0)
    info = struct.pack(
        "<IiiHHIIiiII", header, width, -height if top_down else height, 1, bits, compression,
        stride * height, 11811, 11812, len(palette) // 4, 0,
    ) + (extra.ljust(header - 40, b"\7") if header > 40 else extra)  # fmt: skip
    offset = size + len(palette) + 3
    start = struct.pack("<2sIHHI", b"BM", offset + stride * height, 7, 9, offset)
    return start + info + palette + b"gap" + b"".join(rows)


@pytest.mark.parametrize("top_down", [False, True])
@pytest.mark.parametrize(
    ("bits", "options"),
    [
        (1, {}),
        (4, {}),
        (8, {}),
        (16, {}),
        (16, {"compression": 3, "masks": (0xF800, 0x07E0, 0x001F)}),
        (24, {}),
        (32, {}),
        (32, {"compression": 3, "masks": (0xFF, 0xFF00, 0xFF0000, 0xFF000000), "header": 124}),
    ],
)
def test_a_bmp_changes_only_in_the_pixels_below_the_mask(tmp_path, bits, options, top_down):
    path = tmp_path / "x.bmp"
    raw = noise((40, 48 * bits // 8))
    if bits <= 8:
        colours = noise((2**bits, 4), seed=3)
        colours[:, 3] = 0
        options = {**options, "palette": colours.tobytes()}
    path.write_bytes(bmp_bytes(raw, bits, top_down=top_down, **options))
    before = path.read_bytes()
    seen = np.asarray(Image.open(path).convert("RGB"))
    photo, pixels, mask, encoded = restore(path)
    assert np.array_equal(photo.pixels, seen)
    assert encoded.notes == photo.lost == ()
    assert len(encoded.content) == len(before)
    start = struct.unpack_from("<I", before, 10)[0]
    assert encoded.content[:start] == before[:start]
    again = Image.open(path)
    assert np.array_equal(np.asarray(again.convert("RGB"))[mask == 0], seen[mask == 0])
    shown = np.asarray(again.convert("RGB"))[mask == 1].astype(int)
    if bits >= 24:
        assert np.array_equal(shown, pixels[mask == 1])
    elif bits == 16:
        assert np.abs(shown - pixels[mask == 1]).max() <= 8
    else:
        distance = ((colours[None, :, 2::-1].astype(int) - pixels[mask == 1][:, None]) ** 2).sum(-1)
        assert np.array_equal(((shown - pixels[mask == 1]) ** 2).sum(-1), distance.min(1))
    if again.mode == "RGBA":
        assert np.array_equal(np.asarray(again)[..., 3], photo.alpha)


def test_a_bmp_of_run_lengths_comes_back_without_them_and_says_so(tmp_path):
    path = tmp_path / "x.bmp"
    runs = b"".join(bytes([48, row]) + b"\0\0" for row in range(40)) + b"\0\1"
    head = struct.pack("<2sIHHI", b"BM", 14 + 40 + 1024 + len(runs), 0, 0, 14 + 40 + 1024)
    head += struct.pack("<IiiHHIIiiII", 40, 48, 40, 1, 8, 1, len(runs), 11811, 11811, 256, 0)
    path.write_bytes(head + noise((256, 4)).tobytes() + runs)
    _, pixels, _, encoded = restore(path)
    assert np.array_equal(np.asarray(Image.open(path)), pixels)
    assert encoded.notes == ("the compressed BMP becomes one of 24 bits without compression",)


@pytest.mark.parametrize(("suffix", "kind"), [(".jpg", "PNG"), (".png", "JPEG"), (".webp", "TIFF"), (".tif", "BMP")])
def test_the_content_decides_and_not_the_name(tmp_path, suffix, kind):
    path = tmp_path / f"x{suffix}"
    Image.fromarray(page()).save(path, format=kind)
    photo, _, _, encoded = restore(path)
    assert photo.kind == kind
    assert Image.open(io.BytesIO(encoded.content)).format == kind


def test_kinds_that_are_not_written_are_refused_by_name(tmp_path):
    image = Image.fromarray(page())
    for name, kind in (("gif.jpg", "GIF"), ("ppm.png", "PPM"), ("ico.bmp", "ICO")):
        image.save(tmp_path / name, format=kind)
        with pytest.raises(BadImageError, match=rf"{name}: its content is {kind}, expected JPEG, PNG, TIFF, WEBP, BMP"):
            read_photo(tmp_path / name)
    (tmp_path / "phone.jpg").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100))
    with pytest.raises(BadImageError, match=r"phone\.jpg.*its content is HEIC; save it as JPEG or PNG"):
        read_photo(tmp_path / "phone.jpg")


@pytest.mark.parametrize("name", ["moving.webp", "moving.gif"])
def test_moving_pictures_are_refused(tmp_path, name):
    frames = [Image.fromarray(noise((*SIZE, 3), seed=seed)) for seed in range(3)]
    frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:])
    expected = "holds 3 pages or frames" if "webp" in name else "its content is GIF"
    with pytest.raises(BadImageError, match=rf"{name}: {expected}"):
        read_photo(tmp_path / name)


def test_files_that_are_no_pictures_are_errors_that_name_them(tmp_path):
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "text.jpg").write_text("not a picture")
    (tmp_path / "folder.jpg").mkdir()
    for name, reason in (("empty.jpg", "it is empty"), ("text.jpg", "another kind"), ("folder.jpg", "directory")):
        with pytest.raises(BadImageError, match=rf"{name}.*{reason}"):
            read_photo(tmp_path / name)
    with pytest.raises(BadImageError, match=r"missing\.jpg: cannot be opened"):
        read_photo(tmp_path / "missing.jpg")


@pytest.mark.parametrize("suffix", [".jpg", ".webp", ".bmp"])
def test_a_file_that_ends_early_is_refused(tmp_path, suffix):
    path = tmp_path / f"cut{suffix}"
    Image.fromarray(noise((200, 150, 3))).save(path)
    content = path.read_bytes()
    for end in (3, 20, 100, len(content) // 2, len(content) - 50):
        path.write_bytes(content[:end])
        with pytest.raises(BadImageError, match=rf"cut\{suffix}"):
            read_photo(path)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".bmp", ".tif"])
def test_broken_files_are_refused_or_read_and_nothing_else_happens(tmp_path, suffix):
    """Any byte may be wrong; what then goes wrong must not look like a fault of the program."""
    path, rng = tmp_path / f"x{suffix}", np.random.default_rng(0)
    Image.fromarray(page((24, 30))).quantize(16).convert("RGB" if suffix != ".png" else "P").save(path)
    content = path.read_bytes()
    refused = 0
    for _ in range(150):
        broken = bytearray(content)
        for at in rng.integers(0, min(len(content), 400), 2):
            broken[at] = rng.integers(0, 256)
        path.write_bytes(broken)
        try:
            photo = read_photo(path)
        except BadImageError:
            refused += 1
        else:
            mask = np.zeros(photo.pixels.shape[:2], np.uint8)
            mask[:3] = 1
            assert len(encode_photo(photo, photo.pixels, mask).content) > 10
    assert refused > 0


@pytest.mark.parametrize("kind", ["BMP", "WEBP", "JPEG"])
def test_a_bomb_is_refused_with_its_size(tmp_path, kind):
    buffer = io.BytesIO()
    Image.new("RGB", (40, 30)).save(buffer, format=kind, **({"lossless": True} if kind == "WEBP" else {}))
    content = buffer.getvalue()
    if kind == "BMP":
        content = content.replace(struct.pack("<ii", 40, 30), struct.pack("<ii", 60_000, 30_000))
    elif kind == "JPEG":
        content = content.replace(struct.pack(">HH", 30, 40), struct.pack(">HH", 30_000, 60_000))
    else:
        # A lossless WebP holds sides below 16,384 only, which together stay below the limit.
        return
    (tmp_path / "bomb.jpg").write_bytes(content)
    with pytest.raises(BadImageError, match=r"bomb\.jpg.*1,?800,?000,?000 pixels"):
        read_photo(tmp_path / "bomb.jpg")


def test_pillows_own_limit_does_not_stand_in_the_way_of_a_large_photo(tmp_path):
    Image.new("1", (20_000, 10_000)).save(tmp_path / "large.tif", compression="group4")
    assert read_photo(tmp_path / "large.tif").pixels.shape == (10_000, 20_000, 3)


def test_wrong_arrays_and_files_that_changed_meanwhile_are_refused(tmp_path):
    path = tmp_path / "x.png"
    Image.fromarray(page()).save(path)
    photo = read_photo(path)
    mask = mask_of(SIZE)
    with pytest.raises(ValueError, match=r"x\.png: expected pixels uint8 \(61, 78, 3\), got uint16"):
        encode_photo(photo, photo.pixels.astype(np.uint16), mask)
    with pytest.raises(ValueError, match=r"x\.png: expected pixels .*, got uint8 \(60, 78, 3\)"):
        encode_photo(photo, photo.pixels[1:], mask)
    with pytest.raises(ValueError, match=r"x\.png: expected a mask of \(61, 78\), got \(78, 61\)"):
        encode_photo(photo, photo.pixels, mask.T)
    os.utime(path, (1, 1))
    with pytest.raises(BadImageError, match=r"x\.png: changed while it was restored"):
        encode_photo(photo, photo.pixels, mask)
    path.unlink()
    with pytest.raises(BadImageError, match=r"x\.png: went away"):
        encode_photo(photo, photo.pixels, mask)


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_another_picture_like_a_jpeg_takes_its_tables_and_metadata(tmp_path, mode):
    path = tmp_path / "x.jpg"
    Image.fromarray(page()).convert(mode).save(path, quality=70, subsampling=1, progressive=True, exif=exif_of(6))
    upright = read_rgb(path)[::-1]
    path.write_bytes(data.jpeg_photo.encode_like(path.read_bytes(), "x.jpg", upright, 95))
    again = Image.open(path)
    assert np.abs(read_rgb(path).astype(int) - upright).mean() < 3
    if mode == "RGB":
        assert again.getexif()[0x010E] == "a page"
        assert again.info["progressive"]
        assert again.quantization[0][0] > 5
    else:
        assert 0x010E not in again.getexif()
        assert again.quantization[0][0] < 5
