"""What would be removed, told without writing a photo; masks by hand; the page to look through; before and after."""

import csv
import os
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

import predict
from configs.schema import PredictConfig
from data.images import read_rgb, write_image
from data.masks import write_mask
from inference import sheet
from inference.files import MASK, OWN_RECORD, RECORD, beside, digest
from inference.folder import Masks
from inference.restorer import Restorer
from inference.sheet import CAPTION_HEIGHT, COMPARISON_SIDE, MARGIN, draw_comparison, main
from tests.inference.stand_ins import StandIn, page, paint_red_over, restorer_over
from utils.files import printable

TOP = MARGIN + CAPTION_HEIGHT


@pytest.fixture(scope="module")
def photo(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("photo") / "notes.png"
    Image.fromarray(page(box=(250, 150, 300, 260))).save(path)
    return path


@pytest.fixture
def restorer(monkeypatch) -> Restorer:
    """That of predict.py, too; 0.9 sure of what is red."""
    network = StandIn(lambda tile: paint_red_over(tile) * np.float32([1, 1, 1, 0.9])[:, None, None])
    made = restorer_over(network, PredictConfig(fill="page", long_side=300))
    monkeypatch.setattr("inference.restorer.Restorer", lambda **_: made)
    return made


@pytest.fixture
def run(tmp_path, restorer):
    """Runs predict.py from the folder `in`, which holds a blank page, to `out`."""
    (tmp_path / "in").mkdir()
    Image.new("RGB", (64, 64), "white").save(tmp_path / "in" / "blank.png")
    return lambda *options: predict.main([str(tmp_path / "in"), str(tmp_path / "out"), *options, "--device", "cpu"])


def rows_of(results: Path) -> dict[str, dict[str, str]]:
    with open(results / "report.csv", encoding="utf-8", newline="") as file:
        return {row["name"]: row for row in csv.DictReader(file)}


def test_a_second_run_tells_what_the_first_one_found_whatever_became_of_its_report_and_result(
    tmp_path, photo, run, monkeypatch
):
    (tmp_path / "in" / "a.png").write_bytes(photo.read_bytes())
    results = tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr("inference.folder.encode_photo", lambda *_: 1 / 0)
        assert run("--report") == 1
    assert rows_of(results)["a.png"]["status"] == "failed"
    assert run("--report") == 0
    told, share = (results / "report.html").read_bytes(), rows_of(results)["a.png"]["share"]
    for file in results.glob("report.*"):
        file.unlink()
    assert run("--report") == 0
    assert (results / "report.html").read_bytes() == told
    before = (results / "a.png").stat()
    (results / "a.png").write_bytes(b"x" * before.st_size)
    os.utime(results / "a.png", ns=(before.st_mtime_ns,) * 2)  # Or it would be done again.
    assert run("--report") == 0
    again = rows_of(results)["a.png"]
    assert (again["status"], again["share"]) == ("skipped", share)


def test_a_dry_run_tells_share_and_certainty_and_writes_no_photo(tmp_path, photo, run, capsys):
    odd = "<b>&" + os.fsdecode(b"\xff") + ".png"
    (tmp_path / "in" / odd).write_bytes(photo.read_bytes())
    (tmp_path / "in" / "bad.jpg").write_bytes(b"bad")
    assert run("--dry-run", "--report") == 1
    told = capsys.readouterr()
    assert re.search(r"found: <b>&\\udcff.png: [0-9.]+% would be removed, certainty 0\.90", told.out)
    assert "failed: bad.jpg: " in told.err
    assert "3 pictures: 1 found, 1 untouched, 1 failed" in told.out
    assert sorted(os.listdir(tmp_path / "out")) == [RECORD, "report.csv", "report.html"]
    rows = rows_of(tmp_path / "out")
    found = rows.pop(printable(odd))
    assert 0.005 < float(found["share"]) < 0.1
    assert float(found["certainty"]) == pytest.approx(0.9, abs=0.01)
    assert [(row["status"], row["share"]) for row in rows.values()] == [("failed", ""), ("untouched", "0.000000")]
    html = (tmp_path / "out" / "report.html").read_text("utf-8")
    assert (html.count("<figure"), html.count("data:image/jpeg;base64,")) == (1, 2)
    assert "&lt;b&gt;&amp;\\udcff.png" in html
    assert "1 pictures with occluders, 1 without, 1 failed" in html
    assert not re.search(r"(src|href)=\"(?!data:)", html)


@pytest.mark.parametrize("name", ["report.csv", "report.html"])
def test_a_report_never_takes_the_place_of_a_file_that_is_not_ours(tmp_path, run, capsys, name):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / name).write_bytes(b"theirs")
    assert run("--dry-run", "--report") == 2
    assert f"{name}: there is a file that this program did not make" in capsys.readouterr().err
    assert (tmp_path / "out" / name).read_bytes() == b"theirs"
    for options in (["--overwrite"], []):  # The second replaces its own.
        assert run("--dry-run", "--report", *options) == 0
        assert "1 picture: 0 found, 1 untouched, 0 failed\n" in capsys.readouterr().out
    assert (tmp_path / "out" / name).read_bytes() != b"theirs"
    (tmp_path / "in" / "blank.png").rename(tmp_path / "in" / name)
    assert run("--dry-run", "--report") == 2
    assert f"{name}: what is written beside the results would take the place" in capsys.readouterr().err


def test_a_mask_by_hand_replaces_adds_and_protects(photo, restorer):
    picture = read_rgb(photo)
    mask, inside = np.zeros((2, *picture.shape[:2]), np.uint8)
    mask[20:60, 30:90] = inside[10:70, 20:100] = 1
    found = restorer(picture)
    replaced, added = restorer(picture, mask), restorer(picture, mask, "add")
    assert replaced.mask[mask > 0].all()
    assert not replaced.mask[inside == 0].any()
    assert added.mask[mask > 0].all()
    assert np.mean(added.mask[found.mask > 0]) > 0.95
    seen = restorer(picture, mask, "add", fill=False)
    assert np.array_equal(seen.image, picture)
    # Beyond it go the letters that it cuts.
    assert np.mean(seen.mask != added.mask) < 0.005
    # A mask of what was found leaves no rim to be filled, whatever its pixels' places in the small copy.
    exact = cv2.resize(found.located, picture.shape[1::-1], interpolation=cv2.INTER_NEAREST)
    for all_of_it in (found.mask, exact):
        protected = restorer(picture, all_of_it, "protect")
        assert np.array_equal(protected.image, picture)
        assert not protected.mask.any()
        assert not protected.occluders
    for mode in ("replace", "add"):
        with pytest.raises(ValueError, match="a mask that covers the whole picture: nothing of the page is left"):
            restorer(picture, np.ones_like(mask), mode)
    with pytest.raises(ValueError, match="mask_mode is 'protct', expected one of replace, add, protect"):
        restorer(picture, mask, "protct")
    # What borders on a fill stays as well, where the fill's soft edge would reach.
    half = found.mask.copy()
    half[:, : int(np.nonzero(half.any(0))[0].mean())] = 0
    part = restorer(picture, half, "protect")
    assert np.array_equal(part.image[half > 0], picture[half > 0])
    assert not part.mask[half > 0].any()
    assert (part.image != picture).any()


def test_masks_are_found_by_their_photos_names_and_one_of_another_size_fails_by_name(tmp_path, photo, run, capsys):
    masks, size, long = tmp_path / "masks", read_rgb(photo).shape[:2], Path("n" * 251 + ".jpg")
    for folder in (tmp_path / "in/sub", masks / "sub"):
        folder.mkdir(parents=True)
    for name in ("sub/a.jpg", "b.jpg", "c.jpg"):
        Image.open(photo).save(tmp_path / "in" / name)
    assert Masks(masks).of(long) is None
    for name in ("sub/a.jpg.mask.png", beside(long, MASK)):
        write_mask(masks / name, np.zeros(size, np.uint8))
    assert Masks(masks).of(long) is not None
    for name in ("b.png", "sub/a.png.mask.png", "sub/a.jpg.compare.jpg"):
        Image.new("L", (9, 9)).save(masks / name)
    assert run("--mask", str(masks), "--verbose") == 1
    told = capsys.readouterr()
    assert f"failed: b.jpg: a mask of 9 x 9 pixels for a picture of {size[1]} x {size[0]}\n" in told.err
    lines = [f"left out, a mask of no photo, in {masks}: {name}" for name in (beside(long, MASK), "sub/a.png.mask.png")]
    assert [line for line in told.out.splitlines() if "a mask of no" in line] == lines
    assert (tmp_path / "out/sub/a.jpg").read_bytes() == (tmp_path / "in/sub/a.jpg").read_bytes()
    assert "restored: c.jpg" in told.err


def test_what_a_record_knows_as_a_result_is_never_a_mask(tmp_path, photo, run, capsys):
    source, results, aside = tmp_path / "in/sub", tmp_path / "out", tmp_path / "more"
    source.mkdir()
    # In black and white, as masks are.
    Image.open(photo).convert("L").point(lambda grey: 255 * (grey > 100)).save(source / "a.png")
    for name in ("b.jpg", "c.jpg"):
        Image.open(photo).save(source / name)
    assert run("--save-mask", "--compare") == 0
    for name in ("a.png", "b.jpg"):
        (results / "sub" / f"{name}{MASK}").unlink()
    write_mask(results / "sub/b.png", np.zeros(read_rgb(photo).shape[:2], np.uint8))
    (source / "c.jpg").unlink()
    capsys.readouterr()
    expected = (results / "sub/a.png").read_bytes()
    assert predict.main([str(tmp_path / "in"), str(aside), "--mask", str(results), "--device", "cpu"]) == 0
    # That of a photo that is gone, which a person may have meant for another.
    assert [line for line in capsys.readouterr().out.splitlines() if "left out" in line] == [
        f"left out, a mask of no photo, in {results}: sub/c.jpg.mask.png"
    ]
    assert (aside / "sub/a.png").read_bytes() == expected
    assert (aside / "sub/b.jpg").read_bytes() == (source / "b.jpg").read_bytes()
    # The record of a folder around or below counts too, and that of a cluster.
    assert Masks(results / "sub").of(Path("a.png")) is None
    (tmp_path / "link.png").symlink_to(results / "sub/a.png")
    assert Masks(tmp_path).of(Path("link.png")) is None
    assert Masks(tmp_path).of(Path("out/sub/a.png")) is None
    (results / RECORD).unlink()
    assert Masks(results).of(Path("sub/a.png")) is not None
    kept = results / OWN_RECORD.format(digest(b"sub/a.png"))
    kept.parent.mkdir()
    kept.touch()
    assert Masks(results).of(Path("sub/a.png")) is None


@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
def test_a_comparison_shows_before_after_and_what_may_have_changed(depth):
    before, mask = np.full((3000, 2400, 3), np.iinfo(depth).max // 5, depth), np.zeros((3000, 2400), np.uint8)
    # One pixel of ten megapixels is still to be seen.
    mask[900:2100, 600:1800] = mask[300, 300] = 1
    after = np.where(mask[..., None] > 0, np.iinfo(depth).max, before).astype(depth)
    sheet = draw_comparison(before, after, mask)
    assert sheet.dtype == np.uint8
    assert sheet.shape == (COMPARISON_SIDE + TOP + MARGIN, 3 * (800 + MARGIN) + MARGIN, 3)
    lefts = (MARGIN, 2 * MARGIN + 800, 3 * MARGIN + 1600)
    first, second, third = (sheet[TOP : TOP + COMPARISON_SIDE, left : left + 800].astype(int) for left in lefts)
    assert 50 < (sheet[:TOP] < 128).all(2).sum() < 3000  # captions
    assert (first == 51).all()
    assert (second[310:690, 210:590] == 255).all()
    assert (second[:90] == 51).all()
    assert np.abs(third[500, 400] - (0.55 * 51 + 0.45 * np.array((255, 0, 90)))).max() <= 1
    assert (third[300, 300] == (255, 0, 90)).all()
    assert (third[100, 100] != 51).any()
    assert (third[800:] == 51).all()


def test_folders_are_matched_by_name_in_sub_folders_too(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("before/x.png", "before/sub/y.png", "before/z.png", "after/x.png", "after/sub/y.png", "truth/x.png"):
        write_image(name, np.full((30, 20, 3), 90, np.uint8))
    # Cells are as large as the largest picture.
    assert main(["s.png", "before", "after", "--truth", "truth"]) == 0
    assert read_rgb("s.png").shape == (2 * (30 + TOP) + MARGIN, 3 * (20 + MARGIN) + MARGIN, 3)
    monkeypatch.setattr(sheet, "ROWS", 1)
    assert main(["s.png", "before", "after"]) == 0
    assert len(read_rgb("s.png")) == 30 + TOP + MARGIN
    assert main(["s.png", "before/sub", "after"]) == 2
    assert "same name" in capsys.readouterr().err
