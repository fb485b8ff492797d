import errno
import json
import os
import re
import resource
import subprocess
import sys
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
from PIL import Image

import data_preparation
from data.contest.lists import read_list
from data.images import read_rgb, write_image
from data.masks import contest_mask_image, read_mask

ROOT = Path(__file__).resolve().parent.parent


def page_picture(seed, height=300, width=220):
    """Paper with lines of print, different for every seed."""
    rng = np.random.default_rng(seed)
    rgb = np.full((height, width, 3), 230, np.uint8)
    for top in range(10, height - 10, 14):
        rgb[top : top + 6, 12 : width - 12] = rng.integers(20, 220, (1, width - 24, 1))
    return rgb


def add_group(root, folder, page, number, rectangle, kind="hand", seed=0, suffix="jpg", size=(300, 220)):
    """Writes one group: clean page, the same with a flat occluder at (left, top, width, height), palette mask."""
    base = root / folder
    for part in ("gt", kind):
        (base / part).mkdir(parents=True, exist_ok=True)
    clean = page_picture(seed, *size)
    mask = np.zeros(clean.shape[:2], np.uint8)
    if rectangle:
        left, top, width, height = rectangle
        mask[top : top + height, left : left + width] = 1
    occluded = np.where(mask[..., None] == 1, np.uint8([200, 150, 120]), clean)
    stem = f"{kind}/{page}_0_{number:03}"
    write_image(base / f"gt/{page}.{suffix}", clean)
    write_image(base / f"{stem}.{suffix}", occluded)
    mask_name = f"{stem}.png" if suffix == "jpg" else f"{stem}_mask.png"
    contest_mask_image(mask).save(base / mask_name)
    with open(base / "annotation.txt", "a", encoding="utf-8") as file:
        file.write(f"gt/{page}.{suffix} {stem}.{suffix} {mask_name}\n")
    return clean, occluded, mask


@pytest.fixture
def contest(tmp_path):
    """Five folders, ten pages, two occlusions of each; every folder uses the same file names."""
    root = tmp_path / "contest"
    for number in range(10):
        folder, page = f"train_data_{number // 2 + 1}", f"page{number}"
        add_group(root, folder, page, 0, (10, 200, 50, 100), seed=number)
        add_group(root, folder, page, 1, (70, 200, 50, 100), kind="head", seed=number)
    return root


def run(*arguments):
    return data_preparation.main([str(argument) for argument in ("--workers", 1, *arguments)])


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*.*")}


def patches(folder):
    return sorted(path.name for path in folder.glob("*.png"))


def test_writes_trios_of_patches_divided_by_page(contest, tmp_path, capsys):
    out = tmp_path / "out"
    assert run(contest, out, "--size", 64) == 0
    for name, count in (("train", 18), ("val", 2)):
        assert len(patches(out / name / "gt")) == count
        assert patches(out / name / "gt") == patches(out / name / "occluded") == patches(out / name / "mask")
    assert patches(out / "val" / "gt") == [
        "train_data_5_hand_page9_0_000_1of1.png",
        "train_data_5_head_page9_0_001_1of1.png",
    ]
    assert "18 patches of 18 pictures of 9 pages" in capsys.readouterr().out
    validation = [entry.occluded.resolve() for entry in read_list(out / "val_pages.txt")]
    assert validation == [contest / f"train_data_5/{name}.jpg" for name in ("hand/page9_0_000", "head/page9_0_001")]
    assert len(read_list(out / "train_pages.txt")) == 18


def test_a_second_run_does_only_what_is_missing(contest, tmp_path, capsys):
    out = tmp_path / "out"
    run(contest, out, "--size", 64)
    times = {path: path.stat().st_mtime_ns for path in out.glob("*/*/*.png")}
    lost = out / "train/occluded/train_data_1_hand_page0_0_000_1of1.png"
    lost.unlink()
    capsys.readouterr()
    assert run(contest, out, "--size", 64) == 0
    assert "17 pictures were done before" in capsys.readouterr().out
    renewed = {path.name for path, time in times.items() if path.stat().st_mtime_ns != time}
    assert renewed == {lost.name}
    listed = [entry.occluded.name for entry in read_list(out / "train_pages.txt")]
    assert listed == [f"page{page}_0_{number:03}.jpg" for page in range(9) for number in range(2)]


def test_other_settings_are_not_mixed_into_the_same_folder_nor_shared(contest, tmp_path, capsys):
    out = tmp_path / "out"
    run(contest, out, "--size", 64)
    for options, told in (("--size", 32), r"size was 64.*--overwrite"), (("--held-out", 0.3, "--size", 64), "pages"):
        assert run(contest, out, *options) == 2
        assert re.search(told, capsys.readouterr().err)
    assert run(contest, out, "--size", 32, "--overwrite") == 0
    assert {read_rgb(path).shape for path in out.glob("*/gt/*.png")} == {(32, 32, 3)}
    assert json.loads((out / "preparation.json").read_text())["train and val"]["size"] == 32
    # The full-data set lies beside it and has settings of its own.
    assert run(contest, out, "--size", 64, "--all") == 0
    assert ", 0 taken over" in capsys.readouterr().out.splitlines()[-1]
    assert len(patches(out / "all/gt")) == len(read_list(out / "all_pages.txt")) == 20
    for content in ("{", "[1]", '{"all": {"size": 64}}'):
        (out / "preparation.json").write_text(content)
        assert run(contest, out, "--size", 64) == 2
        assert re.search(r"preparation\.json is not the record .*delete it and use", capsys.readouterr().err)


@pytest.mark.parametrize("links", [True, False])
def test_the_full_set_shares_what_train_and_val_hold(contest, tmp_path, capsys, monkeypatch, links):
    if not links:
        monkeypatch.setattr(os, "link", Mock(side_effect=OSError(errno.EXDEV, "Invalid cross-device link")))
    out, alone = tmp_path / "out", tmp_path / "alone"
    run(contest, alone, "--size", 64, "--all")
    run(contest, out, "--size", 64)
    # One picture lacks a file there and has to be cut; then one of the full set is lost.
    lost = ["train/mask/train_data_1_hand_page0_0_000_1of1.png", "all/mask/train_data_5_head_page9_0_001_1of1.png"]
    for path, told in zip(lost, ("0 pictures were done before, 19 taken over", "19 pictures were done before, 1 taken"),
                          strict=True):  # fmt: skip
        (out / path).unlink()
        capsys.readouterr()
        assert run(contest, out, "--size", 64, "--all") == 0
        assert told in capsys.readouterr().out
        assert len(contents(out / "all")) == 60
        assert contents(out / "all") == contents(alone / "all")
        assert sum(path.stat().st_nlink == 2 for path in (out / "all").rglob("*.png")) == (57 if links else 0)
    assert len(read_list(out / "all_pages.txt")) == 20
    assert run(contest, out, "--size", 64, "--all", "--overwrite") == 0
    assert "0 pictures were done before, 0 taken over" in capsys.readouterr().out
    assert len(patches(out / "train/gt")) == 18


def test_broken_and_missing_files_are_named_counted_and_left_out(contest, tmp_path, capsys):
    cut = contest / "train_data_1/hand/page0_0_000.jpg"
    cut.write_bytes(cut.read_bytes()[:-2000])
    (contest / "train_data_1/head/page0_0_001.png").unlink()
    write_image(contest / "train_data_2/gt/page2.jpg", page_picture(0, 100, 100))
    (contest / "train_data_2/gt/page3.jpg").write_bytes(b"")
    with open(contest / "train_data_3/annotation.txt", "a", encoding="utf-8") as file:
        file.write("nonsense\n")
    (contest / "train_data_4/annotation.txt").write_text("")
    out = tmp_path / "out"
    assert run(contest, out, "--all", "--size", 64) == 1
    printed = capsys.readouterr()
    told = [line for line in printed.err.splitlines() if line.startswith("left out: ")]
    named = ["line 5", "train_data_4", "page0_0_000.jpg", "page0_0_001.png", "page2_0_000.jpg", "page2_0_001.jpg"]
    named += ["page3_0_000.jpg, since", "page3.jpg: not a picture"]
    assert len(told) == len(named)
    assert all(name in line for name, line in zip(named, told, strict=True))
    assert "6 left out" in printed.out
    assert len(patches(out / "all/gt")) == 10
    assert len(read_list(out / "all_pages.txt")) == 10
    # Mended files are taken by the next run, the others are not cut again.
    add_group(tmp_path / "mended", "train_data_1", "page0", 0, (10, 200, 50, 100))
    cut.write_bytes((tmp_path / "mended/train_data_1/hand/page0_0_000.jpg").read_bytes())
    assert run(contest, out, "--all", "--size", 64) == 1
    assert len(patches(out / "all/gt")) == 11


@pytest.mark.parametrize(("change", "told"), [
    (lambda mask: 1 - mask, "inverted"),
    (lambda mask: mask[::-1, ::-1], "inverted, turned"),
    (lambda mask: mask * 0 + 1, "marks 100.0%"),
    (lambda mask: mask * 0, "marks 0.0%"),
    (lambda mask: mask.T, "mask.png 150x110"),
    (lambda mask: mask + 100, "100, 101"),
])  # fmt: skip
def test_a_mask_that_is_not_where_the_occluder_is_is_refused_by_name(tmp_path, capsys, change, told):
    _, _, mask = add_group(tmp_path / "contest", "train_data_1", "page", 0, (10, 200, 50, 60), suffix="png")
    Image.fromarray(change(mask)).save(tmp_path / "contest/train_data_1/hand/page_0_000_mask.png")
    assert run(tmp_path / "contest", tmp_path / "out", "--all", "--size", 64) == 1
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("left out: ")]
    assert "page_0_000_mask.png" in line
    assert told in line
    assert not patches(tmp_path / "out/all/mask")


def test_wrong_places_and_values_say_what_was_expected(tmp_path, capsys):
    add_group(tmp_path / "one", "train_data_1", "page", 0, (0, 0, 30, 30))
    (tmp_path / "file").touch()
    for source, out, told in (".", "out", "train_data_1"), ("one", "out", "--all"), ("one", "file", "file"):
        options = ["--all"] if out == "file" else []
        assert run(tmp_path / source, tmp_path / out, *options) == 2
        assert re.fullmatch(f"error: .*{told}.*\n", capsys.readouterr().err)


@pytest.mark.parametrize("option", ["size 100000", "size 1e3", "workers 0", "shard 4/3", "held-out 1", "downscale 3"])
def test_options_out_of_range_are_refused_by_name(tmp_path, capsys, option):
    name, value = option.split()
    with pytest.raises(SystemExit, match="2"):
        run(tmp_path, tmp_path / "out", f"--{name}", value)
    assert re.search(f"error: argument --{name}: .*{value[0]}", capsys.readouterr().err)


def test_parts_of_the_pages_and_two_processes_make_what_one_run_makes(contest, tmp_path):
    assert run(contest, tmp_path / "one", "--size", 64) == 0
    for part, count in ("2/3", 6), ("3/3", 12), ("1/3", 18):
        assert run(contest, tmp_path / "parts", "--size", 64, "--shard", part) == 0
        assert len(patches(tmp_path / "parts/train/gt")) == len(read_list(tmp_path / "parts/train_pages.txt")) == count
    # Run as a user does, from another folder.
    command = [sys.executable, ROOT / "data_preparation.py", "contest", "two", "--size", "64", "--workers", "2"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    assert len(contents(tmp_path / "one")) == 63
    assert contents(tmp_path / "one") == contents(tmp_path / "parts") == contents(tmp_path / "two")
    with pytest.raises(SystemExit):
        run(contest, tmp_path / "parts", "--size", 64, "--shard", "1/3", "--overwrite")


@pytest.mark.parametrize("name", ["页 1", os.fsdecode(b"p\xff\xfe"), "\x1b[31m"])
def test_names_that_terminal_or_text_cannot_show_are_cut_listed_and_told(tmp_path, name):
    root = tmp_path / name
    add_group(root, "train_data_1", "page", 0, (10, 200, 50, 100))
    for path in (root / "train_data_1").glob("*/*"):
        path.rename(path.with_name(path.name.replace("page", name)))
    lines = os.fsencode(f"gt/{name}.jpg hand/{name}_0_000.jpg hand/{name}_0_000.png\nno line of {name}\n")
    (root / "train_data_1/annotation.txt").write_bytes(lines)
    command = [sys.executable, ROOT / "data_preparation.py", root, "out", "--all", "--size", "64", "--workers", "1"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, env=os.environ | {"PYTHONIOENCODING": "ascii"})
    assert ended.returncode == 1, ended.stderr
    assert b"line 2: expected" in ended.stderr
    assert b"\x1b" not in ended.stderr.splitlines()[-1] + ended.stderr.splitlines()[-2]
    (entry,) = read_list(tmp_path / "out/all_pages.txt")
    assert read_mask(entry.mask).any()
    assert len(patches(tmp_path / "out/all/gt")) == 1


def test_a_disk_that_is_full_ends_in_a_sentence_and_what_was_half_written_goes(contest, tmp_path):
    command = [sys.executable, ROOT / "data_preparation.py", contest, "out", "--all", "--size", "96", "--workers", "2"]
    limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1_500, 1_500))  # noqa: E731
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, preexec_fn=limit, text=True)
    assert ended.returncode == 2
    assert "Traceback" not in ended.stderr
    assert re.fullmatch(r"error: out/all/\w+/\S+\.png: File too large", ended.stderr.splitlines()[-1])
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    assert len(read_list(tmp_path / "out/all_pages.txt")) == 20
    # Its workers were killed, and may have been in the middle of a file; a minute later nothing of that is left.
    for path in (tmp_path / "out").rglob(".*"):
        os.utime(path, (0, 0))
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    assert not [*(tmp_path / "out").rglob(".*")]
