"""What would be removed, told without writing a photo; masks by hand; the page to look through."""

from __future__ import annotations

import csv
import os
import re
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import predict
from data.images import read_rgb
from data.masks import write_mask
from inference.record import RECORD
from inference.report import mask_in
from inference.restorer import Restorer

PHOTOS = Path(predict.__file__).parent / "test_code" / "samples" / "photos"


@pytest.fixture(scope="module")
def photo(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("photo") / "notes.png"
    Image.open(PHOTOS / "notes_hand.jpg").reduce(2).save(path)
    return path


@pytest.fixture(scope="module")
def restorer() -> Restorer:
    return Restorer(device="cpu")


def test_a_dry_run_tells_share_and_certainty_and_writes_no_photo(tmp_path, photo, capsys):
    (tmp_path / "in").mkdir()
    odd = "<b>&" + os.fsdecode(b"\xff") + ".png"
    (tmp_path / "in" / odd).write_bytes(photo.read_bytes())
    Image.new("RGB", (64, 64), "white").save(tmp_path / "in" / "blank.png")
    (tmp_path / "in" / "bad.jpg").write_bytes(b"bad")
    arguments = [str(tmp_path / "in"), str(tmp_path / "out"), "--dry-run", "--report", "--device", "cpu"]
    assert predict.main(arguments) == 1
    told = capsys.readouterr()
    assert re.search(r"found: <b>&\\udcff.png: [0-9.]+% would be removed, certainty 0\.[0-9]+", told.out)
    assert "failed: bad.jpg: " in told.err
    assert "3 pictures: 1 found, 1 untouched, 1 failed" in told.out
    assert sorted(os.listdir(tmp_path / "out")) == [RECORD, "report.csv", "report.html"]
    with open(tmp_path / "out" / "report.csv", encoding="utf-8", errors="surrogateescape", newline="") as file:
        rows = {row["name"]: row for row in csv.DictReader(file)}
    assert 0.005 < float(rows[odd]["share"]) < 0.1
    assert 0.8 < float(rows[odd]["certainty"]) < 1
    assert (rows["blank.png"]["status"], rows["blank.png"]["share"]) == ("untouched", "0.000000")
    assert (rows["bad.jpg"]["status"], rows["bad.jpg"]["share"]) == ("failed", "")
    page = (tmp_path / "out" / "report.html").read_text("utf-8")
    assert page.count("<figure") == 1
    assert page.count("data:image/jpeg;base64,") == 2
    assert "&lt;b&gt;&amp;\\udcff.png" in page
    assert "1 pictures with occluders, 1 without, 1 failed" in page
    assert not re.search(r"(src|href)=\"(?!data:)", page)


@pytest.mark.parametrize("name", ["report.csv", "report.html"])
def test_a_report_never_takes_the_place_of_a_file_that_is_not_ours(tmp_path, capsys, name):
    (tmp_path / "in").mkdir()
    Image.new("RGB", (64, 64), "white").save(tmp_path / "in" / "blank.png")
    arguments = [str(tmp_path / "in"), str(tmp_path / "out"), "--dry-run", "--report", "--device", "cpu"]
    for _ in range(2):  # The second replaces its own.
        assert predict.main(arguments) == 0
        assert "1 picture: 0 found, 1 untouched, 0 failed\n" in capsys.readouterr().out
    for path in (tmp_path / "out").iterdir():
        path.unlink()
    (tmp_path / "out" / name).write_bytes(b"theirs")
    assert predict.main(arguments) == 2
    assert f"{name}: there is a file that this program did not make" in capsys.readouterr().err
    assert (tmp_path / "out" / name).read_bytes() == b"theirs"
    assert predict.main([*arguments, "--overwrite"]) == 0
    assert (tmp_path / "out" / name).read_bytes() != b"theirs"
    Image.new("RGB", (64, 64), "white").save(tmp_path / "in" / name, "PNG")
    assert predict.main(arguments) == 2
    assert f"{name}: what is written beside the results would take the place" in capsys.readouterr().err


def test_a_mask_by_hand_replaces_adds_and_protects(photo, restorer):
    picture = read_rgb(photo)
    mask = np.zeros(picture.shape[:2], np.uint8)
    mask[20:60, 30:90] = 1
    found = restorer(picture)
    replaced, added = restorer(picture, mask), restorer(picture, mask, "add")
    protected = restorer(picture, (found.mask > 0).astype(np.uint8), "protect")
    inside = np.zeros_like(mask)
    inside[10:70, 20:100] = 1
    assert replaced.mask[mask > 0].all()
    assert not replaced.mask[inside == 0].any()
    assert added.mask[mask > 0].all()
    assert np.mean(added.mask[found.mask > 0]) > 0.95
    assert np.array_equal(protected.image, picture)
    assert not protected.mask.any()
    # What borders on a fill stays as well, where the fill's soft edge would reach.
    half = (found.mask > 0).astype(np.uint8)
    half[:, : int(np.nonzero(half.any(0))[0].mean())] = 0
    beside = restorer(picture, half, "protect")
    assert np.array_equal(beside.image[half > 0], picture[half > 0])
    assert not beside.mask[half > 0].any()
    assert (beside.image != picture).any()
    seen = restorer(picture, mask, "add", fill=False)
    assert np.array_equal(seen.image, picture)
    assert seen.mask[mask > 0].mean() > 0.95


def test_masks_are_found_by_their_photos_names_and_one_of_another_size_fails_by_name(tmp_path, photo, capsys):
    for folder in ("in/sub", "masks/sub"):
        (tmp_path / folder).mkdir(parents=True)
    size = read_rgb(photo).shape[:2]
    for name in ("in/sub/a.jpg", "in/b.jpg", "in/c.jpg"):
        Image.open(photo).save(tmp_path / name)
    write_mask(tmp_path / "masks/sub/a.jpg.mask.png", np.zeros(size, np.uint8))
    write_mask(tmp_path / "masks/b.png", np.zeros((9, 9), np.uint8))
    mask_of = partial(mask_in, tmp_path / "masks")
    assert [mask_of(Path(name)) is not None for name in ("sub/a.jpg", "b.jpg", "c.jpg")] == [True, True, False]
    masks = ["--mask", str(tmp_path / "masks"), "--device", "cpu", "--verbose"]
    assert predict.main([str(tmp_path / "in"), str(tmp_path / "out"), *masks]) == 1
    told = capsys.readouterr()
    assert f"failed: b.jpg: a mask of (9, 9) for a picture of {size}" in told.err
    assert (tmp_path / "out/sub/a.jpg").read_bytes() == (tmp_path / "in/sub/a.jpg").read_bytes()
    assert "restored: c.jpg" in told.err
