"""Blocks of JPEG files are replaced one by one, in files of every kind, and everything else stays."""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jpeglib
import numpy as np
import pytest
from PIL import Image

from data.photos.jpeg import replace_blocks
from tests.data.photos import jpegs
from tests.data.photos.jpegs import KINDS, decode, with_patch

_GREY_OR_INK = ("grey", "grey 2x2", "progressive grey", "CMYK", "YCCK", "progressive CMYK")
_FULL_CHROMA = ("444", "RGB", "RGB by ids", "three scans", "three scans 2x2", "restart rows", "finest", *_GREY_OR_INK)
# How far the inside of a new smooth patch may be off, in 0..255: coarse tables round much away.
_TOLERANCE = {"16-bit tables": 40, "coarse": 30, "finest": 3, "YCCK": 12}


def replaced(source, rgb, changed):
    return replace_blocks(source, rgb, changed).content


def notes_of(source):
    return replace_blocks(source, *with_patch(source)).notes


def coefficients(content: bytes, folder: Path) -> list[np.ndarray]:
    """By jpeglib's own interface; of a copy without metadata, as jpeglib takes no more than 50 segments of it."""

    def bare(marker: int, data: bytes) -> bytes | None:
        return None if marker == jpegs.COM or 0xE1 <= marker <= 0xED else data

    path = folder / "picture.jpg"
    path.write_bytes(jpegs.edited(content, bare))
    read = jpeglib.read_dct(str(path))
    return [plane for plane in (read.Y, read.Cb, read.Cr, read.K) if plane is not None]


def area_of(component: int, name: str) -> tuple[int, int]:
    """Height and width in pixels that a block of a component covers."""
    if component in (0, 3) or name in _FULL_CHROMA:
        return 8, 8
    return {"422": (8, 16), "440": (16, 8), "411": (8, 32)}.get(name, (16, 16))


def touched_blocks(changed: np.ndarray, grid: tuple[int, int], high: int, wide: int) -> np.ndarray:
    touched = np.zeros(grid, bool)
    for row, column in np.ndindex(grid):
        touched[row, column] = changed[row * high : (row + 1) * high, column * wide : (column + 1) * wide].any()
    return touched


def pixels_of(blocks: np.ndarray, high: int, wide: int, shape: tuple[int, ...]) -> np.ndarray:
    return blocks.repeat(high, axis=0).repeat(wide, axis=1)[: shape[0], : shape[1]]


@pytest.mark.parametrize("name", KINDS)
def test_untouched_blocks_keep_their_coefficients_and_touched_ones_show_the_new_pixels(name, tmp_path):
    source = KINDS[name]()
    rgb, changed = with_patch(source)
    result = replaced(source, rgb, changed)

    for component, (before, after) in enumerate(
        zip(coefficients(source, tmp_path), coefficients(result, tmp_path), strict=True)
    ):
        touched = touched_blocks(changed, before.shape[:2], *area_of(component, name))
        assert np.array_equal(before[~touched], after[~touched])
        assert name == "one pixel" or not np.array_equal(before[touched], after[touched]) or component == 3

    error = np.abs(decode(result).astype(int) - rgb)
    touched = touched_blocks(changed, (-(-rgb.shape[0] // 8), -(-rgb.shape[1] // 8)), 8, 8)
    assert error[pixels_of(touched, 8, 8, rgb.shape)].mean() < _TOLERANCE.get(name, 10)
    rows, columns = np.nonzero(changed)
    inside = error[rows.min() + 16 : rows.max() - 16, columns.min() + 32 : columns.max() - 32]
    assert min(rgb.shape[:2]) < 60 or inside.max() <= _TOLERANCE.get(name, 10)


@pytest.mark.parametrize("name", KINDS)
def test_the_decoded_picture_stays_but_for_one_pixel_beside_touched_chroma(name):
    source = KINDS[name]()
    rgb, changed = with_patch(source)
    changed[: changed.shape[0] // 2] = 0
    rgb = np.where(changed[..., None] > 0, rgb, decode(source))
    differs = (decode(replaced(source, rgb, changed)) != decode(source)).any(axis=2)

    high, wide = area_of(1, name)
    grid = (-(-rgb.shape[0] // high), -(-rgb.shape[1] // wide))
    allowed = pixels_of(touched_blocks(changed, grid, high, wide), high, wide, rgb.shape)
    reach = np.pad(allowed, 1)
    for axis in [axis for axis, side in enumerate((high, wide)) if side > 8]:
        reach |= np.roll(reach, 1, axis) | np.roll(reach, -1, axis)
    assert not differs[~reach[1:-1, 1:-1]].any()
    assert (~allowed).any() or min(rgb.shape[:2]) < 60


@pytest.mark.parametrize("name", KINDS)
def test_without_changes_coefficients_metadata_frame_and_tables_stay(name, tmp_path):
    source = KINDS[name]()
    rgb = decode(source)
    result = replaced(source, rgb, np.zeros(rgb.shape[:2], np.uint8))
    assert np.array_equal(decode(result), rgb)
    for before, after in zip(coefficients(source, tmp_path), coefficients(result, tmp_path), strict=True):
        assert np.array_equal(before, after)
    kept = [segment for segment in jpegs.split(source)[0] if segment[0] not in (jpegs.DHT, jpegs.DRI)]
    if name == "progressive CMYK":
        kept = [(jpegs.SOF0 if marker == 0xC2 else marker, data) for marker, data in kept]
    assert [segment for segment in jpegs.split(result)[0] if segment[0] not in (jpegs.DHT, jpegs.DRI)] == kept
    assert result.endswith(b"\xff\xd9")


def test_metadata_between_scans_moves_in_front_of_them():
    source = jpegs.three_scans()
    second = source.rindex(b"\xff\xda")
    source = source[:second] + b"\xff\xfe\0\5abc" + source[second:]
    assert (jpegs.COM, b"abc") in jpegs.split(replaced(source, *with_patch(source)))[0]


def test_progressive_and_fitted_codes_stay_and_what_goes_is_named():
    for name in ("progressive", "progressive grey", "progressive restarts"):
        result = replaced(KINDS[name](), *with_patch(KINDS[name]()))
        assert Image.open(io.BytesIO(result)).info["progressive"] == 1
    source = KINDS["optimised"]()
    unchanged = replaced(source, decode(source), np.zeros(jpegs.SIZE, bool))
    assert len(unchanged) == len(source)
    assert notes_of(source) == ()
    assert notes_of(KINDS["restarts"]()) == ("restart markers are dropped",)
    assert notes_of(KINDS["progressive CMYK"]()) == ("a progressive CMYK file becomes sequential",)
    assert notes_of(source + bytes(9)) == ()
    assert notes_of(source + b"video") == ("what lies behind the picture (further pictures, a video) is dropped",)


def test_what_follows_the_first_picture_goes_and_so_does_its_index():
    second = Image.fromarray(jpegs.textured(seed=5))
    source = jpegs.save(jpegs.textured(), format="MPO", save_all=True, append_images=[second])
    assert Image.open(io.BytesIO(source)).n_frames == 2
    result = replaced(source, *with_patch(source))
    with Image.open(io.BytesIO(result)) as image:
        assert image.format == "JPEG"
    assert b"MPF\0" not in result
    assert len(notes_of(source)) == 1
    plain = jpegs.save(jpegs.textured())
    assert replaced(plain + b"\xff\xd8 garbage", *with_patch(plain)) == replaced(plain, *with_patch(plain))


@pytest.mark.parametrize("axis", [0, 1])
def test_each_coefficient_is_quantised_by_its_own_step(axis):
    wave = np.cos(2 * np.pi * np.indices(jpegs.SIZE)[axis] / 16)[..., None]
    rgb = ((150, 100, 70) + wave * (30, 60, 45)).round().astype(np.uint8)
    result = decode(replaced(KINDS["three tables"](), rgb, np.ones(jpegs.SIZE, bool)))
    assert np.abs(result.astype(int) - rgb).max() <= 8


@pytest.mark.parametrize("colour", [(0, 0, 0), (255, 255, 255), (255, 0, 0), (0, 0, 255), (17, 200, 99)])
@pytest.mark.parametrize("name", ["420", "RGB", "CMYK", "YCCK", "finest"])
def test_extreme_colours_come_out_as_they_went_in(name, colour):
    rgb = np.full((*jpegs.SIZE, 3), colour, np.uint8)
    result = decode(replaced(KINDS[name](), rgb, np.ones(jpegs.SIZE, np.uint8)))
    assert np.abs(result.astype(int) - rgb).max() <= 5


def test_threads_do_not_disturb_each_other():
    sources = [make() for make in KINDS.values()] * 3
    tasks = [(source, *with_patch(source)) for source in sources]
    expected = [replaced(*task) for task in tasks]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda task: replaced(*task), tasks)) == expected
