"""What counts as a picture of a folder, what is left out, and where results may not go."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from inference.sources import list_pictures, prepare_results, require_regular


@pytest.fixture
def source(tmp_path) -> Path:
    root = tmp_path / "photos"
    hidden = (".hidden/no.png", "sub/.no.jpg")
    for name in ("a.jpg", "a.PNG", "sub/深/页 1.webp", *hidden, "notes.txt", "x.jpg/inside.tif"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def pictures(source, *arguments) -> list[str]:
    return [path.as_posix() for path in list_pictures(source, source.parent / "results", *arguments).pictures]


def test_pictures_of_all_sub_folders_are_found_sorted_and_hidden_ones_are_not(source):
    assert pictures(source) == ["a.PNG", "a.jpg", "sub/深/页 1.webp", "x.jpg/inside.tif"]
    assert list_pictures(source, "results").others == [Path("notes.txt")]


def test_a_pattern_chooses_among_the_files(source):
    assert pictures(source, "*.png") == ["a.PNG"]
    assert pictures(source, "*.JPG") == ["a.jpg"]
    assert pictures(source, "nothing*") == []
    assert list_pictures(source, "results", "*.PNG").others == []


def test_one_file_is_a_source_too(source):
    assert pictures(source / "a.jpg") == ["a.jpg"]
    assert list_pictures(source / "a.jpg", "results").root == source


def test_names_of_any_bytes_are_found(source):
    odd = os.fsdecode(b"latin-\xff\n.jpg")
    (source / odd).touch()
    assert odd in pictures(source)


def test_linked_files_are_pictures_and_linked_folders_are_named_but_not_entered(source, tmp_path):
    (source / "sub" / "loop").symlink_to(source)
    (source / "loop.jpg").symlink_to("loop.jpg")
    (source / "link.jpg").symlink_to(source / "a.jpg")
    (tmp_path / "elsewhere").mkdir()
    (source / "link").symlink_to(tmp_path / "elsewhere")
    listing = list_pictures(source, tmp_path / "results")
    assert listing.linked == [Path("link"), Path("sub/loop")]
    assert {Path("loop.jpg"), Path("link.jpg")} < set(listing.pictures)
    assert len(listing.pictures) == 6


def test_a_folder_that_cannot_be_searched_is_named(source, monkeypatch):
    real = os.scandir

    def scandir(path):
        if str(path).endswith("sub"):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    listing = list_pictures(source, "results")
    assert listing.closed == {Path("sub"): "cannot be searched (Permission denied)"}
    assert Path("a.jpg") in listing.pictures


def test_only_regular_files_are_opened(source, tmp_path):
    os.mkfifo(source / "pipe.jpg")
    (source / "loop.jpg").symlink_to("loop.jpg")
    (source / "device.jpg").symlink_to("/dev/zero")
    (source / "link.jpg").symlink_to(source / "a.jpg")
    with socket.socket(socket.AF_UNIX) as server:
        here = os.getcwd()
        os.chdir(source)  # A socket's path has to be short.
        server.bind("socket.jpg")
        os.chdir(here)
    expected = {"pipe.jpg": "a named pipe", "socket.jpg": "a socket", "device.jpg": "a device", "x.jpg": "a folder"}
    for name, kind in expected.items():
        with pytest.raises(OSError, match=f"{name}: is {kind}, expected a regular file"):
            require_regular(source / name)
    for name in ("loop.jpg", "gone.jpg"):
        with pytest.raises(OSError, match=name):
            require_regular(source / name)
    require_regular(source / "link.jpg")


def test_results_may_lie_inside_the_source_and_are_not_sources_then(source):
    (source / "results" / "x.jpg").mkdir(parents=True)
    (source / "results" / "x.jpg" / "inside.tif").touch()
    assert len(list_pictures(source, source / "results").pictures) == 4
    assert len(list_pictures(source, source / "elsewhere").pictures) == 5


def test_a_folder_of_photos_inside_the_source_is_no_place_for_results(source):
    """Its photos would be left out, or, named like another one, be overwritten."""
    (source / "sub" / "mine.jpg").touch()
    with pytest.raises(ValueError, match=r"sub: holds mine\.jpg"):
        list_pictures(source, source / "sub")
    out = source / "out"
    out.mkdir()
    for name in ("a.jpg", "a.jpg.mask.png", "a.jpg.compare.jpg", "notes.txt", ".a.tmp.jpg"):
        (out / name).touch()
    assert Path("a.jpg") in list_pictures(source, out).pictures


def test_sources_are_never_overwritten(source):
    with pytest.raises(ValueError, match="overwrite"):
        list_pictures(source, source / "sub" / "..")
    with pytest.raises(ValueError, match="overwrite"):
        list_pictures(source / "a.jpg", source)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        list_pictures(source / "nowhere", source)


def test_results_above_the_source_are_refused_where_they_would_meet_a_source(source):
    assert len(list_pictures(source, source.parent).pictures) == 4
    (source / "photos").mkdir()
    (source / "photos" / "a.jpg").touch()
    with pytest.raises(ValueError, match=r"photos/a\.jpg would be a source"):
        list_pictures(source, source.parent)


def test_results_that_cannot_be_written_are_refused(tmp_path):
    prepare_results(tmp_path / "new" / "results")
    assert (tmp_path / "new" / "results").is_dir()
    assert not any((tmp_path / "new" / "results").iterdir())
    (tmp_path / "taken").touch()
    with pytest.raises(OSError, match="taken: is a file, expected a folder"):
        prepare_results(tmp_path / "taken")
    with pytest.raises(OSError, match="/proc/results: cannot be written to"):
        prepare_results("/proc/results")
