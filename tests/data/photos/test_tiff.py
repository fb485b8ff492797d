import io
import itertools

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image, TiffImagePlugin

from data.photos import encode_photo, read_photo
from tests.data.photos.files import assert_restored, filled, noise, packed, restore, small_tiff

SIZE = (53, 47)
# Tags that say where and how large the strips or tiles are.
PLACES = (273, 279, 324, 325)


def smooth(channels, dtype=np.uint8):
    """Samples that compress, so that blocks shrink and grow when noise gets into them."""
    steps = noise((*SIZE, channels), 3).cumsum(axis=1) + np.arange(SIZE[0])[:, None, None]
    return (steps * (257 if dtype == np.uint16 else 1) + 3).astype(dtype)


def tags(content):
    """Type, count and value of every tag of the first page by tifffile, but for the places of blocks."""
    with tifffile.TiffFile(io.BytesIO(content)) as file:
        every = {tag.code: (tag.dtype, tag.count, np.asarray(tag.value).tolist()) for tag in file.pages[0].tags}
    return {code: values for code, values in every.items() if code not in PLACES}


def blocks(content):
    """The bytes of every strip or tile."""
    with tifffile.TiffFile(io.BytesIO(content)) as file:
        page = file.pages[0]
        return [content[at : at + size] for at, size in zip(page.dataoffsets, page.databytecounts, strict=True)]


PACKING = [(None, False), ("zlib", False), ("zlib", True)]
COMBINATIONS = itertools.product("<>", ("contig", "separate"), (0, 32), PACKING, (1, 3, 4), (np.uint8, np.uint16))


@pytest.mark.parametrize(("order", "planes", "tile", "packing", "channels", "dtype"), COMBINATIONS)
def test_every_layout_keeps_its_values(tmp_path, order, planes, tile, packing, channels, dtype):
    path, data, (codec, predictor) = tmp_path / "x.tif", smooth(channels, dtype), packing
    apart = planes == "separate" and channels > 1
    layout = {"tile": (tile, tile)} if tile else {"rowsperstrip": 7}
    layout |= {"planarconfig": planes, "photometric": "rgb"} if channels > 1 else {"photometric": "minisblack"}
    layout |= {"extrasamples": ["unassalpha"]} if channels == 4 else {}
    layout |= {"byteorder": order, "compression": codec, "predictor": predictor, "bigtiff": bool(tile)}
    tifffile.imwrite(path, np.moveaxis(data, -1, 0) if apart else data.squeeze(), metadata=None, **layout)
    before = path.read_bytes()
    photo, pixels, mask, encoded = restore(path)
    after = tifffile.imread(path)
    assert (encoded.notes, tags(encoded.content)) == ((), tags(before))
    assert photo.pixels.dtype == dtype
    assert np.array_equal(photo.pixels, np.broadcast_to(data[..., :3], (*SIZE, 3)))
    assert_restored(data, np.moveaxis(after, 0, -1) if apart else after, mask, pixels)
    old, new = blocks(before), blocks(encoded.content)
    assert 0 < sum(a != b for a, b in zip(old, new, strict=True)) < len(old)


MODES = ("1", "L", "LA", "RGB", "RGBA", "P", "CMYK", "I;16")
CODECS = ("raw", "tiff_lzw", "packbits", "tiff_adobe_deflate", "tiff_deflate", "lzma")
FAX = [("1", codec) for codec in ("group3", "group4", "tiff_ccitt")]


@pytest.mark.parametrize(("mode", "codec"), [*itertools.product(MODES, CODECS), *FAX])
def test_every_compression_and_mode_keeps_its_values(tmp_path, mode, codec):
    path, image = tmp_path / "x.tif", Image.fromarray(smooth(4))
    image = image.convert("RGB").quantize(32) if mode == "P" else image
    image = Image.fromarray(smooth(1, np.uint16)[..., 0]) if mode == "I;16" else image.convert(mode)
    # Several strips, one of them without a touched pixel.
    image.save(path, compression=codec, strip_size=16 * SIZE[1], dpi=(204, 196))
    before, samples = path.read_bytes(), np.asarray(image)
    photo, pixels, mask, encoded = restore(path)
    again = Image.open(path)
    assert (again.mode, again.info["dpi"]) == (mode, (204, 196))
    if (mode, codec) in FAX:
        assert again.info["compression"] == "group4"
    else:
        assert (encoded.notes, tags(encoded.content)) == ((), tags(before))
    assert np.array_equal(photo.pixels.T, [samples.T] * 3 if mode == "I;16" else np.asarray(image.convert("RGB")).T)
    entries = np.asarray(again.getpalette("RGB")).reshape(-1, 3) if mode == "P" else None
    step = 255 if mode == "1" else 1
    assert_restored(samples, np.asarray(again), mask, pixels, step, entries, inks=mode == "CMYK")


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_jpeg_inside_is_written_anew_without_further_loss_and_says_so(tmp_path, mode):
    path, even, told = tmp_path / "x.tif", np.full((64, 80, 3), 90, np.uint8), {270: "a page", 274: 3}
    Image.fromarray(even).convert(mode).save(path, compression="jpeg", dpi=(300, 300), tiffinfo=told)
    photo = read_photo(path)
    pixels, mask = filled(photo, (160, 160, 160))
    encoded = encode_photo(photo, pixels, mask)
    assert encoded.notes == ("a TIFF of JPEG or YCbCr becomes one of deflate, without further loss",)
    path.write_bytes(encoded.content)
    with Image.open(path) as again:
        assert (again.info["compression"], again.mode, again.info["dpi"]) == ("tiff_adobe_deflate", mode, (300, 300))
    assert {code: tags(encoded.content)[code][-1] for code in told} == told
    assert np.array_equal(read_photo(path).pixels, pixels)


def test_all_metadata_stays(tmp_path):
    path, directory = tmp_path / "x.tif", TiffImagePlugin.ImageFileDirectory_v2()
    directory[0x8769] = {36867: "2022:07:05 10:31:23", 33434: 0.01}
    directory[0x8825] = {1: "N", 2: (48.0, 8.0, 0.0)}
    directory.update({270: "a page", 305: "a scanner", 700: b"<x:xmpmeta/>", 65000: "private"})
    Image.fromarray(smooth(3)).save(path, tiffinfo=directory, icc_profile=b"no real profile", dpi=(300, 300))
    before = tags(path.read_bytes())
    _, _, _, encoded = restore(path)
    assert tags(encoded.content) == before
    assert {270, 305, 700, 65000, 34675, 282, 0x8769, 0x8825} <= set(before)
    assert Image.open(path).getexif().get_ifd(0x8825)[2] == (48.0, 8.0, 0.0)


def test_what_covered_the_page_is_wiped_and_the_file_hardly_grows(tmp_path):
    path = tmp_path / "x.tif"
    Image.fromarray(noise((400, 300, 3))).save(path, compression="tiff_adobe_deflate", strip_size=9000)
    before, photo = path.read_bytes(), read_photo(path)
    paper = encode_photo(photo, np.full_like(photo.pixels, 250), np.ones((400, 300))).content
    assert not any(block[:2000] in paper for block in blocks(before))
    assert len(paper) < len(before) + 1000


GREY_TAGS = {256: 40, 257: 30, 258: [8], 259: 1, 262: 1, 277: 1, 278: 30}


@pytest.mark.parametrize(("bits", "order", "white", "codec", "fill_order"), [
    *((bits, order, 0, 1, 1) for bits in (1, 2, 4, 8, 16) for order in "<>"),
    *((8, "<", 1, codec, fill_order) for codec in (1, 5, 32773, 50000) for fill_order in (1, 2)),
])  # fmt: skip
def test_few_bits_white_as_zero_and_codecs_in_both_orders_of_bits(tmp_path, bits, order, white, codec, fill_order):
    levels, high = noise((30, 40), 2**bits, dtype=np.uint16), 2**bits - 1
    path, data = tmp_path / "x.tif", packed(levels, bits, order)
    data = tifffile.TIFF.COMPRESSORS[codec](data) if codec > 1 else data
    data = imagecodecs.bitorder_encode(data) if fill_order == 2 else data
    content = small_tiff({**GREY_TAGS, 258: [bits], 259: codec, 262: white, 266: [fill_order]}, data, order)
    path.write_bytes(content)
    photo, pixels, mask, encoded = restore(path)
    step, levels = 255 // high if bits < 8 else 1, levels if white else high - levels
    assert np.array_equal(photo.pixels[..., 0], levels * step)
    assert_restored(levels, read_photo(path).pixels[..., 0] // step, mask, pixels, step)
    assert encoded.notes == ()
    assert codec > 1 or len(encoded.content) == len(content)
