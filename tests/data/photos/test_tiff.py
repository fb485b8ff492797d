import io
import itertools
import struct

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image, TiffImagePlugin

from data.images import BadImageError, read_rgb, upright_size
from data.photos import tiff
from data.photos.photo import count_pixels, encode_photo, read_photo
from tests.data.photos.files import STORE, mask_of, noise, restore, small_tiff

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


COMBINATIONS = [
    combination
    for combination in itertools.product(
        "<>", ("contig", "separate"), (0, 32), (None, "zlib"), (False, True), (1, 3, 4)
    )
    if combination[3] or not combination[4]
]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize(("order", "planes", "tile", "codec", "predictor", "channels"), COMBINATIONS)
def test_every_layout_keeps_its_values(tmp_path, order, planes, tile, codec, predictor, channels, dtype):
    path, data = tmp_path / "x.tif", smooth(channels, dtype)
    apart = planes == "separate" and channels > 1
    layout = {"planarconfig": planes} if channels > 1 else {}
    layout |= {"tile": (tile, tile)} if tile else {"rowsperstrip": 7}
    layout |= {"extrasamples": ["unassalpha"]} if channels == 4 else {}
    tifffile.imwrite(
        path, np.moveaxis(data, -1, 0) if apart else data.squeeze(), byteorder=order, compression=codec,
        predictor=predictor, photometric="rgb" if channels > 1 else "minisblack", bigtiff=bool(tile),
        metadata=None, **layout,
    )  # fmt: skip
    before = path.read_bytes()
    photo, pixels, mask, encoded = restore(path)
    after, covered = tifffile.imread(path), mask == 1
    after = (np.moveaxis(after, 0, -1) if apart else after).reshape(data.shape)
    assert encoded.notes == ()
    assert tags(encoded.content) == tags(before)
    assert photo.pixels.dtype == dtype
    assert np.array_equal(photo.pixels, np.broadcast_to(data[..., :3], (*SIZE, 3)))
    assert np.array_equal(after[~covered], data[~covered])
    if channels == 1:
        assert np.array_equal(after[covered][:, 0], np.floor(pixels[covered].astype(float).mean(-1) + 0.5))
    else:
        assert np.array_equal(after[covered][:, :3], pixels[covered])
    if channels == 4:
        assert np.array_equal(after[..., 3], data[..., 3])
    old, new = blocks(before), blocks(encoded.content)
    assert 0 < sum(a != b for a, b in zip(old, new, strict=True)) < len(old)


PILLOW_MODES = ("1", "L", "LA", "RGB", "RGBA", "P", "CMYK", "I;16")
CODECS = ("raw", "tiff_lzw", "packbits", "tiff_adobe_deflate", "tiff_deflate", "lzma")


@pytest.mark.parametrize(("mode", "codec"), list(itertools.product(PILLOW_MODES, CODECS)))
def test_every_compression_and_mode_keeps_its_values(tmp_path, mode, codec):
    path, colours = tmp_path / "x.tif", smooth(4)
    image = Image.fromarray(colours[..., :3]).quantize(32) if mode == "P" else Image.fromarray(colours)
    image = Image.fromarray(smooth(1, np.uint16)[..., 0]) if mode == "I;16" else image.convert(mode)
    # Several strips, one of them without a touched pixel.
    image.save(path, compression=codec, strip_size=16 * SIZE[1])
    before = path.read_bytes()
    samples, seen = np.asarray(image), np.asarray(image.convert("RGB"))
    photo, pixels, mask, encoded = restore(path)
    again = Image.open(path)
    after, covered = np.asarray(again), mask == 1
    assert encoded.notes == ()
    assert tags(encoded.content) == tags(before)
    assert again.mode == mode
    assert np.array_equal(after[~covered], samples[~covered])
    mean = np.floor(pixels[covered].astype(float).mean(-1) + 0.5)
    if mode == "I;16":
        assert np.array_equal(photo.pixels, np.repeat(samples[..., None], 3, axis=2))
    else:
        assert np.array_equal(photo.pixels, seen)
    if mode in ("L", "I;16"):
        assert np.array_equal(after[covered], mean)
    elif mode == "1":
        assert np.array_equal(after[covered], mean > 127)
    elif mode == "LA":
        assert np.array_equal(after[covered][:, 0], mean)
        assert np.array_equal(after[..., 1], samples[..., 1])
    elif mode == "P":
        entries = np.asarray(again.getpalette("RGB")).reshape(-1, 3)
        distance = ((entries[None] - pixels[covered][:, None].astype(int)) ** 2).sum(-1)
        assert np.array_equal(distance[np.arange(len(distance)), after[covered]], distance.min(1))
    else:
        assert np.array_equal(np.asarray(again.convert("RGB"))[covered], pixels[covered])
    if mode == "RGBA":
        assert np.array_equal(after[..., 3], samples[..., 3])


@pytest.mark.parametrize("codec", ["group3", "group4", "tiff_ccitt"])
def test_a_fax_keeps_its_dots(tmp_path, codec):
    path = tmp_path / "x.tif"
    Image.fromarray(noise(SIZE)).convert("1").save(path, compression=codec, dpi=(204, 196))
    samples = np.asarray(Image.open(path))
    _, pixels, mask, encoded = restore(path)
    again = Image.open(path)
    assert again.info["compression"] == codec
    assert again.info["dpi"] == (204, 196)
    assert encoded.notes == ()
    assert np.array_equal(np.asarray(again)[mask == 0], samples[mask == 0])
    assert np.array_equal(np.asarray(again)[mask == 1], np.rint(pixels[mask == 1].astype(float).mean(-1)) > 127)


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_jpeg_inside_stays_jpeg_and_says_that_it_was_encoded_anew(tmp_path, mode):
    path = tmp_path / "x.tif"
    even = np.full((64, 80, 3), 90, np.uint8)
    Image.fromarray(even).convert(mode).save(path, compression="jpeg", quality=90, description="a page", dpi=(300, 300))
    photo, mask = read_photo(path), mask_of(even.shape)
    encoded = encode_photo(photo, np.full_like(even, 160), mask)
    again = Image.open(io.BytesIO(encoded.content))
    assert again.info["compression"] == "jpeg"
    assert again.mode == mode
    assert tags(encoded.content)[270] == tags(path.read_bytes())[270]
    assert again.info["dpi"] == (300, 300)
    assert encoded.notes == ("a TIFF with jpeg compression was encoded anew as a whole",)
    shown = np.asarray(again.convert("RGB")).astype(int)
    near = np.where(mask[..., None] == 1, 160, 90)
    assert np.abs(shown - near).max() < 40
    assert np.abs(shown[20:50] - 90).max() <= 2


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("codec", ["tiff_lzw", "group4"])
def test_orientation_is_respected_and_kept(tmp_path, orientation, codec):
    upright = noise(SIZE) > 127
    upright = upright if codec == "group4" else noise((*SIZE, 3))
    path = tmp_path / "x.tif"
    info = TiffImagePlugin.ImageFileDirectory_v2()
    info[274] = orientation
    Image.fromarray(np.ascontiguousarray(STORE[orientation](upright))).save(path, compression=codec, tiffinfo=info)
    before = tags(path.read_bytes())
    photo, pixels, mask, encoded = restore(path)
    assert photo.pixels.shape == (*SIZE, 3)
    assert tags(encoded.content)[274] == before[274]
    assert encoded.notes == ()
    again = read_photo(path)
    assert np.array_equal(again.pixels[mask == 0], photo.pixels[mask == 0])
    if codec == "tiff_lzw":
        assert np.array_equal(again.pixels, pixels)
        assert np.array_equal(photo.pixels, upright)
    assert np.array_equal(read_rgb(path), again.pixels)
    assert upright_size(path) == SIZE[::-1]


def test_all_metadata_stays(tmp_path):
    path = tmp_path / "x.tif"
    directory = TiffImagePlugin.ImageFileDirectory_v2()
    directory[0x8769] = {36867: "2022:07:05 10:31:23", 33434: 0.01}
    directory[0x8825] = {1: "N", 2: (48.0, 8.0, 0.0)}
    info = {270: "a page", 305: "a scanner", 306: "2022:07:05 10:31:23", 700: b"<x:xmpmeta/>", 65000: "private"}
    for tag, value in info.items():
        directory[tag] = value
    image = Image.fromarray(smooth(3))
    image.save(path, tiffinfo=directory, icc_profile=b"no real profile", dpi=(300, 300))
    with tifffile.TiffFile(path) as file:
        assert {0x8769, 0x8825} <= {tag.code for tag in file.pages[0].tags}
    before = path.read_bytes()
    _, _, _, encoded = restore(path)
    assert tags(encoded.content) == tags(before)
    again = Image.open(path)
    assert {tag: again.tag_v2[tag] for tag in info} == info
    assert again.info["icc_profile"] == b"no real profile"
    assert again.info["dpi"] == (300, 300)
    assert again.getexif().get_ifd(0x8769)[36867] == "2022:07:05 10:31:23"
    assert again.getexif().get_ifd(0x8825)[2] == (48.0, 8.0, 0.0)


@pytest.mark.parametrize("codec", ["zstd", "lzw", "packbits"])
@pytest.mark.parametrize("reversed_bits", [False, True])
def test_other_codecs_and_orders_of_bits_keep_their_values(tmp_path, codec, reversed_bits):
    path, data = tmp_path / "x.tif", smooth(3)
    tifffile.imwrite(path, data, photometric="rgb", compression=codec, rowsperstrip=7, metadata=None)
    if reversed_bits:
        content = bytearray(path.read_bytes())
        with tifffile.TiffFile(path) as file:
            page = file.pages[0]
            for at, size in zip(page.dataoffsets, page.databytecounts, strict=True):
                content[at : at + size] = imagecodecs.bitorder_encode(bytes(content[at : at + size]))
            # FillOrder 2 takes the place of the tag that names the software.
            lines = sorted(struct.unpack_from("<HHI4s", content, at) for at in tag_offsets(page))
        lines = sorted((266, 3, 1, struct.pack("<HH", 2, 0)) if line[0] == 305 else line for line in lines)
        for line, at in zip(lines, sorted(tag_offsets(page)), strict=True):
            struct.pack_into("<HHI4s", content, at, *line)
        path.write_bytes(content)
    photo, pixels, _, encoded = restore(path)
    assert np.array_equal(photo.pixels, data)
    assert np.array_equal(tifffile.imread(path), pixels)
    assert encoded.notes == ()


def tag_offsets(page):
    return [tag.offset for tag in page.tags]


def test_what_covered_the_page_is_wiped_and_the_file_hardly_grows(tmp_path):
    path = tmp_path / "x.tif"
    Image.fromarray(noise((400, 300, 3))).save(path, compression="tiff_adobe_deflate", strip_size=9000)
    before = path.read_bytes()
    photo, mask = read_photo(path), mask_of((400, 300))
    mask[:] = 1
    paper = encode_photo(photo, np.full_like(photo.pixels, 250), mask).content
    assert sum(block[:2000] in paper for block in blocks(before)) == 0
    assert len(paper) < len(before) + 1000


GREY_TAGS = {256: 40, 257: 30, 258: [8], 259: 1, 262: 1, 277: 1, 278: 30}


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_white_is_zero_and_few_bits(tmp_path, bits, order):
    levels = noise((30, 40), 2**bits, dtype=np.uint16)
    digits = "".join(f"{value:0{bits}b}" for value in levels.ravel().tolist())
    data = int(digits, 2).to_bytes(len(digits) // 8, "big")
    data = levels.astype(order + "u2").tobytes() if bits == 16 else data
    path, high = tmp_path / "x.tif", 2**bits - 1
    path.write_bytes(small_tiff({**GREY_TAGS, 258: [bits], 262: 0}, data, order))
    photo, pixels, mask, encoded = restore(path)
    scale = 1 if bits == 16 else 255 // high
    assert np.array_equal(photo.pixels[..., 0], (high - levels) * scale)
    again = read_photo(path).pixels[..., 0].astype(float)
    assert np.array_equal(again[mask == 0], photo.pixels[..., 0][mask == 0])
    assert np.abs(again[mask == 1] - pixels[mask == 1].astype(float).mean(-1)).max() <= max(scale / 2, 0.5)
    assert len(encoded.content) == len(small_tiff({**GREY_TAGS, 258: [bits], 262: 0}, data, order))


def test_strips_that_share_their_bytes_are_parted(tmp_path):
    """Some writers store equal strips once; a change of one must not show in the other."""
    path = tmp_path / "x.tif"
    row = noise(40 * 10)
    shared = small_tiff({**GREY_TAGS, 278: 10}, row.tobytes())
    arrays = struct.pack("<6I", 8, 8, 8, 400, 400, 400)
    shared = shared.replace(struct.pack("<HHII", 273, 4, 1, 8), struct.pack("<HHII", 273, 4, 3, len(shared)))
    shared = shared.replace(struct.pack("<HHII", 279, 4, 1, 400), struct.pack("<HHII", 279, 4, 3, len(shared) + 12))
    path.write_bytes(shared + arrays)
    _, pixels, mask, _ = restore(path)
    again = np.asarray(Image.open(path))
    assert np.array_equal(again[mask == 0], np.tile(row.reshape(10, 40), (3, 1))[mask == 0])
    assert np.array_equal(again[mask == 1], np.floor(pixels[mask == 1].astype(float).mean(-1) + 0.5))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({258: [32], 339: [3]}, "floating point"),
        ({258: [16], 339: [2]}, "signed"),
        ({258: [32]}, "32 bits per sample"),
        ({258: [12]}, "12 bits per sample"),
        ({259: 50001}, "not a|kind that is not restored"),
        ({259: 34892}, "not a|kind that is not restored"),
        ({262: 8, 277: 1}, "not a|kind that is not restored"),
        ({256: 30_000, 257: 20_000, 278: 20_000}, r"600,?000,?000 pixels"),
        ({257: 3000, 278: 3000}, "cut short"),
        ({257: 300, 278: 30}, "broken|cut short"),
        ({259: 5}, "broken or cut short"),
        ({259: 8}, "broken or cut short"),
        ({259: 50000}, "broken or cut short"),
    ],
)
def test_kinds_that_cannot_come_back_and_files_that_lie_are_refused(tmp_path, changes, message):
    path = tmp_path / "odd.tif"
    path.write_bytes(small_tiff({**GREY_TAGS, **changes}, noise(30 * 40 * 4).tobytes()))
    with pytest.raises(BadImageError, match=rf"odd\.tif.*({message})"):
        read_photo(path)


@pytest.mark.parametrize("codec", [*CODECS, "jpeg", "group4"])
def test_a_file_that_ends_early_is_refused(tmp_path, codec):
    path = tmp_path / "cut.tif"
    rgb = noise((200, 200, 3))
    (Image.fromarray(rgb).convert("1") if codec == "group4" else Image.fromarray(rgb)).save(path, compression=codec)
    with tifffile.TiffFile(path) as file:
        page = file.pages[0]
        end = page.dataoffsets[-1] + page.databytecounts[-1]
    content = path.read_bytes()
    for cut in (end - 1, end - 400, end // 2, 9):
        if cut > 0:
            path.write_bytes(content[:cut])
            with pytest.raises(BadImageError, match=r"cut\.tif"):
                read_photo(path)


def test_a_directory_of_more_entries_than_the_file_has_bytes_is_refused_at_once(tmp_path):
    path = tmp_path / "many.tif"
    tifffile.imwrite(path, smooth(3, np.uint8), photometric="rgb", bigtiff=True)
    content = bytearray(path.read_bytes())
    struct.pack_into("<Q", content, struct.unpack_from("<Q", content, 8)[0], 1 << 59)
    path.write_bytes(content)
    for use in (read_photo, count_pixels):
        with pytest.raises(BadImageError, match=r"many\.tif: broken or cut short"):
            use(path)


def test_several_pages_are_refused(tmp_path):
    pages = [Image.fromarray(noise((*SIZE, 3), seed=seed)) for seed in range(3)]
    pages[0].save(tmp_path / "x.tif", save_all=True, append_images=pages[1:])
    with pytest.raises(BadImageError, match=r"x\.tif: holds 3 pages or frames"):
        read_photo(tmp_path / "x.tif")


def test_without_the_packages_a_tiff_is_refused_and_says_what_it_needs(tmp_path, monkeypatch):
    """The contest's machine has neither, and is given JPEGs."""
    Image.fromarray(smooth(3)).save(tmp_path / "x.tif")
    monkeypatch.setattr(tiff, "tifffile", None)
    for use in (read_photo, count_pixels):
        with pytest.raises(BadImageError, match=r"x\.tif: a TIFF needs the packages tifffile and imagecodecs"):
            use(tmp_path / "x.tif")
