"""Folders: names, formats and sub-folders stay; bad files are told and left behind; half files never count."""

from __future__ import annotations

import os

import numpy as np
import pytest
from PIL import Image

from configs.schema import PredictConfig
from inference import Restorer
from inference.folder import list_pictures, mask_path, restore_folder
from tests.inference.test_restorer import PaintedBackend, page


@pytest.fixture
def restorer() -> Restorer:
    return Restorer.from_backend(PaintedBackend(), PredictConfig(long_side=128, overlap=8))


@pytest.fixture
def source(tmp_path):
    """Covered and clean pictures in several formats and folders, and what else lies about."""
    root = tmp_path / "photos"
    (root / "sub" / "深").mkdir(parents=True)
    (root / ".hidden").mkdir()
    covered, clean = Image.fromarray(page()), Image.fromarray(page(box=None))
    covered.save(root / "a.jpg", quality=90)
    covered.save(root / "a.png")
    clean.save(root / "sub" / "clean.jpg", quality=70)
    covered.save(root / "sub" / "深" / "页 1.webp", lossless=True)
    covered.save(root / ".hidden" / "no.png")
    (root / "notes.txt").write_text("no picture")
    return root


def run(restorer, source, results, **options):
    listing = list_pictures(source, results)
    return {outcome.name.as_posix(): outcome for outcome in restore_folder(restorer, listing, results, **options)}


def test_names_formats_sizes_and_folders_stay(restorer, source, tmp_path):
    results = tmp_path / "results"
    outcomes = run(restorer, source, results)
    assert {name: outcome.status for name, outcome in outcomes.items()} == {
        "a.jpg": "restored",
        "a.png": "restored",
        "sub/clean.jpg": "untouched",
        "sub/深/页 1.webp": "restored",
    }
    found = (path.relative_to(results).as_posix() for path in results.rglob("*") if path.is_file())
    assert sorted(found) == sorted(outcomes)
    for name in outcomes:
        with Image.open(source / name) as before, Image.open(results / name) as after:
            assert (after.format, after.size) == (before.format, before.size)
    before, after = np.asarray(Image.open(source / "a.png")), np.asarray(Image.open(results / "a.png"))
    assert np.array_equal(after[:150], before[:150])
    assert np.abs(after[210:, 160:250].astype(int) - 128).max() <= 12


def test_a_picture_that_nothing_covers_comes_back_as_the_same_bytes(restorer, source, tmp_path):
    run(restorer, source, tmp_path / "results")
    assert (tmp_path / "results/sub/clean.jpg").read_bytes() == (source / "sub/clean.jpg").read_bytes()


def test_a_pattern_chooses_among_the_files(source, tmp_path):
    everything = list_pictures(source, tmp_path / "results").pictures
    chosen = list_pictures(source, tmp_path / "results", "*.png").pictures
    assert chosen == [path for path in everything if path.suffix == ".png"]
    assert 0 < len(chosen) < len(everything)
    assert not list_pictures(source, tmp_path / "results", "nothing*").pictures


def test_what_is_no_picture_is_listed_and_hidden_things_are_not(source, tmp_path):
    listing = list_pictures(source, tmp_path / "results")
    assert [path.as_posix() for path in listing.others] == ["notes.txt"]
    assert not any("hidden" in path.as_posix() for path in listing.pictures)


def test_a_bad_file_is_named_and_the_others_are_restored(restorer, source, tmp_path):
    whole = (source / "a.jpg").read_bytes()
    (source / "b_cut.jpg").write_bytes(whole[: len(whole) // 2])
    (source / "c_empty.jpg").write_bytes(b"")
    (source / "d_text.jpg").write_text("not a picture")
    (source / "e_folder.jpg").mkdir()
    Image.new("RGB", (1, 1)).save(source / "f_one.png")
    outcomes = run(restorer, source, tmp_path / "results")
    failed = {name for name, outcome in outcomes.items() if outcome.status == "failed"}
    assert failed == {"b_cut.jpg", "c_empty.jpg", "d_text.jpg"}
    assert all(name in outcomes[name].message for name in failed)
    assert outcomes["a.png"].status == "restored"
    assert outcomes["f_one.png"].status == "untouched"
    assert not any((tmp_path / "results" / name).exists() for name in failed)


def test_what_a_result_loses_is_said_once_and_only_where_something_was_removed(restorer, tmp_path, caplog):
    source = tmp_path / "photos"
    source.mkdir()
    Image.fromarray(page()).quantize(64).save(source / "covered.png")
    Image.fromarray(page(box=None)).quantize(64).save(source / "clean.png")
    Image.fromarray(page()).save(source / "plain.png")
    with caplog.at_level("WARNING"):
        outcomes = run(restorer, source, tmp_path / "results")
    assert [outcomes[name].status for name in ("covered.png", "clean.png")] == ["restored", "untouched"]
    assert len(caplog.messages) == 1
    assert "covered.png: restored, but the palette becomes RGB" in caplog.messages[0]


def test_a_tiff_of_two_pages_fails_and_says_so(restorer, tmp_path):
    source = tmp_path / "photos"
    source.mkdir()
    Image.fromarray(page()).save(source / "two.tif", save_all=True, append_images=[Image.fromarray(page())])
    outcome = run(restorer, source, tmp_path / "results")["two.tif"]
    assert outcome.status == "failed"
    assert "holds 2 pages" in outcome.message
    assert not (tmp_path / "results" / "two.tif").exists()


def test_a_second_run_skips_what_is_done_and_overwrite_does_it_again(restorer, source, tmp_path):
    results = tmp_path / "results"
    run(restorer, source, results)
    (results / "a.jpg").unlink()
    (results / "a.png").write_bytes(b"kept")
    second = run(restorer, source, results)
    assert {name: outcome.status for name, outcome in second.items()} == {
        "a.jpg": "restored",
        "a.png": "skipped",
        "sub/clean.jpg": "skipped",
        "sub/深/页 1.webp": "skipped",
    }
    assert (results / "a.png").read_bytes() == b"kept"
    assert run(restorer, source, results, overwrite=True)["a.png"].status == "restored"
    assert (results / "a.png").read_bytes() != b"kept"


def test_an_interrupted_run_leaves_no_result_under_its_name(source, tmp_path, restorer, monkeypatch):
    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        run(restorer, source, tmp_path / "results")
    assert [path for path in (tmp_path / "results").rglob("*") if path.is_file()] == []


def test_masks_lie_beside_the_results_and_never_meet(restorer, source, tmp_path):
    results = tmp_path / "results"
    run(restorer, source, results, save_mask=True)
    assert mask_path(results / "a.jpg") != mask_path(results / "a.png")
    mask = np.asarray(Image.open(results / "a.png.mask.png").convert("L"))
    assert mask.shape == (300, 420)
    assert mask[250, 200] == 255
    assert mask[50, 50] == 0
    assert not np.asarray(Image.open(results / "sub" / "clean.jpg.mask.png")).any()


def test_results_inside_the_source_are_not_restored_again(restorer, source):
    results = source / "results"
    first = run(restorer, source, results)
    assert set(run(restorer, source, results)) == set(first)


def test_a_linked_loop_ends(restorer, source, tmp_path):
    (source / "sub" / "loop").symlink_to(source)
    assert len(run(restorer, source, tmp_path / "results")) == 4


def test_one_file_is_a_source_too(restorer, source, tmp_path):
    assert list(run(restorer, source / "a.png", tmp_path / "results")) == ["a.png"]
    assert (tmp_path / "results" / "a.png").is_file()


def test_sources_are_never_overwritten(source):
    with pytest.raises(ValueError, match="overwrite"):
        list_pictures(source, source / "sub" / "..")
    with pytest.raises(FileNotFoundError, match="nowhere"):
        list_pictures(source / "nowhere", source)
