"""Damaged and foreign JPEG files are refused with the reason, and nothing that happens leaves files behind."""

import sys
import tempfile
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest

from data.images import BadImageError, decoded, read_rgb, to_array
from data.jpeg_segments import UnsupportedJpegError
from data.photos import encode_photo, jpeg, read_photo
from data.photos.jpeg import coefficients, parse, replace_blocks, with_coefficients
from tests.conftest import ROOT
from tests.data.photos import jpegs
from tests.data.photos.files import assert_refused
from tests.data.photos.jpegs import KINDS, decode, with_patch


def swap(before: bytes, after: bytes) -> Callable[[bytes], bytes]:
    return lambda content: content.replace(before, after, 1)


def edit(marker: int, change: Callable[[bytes], bytes | None]) -> Callable[[bytes], bytes]:
    """Changes the payload of all segments of one marker."""
    return lambda content: jpegs.edited(content, lambda each, data: change(data) if each == marker else data)


def put(at: int, value: bytes) -> Callable[[bytes], bytes]:
    """Overwrites bytes of the frame."""
    return lambda content: jpegs.with_frame(content, lambda data: data[:at] + value + data[at + len(value) :])


def told_too_late(_: bytes) -> bytes:
    """Adobe's mark for RGB between two scans of a file that decoders took for YCbCr at the first."""
    source = jpegs.without(jpegs.three_scans(), jpegs.APP0)
    second = source.rindex(b"\xff\xda")
    return source[:second] + b"\xff\xee\0\x0eAdobe\0d\0\0\0\0\0" + source[second:]


HEAD, DATA = "broken or cut short", "cut short: the data end before the picture"
BROKEN = {
    "cut before fill bytes": (lambda content: content[: -len(content) // 4] + b"\xff\xff\xff\xd9", DATA),
    "arithmetic": (swap(b"\xff\xc0", b"\xff\xc9"), "a lossless, hierarchical or arithmetic JPEG"),
    "lossless": (swap(b"\xff\xc0", b"\xff\xc3"), HEAD),
    "hierarchical": (swap(b"\xff\xc0", b"\xff\xc5"), HEAD),
    "12 bits": (put(0, b"\x0c"), "not a picture"),
    "no height": (put(1, b"\0\0"), "not a picture"),
    "two components": (edit(jpegs.SOF0, lambda data: data[:5] + b"\2" + data[6:-3]), "not a picture"),
    "same ids": (lambda _: jpegs.odd_ids().replace(b"\xc8\x11", b"\x22\x11"), "ids that repeat"),
    "thirds of samples": (put(7, b"\x31\0\2\x21\1\3\x11\1"), HEAD),
    "zero factor": (put(7, b"\x20"), HEAD),
    "missing table": (put(8, b"\3"), HEAD),
    "no tables": (lambda content: jpegs.without(content, jpegs.DQT), HEAD),
    "zero in table": (edit(jpegs.DQT, lambda data: data[:9] + b"\0" + data[10:]), "table 0 has zeros"),
    "no codes": (lambda content: jpegs.without(content, jpegs.DHT), "Huffman table 0 is missing"),
    "no codes for AC": (edit(jpegs.DHT, lambda data: None if data[0] else data), "Huffman table 0 is missing"),
    "codes": (edit(jpegs.DHT, lambda data: data if data[0] else b"\0\3\x09" + bytes(14) + data[17:]), HEAD),
    "colours told too late": (told_too_late, "reads back differently"),
}


def read_and_replace(source: bytes) -> bytes:
    rgb = to_array(decoded(source, "x.jpg"), "RGB")
    return replace_blocks(source, np.full_like(rgb, 99), np.eye(*rgb.shape[:2], dtype=bool)).content


@pytest.mark.parametrize("name", BROKEN)
def test_what_cannot_be_done_is_refused_with_the_reason(name):
    damage, reason = BROKEN[name]
    with pytest.raises((UnsupportedJpegError, BadImageError), match=reason):
        read_and_replace(damage(jpegs.save(jpegs.textured())))


def scans_lost(content: bytes) -> bytes:
    return content[: content.rindex(b"\xff\xda")]


def interval_cut(content: bytes) -> bytes:
    """Half of the data between two restart markers."""
    start, end = content.index(b"\xff\xd3"), content.index(b"\xff\xd4")
    return content[: (start + end) // 2] + content[end:]


WHOLE_KINDS = ("420", "grey", "progressive", "restarts", "progressive restarts", "three scans", "CMYK")
WHOLE = [KINDS[name] for name in WHOLE_KINDS]
TRAILERS = {
    "nothing": b"",
    "zeros": bytes(3),
    "phone": b"\0\0\1\n\x0eMotionPhoto_Data\0\0\0\x18ftypmp42\xff\1\xff\xe0\xff\xff" + bytes(range(256)) * 9 + b"SEFT",
    "picture": jpegs.save(jpegs.textured(30, 40)),
}


@pytest.mark.parametrize("trailer", TRAILERS)
@pytest.mark.parametrize("make", WHOLE)
def test_a_lost_end_marker_is_no_loss_whatever_follows(tmp_path, make, trailer):
    path, source = tmp_path / "x.jpg", make()
    path.write_bytes(source[:-2] + TRAILERS[trailer])
    photo = read_photo(path)
    assert np.array_equal(photo.pixels, decode(source))
    assert np.array_equal(read_rgb(path), decode(source))
    pixels, mask = with_patch(source)
    encoded = encode_photo(photo, pixels, mask)
    assert encoded.content == replace_blocks(source, pixels, mask).content


@pytest.mark.parametrize(
    "end", [b"", b"\xff\xd9", b"\xff\xd9" + TRAILERS["phone"]], ids=["none", "marker", "marker and trailer"]
)
@pytest.mark.parametrize("lost", [0.6, 0.1, 0.02, 13])
@pytest.mark.parametrize("make", WHOLE)
def test_data_that_end_early_are_named_whatever_follows(tmp_path, make, lost, end):
    path, data = tmp_path / "cut.jpg", make()[:-2]
    length = len(data) - data.index(b"\xff\xda") - 20
    path.write_bytes(data[: -int(lost if lost > 1 else lost * length)] + end)
    assert_refused(path, "cut short", read_photo, read_rgb, partial(read_rgb, reduce=2))


@pytest.mark.parametrize(("name", "damage", "reason"), [
    ("progressive", scans_lost, "scans that leave out components or bits"),
    ("three scans", scans_lost, "scans that leave out components or bits"),
    ("restarts", interval_cut, "the data end before the picture"),
    ("restarts", swap(b"\xff\xd3", b""), "restart markers are missing|the data end"),
    ("progressive restarts", swap(b"\xff\xd3", b""), "restart markers are missing|the data end"),
])  # fmt: skip
def test_parts_that_are_lost_before_the_end_are_named(tmp_path, name, damage, reason):
    path = tmp_path / "gap.jpg"
    for end in (b"", b"\xff\xd9"):
        path.write_bytes(damage(KINDS[name]()) + end)
        assert_refused(path, f"cut short: ({reason})")


@pytest.mark.parametrize("optimize", [False, True])
@pytest.mark.parametrize("rows", [40, 75])
def test_middle_grey_at_the_end_is_not_taken_for_lacking_data(rows, optimize):
    picture = jpegs.textured()
    picture[-rows:] = 128
    source = jpegs.save(picture, optimize=optimize)
    for complete in (source, source[:-2] + b"\xff\xff\xff\xd9"):
        assert np.array_equal(to_array(decoded(complete, "x.jpg"), "RGB"), decode(source))


def test_coefficients_that_no_8_bit_picture_has_are_refused():
    """Each difference has a code, but not what they add up to. The mean of black lies at the lower end."""
    black = jpegs.save(np.zeros((*jpegs.SIZE, 3), np.uint8), quality=100)
    assert coefficients(parse(black))[0].min() == -1024
    replace_blocks(black, decode(black), np.zeros(jpegs.SIZE, bool))
    jpeg = parse(KINDS["grey"]())
    planes = [np.zeros_like(plane) for plane in coefficients(jpeg)]
    for values in ((1000, 1024), (1000, 1900), (-1000, -1025)):
        planes[0][0, :2, 0, 0] = values
        with pytest.raises(UnsupportedJpegError, match="coefficients out of range"):
            with_coefficients(jpeg, planes)


def test_without_the_right_jpeglib_the_error_says_so(monkeypatch):
    assert f"jpeglib=={jpeg.JPEGLIB_VERSION}\n" in (ROOT / "requirements.txt").read_text()
    jpeg._library.cache_clear()
    source = KINDS["grey"]()
    monkeypatch.setattr(jpeg, "JPEGLIB_VERSION", "9.8")
    with pytest.raises(UnsupportedJpegError, match=r"9\.8 is needed"):
        replace_blocks(source, *with_patch(source))
    monkeypatch.setitem(sys.modules, "jpeglib", None)
    with pytest.raises(UnsupportedJpegError, match="jpeglib is not installed"):
        replace_blocks(source, *with_patch(source))


def test_no_file_is_needed_that_a_killed_process_would_leave_behind(monkeypatch, tmp_path):
    source = KINDS["progressive"]()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    monkeypatch.setenv("TMPDIR", str(tmp_path / "nowhere"))
    replace_blocks(source, *with_patch(source))
