import io
import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

from data.images import read_rgb
from data.photos import read_photo
from tests.data.photos.files import assert_refused, assert_restored, noise, png_bytes, png_chunk, png_chunks, restore

GREY, RGB, PALETTE, LA, RGBA = 0, 2, 3, 4, 6
CHANNELS = {GREY: (), RGB: (3,), PALETTE: (), LA: (2,), RGBA: (4,)}
KINDS = [(GREY, 1), (GREY, 2), (GREY, 4), (GREY, 8), (GREY, 16), (RGB, 8), (RGB, 16), (LA, 8), (LA, 16)]
KINDS += [(RGBA, 8), (RGBA, 16), (PALETTE, 1), (PALETTE, 2), (PALETTE, 4), (PALETTE, 8)]
SIZE = (21, 29)


def stored_samples(content):
    """The file's own values by other readers than the product's: OpenCV for 16 bits, Pillow otherwise."""
    _, _, depth, colour = struct.unpack(">IIBB", png_chunks(content)[0][1][:10])
    if depth == 16:
        values = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
        order = {GREY: ..., RGB: (..., [2, 1, 0]), LA: (..., [0, 3]), RGBA: (..., [2, 1, 0, 3])}
        return values[order[colour]]
    image = np.asarray(Image.open(io.BytesIO(content))).astype(np.uint8)
    return image // (255 // (2**depth - 1)) if colour == GREY and depth in (2, 4) else image


def write_kind(path, colour, depth, interlaced=False):
    """Its samples, and the entries of a palette."""
    samples, entries = noise((*SIZE, *CHANNELS[colour]), 2**depth, dtype=np.uint16), noise((2**depth, 3), seed=9)
    palette = png_chunk(b"PLTE", entries.tobytes()) if colour == PALETTE else b""
    path.write_bytes(png_bytes(samples, colour, depth, interlaced, palette))
    return samples, entries if palette else None


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize(("colour", "depth"), KINDS)
def test_every_depth_and_colour_type_keeps_its_values(tmp_path, colour, depth, interlaced):
    samples, entries = write_kind(tmp_path / "x.png", colour, depth, interlaced)
    header = png_chunks((tmp_path / "x.png").read_bytes())[0][1]
    photo, pixels, mask, encoded = restore(tmp_path / "x.png")
    assert png_chunks(encoded.content)[0][1] == header[:-1] + b"\0"
    assert encoded.notes == (("a PNG is no longer interlaced",) if interlaced else ())
    assert photo.pixels.dtype == (np.uint16 if depth == 16 else np.uint8)
    step = 255 // (2**depth - 1) if depth < 8 else 1
    shown = samples[..., :3] if colour in (RGB, RGBA) else samples.reshape(*SIZE, -1)[..., :1] * step
    assert np.array_equal(photo.pixels, np.broadcast_to(shown if entries is None else entries[samples], (*SIZE, 3)))
    assert_restored(samples, stored_samples(encoded.content), mask, pixels, step, entries)


def test_chunks_around_the_pixels_stay_byte_for_byte_and_in_order(tmp_path):
    front = (
        (b"iCCP", b"name\0\0" + zlib.compress(b"no real profile")),
        (b"sBIT", b"\5\6\5"),
        (b"tEXt", b"Author\0somebody"),
        (b"prVt", b"a private chunk"),
    )
    back = (
        (b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0<x:xmpmeta/>"),
        (b"eXIf", b"MM\0*\0\0\0\x08\0\1\x01\x12\0\3\0\0\0\1\0\6\0\0\0\0\0\0"),
    )
    path = tmp_path / "x.png"
    before, after = (b"".join(png_chunk(*chunk) for chunk in chunks) for chunks in (front, back))
    path.write_bytes(png_bytes(noise((*SIZE, 3)), RGB, 8, before=before, after=after) + b"behind the end")
    header, *_ = png_chunks(path.read_bytes())
    photo, _, _, encoded = restore(path)
    assert photo.orientation == 6
    chunks = png_chunks(encoded.content)
    assert [chunk for chunk in chunks if chunk[0] != b"IDAT"] == [header, *front, *back, (b"IEND", b"")]
    assert chunks[1 + len(front)][0] == b"IDAT"
    assert encoded.content.endswith(b"behind the end")


def test_a_large_picture_hardly_grows(tmp_path):
    rows, columns = np.mgrid[:1000, :900]
    smooth = np.stack([rows // 4, columns // 4, (rows + columns) // 8], axis=2).astype(np.uint8)
    smooth[500:] = noise((500, 900, 3))
    Image.fromarray(smooth).save(tmp_path / "x.png")
    size = (tmp_path / "x.png").stat().st_size
    _, pixels, _, encoded = restore(tmp_path / "x.png")
    assert np.array_equal(np.asarray(Image.open(tmp_path / "x.png")), pixels)
    assert len(encoded.content) < 1.05 * size


def test_a_palette_keeps_its_entries_and_each_pixel_its_opacity(tmp_path):
    entries, indices, opacity = noise((10, 3), seed=1), noise(SIZE, 10), bytes([0, 128, 255])
    before = png_chunk(b"PLTE", entries.tobytes()) + png_chunk(b"tRNS", opacity) + png_chunk(b"hIST", bytes(20))
    path = tmp_path / "x.png"
    path.write_bytes(png_bytes(indices, PALETTE, 8, before=before))
    _, pixels, mask, encoded = restore(path)
    assert before in encoded.content
    again, transparency = np.asarray(Image.open(path).convert("RGBA")), np.r_[0, 128, [255] * 8][indices]
    assert np.array_equal(again[..., 3], transparency)
    after = stored_samples(encoded.content)
    assert np.array_equal(after[mask == 0], indices[mask == 0])
    opaque = (mask == 1) & (transparency == 255)
    distance = ((entries[None, 2:] - pixels[opaque][:, None].astype(float)) ** 2).sum(-1)
    assert np.array_equal(distance[np.arange(len(distance)), after[opaque] - 2], distance.min(1))


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize(("colour", "depth"), KINDS)
def test_missing_pixels_are_refused(tmp_path, colour, depth, interlaced):
    path = tmp_path / "short.png"
    write_kind(path, colour, depth, interlaced)
    content = path.read_bytes()
    read_rgb(path)
    raw = zlib.compress(zlib.decompress(dict(png_chunks(content))[b"IDAT"])[:-1])
    parts = [png_chunk(kind, raw if kind == b"IDAT" else data) for kind, data in png_chunks(content)]
    path.write_bytes(content[:8] + b"".join(parts))
    assert_refused(path, "broken or cut short", read_photo, read_rgb)


LONG_TEXTS = {b"zTXt": b"Comment\0\0", b"iTXt": b"XML:com.adobe.xmp\0\1\0\0\0", b"iCCP": b"name\0\0"}


@pytest.mark.parametrize("place", ["before", "after"])
@pytest.mark.parametrize("kind", LONG_TEXTS)
def test_long_texts_and_profiles_are_no_reason_to_refuse_and_stay(tmp_path, kind, place):
    chunk = png_chunk(kind, LONG_TEXTS[kind] + zlib.compress(noise((3 << 20,), 16).tobytes(), 1))
    path = tmp_path / "x.png"
    path.write_bytes(png_bytes(noise((*SIZE, 3)), RGB, 8, **{place: chunk}))
    assert np.array_equal(read_rgb(path), read_photo(path).pixels)
    assert chunk in restore(path)[3].content


def with_wrong_checksum(content, kind):
    at = content.index(kind) - 4
    end = at + 12 + int.from_bytes(content[at : at + 4], "big")
    return content[: end - 1] + bytes([content[end - 1] ^ 1]) + content[end:]


def test_only_the_checksums_of_what_is_shown_count(tmp_path):
    path, palette = tmp_path / "x.png", png_chunk(b"PLTE", noise((256, 3), seed=9).tobytes())
    text, private = (png_chunk(kind, b"Author\0somebody") for kind in (b"tEXt", b"prVt"))
    content = png_bytes(noise(SIZE), PALETTE, 8, before=text + palette, after=private)
    for kind in (b"tEXt", b"prVt"):
        content = with_wrong_checksum(content, kind)
    path.write_bytes(content)
    assert np.array_equal(read_rgb(path), read_photo(path).pixels)
    assert content[33 : content.index(b"tEXt") + 20] in restore(path)[3].content
    for kind in ("IHDR", "IDAT", "PLTE"):
        path.write_bytes(with_wrong_checksum(content, kind.encode()))
        assert_refused(path, f"chunk '{kind}'")


def test_a_picture_that_ends_black_is_read(tmp_path):
    for height in (1, 2, 5):
        (tmp_path / "black.png").write_bytes(png_bytes(np.zeros((height, 7, 3), np.uint8), RGB, 8))
        assert not read_rgb(tmp_path / "black.png").any()
        assert not read_photo(tmp_path / "black.png").pixels.any()
