"""What counts as a picture of a folder, what is left out, and where results may not go."""

import os
import re
from pathlib import Path

import pytest

from inference.files import list_pictures


@pytest.fixture
def source(tmp_path) -> Path:
    root = tmp_path / "photos"
    for name in ("a.jpg", "a.PNG", "sub/深/页 1.webp", ".h/no.png", "sub/.no.jpg", "notes.txt", "x.jpg/inside.tif"):
        touch(root / name)
    return root


def touch(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()


def pictures(source, include="*") -> list[str]:
    return [path.as_posix() for path in list_pictures(source, "results", include).pictures]


def test_one_file_or_all_of_a_folder_are_found_sorted_as_a_pattern_says_and_hidden_ones_are_not(source):
    assert pictures(source) == ["a.PNG", "a.jpg", "sub/深/页 1.webp", "x.jpg/inside.tif"]
    assert list_pictures(source, "results").others == [Path("notes.txt")]
    assert pictures(source / "a.jpg") == ["a.jpg"]
    assert list_pictures(source / "a.jpg", "results").root == source
    odd = os.fsdecode(b"latin-\xff\n.jpg")
    (source / odd).touch()
    assert [pictures(source, name) for name in ("*.png", "*.JPG", "no*")] == [["a.PNG"], ["a.jpg", odd], []]
    assert list_pictures(source, "results", "*.PNG").others == []


def test_pictures_are_known_by_their_content_and_other_files_are_left_out(source):
    jpeg, others = b"\xff\xd8\xff\xe0", {"page": b"BM is short for", "x.bin": bytes(40), "readme": b"P1 is first"}
    known = {"IMG": jpeg, "b.JPE": b"", "c.jfif": b"", "d.heic": b"\0\0\0\x18ftypheic", "e.svg": b"<?xml?>\n<svg "}
    for name, content in {**known, **others}.items():
        (source / name).write_bytes(content)
    os.mkfifo(source / "pipe")
    listing = list_pictures(source, "results")
    assert set(known) < {path.name for path in listing.pictures}
    assert {path.name for path in listing.others} == {*others, "notes.txt", "pipe"}
    assert pictures(source / "IMG") == ["IMG"]


def test_linked_files_are_pictures_and_linked_folders_and_closed_ones_are_named(source, tmp_path, monkeypatch):
    links = {"sub/loop": source, "loop.jpg": "loop.jpg", "link.jpg": source / "a.jpg", "link": tmp_path}
    for name, target in links.items():
        (source / name).symlink_to(target)
    listing = list_pictures(source, "results")
    assert listing.linked == [Path("link"), Path("sub/loop")]
    assert {Path("loop.jpg"), Path("link.jpg")} < set(listing.pictures)
    assert len(listing.pictures) == 6
    real, closed = os.scandir, "sub"

    def scandir(path):
        if str(path).endswith(closed):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    assert list_pictures(source, "results").closed == {Path("sub"): "cannot be searched (Permission denied)"}
    assert len(pictures(source)) == 5
    closed = "photos"
    with pytest.raises(PermissionError, match=re.escape(str(source))):
        list_pictures(source, "results")


def test_results_may_lie_inside_the_source_but_not_among_photos_of_their_own(source):
    """Those would be left out, or, named like another one, be overwritten."""
    for name in ("x.jpg/inside.tif", "a.jpg", "a.jpg.mask.png", "a.jpg.compare.jpg", "notes.txt", ".a.tmp.jpg"):
        touch(source / "out" / name)
    assert len(list_pictures(source, source / "out").pictures) == 4
    assert len(list_pictures(source, source / "elsewhere").pictures) == 8
    touch(source / "sub" / "mine.jpg")
    with pytest.raises(ValueError, match=r"sub: holds mine\.jpg"):
        list_pictures(source, source / "sub")


def test_sources_are_never_overwritten(source):
    assert len(list_pictures(source, source.parent).pictures) == 4
    touch(source / "photos" / "a.jpg")
    for one, results, words in (
        (source, source / "sub" / "..", "overwrite"), (source / "a.jpg", source, "overwrite"),
        (source, source.parent, r"would be a source, .*photos/a\.jpg"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=words):
            list_pictures(one, results)
