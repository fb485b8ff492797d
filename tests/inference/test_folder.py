"""Folders: names, formats and sub-folders stay; bad files are told and left behind; half files never count."""

import errno
import os
from contextlib import nullcontext
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from inference import folder
from inference.files import RECORD, list_pictures
from inference.folder import Masks, Outcome, ResultsError, restore_folder
from inference.restorer import Restored
from tests.data.photos.jpegs import textured
from tests.inference.stand_ins import page, paint_over

ALL_DONE = {"a.jpg": "restored", "a.png": "restored", "sub/clean.jpg": "untouched", "sub/深/页 1.webp": "restored"}
ALL_SKIPPED, BOTH = dict.fromkeys(ALL_DONE, "skipped"), {"save_mask": True, "compare": True}
COVERED = Image.fromarray(page())


@pytest.fixture
def source(tmp_path) -> Path:
    """Covered and clean pictures in several formats and folders, and what else lies about."""
    root = tmp_path / "photos"
    (root / "sub" / "深").mkdir(parents=True)
    COVERED.save(root / "a.jpg", quality=90)
    COVERED.save(root / "a.png")
    Image.fromarray(page(box=None)).save(root / "sub" / "clean.jpg", quality=70)
    COVERED.save(root / "sub" / "深" / "页 1.webp", lossless=True)
    (root / "notes.txt").write_text("no picture")
    return root


@pytest.fixture
def results(tmp_path) -> Path:
    return tmp_path / "results"


def run(source, results, restorer=paint_over, **orders) -> dict[str, Outcome]:
    outcomes = restore_folder(restorer, list_pictures(source, results), results, **orders)
    return {outcome.name.as_posix(): outcome for outcome in outcomes}


def states(*arguments, **orders) -> dict[str, str]:
    return {name: outcome.status for name, outcome in run(*arguments, **orders).items()}


def files(results) -> list[str]:
    below = (path for path in results.rglob("*") if path.is_file() and path.name != RECORD)
    return sorted(path.relative_to(results).as_posix() for path in below)


def failures(outcomes: dict[str, Outcome]) -> dict[str, str]:
    return {name: outcome.message for name, outcome in outcomes.items() if outcome.status == "failed"}


def test_names_and_folders_stay_and_what_nothing_covers_is_copied(source, results):
    outcomes = run(source, results)
    assert {name: outcome.status for name, outcome in outcomes.items()} == ALL_DONE
    assert files(results) == sorted(ALL_DONE)
    assert [Image.open(results / name).format for name in ALL_DONE] == ["JPEG", "PNG", "JPEG", "WEBP"]
    assert np.array_equal(np.asarray(Image.open(results / "a.png")), paint_over(page()).image)
    assert (results / "sub/clean.jpg").read_bytes() == (source / "sub/clean.jpg").read_bytes()
    assert str(outcomes["sub/clean.jpg"]) == "untouched: sub/clean.jpg: no occluder found, copied"
    steps = outcomes["a.jpg"].steps
    assert list(steps) == ["decode", "locate", "restore", "compose", "encode"]
    # Without the waiting.
    assert outcomes["a.jpg"].seconds == pytest.approx(0.875 + steps["decode"] + steps["encode"])
    assert 0 < steps["decode"] < 0.5


def test_bad_files_are_named_one_by_one_and_the_others_are_restored(source, results):
    whole = (source / "a.jpg").read_bytes()
    (source / "b_cut.jpg").write_bytes(whole[: len(whole) // 2])
    # No mode stops root, and so reading a file fails that cannot be read by anybody.
    links = {"c_loop.jpg": "c_loop.jpg", "d_gone.jpg": "nowhere.jpg", "e_unreadable.jpg": "/proc/self/mem",
             "f_device.jpg": "/dev/zero", "link.jpg": source / "a.jpg"}  # fmt: skip
    for name, target in links.items():
        (source / name).symlink_to(target)
    os.mkfifo(source / "g_pipe.jpg")
    Image.fromarray(page(50, 60)).save(source / "h_large.png")

    def moody(image: np.ndarray) -> Restored:
        if image.shape == (50, 60, 3):
            raise MemoryError("too little memory for a tile of 50 x 60")
        return paint_over(image)

    listing = list_pictures(source, results)
    listing.closed[Path("locked")] = "cannot be searched (Permission denied)"
    first, *outcomes = restore_folder(moody, listing, results)
    assert str(first) == "failed: locked: cannot be searched (Permission denied)"
    assert [outcome.name for outcome in outcomes] == listing.pictures
    failed = failures({str(outcome.name): outcome for outcome in outcomes})
    assert [name[0] for name in failed] == [*"bcdefgh"]
    assert not any(name in message or "Error" in message for name, message in failed.items())
    assert failed["f_device.jpg"] == failed["g_pipe.jpg"]
    assert failed["g_pipe.jpg"].startswith("is a folder, pipe, socket or device")
    assert failed["h_large.png"] == "too little memory for a tile of 50 x 60"
    assert files(results) == sorted({*ALL_DONE, "link.jpg"})
    assert not (results / "link.jpg").is_symlink()


def test_what_a_result_loses_is_a_warning_once_and_told_of_each(source, results, caplog, monkeypatch):
    monkeypatch.setattr(folder, "encode_photo", lambda *_: folder.Encoded(b"file", ("its charm becomes grey",)))
    outcomes = run(source, results)
    assert caplog.messages == ["a.jpg: its charm becomes grey"]
    for name, status in ALL_DONE.items():
        assert outcomes[name].notes == (("its charm becomes grey",) if status == "restored" else ())


def test_a_second_run_skips_what_is_done_with_all_that_was_asked_for_and_overwrite_does_it_again(source, results):
    run(source, results)
    (results / "a.jpg").unlink()
    assert states(source, results) == ALL_SKIPPED | {"a.jpg": "restored"}
    assert states(source, results, overwrite=True) == ALL_DONE
    assert states(source, results, compare=True) == ALL_DONE | {"sub/clean.jpg": "skipped"}
    assert states(source, results, save_mask=True) == ALL_DONE
    assert np.array_equal(np.asarray(Image.open(results / "a.png.mask.png")), 255 * paint_over(page()).mask)
    assert states(source, results, **BOTH) == ALL_DONE | {"sub/clean.jpg": "skipped"}
    assert states(source, results, **BOTH) == ALL_SKIPPED
    # Sheets go when nothing is found any more.
    blind = states(source, results, lambda image: paint_over(0 * image), compare=True, overwrite=True)
    assert set(blind.values()) == {"untouched"}
    assert not any("compare" in name for name in files(results))


def test_a_picture_named_like_the_mask_of_another_is_refused_before_anything_is_written(source, results):
    COVERED.save(source / "a.jpg.mask.png")
    with pytest.raises(ValueError, match=r"a\.jpg\.mask\.png"):
        run(source, results, save_mask=True)
    assert states(source, results) == {**ALL_DONE, "a.jpg.mask.png": "restored"}


@pytest.mark.parametrize(("full", "number", "expected"), [
    ("a.jpg a.png p1.png p3.png p4.png p5.png", errno.ENOSPC, "FFUFUFFF"),
    ("a.jpg a.png p0.png p1.png", errno.EROFS, "FFF"),
    # What the next picture need not meet.
    ("a.jpg a.png p0.png p1.png", errno.EACCES, "FFFFUUUUUR")])  # fmt: skip
def test_a_full_disk_fails_a_picture_and_three_in_a_row_stop_it(source, results, monkeypatch, full, number, expected):
    for index in range(6):
        Image.fromarray(page(40, 50, None)).save(source / f"p{index}.png")
    real, told = folder.write_bytes, []

    def write(path, content):
        if path.name in full.split():
            raise OSError(number, os.strerror(number), str(path))
        real(path, content)

    monkeypatch.setattr("inference.files.write_bytes", write)
    words = f"3 results in a row could not be written .*{os.strerror(number)}"
    with pytest.raises(ResultsError, match=words) if number != errno.EACCES else nullcontext():
        # Not list(): what was told before the error counts.
        told.extend(restore_folder(paint_over, list_pictures(source, results), results))
    assert "".join(outcome.status[0].upper() for outcome in told) == expected
    assert all(os.strerror(number) in outcome.message for outcome in told if outcome.status == "failed")
    assert not any(".tmp" in name for name in files(results))


@pytest.mark.parametrize("target", ["sub", ".hidden", "a.jpg"])
@pytest.mark.parametrize("overwrite", [False, True])
def test_no_link_among_the_results_leads_a_result_onto_an_original_or_among_them(source, results, target, overwrite):
    (source / ".hidden").mkdir()
    link = results / ("sub/clean.jpg" if target == "a.jpg" else "sub")
    link.parent.mkdir(parents=True)
    link.symlink_to(source / target)
    before = {path: path.read_bytes() for path in source.rglob("*") if path.is_file()}
    failed = failures(run(source, results, **BOTH, overwrite=overwrite))
    assert set(failed) == {"sub/clean.jpg", *({"sub/深/页 1.webp"} if link.name == "sub" else ())}
    assert all(str(results / "sub") in message and "original" in message for message in failed.values())
    assert {path: path.read_bytes() for path in source.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("name", ["a.jpg", "a.jpg.mask.png", "a.jpg.compare.jpg"])
def test_a_file_that_is_not_ours_is_kept_without_overwrite(source, results, name):
    (results / "a.png").mkdir(parents=True)
    (results / name).write_bytes(b"theirs")
    for _ in range(2):
        told = failures(run(source, results, **BOTH))["a.jpg"]
        assert told.startswith(f"{results / name}: there is a file that this program did not make")
        assert (results / name).read_bytes() == b"theirs"
    # What no file can replace is refused with --overwrite too.
    assert states(source, results, **BOTH, overwrite=True) == ALL_DONE | {"a.png": "failed"}
    assert (results / name).read_bytes() != b"theirs"
    assert states(source, results, **BOTH) == ALL_SKIPPED | {"a.png": "failed"}


class Weighed:
    """A restorer with weights; `mask`es by hand are taken and not looked at."""

    def __init__(self, fingerprint: str) -> None:
        self.fingerprint = fingerprint

    def __call__(self, image: np.ndarray, mask: np.ndarray | None = None, mask_mode: str = "") -> Restored:
        return paint_over(image)


@pytest.mark.parametrize(("change", "words"), [
    ("photo", "the photo has changed"), ("weights", "other weights or options"),
    *((change, "had become empty, or damaged") for change in ("emptied", "cut", "half", "zeros", "text"))])  # fmt: skip
@pytest.mark.parametrize("name", ["a.png", "a.jpg"])
def test_a_result_that_is_not_finished_is_done_again_and_says_why(source, results, name, change, words):
    Image.fromarray(textured(300, 400)).save(source / name)
    marked = partial(Weighed("two" if change == "weights" else "one"), mask_mode="")
    told = {Path(name): np.eye(300, 400, dtype=np.uint8)}.get
    run(source, results, partial(Weighed("one"), mask_mode=""), told=told)
    expected, middle = (results / name).read_bytes(), (results / name).stat().st_size // 2
    if change == "photo":
        os.utime(source / name, (1, 1))
    elif change != "weights":
        (results / name).write_bytes({"emptied": b"", "cut": expected[:-1], "half": expected[:middle], "text": b"text",
                                      "zeros": expected[:middle] + bytes(300) + expected[middle + 300:]}[change])
    outcomes = run(source, results, marked, told=told)
    assert words in " ".join(outcomes[name].notes)
    assert outcomes["sub/clean.jpg"].status == ("untouched" if change == "weights" else "skipped")
    assert (results / name).read_bytes() == expected
    assert set(states(source, results, marked, told=told).values()) == {"skipped"}


def test_what_a_person_has_changed_is_kept_and_named_each_time_whatever_else_has_changed(source, results, caplog):
    run(source, results, Weighed("one"), **BOTH)
    changed = {"a.png": "result", "sub/深/页 1.webp": "result", "a.jpg.mask.png": "mask", "a.jpg.compare.jpg": "sheet"}
    for name in changed:
        Image.fromarray(page(50, 60)).save(results / name)
    by_hand = {name: (results / name).read_bytes() for name in changed}
    os.utime(results / "sub/clean.jpg")  # Only its time has changed.
    assert states(source, results, Weighed("one"), **BOTH) == ALL_SKIPPED
    named = sorted(f"{name.split('.mask')[0].split('.compare')[0]}: its {what} was changed by hand: kept; --overwrite "
                   "does it again" for name, what in changed.items())  # fmt: skip
    assert sorted(caplog.messages) == named
    again = ALL_DONE | {"a.png": "skipped", "sub/深/页 1.webp": "skipped"}
    assert states(source, results, Weighed("two"), **BOTH) == again
    assert {name: (results / name).read_bytes() for name in changed} == by_hand
    assert states(source, results, Weighed("two"), **BOTH) == ALL_SKIPPED
    assert states(source, results, Weighed("two"), **BOTH, overwrite=True) == ALL_DONE
    assert not any((results / name).read_bytes() == content for name, content in by_hand.items())


@pytest.mark.parametrize("name", ["a.jpg.mask.png", "a.png"])
def test_a_mask_that_lies_among_the_results_is_not_replaced_by_what_is_made_of_it(source, results, name):
    (source / "a.png").unlink()
    run(source, results, save_mask=name != "a.png")
    encode = Image.fromarray(255 * np.eye(*page().shape[:2], dtype=np.uint8))
    for number in range(2 if name == "a.jpg.mask.png" else 1):
        if number or name == "a.png":
            encode.save(results / name)
        before = (results / name).read_bytes()
        told = {"save_mask": True, "told": Masks(results).of}
        became = [states(source, results, Weighed(""), **told)["a.jpg"] for _ in "123"]
        assert became == ["restored", "skipped", "skipped"]
        assert (results / name).read_bytes() == before


def test_photos_of_one_name_from_two_folders_do_not_replace_each_other(source, results, tmp_path):
    (tmp_path / "others").mkdir()
    Image.fromarray(page(50, 60)).save(tmp_path / "others" / "a.png")
    run(source, results)
    failed = failures(run(tmp_path / "others", results))["a.png"]
    assert failed.startswith(f"{results / 'a.png'}: is the result of another photo of this name")
    assert states(source, results) == ALL_SKIPPED
    assert states(tmp_path / "others", results, overwrite=True) == {"a.png": "untouched"}


def test_a_mask_by_hand_counts_where_there_is_one(source, results):
    def told(mask_mode: str, offset: int = 0) -> dict[str, str]:
        masks = {Path("a.png"): np.eye(*page().shape[:2], offset, np.uint8)}
        return states(source, results, partial(Weighed(""), mask_mode=mask_mode), told=masks.get)

    run(source, results)
    once = ALL_SKIPPED | {"a.png": "restored"}
    assert [told("add"), told("add"), told("protect"), told("protect", 30)] == [once, ALL_SKIPPED, once, once]
    by_hand = {Path("sub/clean.jpg"): np.eye(*page().shape[:2], dtype=np.uint8)}
    clean = run(source, results, Weighed(""), told=by_hand.get)
    assert clean["sub/clean.jpg"].message == "nothing to remove, with its mask by hand, copied"
    COVERED.save(source / "book.tif", save_all=True, append_images=[COVERED])
    failed = failures(run(source, results, told={Path("book.tif"): np.eye(20, dtype=np.uint8)}.get))["book.tif"]
    assert failed.startswith("has pages, and a mask by hand (--mask) is for a single picture")


def test_a_name_as_long_as_can_be_has_its_mask_and_sheet_under_a_shorter_one(tmp_path, results):
    names = ["n" * 251 + ".png", "n" * 250 + "m.png", "页" * 83 + "aa.png"]
    for name in names:
        COVERED.save(tmp_path / name)
    assert set(states(tmp_path, results, **BOTH).values()) == {"restored"}
    assert len(files(results)) == 9
    assert {name for name in files(results) if "~" not in name} == set(names)
    assert set(states(tmp_path, results, **BOTH).values()) == {"skipped"}
