"""Blocks of JPEG files are replaced one by one, in files of every kind, and everything else stays."""

import io
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from unittest.mock import Mock

import cv2
import jpeglib
import numpy as np
import pytest
from PIL import Image

import data.photos.jpeg
from data.images import read_rgb
from data.jpeg_segments import UnsupportedJpegError
from data.masks import read_mask
from data.photos import count_pixels, encode_photo, read_photo
from data.photos.jpeg import replace_blocks
from tests.data.photos import jpegs
from tests.data.photos.files import exif_of, filled, page, restore, saved
from tests.data.photos.jpegs import KINDS, decode, with_patch

# How far the inside of a new smooth patch may be off, in 0..255: coarse tables round much away.
_TOLERANCE = {"16-bit tables": 40, "coarse": 30, "finest": 3, "YCCK": 12}


def replaced(source: bytes, rgb: np.ndarray, changed: np.ndarray) -> bytes:
    return replace_blocks(source, rgb, changed).content


def coefficients(content: bytes, folder: Path) -> list[np.ndarray]:
    """By jpeglib's own interface; of a copy without metadata, as jpeglib takes no more than 50 segments of it."""
    path = folder / "picture.jpg"
    path.write_bytes(jpegs.without(content, jpegs.COM, *range(0xE1, 0xEE)))
    read = jpeglib.read_dct(str(path))
    return [plane for plane in (read.Y, read.Cb, read.Cr, read.K) if plane is not None]


def areas_of(planes: list[np.ndarray]) -> list[list[int]]:
    """Height and width in pixels that a block of each component covers; the first has the most blocks."""
    most = planes[0].shape
    return [[8 * round(most[axis] / plane.shape[axis]) for axis in (0, 1)] for plane in planes]


def touched_blocks(changed: np.ndarray, high: int, wide: int) -> np.ndarray:
    padded = np.pad(changed, [(0, -side % unit) for side, unit in zip(changed.shape, (high, wide), strict=True)])
    return padded.reshape(len(padded) // high, high, -1, wide).any(axis=(1, 3))


def touched_pixels(changed: np.ndarray, high: int, wide: int) -> np.ndarray:
    blocks = touched_blocks(changed, high, wide).repeat(high, axis=0).repeat(wide, axis=1)
    return blocks[: changed.shape[0], : changed.shape[1]]


@pytest.mark.parametrize("name", KINDS)
def test_touched_blocks_show_the_new_pixels_and_all_else_stays(name, tmp_path):
    """Coefficients of all other blocks, metadata, frame and tables of quantisation."""
    source = KINDS[name]()
    rgb, changed = with_patch(source)
    result = replaced(source, rgb, changed)
    planes = coefficients(source, tmp_path), coefficients(result, tmp_path)
    areas = areas_of(planes[0])
    for component, (before, after, area) in enumerate(zip(*planes, areas, strict=True)):
        touched = touched_blocks(changed, *area)
        assert np.array_equal(before[~touched], after[~touched])
        assert name == "one pixel" or not np.array_equal(before[touched], after[touched]) or component == 3
    stay = [[each for each in jpegs.split(content)[0] if each[0] not in (jpegs.DHT, jpegs.DRI)]
            for content in (source, result)]  # fmt: skip
    if name == "progressive CMYK":
        stay[0] = [(jpegs.SOF0 if marker == 0xC2 else marker, data) for marker, data in stay[0]]
    assert stay[0] == stay[1]
    assert result.endswith(b"\xff\xd9")

    shown, close, small = decode(result), _TOLERANCE.get(name, 10), min(rgb.shape[:2]) < 60
    error = np.abs(shown.astype(int) - rgb)
    assert error[touched_pixels(changed, 8, 8)].mean() < close
    rows, columns = np.nonzero(changed)
    assert small or error[rows.min() + 16 : rows.max() - 16, columns.min() + 32 : columns.max() - 32].max() <= close
    # Beside touched chroma decoders blend one pixel.
    reach, blended = touched_pixels(changed, *max(areas)), [3 if side > 8 else 1 for side in max(areas)]
    beside = cv2.dilate(reach.astype(np.uint8), np.ones(blended)) == 0
    assert np.array_equal(shown[beside], decode(source)[beside])
    assert small or beside.any()


def test_metadata_between_scans_moves_in_front_of_them():
    source = jpegs.three_scans()
    second = source.rindex(b"\xff\xda")
    source = source[:second] + b"\xff\xfe\0\5abc" + source[second:]
    assert (jpegs.COM, b"abc") in jpegs.split(replaced(source, *with_patch(source)))[0]


def test_fitted_codes_stay_and_what_goes_is_named():
    source = KINDS["optimised"]()
    assert len(replaced(source, decode(source), np.zeros(jpegs.SIZE, bool))) == len(source)
    more = ("what lies behind the picture (further pictures, a video) is dropped",)
    behind = {b"": (), bytes(9): (), b"video": more, b"\xff\xd8 garbage": more}
    sources = [(of_two_views(jpegs.textured()), more), *((source + end, notes) for end, notes in behind.items())]
    for changed, notes in sources:
        encoded = replace_blocks(changed, *with_patch(changed))
        assert encoded.notes == notes
        assert Image.open(io.BytesIO(encoded.content)).format == "JPEG"
        assert b"MPF\0" not in encoded.content


def of_two_views(first: np.ndarray) -> bytes:
    return saved("MPO", first, save_all=True, append_images=[Image.fromarray(jpegs.textured(30, 40, seed=5))])


@pytest.mark.parametrize("damage", [False, True])
@pytest.mark.parametrize("blocks", [True, False])
def test_a_jpeg_with_further_views_is_its_first_one(tmp_path, monkeypatch, blocks, damage):
    """Whatever their index says, for all who read it, and whichever way it is written."""
    path = tmp_path / "x.jpg"
    content = of_two_views(jpegs.textured())
    path.write_bytes(content.replace(b"\1\xb0\4\0", b"\1\xb0\3\0") if damage else content)
    if not blocks:
        monkeypatch.setattr(data.photos.jpeg, "replace_blocks", Mock(side_effect=UnsupportedJpegError("a reason")))
    assert np.array_equal(read_rgb(path), decode(content))
    assert read_rgb(path, reduce=2).shape == (38, 59, 3)
    photo, *_, encoded = restore(path)
    assert (photo.kind, count_pixels(path), Image.open(path).format) == ("JPEG", 75 * 117, "JPEG")
    assert encoded.notes[-1].startswith("what lies behind the picture (further pictures")
    path.write_bytes(of_two_views(np.repeat(np.arange(75) > 40, 117 * 3).reshape(75, 117, 3) * np.uint8(255)))
    assert read_mask(path).shape == jpegs.SIZE


_WAVES = [(150, 100, 70) + np.cos(at / 16 * 2 * np.pi)[..., None] * (30, 60, 45) for at in np.indices(jpegs.SIZE)]
_COLOURS = [(0, 0, 0), (255, 255, 255), (255, 0, 0), (0, 0, 255), (17, 200, 99)]


@pytest.mark.parametrize(("name", "picture", "close"), [
    *(("three tables", wave, 8) for wave in _WAVES),
    *((name, colour, 5) for name in ("420", "RGB", "CMYK", "YCCK", "finest") for colour in _COLOURS),
])  # fmt: skip
def test_steps_of_each_direction_and_extreme_colours_come_out_as_they_went_in(name, picture, close):
    rgb = np.broadcast_to(np.rint(picture), (*jpegs.SIZE, 3)).astype(np.uint8)
    assert np.abs(decode(replaced(KINDS[name](), rgb, np.ones(jpegs.SIZE))).astype(int) - rgb).max() <= close


def test_threads_do_not_disturb_each_other():
    tasks = [(source, *with_patch(source)) for source in [make() for make in KINDS.values()] * 3]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda task: replaced(*task), tasks)) == [replaced(*task) for task in tasks]


def metadata(content: bytes) -> jpegs.Segments:
    """Every APPn and COM segment of a JPEG but Adobe's, in order."""
    return [segment for segment in jpegs.split(content)[0] if segment[0] in (*range(0xE0, 0xEE), 0xEF, jpegs.COM)]


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
@pytest.mark.parametrize(("progressive", "sampling"), [(False, 2), (True, 0)])
def test_without_block_access_tables_segments_and_colours_stay(tmp_path, monkeypatch, mode, progressive, sampling):
    monkeypatch.setattr(data.photos.jpeg, "replace_blocks", Mock(side_effect=UnsupportedJpegError("the reason")))
    path = tmp_path / "x.jpg"
    Image.fromarray(page()).convert(mode).save(
        path, quality=85, progressive=progressive, subsampling=sampling, exif=exif_of(6), comment=b"by somebody",
        icc_profile=bytes(range(256)) * 300, dpi=(300, 300), xmp=b"<x:xmpmeta/>",
    )  # fmt: skip
    photo = read_photo(path)
    pixels, mask = filled(photo)
    encoded = encode_photo(photo, pixels, mask)
    assert encoded.notes == ("every block of the JPEG was encoded anew, with the same tables (the reason)",)
    old, new = Image.open(path), Image.open(io.BytesIO(encoded.content))
    assert (new.mode, new.quantization) == (mode, old.quantization)
    assert new.info.get("progressive") == old.info.get("progressive")
    assert mode != "RGB" or new.layer == old.layer
    assert metadata(encoded.content) == metadata(path.read_bytes())
    path.write_bytes(encoded.content)
    expected = pixels.mean(-1, keepdims=True) if mode == "L" else pixels
    near = np.zeros(mask.shape, bool)
    near[:32, :32] = near[-32:, -32:] = True
    error = np.abs(read_rgb(path) - expected.astype(float))
    assert error[~near].max() <= 3.5
    assert error.mean() < 3


def test_bytes_between_segments_go_and_metadata_stays(tmp_path):
    path, source = tmp_path / "x.jpg", jpegs.with_metadata()
    first = 4 + int.from_bytes(source[4:6], "big")
    path.write_bytes(source[:first] + b"\0\0" + source[first:])
    encoded = restore(path)[3]
    assert encoded.notes == ()
    assert metadata(encoded.content) == metadata(source)
