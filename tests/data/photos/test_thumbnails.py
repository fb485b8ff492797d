"""What shows the photo as it was goes from the metadata of a changed one; every other byte stays in its place."""

from __future__ import annotations

import io
import struct
from itertools import pairwise

import pytest
from PIL import ExifTags, Image

from data.jpeg_segments import Segment
from data.photos import encode_photo, read_photo
from data.photos.jpeg import replace_blocks
from data.photos.thumbnails import in_exif, in_photoshop, in_segments, in_xmp
from tests.data.photos import jpegs
from tests.data.photos.files import filled, page

PICTURE, NOTE = b"small+pictures=", b"offsets of the maker's note"
BLANK = b" " * len(PICTURE)
XMP = b'<x xmpGImg:format="JPEG"><xmpGImg:image>%b</xmpGImg:image><y xmpGImg:image="%b"/>&#xA;</x>'


def directory(order: str, following: int, *entries: tuple[int, int, int, bytes]) -> bytes:
    packed = (struct.pack(f"{order}HHI", *entry[:3]) + entry[3] for entry in entries)
    return struct.pack(f"{order}H", len(entries)) + b"".join(packed) + struct.pack(f"{order}I", following)


def exif_of(picture: bytes = PICTURE, order: str = "<", strips: bool = False) -> bytes:
    """EXIF with a second directory and its picture, as a JPEG or in two strips; zeros for both without a picture."""
    size, place = len(PICTURE), 80 + len(NOTE)
    number, pair = struct.Struct(f"{order}I").pack, struct.Struct(f"{order}HH").pack
    as_jpeg = (513, 4, 1, number(place)), (514, 4, 1, number(size))
    as_strips = (273, 4, 2, number(160)), (279, 3, 2, pair(5, size - 5))
    second = directory(order, 0, *(as_strips if strips else as_jpeg))
    tags = (0x010E, 2, len(NOTE), number(80)), (0x0112, 3, 1, pair(1, 0))
    first = directory(order, 40 if picture else 0, *tags)
    content = (b"II*\0" if order == "<" else b"MM\0*") + number(8) + first + bytes(2)
    content += (second if picture else bytes(len(second))) + bytes(10)
    content += NOTE + (picture or bytes(size)) + NOTE
    return content.ljust(160, b"\0") + number(place) + number(place + 5)


@pytest.mark.parametrize("strips", [False, True])
@pytest.mark.parametrize("order", "<>")
def test_the_second_directory_of_exif_and_its_picture_become_zeros(order, strips):
    assert in_exif(exif_of(PICTURE, order, strips)) == exif_of(b"", order, strips)
    assert in_exif(exif_of(b"", order, strips)) == exif_of(b"", order, strips)


MAKE, DATE = b"a camera maker\0", b"2026:11:26 10:00:00\0"


@pytest.mark.parametrize(
    ("start", "size", "wiped"),
    [
        (200, 40, True),  # A JPEG in its place,
        (200, 100, True),  # that is said to be longer than the file,
        (190, 30, True),  # or begins behind what is stated.
        (100, 140, False),  # Out of date: over the maker and the date,
        (0, 0xFFFF, False),
        (10, 4, False),  # over an entry,
        (150, 40, False),  # or partly over a value.
    ],
)
def test_a_place_that_is_out_of_date_takes_nothing_else_with_it(start, size, wiped):
    number = struct.Struct("<I").pack
    first = directory("<", 70, (0x010F, 2, len(MAKE), number(110)), (0x8769, 4, 1, number(40)))
    below = directory("<", 0, (0x9003, 2, len(DATE), number(140)))
    second = directory("<", 0, (513, 4, 1, number(start)), (514, 4, 1, number(size)))
    parts = {0: b"II*\0" + number(8), 8: first, 40: below, 70: second, 110: MAKE, 140: DATE,
             200: b"\xff\xd8" + PICTURE}  # fmt: skip
    exif = bytearray(240)
    for place, part in parts.items():
        exif[place : place + len(part)] = part
    changed = in_exif(bytes(exif))
    assert (PICTURE in changed) == (not wiped)
    found = Image.Exif()
    found.load(changed)
    assert found[0x010F] == MAKE[:-1].decode()
    assert found.get_ifd(ExifTags.IFD.Exif) == {0x9003: DATE[:-1].decode()}
    assert found.get_ifd(ExifTags.IFD.IFD1) == {}


@pytest.mark.parametrize("exif", [b"", b"Exif\0\0", b"II*\0", b"II*\0\xff\xff\xff\x7f", b"XX" + exif_of()[2:]])
def test_broken_exif_stays(exif):
    assert in_exif(exif) == exif


def test_nothing_leads_to_a_directory_that_is_cut_short_and_directories_in_a_circle_come_to_an_end():
    exif = exif_of()[:60]
    assert in_exif(exif) == exif[:34] + bytes(4) + exif[38:]
    for target in (8, 40):
        exif = bytearray(exif_of())
        exif[66:70] = struct.pack("<I", target)
        assert PICTURE not in in_exif(bytes(exif))


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".avif", ".heic"])
def test_no_kind_of_file_keeps_a_thumbnail_when_the_photo_has_changed(tmp_path, suffix):
    path = tmp_path / f"x{suffix}"
    if suffix not in Image.registered_extensions():
        pytest.importorskip("pillow_heif").register_heif_opener()
    xmp = {} if suffix == ".png" else {"xmp": XMP % (PICTURE, PICTURE)}
    Image.fromarray(page((64, 80))).save(path, exif=b"Exif\0\0" + exif_of(), **xmp)
    assert PICTURE in path.read_bytes()
    photo = read_photo(path)
    content = bytes(encode_photo(photo, *filled(photo)).content)
    assert PICTURE not in content
    assert content.count(NOTE) == (1 if suffix == ".avif" else 2)  # Of which Pillow writes EXIF anew.
    with Image.open(io.BytesIO(content)) as image:
        exif = image.getexif()
        assert exif[0x010E] == NOTE.decode()
        assert not exif.get_ifd(ExifTags.IFD.IFD1)
        assert not xmp or image.info["xmp"].strip(b"\0") == XMP % (BLANK, BLANK)


RESOURCES = b"8BIM\4\x0a\3abc\0\0\0\3xyz\0" b"8BIM\4\x0c\0\0\0\0\0\x0f%b\0" b"8BIM\4\4\0\0\0\0\0\2zz"


def test_thumbnails_of_jfif_photoshop_and_xmp_go_from_a_jpeg():
    segments, rest = jpegs.split(jpegs.save(jpegs.textured()))
    jfif = next(data for marker, data in segments if marker == jpegs.APP0)
    xmp, photoshop = b"http://ns.adobe.com/xap/1.0/\0" + XMP, b"Photoshop 3.0\0" + RESOURCES
    front = [(jpegs.APP0, jfif[:12] + b"\5\1" + PICTURE), (jpegs.APP0, b"JFXX\0\x10" + PICTURE),
             (jpegs.APP1, xmp % (PICTURE, PICTURE)), (0xED, photoshop % PICTURE)]  # fmt: skip
    source = jpegs.join([*front, *(each for each in segments if each[0] != jpegs.APP0)], rest)
    kept = jpegs.split(replace_blocks(source, *jpegs.with_patch(source)).content)[0][:3]
    assert kept == [(jpegs.APP0, jfif[:12] + b"\0\0"), (jpegs.APP1, xmp % (BLANK, BLANK)),
                    (0xED, photoshop % bytes(len(PICTURE)))]  # fmt: skip


@pytest.mark.parametrize("parts", [(30, 49), (40,), (46, 60), (12, 13)])
def test_a_thumbnail_of_photoshop_over_several_segments_goes_from_all_of_them(parts):
    cuts = [0, *parts, None]
    split_up = [Segment(0xED, b"Photoshop 3.0\0" + (RESOURCES % PICTURE)[low:high]) for low, high in pairwise(cuts)]
    changed = [each.payload.removeprefix(b"Photoshop 3.0\0") for each in in_segments(split_up)]
    assert b"".join(changed) == RESOURCES % bytes(len(PICTURE))
    assert [len(each) + 14 for each in changed] == [len(each.payload) for each in split_up]


def test_a_tiff_keeps_neither_and_the_rest_of_both(tmp_path):
    path = tmp_path / "x.tif"
    tags = {700: XMP % (PICTURE, PICTURE), 34377: RESOURCES % PICTURE}
    Image.fromarray(page()).save(path, tiffinfo=tags)
    photo = read_photo(path)
    path.write_bytes(encode_photo(photo, *filled(photo)).content)
    assert PICTURE not in path.read_bytes()
    with Image.open(path) as image:
        assert image.tag_v2[34377] == RESOURCES % bytes(len(PICTURE)) == in_photoshop(tags[34377])
        assert image.tag_v2[700] == XMP % (BLANK, BLANK) == in_xmp(tags[700])
