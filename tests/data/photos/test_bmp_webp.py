import io
import struct

import numpy as np
import pytest
from PIL import Image

from data.images import BadImageError
from data.photos import encode_photo, read_photo
from tests.data.photos.files import PAGE_SIZE, assert_restored, exif_of, filled, noise, page, restore

RARE_BMP = "a BMP of a rare kind (run lengths, 1, 4 or 16 bits, other masks) becomes one of 24 bits"


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
        *((bits, {}) for bits in (1, 4, 8, 16, 24, 32)),
        (16, {"compression": 3, "masks": (0xF800, 0x07E0, 0x001F)}),
        (32, {"compression": 3, "masks": (0, 0, 0, 0)}),
        (32, {"compression": 3, "masks": (0xFF, 0xFF00, 0xFF0000, 0xFF000000), "header": 124}),
    ],
)
def test_a_bmp_changes_only_below_the_mask_and_says_when_it_becomes_another_kind(tmp_path, bits, options, top_down):
    path, colours = tmp_path / "x.bmp", None
    if bits <= 8:
        colours = noise((2**bits, 4), seed=3)
        colours[:, 3] = 0
        options = {**options, "palette": colours.tobytes()}
    before = bmp_bytes(noise((40, 48 * bits // 8)), bits, top_down=top_down, **options)
    path.write_bytes(before)
    seen = np.asarray(Image.open(path).convert("RGBA"))
    photo, pixels, mask, encoded = restore(path)
    again = Image.open(path)
    assert np.array_equal(photo.pixels, seen[..., :3])
    old, start = Image.open(io.BytesIO(before)), struct.unpack_from("<I", before, 10)[0]
    if bits == 8:
        assert_restored(np.asarray(old), np.asarray(again), mask, pixels, entries=colours[:, 2::-1])
    else:
        assert_restored(seen, np.asarray(again.convert("RGBA")), mask, pixels)
    if bits in (8, 24, 32):
        assert (encoded.notes, len(encoded.content)) == ((), len(before))
        assert encoded.content[:start] == before[:start]
    else:
        assert (encoded.notes, again.info["dpi"]) == ((RARE_BMP,), old.info["dpi"])


def test_a_bmp_of_run_lengths_comes_back_without_them_and_one_without_room_for_its_palette_is_refused(tmp_path):
    path = tmp_path / "x.bmp"
    runs = b"".join(bytes([48, row]) + b"\0\0" for row in range(40)) + b"\0\1"
    head = struct.pack("<2sIHHI", b"BM", 14 + 40 + 1024 + len(runs), 0, 0, 14 + 40 + 1024)
    head += struct.pack("<IiiHHIIiiII", 40, 48, 40, 1, 8, 1, len(runs), 11811, 11811, 256, 0)
    path.write_bytes(head + noise((256, 4)).tobytes() + runs)
    _, pixels, _, encoded = restore(path)
    assert np.array_equal(np.asarray(Image.open(path)), pixels)
    assert encoded.notes == (RARE_BMP,)
    content = bytearray(bmp_bytes(noise((40, 48)), 8, palette=noise((256, 4)).tobytes()))
    struct.pack_into("<I", content, 10, 14 + 40)
    path.write_bytes(content)
    with pytest.raises(BadImageError, match=r"x\.bmp: broken \(no room for a palette"):
        restore(path)


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
@pytest.mark.parametrize("lossless", [True, False])
def test_a_webp_stays_lossless_or_lossy_and_keeps_alpha_and_metadata(tmp_path, mode, lossless):
    path = tmp_path / "x.webp"
    opacity = np.full(PAGE_SIZE, 255, np.uint8)
    opacity[20:40] = 0
    image = Image.fromarray(np.dstack([page(), opacity]))
    metadata = {"exif": exif_of(1).tobytes(), "icc_profile": b"no real profile", "xmp": b"<x:xmpmeta/>"}
    image.convert(mode).save(path, lossless=lossless, quality=90, exact=True, **metadata)
    before, photo = Image.open(path).info, read_photo(path)
    pixels, mask = filled(photo)
    encoded = encode_photo(photo, pixels, mask)
    again = Image.open(io.BytesIO(encoded.content))
    values = np.asarray(again)
    assert again.mode == mode
    assert {key: again.info[key] for key in metadata} == {key: before[key] for key in metadata}
    assert (b"VP8L" in encoded.content) == lossless
    assert mode == "RGB" or np.array_equal(values[..., 3], opacity)
    assert np.abs(values[..., :3].astype(int) - pixels)[opacity > 0].mean() < (1e-9 if lossless else 3)
    note = "a lossy WebP cannot be changed in part: the whole picture was encoded anew at quality 95"
    assert encoded.notes == (() if lossless else (note,))
    assert not lossless or np.array_equal(values[..., :3], pixels)
