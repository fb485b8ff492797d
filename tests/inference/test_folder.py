"""Folders: names, formats and sub-folders stay; bad files are told and left behind; half files never count."""

from __future__ import annotations

import errno
import os
from contextlib import nullcontext
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from inference import folder, record
from inference.folder import Outcome, ResultsError, restore_folder
from inference.record import RECORD
from inference.restorer import Restored
from inference.sources import list_pictures
from tests.inference.painted import page, paint_over


@pytest.fixture
def source(tmp_path) -> Path:
    """Covered and clean pictures in several formats and folders, and what else lies about."""
    root = tmp_path / "photos"
    (root / "sub" / "深").mkdir(parents=True)
    covered, clean = Image.fromarray(page()), Image.fromarray(page(box=None))
    covered.save(root / "a.jpg", quality=90)
    covered.save(root / "a.png")
    clean.save(root / "sub" / "clean.jpg", quality=70)
    covered.save(root / "sub" / "深" / "页 1.webp", lossless=True)
    (root / "notes.txt").write_text("no picture")
    return root


def run(source, results, restorer=paint_over, **orders) -> dict[str, Outcome]:
    outcomes = restore_folder(restorer, list_pictures(source, results), results, **orders)
    return {outcome.name.as_posix(): outcome for outcome in outcomes}


def states(source, results, restorer=paint_over, **orders) -> dict[str, str]:
    return {name: outcome.status for name, outcome in run(source, results, restorer, **orders).items()}


def files(results) -> list[str]:
    below = (path for path in results.rglob("*") if path.is_file() and path.name != RECORD)
    return sorted(path.relative_to(results).as_posix() for path in below)


ALL_DONE = {"a.jpg": "restored", "a.png": "restored", "sub/clean.jpg": "untouched", "sub/深/页 1.webp": "restored"}


def test_names_formats_sizes_and_folders_stay_and_what_nothing_covers_is_copied(source, tmp_path):
    results = tmp_path / "results"
    outcomes = run(source, results)
    assert {name: outcome.status for name, outcome in outcomes.items()} == ALL_DONE
    assert files(results) == sorted(ALL_DONE)
    for name in outcomes:
        with Image.open(source / name) as before, Image.open(results / name) as after:
            assert (after.format, after.size) == (before.format, before.size)
    before, after = (np.asarray(Image.open(folder / "a.png")) for folder in (source, results))
    assert np.array_equal(after, paint_over(before).image)
    assert (results / "sub/clean.jpg").read_bytes() == (source / "sub/clean.jpg").read_bytes()
    assert str(outcomes["sub/clean.jpg"]) == "untouched: sub/clean.jpg: no occluder found, copied"
    steps = outcomes["a.jpg"].steps
    assert list(steps) == ["decode", "locate", "restore", "compose", "encode"]
    # Without the waiting.
    assert outcomes["a.jpg"].seconds == pytest.approx(0.875 + steps["decode"] + steps["encode"])
    assert 0 < steps["decode"] < 0.5


def test_outcomes_come_in_the_order_of_the_listing(source, tmp_path):
    for index in range(12):
        Image.fromarray(page(20 + 30 * (index % 3), 40)).save(source / f"p{index:02}.png")
    (source / "p05.png").write_bytes(b"bad")
    listing = list_pictures(source, tmp_path / "results")
    listing.closed[Path("locked")] = "cannot be searched (Permission denied)"
    outcomes = list(restore_folder(paint_over, listing, tmp_path / "results"))
    assert str(outcomes[0]) == "failed: locked: cannot be searched (Permission denied)"
    assert [outcome.name for outcome in outcomes[1:]] == listing.pictures


def test_bad_files_are_named_one_by_one_and_the_others_are_restored(source, tmp_path):
    whole = (source / "a.jpg").read_bytes()
    (source / "b_cut.jpg").write_bytes(whole[: len(whole) // 2])
    (source / "c_empty.jpg").write_bytes(b"")
    (source / "d_text.jpg").write_text("not a picture")
    (source / "e_folder.jpg").mkdir()
    Image.fromarray(page()).save(source / "e_folder.jpg" / "inside.png")
    Image.new("RGB", (1, 1), (230, 20, 20)).save(source / "f_one.png")
    # No mode stops root, and so reading a file fails that cannot be read by anybody.
    links = {"g_loop": source, "h_loop.jpg": "h_loop.jpg", "i_gone.jpg": "nowhere.jpg", "l_link.jpg": source / "a.jpg",
             "j_unreadable.jpg": "/proc/self/mem"}  # fmt: skip
    for name, target in links.items():
        (source / name).symlink_to(target)
    os.mkfifo(source / "k_pipe.jpg")
    Image.fromarray(page()).save(source / "m_two.webp", save_all=True, append_images=[Image.fromarray(page()[::-1])])
    Image.fromarray(page(50, 60)).save(source / "n_large.png")

    def moody(image: np.ndarray) -> Restored:
        if image.shape == (50, 60, 3):
            raise MemoryError("too little memory for a tile of 50 x 60")
        return paint_over(image)

    outcomes = run(source, tmp_path / "results", moody)
    failed = {name for name, outcome in outcomes.items() if outcome.status == "failed"}
    assert failed == {
        "b_cut.jpg", "c_empty.jpg", "d_text.jpg", "h_loop.jpg", "i_gone.jpg", "j_unreadable.jpg", "k_pipe.jpg",
        "m_two.webp", "n_large.png",
    }  # fmt: skip
    assert not any(name in outcomes[name].message or "Error" in outcomes[name].message for name in failed)
    assert "holds 2 pages" in outcomes["m_two.webp"].message
    assert str(outcomes["n_large.png"]) == "failed: n_large.png: too little memory for a tile of 50 x 60"
    good = {*ALL_DONE, "e_folder.jpg/inside.png", "f_one.png", "l_link.jpg"}
    assert outcomes.keys() - failed == good
    assert files(tmp_path / "results") == sorted(good)
    assert not (tmp_path / "results" / "l_link.jpg").is_symlink()


def test_what_a_result_loses_is_a_warning_once_and_told_of_each(source, tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(folder, "encode_photo", lambda *_: folder.Encoded(b"file", ("its charm becomes grey",)))
    with caplog.at_level("WARNING"):
        outcomes = run(source, tmp_path / "results")
    assert caplog.messages == ["a.jpg: its charm becomes grey"]
    for name, status in ALL_DONE.items():
        assert outcomes[name].notes == (("its charm becomes grey",) if status == "restored" else ())


def test_a_second_run_skips_what_is_done_with_all_that_was_asked_for_and_overwrite_does_it_again(source, tmp_path):
    results = tmp_path / "results"
    run(source, results)
    (results / "a.jpg").unlink()
    assert states(source, results) == {name: "restored" if name == "a.jpg" else "skipped" for name in ALL_DONE}
    assert states(source, results, overwrite=True) == ALL_DONE
    assert states(source, results, compare=True) == {**ALL_DONE, "sub/clean.jpg": "skipped"}
    assert states(source, results, save_mask=True) == ALL_DONE
    assert set(states(source, results, save_mask=True, compare=True).values()) == {"skipped"}


def test_a_sheet_of_other_weights_goes_when_nothing_is_found_any_more(source, tmp_path):
    run(source, tmp_path / "results", compare=True)
    blind = states(source, tmp_path / "results", lambda image: paint_over(0 * image), compare=True, overwrite=True)
    assert set(blind.values()) == {"untouched"}
    assert files(tmp_path / "results") == sorted(ALL_DONE)


def test_a_picture_named_like_the_mask_of_another_is_refused_before_anything_is_written(source, tmp_path):
    Image.fromarray(page()).save(source / "a.jpg.mask.png")
    with pytest.raises(ValueError, match=r"a\.jpg\.mask\.png"):
        run(source, tmp_path / "results", save_mask=True)
    assert states(source, tmp_path / "results") == {**ALL_DONE, "a.jpg.mask.png": "restored"}


@pytest.mark.parametrize(
    ("full", "number", "expected"),
    [
        ({"a.jpg", "a.png", "p1.png", "p3.png", "p4.png", "p5.png"}, errno.ENOSPC, "FFUFUFFF"),
        ({"a.jpg", "a.png", "p0.png", "p1.png"}, errno.EDQUOT, "FFF"),
        ({"a.jpg", "a.png", "p0.png", "p1.png"}, errno.EROFS, "FFF"),
        # What the next picture need not meet.
        ({"a.jpg", "a.png", "p0.png", "p1.png"}, errno.EACCES, "FFFFUUUUUR"),
    ],
)
def test_a_full_disk_fails_a_picture_and_three_in_a_row_stop_it(source, tmp_path, monkeypatch, full, number, expected):
    for index in range(6):
        Image.fromarray(page(40, 50, None)).save(source / f"p{index}.png")
    real, told = record.write_bytes, []

    def write(path, content):
        if path.name in full:
            raise OSError(number, os.strerror(number), str(path))
        real(path, content)

    monkeypatch.setattr(record, "write_bytes", write)
    words = f"3 results in a row could not be written .*{os.strerror(number)}"
    with pytest.raises(ResultsError, match=words) if number != errno.EACCES else nullcontext():
        # Not list(): what was told before the error counts.
        told.extend(restore_folder(paint_over, list_pictures(source, tmp_path / "r"), tmp_path / "r"))
    assert "".join(outcome.status[0].upper() for outcome in told) == expected
    assert all(os.strerror(number) in outcome.message for outcome in told if outcome.status == "failed")
    assert not any(".tmp" in name for name in files(tmp_path / "r"))


@pytest.mark.parametrize("how", ["folder", "file", "hidden"])
@pytest.mark.parametrize("overwrite", [False, True])
def test_no_link_among_the_results_leads_a_result_onto_an_original_or_among_them(source, tmp_path, how, overwrite):
    results = tmp_path / "results"
    results.mkdir()
    (source / ".hidden").mkdir()
    if how == "file":
        (results / "sub").mkdir()
        (results / "sub" / "clean.jpg").symlink_to(source / "a.jpg")
    else:
        (results / "sub").symlink_to(source / ("sub" if how == "folder" else ".hidden"))
    before = {path: path.read_bytes() for path in source.rglob("*") if path.is_file()}
    outcomes = run(source, results, save_mask=True, compare=True, overwrite=overwrite)
    failed = {name: outcome.message for name, outcome in outcomes.items() if outcome.status == "failed"}
    assert set(failed) == ({"sub/clean.jpg"} if how == "file" else {"sub/clean.jpg", "sub/深/页 1.webp"})
    assert all(str(results / "sub") in message and "original" in message for message in failed.values())
    assert {path: path.read_bytes() for path in source.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("name", ["a.jpg", "a.jpg.mask.png", "a.jpg.compare.jpg"])
def test_a_file_that_is_not_ours_is_kept_without_overwrite(source, tmp_path, name):
    results, orders = tmp_path / "results", {"save_mask": True, "compare": True}
    results.mkdir()
    (results / name).write_bytes(b"theirs")
    for _ in range(2):
        outcomes = run(source, results, **orders)
        assert {key: outcome.status for key, outcome in outcomes.items()}["a.jpg"] == "failed"
        assert str(results / name) in outcomes["a.jpg"].message
        assert "did not make" in outcomes["a.jpg"].message
        assert (results / name).read_bytes() == b"theirs"
    assert states(source, results, **orders, overwrite=True) == ALL_DONE
    assert (results / name).read_bytes() != b"theirs"
    assert set(states(source, results, **orders).values()) == {"skipped"}


def test_what_cannot_be_replaced_by_a_file_is_refused_with_overwrite_too(source, tmp_path):
    (tmp_path / "r" / "a.png").mkdir(parents=True)
    os.mkfifo(tmp_path / "r" / "a.jpg")
    assert [states(source, tmp_path / "r", overwrite=True)[name] for name in ("a.jpg", "a.png")] == ["failed"] * 2


class Weighed:
    """A restorer that others tell from its like by a fingerprint."""

    def __init__(self, fingerprint: str) -> None:
        self.fingerprint = fingerprint

    def __call__(self, image: np.ndarray) -> Restored:
        return paint_over(image)


@pytest.mark.parametrize("change", ["photo", "weights", "emptied", "cut", "grown"])
def test_a_result_that_is_not_finished_is_done_again_and_says_why(source, tmp_path, change):
    result, weights = tmp_path / "r" / "a.png", "one"
    run(source, tmp_path / "r", Weighed("one"))
    expected = result.read_bytes()
    words = "not as long as it was written"
    if change == "photo":
        words = "the photo has changed"
        os.utime(source / "a.png", (1, 1))
    elif change == "weights":
        weights, words = "two", "other weights or options"
    else:
        result.write_bytes({"emptied": b"", "cut": expected[:-1], "grown": expected + b"x"}[change])
    outcomes = run(source, tmp_path / "r", Weighed(weights))
    assert words in " ".join(outcomes["a.png"].notes)
    assert outcomes["a.jpg"].status == ("restored" if change == "weights" else "skipped")
    assert result.read_bytes() == expected
    assert set(states(source, tmp_path / "r", Weighed(weights)).values()) == {"skipped"}


def test_photos_of_one_name_from_two_folders_do_not_replace_each_other(source, tmp_path):
    other = tmp_path / "others"
    other.mkdir()
    Image.fromarray(page(50, 60)).save(other / "a.png")
    run(source, tmp_path / "r")
    before = (tmp_path / "r" / "a.png").read_bytes()
    failed = run(other, tmp_path / "r")["a.png"]
    assert str(failed).startswith(f"failed: a.png: {tmp_path / 'r' / 'a.png'}: is the result of another photo of this ")
    assert (tmp_path / "r" / "a.png").read_bytes() == before
    assert set(states(source, tmp_path / "r").values()) == {"skipped"}
    assert states(other, tmp_path / "r", overwrite=True) == {"a.png": "untouched"}


def test_a_mask_by_hand_counts_where_there_is_one(source, tmp_path):
    def told(mask_mode: str, height: int = 20) -> dict[str, str]:
        def restorer(image: np.ndarray, mask: np.ndarray | None = None, mask_mode: str = "") -> Restored:
            return paint_over(image)

        masks = {Path("a.png"): np.eye(height, dtype=np.uint8)}
        return states(source, tmp_path / "r", partial(restorer, mask_mode=mask_mode), told=masks.get)

    run(source, tmp_path / "r")
    once = dict.fromkeys(ALL_DONE, "skipped") | {"a.png": "restored"}
    assert [told("add"), told("add")] == [once, dict.fromkeys(ALL_DONE, "skipped")]
    assert [told("protect"), told("protect", 30)] == [once] * 2
    page_of_two = Image.fromarray(page())
    page_of_two.save(source / "book.tif", save_all=True, append_images=[page_of_two])
    masks = {Path("book.tif"): np.eye(20, dtype=np.uint8)}
    failed = run(source, tmp_path / "r", told=masks.get)["book.tif"]
    assert str(failed).startswith("failed: book.tif: has pages, and a mask by hand (--mask) is for a single picture")


def test_a_name_as_long_as_can_be_has_its_mask_and_sheet_under_a_shorter_one(tmp_path):
    names = ["n" * 251 + ".png", "n" * 250 + "m.png", "页" * 83 + "aa.png"]
    (tmp_path / "s").mkdir()
    for name in names:
        Image.fromarray(page()).save(tmp_path / "s" / name)
    results = tmp_path / "s" / "r"
    orders = {"save_mask": True, "compare": True}
    assert set(states(tmp_path / "s", results, **orders).values()) == {"restored"}
    assert len(files(results)) == 9
    assert {name for name in files(results) if "~" not in name} == set(names)
    assert set(states(tmp_path / "s", results, **orders).values()) == {"skipped"}


def test_a_source_that_vanishes_fails_alone(source, tmp_path):
    def moody(image: np.ndarray) -> Restored:
        (source / "sub" / "clean.jpg").unlink(missing_ok=True)
        return paint_over(image)

    for index in range(12):
        Image.fromarray(page(20, 30, None)).save(source / f"p{index:02}.png")
    failed = {name: one for name, one in run(source, tmp_path / "r", moody).items() if one.status == "failed"}
    assert list(failed) == ["sub/clean.jpg"]
    assert failed["sub/clean.jpg"].message == "No such file or directory"
