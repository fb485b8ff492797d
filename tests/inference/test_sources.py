"""What counts as a picture of a folder, what is left out, and where results may not go."""

from __future__ import annotations

import os
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


def test_one_file_or_all_of_a_folder_are_found_sorted_and_hidden_ones_are_not(source):
    assert pictures(source) == ["a.PNG", "a.jpg", "sub/深/页 1.webp", "x.jpg/inside.tif"]
    assert list_pictures(source, "results").others == [Path("notes.txt")]
    assert pictures(source / "a.jpg") == ["a.jpg"]
    assert list_pictures(source / "a.jpg", "results").root == source


def test_pictures_are_known_by_their_content_and_other_files_are_left_out(source):
    jpeg, others = b"\xff\xd8\xff\xe0", {"page": b"BM is short for", "x.bin": bytes(40), "readme": b"P1 is first"}
    known = {"IMG": jpeg, "b.JPE": b"", "c.jfif": b"", "d.heic": b"\0\0\0\x18ftypheic", "e.svg": b"<?xml?>\n<svg "}
    for name, content in {**known, **others}.items():
        (source / name).write_bytes(content)
    os.mkfifo(source / "pipe")
    listing = list_pictures(source, "results")
    assert set(known) < {path.name for path in listing.pictures}
    assert {path.name for path in listing.others} == {*others, "notes.txt", "pipe"}
    assert list_pictures(source / "IMG", "results").pictures == [Path("IMG")]


def test_a_pattern_chooses_among_the_files_and_names_may_be_any_bytes(source):
    odd = os.fsdecode(b"latin-\xff\n.jpg")
    (source / odd).touch()
    assert pictures(source, "*.png") == ["a.PNG"]
    assert pictures(source, "*.JPG") == ["a.jpg", odd]
    assert pictures(source, "nothing*") == []
    assert list_pictures(source, "results", "*.PNG").others == []


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
    assert list_pictures(source, "results").closed == {Path("sub"): "cannot be searched (Permission denied)"}
    assert Path("a.jpg") in list_pictures(source, "results").pictures


def test_only_regular_files_are_opened(source):
    os.mkfifo(source / "pipe.jpg")
    (source / "loop.jpg").symlink_to("loop.jpg")
    (source / "device.jpg").symlink_to("/dev/zero")
    (source / "link.jpg").symlink_to(source / "a.jpg")
    for name in ("pipe.jpg", "device.jpg", "x.jpg"):
        with pytest.raises(OSError, match=f"{name}: is a folder, pipe, socket or device, expected a regular file"):
            require_regular(source / name)
    for name in ("loop.jpg", "gone.jpg"):
        with pytest.raises(OSError, match=name):
            require_regular(source / name)
    require_regular(source / "link.jpg")


def test_results_may_lie_inside_the_source_but_not_among_photos_of_their_own(source):
    """Those would be left out, or, named like another one, be overwritten."""
    names = ("x.jpg/inside.tif", "a.jpg", "a.jpg.mask.png", "a.jpg.compare.jpg", "notes.txt", ".a.tmp.jpg", ".mask.png")
    for name in names:
        (source / "out" / name).parent.mkdir(parents=True, exist_ok=True)
        (source / "out" / name).touch()
    assert len(list_pictures(source, source / "out").pictures) == 4
    assert len(list_pictures(source, source / "elsewhere").pictures) == 8
    (source / "sub" / "mine.jpg").touch()
    with pytest.raises(ValueError, match=r"sub: holds mine\.jpg"):
        list_pictures(source, source / "sub")


def test_sources_are_never_overwritten(source):
    for one, results in ((source, source / "sub" / ".."), (source / "a.jpg", source)):
        with pytest.raises(ValueError, match="overwrite"):
            list_pictures(one, results)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        list_pictures(source / "nowhere", source)
    assert len(list_pictures(source, source.parent).pictures) == 4
    (source / "photos").mkdir()
    (source / "photos" / "a.jpg").touch()
    with pytest.raises(ValueError, match=r"would be a source, .*photos/a\.jpg"):
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
