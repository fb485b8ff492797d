import io
import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from data.images import BadImageError, read_rgb
from data.photos.photo import encode_photo, read_photo
from tests.data.photos.files import STORE, mask_of, noise, png_bytes, png_chunk, png_chunks, restore

GREY, RGB, PALETTE, LA, RGBA = 0, 2, 3, 4, 6
CHANNELS = {GREY: 1, RGB: 3, PALETTE: 1, LA: 2, RGBA: 4}
KINDS = [(GREY, 1), (GREY, 2), (GREY, 4), (GREY, 8), (GREY, 16), (RGB, 8), (RGB, 16), (LA, 8), (LA, 16)]
KINDS += [(RGBA, 8), (RGBA, 16), (PALETTE, 1), (PALETTE, 2), (PALETTE, 4), (PALETTE, 8)]
SIZE = (21, 29)


def stored_samples(content):
    """The file's own values by other readers than the product's: OpenCV for 16 bits, Pillow otherwise."""
    _, _, depth, colour = struct.unpack(">IIBB", png_chunks(content)[0][1][:10])
    if depth == 16:
        values = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
        return {GREY: lambda: values, RGB: lambda: values[..., 2::-1], LA: lambda: values[..., [0, 3]]}.get(
            colour, lambda: values[..., [2, 1, 0, 3]]
        )()
    image = np.asarray(Image.open(io.BytesIO(content))).astype(np.uint8)
    return image // (255 // (2**depth - 1)) if colour == GREY and depth in (2, 4) else image


def write_kind(path, colour, depth, interlaced=False, seed=0):
    channels = CHANNELS[colour]
    shape = SIZE if channels == 1 else (*SIZE, channels)
    samples = noise(shape, 2**depth, seed, np.uint16)
    palette = png_chunk(b"PLTE", noise((2**depth, 3), seed=9).tobytes()) if colour == PALETTE else b""
    path.write_bytes(png_bytes(samples, colour, depth, interlaced, palette))
    return samples


def mean(rgb):
    return np.floor(rgb.astype(float).mean(-1) + 0.5)


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize(("colour", "depth"), KINDS)
def test_every_depth_and_colour_type_keeps_its_values(tmp_path, colour, depth, interlaced):
    path = tmp_path / "x.png"
    samples = write_kind(path, colour, depth, interlaced)
    header = png_chunks(path.read_bytes())[0][1]
    photo, pixels, mask, encoded = restore(path)
    after, covered = stored_samples(encoded.content), mask == 1
    assert png_chunks(encoded.content)[0][1] == header[:-1] + b"\0"
    assert encoded.notes == (("a PNG is no longer interlaced",) if interlaced else ())
    assert photo.pixels.dtype == (np.uint16 if depth == 16 else np.uint8)
    assert np.array_equal(after[~covered], samples[~covered])
    if colour in (RGB, RGBA):
        assert np.array_equal(photo.pixels, samples[..., :3])
        assert np.array_equal(after[covered][:, :3], pixels[covered])
    if colour in (LA, RGBA):
        assert np.array_equal(after[..., -1], samples[..., -1])
    if colour in (GREY, LA):
        grey = after if colour == GREY else after[..., 0]
        step = 255 / (2**depth - 1) if depth < 8 else 1
        assert np.abs(grey[covered] * step - mean(pixels[covered])).max() <= step / 2
        assert np.array_equal(photo.pixels[..., 1], np.rint((samples if colour == GREY else samples[..., 0]) * step))
    if colour == PALETTE:
        entries = noise((2**depth, 3), seed=9)
        assert np.array_equal(photo.pixels, entries[samples])
        distance = ((entries[None].astype(int) - pixels[covered][:, None]) ** 2).sum(-1)
        assert np.array_equal(distance[np.arange(len(distance)), after[covered]], distance.min(1))


def test_chunks_around_the_pixels_stay_byte_for_byte_and_in_order(tmp_path):
    profile = png_chunk(b"iCCP", b"name\0\0" + zlib.compress(b"no real profile"))
    before = profile + b"".join(
        png_chunk(kind, data)
        for kind, data in (
            (b"gAMA", struct.pack(">I", 45455)),
            (b"cHRM", struct.pack(">8I", *range(31270, 31278))),
            (b"sBIT", b"\5\6\5"),
            (b"bKGD", bytes(6)),
            (b"pHYs", struct.pack(">IIB", 11811, 11811, 1)),
            (b"tEXt", b"Author\0somebody"),
            (b"prVt", b"a private chunk"),
        )
    )
    after = b"".join(
        png_chunk(kind, data)
        for kind, data in (
            (b"tIME", b"\7\xe6\7\5\x0a\x14\x1e"),
            (b"zTXt", b"Comment\0\0" + zlib.compress(b"long" * 50)),
            (b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0<x:xmpmeta/>"),
            (b"eXIf", b"MM\0*\0\0\0\x08\0\1\x01\x12\0\3\0\0\0\1\0\6\0\0\0\0\0\0"),
        )
    )
    path = tmp_path / "x.png"
    path.write_bytes(png_bytes(noise((*SIZE, 3)), RGB, 8, before=before, after=after) + b"behind the end")
    chunks = png_chunks(path.read_bytes())
    photo, _, _, encoded = restore(path)
    assert photo.orientation == 6
    assert [c for c in png_chunks(encoded.content) if c[0] != b"IDAT"] == [c for c in chunks if c[0] != b"IDAT"]
    assert encoded.content.endswith(b"behind the end")
    assert [kind for kind, _ in png_chunks(encoded.content)] == [kind for kind, _ in chunks]


def test_a_large_picture_is_cut_into_several_chunks_and_filtered(tmp_path):
    rows, columns = np.mgrid[:1000, :900]
    smooth = np.stack([rows // 4, columns // 4, (rows + columns) // 8], axis=2).astype(np.uint8)
    smooth[500:] = noise((500, 900, 3))
    Image.fromarray(smooth).save(tmp_path / "x.png")
    size = (tmp_path / "x.png").stat().st_size
    _, pixels, _, encoded = restore(tmp_path / "x.png")
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(encoded.content))), pixels)
    assert sum(kind == b"IDAT" for kind, _ in png_chunks(encoded.content)) > 1
    assert len(encoded.content) < 1.05 * size


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_respected_and_kept(tmp_path, orientation):
    upright = noise((*SIZE, 3))
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "x.png"
    Image.fromarray(np.ascontiguousarray(STORE[orientation](upright))).save(path, exif=exif)
    photo, pixels, _, _ = restore(path)
    assert np.array_equal(photo.pixels, upright)
    assert np.array_equal(np.asarray(Image.open(path)), STORE[orientation](pixels))
    assert Image.open(path).getexif()[0x0112] == orientation
    assert np.array_equal(read_rgb(path), pixels)


def test_a_palette_with_free_entries_grows_and_keeps_its_transparency(tmp_path):
    entries, indices = noise((10, 3), seed=1), noise(SIZE, 10)
    opacity, more = bytes([0, 128, 255]), png_chunk(b"hIST", bytes(20))
    before = png_chunk(b"PLTE", entries.tobytes()) + png_chunk(b"tRNS", opacity) + more
    path = tmp_path / "x.png"
    path.write_bytes(png_bytes(indices, PALETTE, 8, before=before))
    _, pixels, mask, encoded = restore(path)
    chunks = dict(png_chunks(encoded.content))
    assert chunks[b"tRNS"] == opacity
    assert b"hIST" not in chunks
    assert encoded.notes == ("the histogram of the palette is dropped",)
    assert chunks[b"PLTE"].startswith(entries.tobytes())
    again = np.asarray(Image.open(path).convert("RGBA"))
    transparency = np.r_[0, 128, [255] * 8][indices]
    opaque = (mask == 1) & (transparency == 255)
    assert np.array_equal(again[opaque][:, :3], pixels[opaque])
    assert np.array_equal(again[..., 3], transparency)
    assert np.array_equal(stored_samples(encoded.content)[mask == 0], indices[mask == 0])


def test_more_colours_than_free_entries_are_spread_over_them(tmp_path):
    path = tmp_path / "x.png"
    entries = np.repeat(np.arange(240, dtype=np.uint8)[:, None] // 8, 3, axis=1)
    indices = noise((60, 60), 240)
    path.write_bytes(png_bytes(indices, PALETTE, 8, before=png_chunk(b"PLTE", entries.tobytes())))
    photo, mask = read_photo(path), np.zeros((60, 60), np.uint8)
    mask[10:50, 10:50] = 1
    pixels = np.where(mask[..., None] == 1, 200 + noise((60, 60, 3), 40), photo.pixels).astype(np.uint8)
    path.write_bytes(encode_photo(photo, pixels, mask).content)
    again = read_photo(path).pixels
    assert np.array_equal(again[mask == 0], photo.pixels[mask == 0])
    assert np.abs(again[mask == 1].astype(int) - pixels[mask == 1]).mean() < 10


@pytest.mark.parametrize(("colour", "depth"), [(GREY, 1), (GREY, 4), (GREY, 8), (GREY, 16), (RGB, 8), (RGB, 16)])
def test_the_fill_never_takes_the_transparent_colour(tmp_path, colour, depth):
    path, key = tmp_path / "x.png", 2**depth - 1
    shape = SIZE if colour == GREY else (*SIZE, 3)
    before = png_chunk(b"tRNS", struct.pack(">H", key) * CHANNELS[colour])
    path.write_bytes(png_bytes(noise(shape, 2, dtype=np.uint16) * key, colour, depth, before=before))
    photo, mask = read_photo(path), mask_of(SIZE)
    before_values = stored_samples(path.read_bytes())
    encoded = encode_photo(photo, np.full_like(photo.pixels, np.iinfo(photo.pixels.dtype).max), mask)
    after = stored_samples(encoded.content)
    assert np.array_equal(after[mask == 0], before_values[mask == 0])
    filled = after[mask == 1].astype(int)
    assert (filled.max(-1) if colour == RGB else filled).min() >= key - 1
    assert not (filled == key).all(-1).any() if colour == RGB else not (filled == key).any()
    assert dict(png_chunks(encoded.content))[b"tRNS"] == struct.pack(">H", key) * CHANNELS[colour]


@pytest.mark.parametrize(("colour", "depth"), [(RGB, 8), (RGB, 16), (GREY, 16), (PALETTE, 4)])
def test_a_file_that_ends_early_is_refused_wherever_it_ends(tmp_path, colour, depth):
    path = tmp_path / "cut.png"
    write_kind(path, colour, depth)
    content = path.read_bytes()
    for end in (*range(9, 60, 7), len(content) // 2, len(content) - 20, len(content) - 12, len(content) - 1):
        path.write_bytes(content[:end])
        with pytest.raises(BadImageError, match=r"cut\.png"):
            read_photo(path)


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize(("colour", "depth"), KINDS)
def test_pixels_that_are_fewer_than_the_header_says_are_refused(tmp_path, colour, depth, interlaced):
    path = tmp_path / "short.png"
    write_kind(path, colour, depth, interlaced)
    content = path.read_bytes()
    read_rgb(path)
    raw = zlib.decompress(dict(png_chunks(content))[b"IDAT"])[:-1]
    parts = [png_chunk(kind, zlib.compress(raw) if kind == b"IDAT" else data) for kind, data in png_chunks(content)]
    path.write_bytes(content[:8] + b"".join(parts))
    for read in (read_photo, read_rgb):
        with pytest.raises(BadImageError, match=r"short\.png: broken or cut short"):
            read(path)


@pytest.mark.parametrize("height", [1, 2, 5])
def test_a_picture_that_ends_black_is_read(tmp_path, height):
    path = tmp_path / "black.png"
    path.write_bytes(png_bytes(np.zeros((height, 7, 3), np.uint8), RGB, 8))
    assert not read_rgb(path).any()
    assert not read_photo(path).pixels.any()


def test_a_changed_byte_and_a_missing_palette_entry_are_refused(tmp_path):
    path = tmp_path / "x.png"
    write_kind(path, RGB, 8)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 255
    path.write_bytes(content)
    with pytest.raises(BadImageError, match=r"x\.png: broken or cut short"):
        read_photo(path)
    path.write_bytes(png_bytes(noise(SIZE, 8), PALETTE, 8, before=png_chunk(b"PLTE", bytes(9))))
    with pytest.raises(BadImageError, match=r"x\.png: entry 7 of a palette of 3"):
        read_photo(path)


def test_a_first_chunk_that_is_no_header_is_named(tmp_path):
    """Apple's tools pack PNGs for their phones that way, with pixels that no decoder of PNG reads."""
    path = tmp_path / "phone.png"
    content = png_bytes(noise((*SIZE, 3)), RGB, 8)
    path.write_bytes(content[:8] + png_chunk(b"CgBI", bytes(4)) + content[8:])
    with pytest.raises(BadImageError, match=r"phone\.png: its first chunk is 'CgBI', expected the header IHDR"):
        read_photo(path)


def test_bombs_are_refused_before_they_are_decoded(tmp_path):
    header = struct.pack(">IIBBBBB", 30_000, 20_000, 8, RGB, 0, 0, 0)
    pixels = png_chunk(b"IDAT", zlib.compress(bytes(1000)))
    bomb = b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + pixels + png_chunk(b"IEND")
    (tmp_path / "pixels.png").write_bytes(bomb)
    with pytest.raises(BadImageError, match=r"pixels\.png.*600,?000,?000 pixels"):
        read_photo(tmp_path / "pixels.png")
    text = png_chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(200_000_000), 1))
    (tmp_path / "text.png").write_bytes(png_bytes(noise((*SIZE, 3)), RGB, 8, before=text))
    for read in (read_photo, read_rgb):
        with pytest.raises(BadImageError, match=r"text\.png.*Decompressed data too large"):
            read(tmp_path / "text.png")


def test_an_animation_is_refused(tmp_path):
    frames = [Image.fromarray(noise((*SIZE, 3), seed=seed)) for seed in range(3)]
    frames[0].save(tmp_path / "x.png", save_all=True, append_images=frames[1:])
    assert isinstance(Image.open(tmp_path / "x.png"), PngImagePlugin.PngImageFile)
    with pytest.raises(BadImageError, match=r"x\.png: holds 3 pages or frames"):
        read_photo(tmp_path / "x.png")
