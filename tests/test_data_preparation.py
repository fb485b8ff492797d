import errno
import json
import os
import re
import resource
from functools import partial
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
from PIL import Image

import data_preparation
import generate_meta_info
from data.contest import read_list
from data.images import read_rgb, write_image
from data.masks import contest_mask_image
from data_preparation import crop_corners, take
from tests.conftest import contents, python

SCRIPT = Path(data_preparation.__file__)


def mask_with(shape, *rectangles):
    mask = np.zeros(shape, np.uint8)
    for left, top, width, height in rectangles:
        mask[top : top + height, left : left + width] = 1
    return mask


def add_group(root, folder, page, number, rectangle, kind="hand", seed=0, suffix="jpg"):
    """Writes one group: a printed page, the same with a flat occluder at (left, top, width, height), palette mask."""
    rng, clean = np.random.default_rng(seed), np.full((300, 220, 3), 230, np.uint8)
    for top in range(10, 290, 14):
        clean[top : top + 6, 12:208] = rng.integers(20, 220, (1, 196, 1))
    mask = mask_with((300, 220), rectangle)
    stem = root / folder / kind / f"{page}_0_{number:03}"
    stem.parent.mkdir(parents=True, exist_ok=True)
    write_image(root / folder / f"gt/{page}.{suffix}", clean)
    write_image(Path(f"{stem}.{suffix}"), np.where(mask[..., None] == 1, np.uint8([200, 150, 120]), clean))
    contest_mask_image(mask).save(f"{stem}_mask.png")
    with open(root / folder / "annotation.txt", "a", encoding="utf-8") as file:
        file.write(f"gt/{page}.{suffix} {kind}/{stem.name}.{suffix} {kind}/{stem.name}_mask.png\n")
    return mask


@pytest.fixture
def contest(tmp_path):
    """Five folders, ten pages, two occlusions of each; every folder uses the same file names."""
    root = tmp_path / "contest"
    for number in range(10):
        folder, page = f"train_data_{number // 2 + 1}", f"page{number}"
        add_group(root, folder, page, 0, (10, 200, 50, 100), seed=number)
        add_group(root, folder, page, 1, (70, 200, 50, 100), kind="head", seed=number)
    return root


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


def run(*arguments):
    return data_preparation.main([str(argument) for argument in ("--workers", 1, "--size", 64, *arguments)])


def left_out(errors):
    """What is told of inputs that could not be used."""
    return [line for line in errors.splitlines() if line.startswith("left out: ")]


def test_writes_trios_divided_by_page_and_a_second_run_only_what_is_missing(contest, out, capsys):
    assert run(contest, out) == 0
    for name, count in (("train", 18), ("val", 2)):
        assert [len(contents(out / name / part)) for part in ("gt", "occluded", "mask")] == [count] * 3
    assert "18 patches of 18 pictures of 9 pages" in capsys.readouterr().out
    validation = [entry.occluded.resolve() for entry in read_list(out / "val_pages.txt")]
    assert validation == [contest / f"train_data_5/{name}.jpg" for name in ("hand/page9_0_000", "head/page9_0_001")]
    times = {path: path.stat().st_mtime_ns for path in out.glob("*/*/*.png")}
    lost = out / "train/occluded/train_data_1_hand_page0_0_000_1of1.png"
    lost.unlink()
    assert run(contest, out) == 0
    assert {path.name for path, time in times.items() if path.stat().st_mtime_ns != time} == {lost.name}
    listed = [entry.occluded.name for entry in read_list(out / "train_pages.txt")]
    assert listed == [f"page{page}_0_{number:03}.jpg" for page in range(9) for number in range(2)]


def test_other_settings_are_not_mixed_into_the_same_folder_nor_shared(contest, out, capsys):
    run(contest, out)
    for options, told in (("--size", 32), r"size was 64.*--overwrite"), (("--held-out", 0.3), "pages"):
        assert run(contest, out, *options) == 2
        assert re.search(told, capsys.readouterr().err)
    assert run(contest, out, "--size", 32, "--overwrite") == 0
    assert {read_rgb(path).shape for path in out.glob("*/gt/*.png")} == {(32, 32, 3)}
    assert json.loads((out / "preparation.json").read_text())["train and val"]["size"] == 32
    # The full-data set lies beside it and has settings of its own.
    assert run(contest, out, "--all") == 0
    assert {path.stat().st_nlink for path in out.glob("all/*/*.png")} == {1}
    assert len(contents(out / "all/gt")) == len(read_list(out / "all_pages.txt")) == 20
    for content in ("{", "[1]", '{"all": {"size": 64}}'):
        (out / "preparation.json").write_text(content)
        assert run(contest, out) == 2
        assert "preparation.json is not the record of data_preparation.py" in capsys.readouterr().err


@pytest.mark.parametrize("links", [True, False])
def test_the_full_set_shares_what_train_and_val_hold(contest, out, tmp_path, monkeypatch, links):
    if not links:
        monkeypatch.setattr(os, "link", Mock(side_effect=OSError(errno.EXDEV, "Invalid cross-device link")))
    run(contest, tmp_path / "alone", "--all")
    run(contest, out)
    # One picture lacks a file there and has to be cut; then one of the full set is lost.
    for lost in ("train/mask/train_data_1_hand_page0_0_000", "all/mask/train_data_5_head_page9_0_001"):
        (out / f"{lost}_1of1.png").unlink()
        assert run(contest, out, "--all") == 0
        assert len(contents(out / "all")) == 60
        assert contents(out / "all") == contents(tmp_path / "alone/all")
        assert sum(path.stat().st_nlink == 2 for path in (out / "all").rglob("*.png")) == (57 if links else 0)
    assert len(read_list(out / "all_pages.txt")) == 20
    assert run(contest, out, "--all", "--overwrite") == 0
    assert {path.stat().st_nlink for path in out.glob("all/*/*.png")} == {1}
    assert len(contents(out / "train/gt")) == 18


def test_broken_and_missing_files_are_named_counted_and_left_out(contest, out, capsys):
    cut = contest / "train_data_1/hand/page0_0_000.jpg"
    whole = cut.read_bytes()
    cut.write_bytes(whole[:-2000])
    (contest / "train_data_1/head/page0_0_001_mask.png").unlink()
    write_image(contest / "train_data_2/gt/page2.jpg", np.full((100, 100, 3), 230, np.uint8))
    (contest / "train_data_2/gt/page3.jpg").write_bytes(b"")
    with open(contest / "train_data_3/annotation.txt", "a", encoding="utf-8") as file:
        file.write("nonsense\n")
    (contest / "train_data_4/annotation.txt").write_text("")
    assert run(contest, out, "--all") == 1
    printed = capsys.readouterr()
    named = ["line 5", "train_data_4", "page0_0_000.jpg", "page0_0_001.jpg", "page2_0_000.jpg", "page2_0_001.jpg"]
    named += ["page3_0_000.jpg, since", "page3.jpg: not a picture"]
    assert all(name in line for name, line in zip(named, left_out(printed.err), strict=True))
    assert len(contents(out / "all/gt")) == len(read_list(out / "all_pages.txt")) == 10
    # Mended files are taken by the next run, the others are not cut again.
    cut.write_bytes(whole)
    assert run(contest, out, "--all") == 1
    assert len(contents(out / "all/gt")) == 11


@pytest.mark.parametrize(("change", "told"), [
    (lambda mask: 1 - mask, "inverted"),
    (lambda mask: mask[::-1, ::-1], "inverted, turned"),
    (lambda mask: mask * 0 + 1, "marks 100.0%"),
    (lambda mask: mask * 0, "marks 0.0%"),
    (lambda mask: mask.T, "mask.png 150x110"),
    (lambda mask: mask + 100, "100, 101"),
])  # fmt: skip
def test_a_mask_that_is_not_where_the_occluder_is_is_refused_by_name(tmp_path, out, capsys, change, told):
    mask = add_group(tmp_path / "contest", "train_data_1", "\x1b[31m", 0, (10, 200, 50, 60), suffix="png")
    Image.fromarray(change(mask)).save(tmp_path / "contest/train_data_1/hand/\x1b[31m_0_000_mask.png")
    assert run(tmp_path / "contest", out, "--all") == 1
    (line,) = left_out(capsys.readouterr().err)
    assert "\\x1b[31m_0_000_mask.png" in line
    assert told in line
    assert not contents(out, "*.png")


def test_wrong_places_and_options_say_what_was_expected(tmp_path, capsys):
    add_group(tmp_path / "one", "train_data_1", "page", 0, (0, 0, 30, 30))
    (tmp_path / "file").touch()
    for source, out, told in (".", "out", "train_data_1"), ("one", "out", "--all"), ("one", "file", "file"):
        assert run(tmp_path / source, tmp_path / out, *["--all"] * (out == "file")) == 2
        assert re.fullmatch(f"error: .*{told}.*\n", capsys.readouterr().err)
    for main, folders, options in (
        (data_preparation.main, 2, "size 100000,size 1e3,workers 0,shard 4/3,held-out 1,downscale 3"),
        (generate_meta_info.main, 1, "threshold inf,threshold -1,keep-occluded nan,workers 0"),
    ):
        for name, value in map(str.split, options.split(",")):
            with pytest.raises(SystemExit, match="2"):
                main(["any"] * folders + [f"--{name}", value])
            assert re.search(f"error: argument --{name}: .*{value[0]}", capsys.readouterr().err)


def test_parts_of_the_pages_and_two_processes_make_what_one_run_makes(contest, out, tmp_path):
    assert run(contest, out) == 0
    for part, count in ("2/3", 6), ("3/3", 12), ("1/3", 18):
        assert run(contest, tmp_path / "parts", "--shard", part) == 0
        assert len(contents(tmp_path / "parts/train/gt")) == len(read_list(tmp_path / "parts/train_pages.txt")) == count
    # Run as a user does, from another folder.
    python(SCRIPT, "contest", "two", "--size", 64, "--workers", 2, cwd=tmp_path)
    assert len(contents(out)) == 63
    assert contents(out) == contents(tmp_path / "parts") == contents(tmp_path / "two")
    with pytest.raises(SystemExit):
        run(contest, tmp_path / "parts", "--shard", "1/3", "--overwrite")


def test_a_disk_that_is_full_ends_in_a_sentence_and_what_was_half_written_goes(contest, out, tmp_path):
    command = (SCRIPT, contest, "out", "--all", "--size", 96, "--workers", 2)
    limit = partial(resource.setrlimit, resource.RLIMIT_FSIZE, (1_500, 1_500))
    told = python(*command, code=2, cwd=tmp_path, preexec_fn=limit).stderr
    assert "Traceback" not in told
    assert re.fullmatch(r"error: out/all/\w+/\S+\.png: File too large", told.splitlines()[-1])
    # Its workers were killed, and may have been in the middle of a file; a minute later nothing of that is left.
    for path in out.rglob(".*"):
        os.utime(path, (0, 0))
    python(*command, cwd=tmp_path)
    assert len(read_list(out / "all_pages.txt")) == 20
    assert not [*out.rglob(".*")]


@pytest.mark.parametrize(("shape", "blobs", "corners"), [
    # The largest blob is the centre, and not the first contour: a 13 x 122 sliver, which OpenCV lists first.
    ((3770, 2811), [(1700, 900, 500, 700), (40, 3300, 13, 122)], [(1700 + 250 - 512, 900 + 350 - 512)]),
    # Blobs share one crop where they fit, and get one each where not.
    ((2000, 1500), [(300, 400, 200, 300), (700, 900, 250, 200)], [((300 + 950) // 2 - 512, (400 + 1100) // 2 - 512)]),
    ((3770, 2811), [(0, 300, 400, 600), (2300, 3000, 500, 700)], [(1787, 2746), (0, 88)]),
    # At the borders crops are shifted inside.
    ((2000, 1500), [(0, 0, 40, 40)], [(0, 0)]),
    ((2000, 1500), [(1460, 1960, 40, 40)], [(1500 - 1024, 2000 - 1024)]),
    # The middle of nothing, and of what is larger than the crop or the picture.
    ((2000, 1500), [(0, 0, 0, 0)], [(750 - 512, 1000 - 512)]),
    ((2000, 1500), [(200, 300, 1100, 1400)], [(750 - 512, 1000 - 512)]),
    ((701, 2000), [(900, 0, 1, 1)], [(900 - 512, -162)]),
])  # fmt: skip
def test_crops_lie_around_the_occluders(shape, blobs, corners):
    assert crop_corners(mask_with(shape, *blobs), 1024) == corners


@pytest.mark.parametrize("shape", [(70, 90), (140, 60), (1, 1), (1, 200), (102, 103), (300, 200)])
def test_a_patch_is_a_copy_of_the_pixels_and_of_their_reflection_where_the_picture_is_smaller(shape):
    image = np.random.default_rng(3).integers(0, 256, (*shape, 3), dtype=np.uint8)
    ((left, top),) = crop_corners(mask_with(shape, (0, 0, 1, 1)), 103)
    # As far beyond one edge as beyond the other; from there on the patch begins at 103, 103.
    padded = np.pad(image, ((103, 206), (103, 206), (0, 0)), mode="reflect")[103 + top :, 103 + left :]
    patch = take(image, left, top, 103)
    assert np.array_equal(patch, padded[:103, :103])
    assert not np.shares_memory(patch, image)
    assert take(image[..., 0], left, top, 103).shape == (103, 103)
    assert [top, left] == [(length - 103) // 2 if length < 103 else 0 for length in shape]
