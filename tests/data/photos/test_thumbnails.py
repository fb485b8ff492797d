"""What shows the photo as it was goes from the metadata of a changed one; every other byte stays in its place."""

import io
import struct
import time
from itertools import pairwise

import pytest
from PIL import ExifTags, Image

from data.jpeg_segments import Segment
from data.photos.jpeg import replace_blocks, without_thumbnails
from data.photos.thumbnails import in_exif, in_xmp, without_jpegs
from tests.data.photos import jpegs
from tests.data.photos.files import page, restore

PICTURE, NOTE = jpegs.save(jpegs.textured(16, 24)), b"offsets of the maker's note"
GONE, BASE64 = bytes(len(PICTURE)), b"small+pictures="
XMP = b'<x xmpGImg:format="JPEG"><xmpGImg:image>%b</xmpGImg:image><y xmpGImg:image="%b"/>&#xA;</x>'
XMP_BEFORE, XMP_AFTER = (XMP % (picture, picture) for picture in (BASE64, b" " * len(BASE64)))


def directory(order: str, following: int, *entries: tuple[int, int, int, bytes]) -> bytes:
    packed = (struct.pack(f"{order}HHI", *entry[:3]) + entry[3] for entry in entries)
    return struct.pack(f"{order}H", len(entries)) + b"".join(packed) + struct.pack(f"{order}I", following)


def exif_of(picture: bytes = PICTURE, order: str = "<", following: int = 40, strips: bool = False) -> bytes:
    """EXIF with a picture between two notes, and a second directory that says where it lies: as a JPEG or in strips."""
    size, place = len(PICTURE), 108 + len(NOTE)
    number, pair = struct.Struct(f"{order}I").pack, struct.Struct(f"{order}HH").pack
    as_jpeg = (513, 4, 1, number(place)), (514, 4, 1, number(size))
    as_strips = (273, 4, 2, number(100)), (279, 3, 2, pair(5, size - 5))
    first = directory(order, following, (0x010E, 2, len(NOTE), number(108)), (0x0112, 3, 1, pair(1, 0)))
    second = directory(order, 0, *(as_strips if strips else as_jpeg))
    content = (b"II*\0" if order == "<" else b"MM\0*") + number(8) + first + bytes(2) + second
    return content.ljust(100, b"\0") + number(place) + number(place + 5) + NOTE + picture + NOTE


@pytest.mark.parametrize("following", [40, 8])
@pytest.mark.parametrize("strips", [False, True])
@pytest.mark.parametrize("order", "<>")
def test_the_picture_of_exif_becomes_zeros_and_no_directory_follows(order, strips, following):
    picture = PICTURE if following == 8 or not strips else b"x" * len(PICTURE)
    for head in (b"", b"Exif\0\0"):
        changed = in_exif(head + exif_of(picture, order, following, strips))
        assert changed == head + exif_of(GONE, order, 0, strips) == in_exif(changed)
    # What is said of a JPEG's place may be out of date.
    place, stale = (struct.pack(f"{order}I", at) for at in (108 + len(NOTE), 100))
    exif, gone = (exif_of(each, order, after).replace(place, stale) for each, after in ((PICTURE, 40), (GONE, 0)))
    assert in_exif(exif) == gone


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".heic"])
def test_no_kind_of_file_keeps_a_thumbnail_when_the_photo_has_changed(tmp_path, suffix):
    path = tmp_path / f"x{suffix}"
    if suffix not in Image.registered_extensions():
        pytest.importorskip("pillow_heif").register_heif_opener()
    xmp = {} if suffix == ".png" else {"xmp": XMP_BEFORE}
    Image.fromarray(page((64, 80))).save(path, exif=b"Exif\0\0" + exif_of(), **xmp)
    assert PICTURE in path.read_bytes()
    content = bytes(restore(path)[3].content)
    assert PICTURE not in content
    assert content.count(NOTE) == 2
    with Image.open(io.BytesIO(content)) as image:
        exif = image.getexif()
        assert exif[0x010E] == NOTE.decode()
        assert not exif.get_ifd(ExifTags.IFD.IFD1)
        assert not xmp or image.info["xmp"].strip(b"\0") == XMP_AFTER


RESOURCES = b"8BIM\4\x0a\3abc\0\0\0\3xyz\0" b"8BIM\4\x0c\0\0\0\0\4\0%b\0" b"8BIM\4\4\0\0\0\0\0\2zz"
HEAD = b"Photoshop 3.0\0"


def test_thumbnails_of_jfif_photoshop_and_xmp_go_from_a_jpeg():
    segments, rest = jpegs.split(jpegs.save(jpegs.textured()))
    jfif = next(data for marker, data in segments if marker == jpegs.APP0)
    space = b"http://ns.adobe.com/xap/1.0/\0"
    front = [(jpegs.APP0, jfif[:12] + b"\5\1" + BASE64), (jpegs.APP0, b"JFXX\0\x10" + PICTURE),
             (jpegs.APP1, space + XMP_BEFORE), (0xED, HEAD + RESOURCES % PICTURE)]  # fmt: skip
    source = jpegs.join([*front, *(each for each in segments if each[0] != jpegs.APP0)], rest)
    kept = [(jpegs.APP0, jfif[:12] + b"\0\0"), (jpegs.APP1, space + XMP_AFTER), (0xED, HEAD + RESOURCES % GONE)]
    assert jpegs.split(replace_blocks(source, *jpegs.with_patch(source)).content)[0][:3] == kept


@pytest.mark.parametrize("parts", [(30, 49), (40,), (46, 60), (12, 13), (200,)])
def test_a_thumbnail_of_photoshop_over_several_segments_goes_from_all_of_them(parts):
    cuts = [0, *parts, None]
    split_up = [Segment(0xED, HEAD + (RESOURCES % PICTURE)[low:high]) for low, high in pairwise(cuts)]
    changed = [each.payload.removeprefix(HEAD) for each in without_thumbnails(split_up)]
    whole = RESOURCES % GONE
    assert changed == [whole[low:high] for low, high in pairwise(cuts)]


@pytest.mark.parametrize("number", [b"\4\x09", b"\4\x0c"])
def test_a_thumbnail_of_photoshop_that_is_no_jpeg_goes_by_its_number(number):
    resources = b"8BIM" + number + b"\2ab\0\0\0\0\5%b\0" + RESOURCES[-14:]
    assert without_jpegs(resources % b"raw..") == resources % bytes(5)


def test_a_tiff_keeps_neither_and_the_rest_of_both(tmp_path):
    path = tmp_path / "x.tif"
    tags = {700: XMP_BEFORE, 34377: RESOURCES % PICTURE}
    Image.fromarray(page()).save(path, tiffinfo=tags)
    restore(path)
    assert PICTURE not in path.read_bytes()
    with Image.open(path) as image:
        assert image.tag_v2[34377] == RESOURCES % GONE == without_jpegs(tags[34377])
        assert image.tag_v2[700] == XMP_AFTER == in_xmp(tags[700])


def test_strips_in_front_of_their_directory_become_zeros_and_what_the_first_one_holds_stays():
    strips, number = b"x" * 20, struct.Struct("<I").pack
    first = directory("<", 60, (0x010E, 2, len(NOTE), number(114)))
    places = directory("<", 0, (273, 4, 1, number(32)), (279, 4, 1, number(90)))  # Stale: up to the note.
    exif = (b"II*\0" + number(8) + first).ljust(32, b"\0") + strips.ljust(28, b"\0") + places.ljust(54, b"x") + NOTE
    changed = in_exif(exif)
    assert (strips in changed, changed[114:]) == (False, NOTE)
    assert changed[8:22] == exif[8:22]


@pytest.mark.parametrize("content", [b"\xff\xd8\xff\xe0\0\4ab", b"\xff\xd8\xff\xdb" + b"\xff\xfe\0\2" * 9])
def test_metadata_that_look_like_many_jpegs_take_no_time(content):
    start = time.process_time()
    without_jpegs(content * (1_000_000 // len(content)))
    without_jpegs(content + b"\xff" * 100_000)
    assert time.process_time() - start < 3
