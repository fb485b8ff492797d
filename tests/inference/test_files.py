"""What counts as a picture of a folder, what is left out, where results may not go; and the record of them: own files
are known after any end of a run, torn lines and other runs do no harm.
"""

import json
import os
import re
import resource
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from inference import files
from inference.files import RECORD, Record, list_pictures


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
    # Those that are empty or broken fail by name, whatever kind their names say.
    known = {"IMG": jpeg, "b.JPE": b"", "c.jfif": b"", "d": b"\0\0\0\x18ftypheic", "e.svg": b"<?xml?>\n<svg ",
             "f.heic": b"", "g.avif": b"?", "h.jxl": b"", "i.pdf": b"<html>"}  # fmt: skip
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


def test_masks_by_hand_inside_the_source_are_no_photos(source):
    touch(source / "masks" / "a.jpg.mask.png")
    assert [len(list_pictures(source, "results", "*", masks).pictures) for masks in (source / "masks", None)] == [4, 5]


def test_sources_are_never_overwritten(source):
    assert len(list_pictures(source, source.parent).pictures) == 4
    touch(source / "photos" / "a.jpg")
    for one, results, words in (
        (source, source / "sub" / "..", "overwrite"), (source / "a.jpg", source, "overwrite"),
        (source, source.parent, r"would be a source, .*photos/a\.jpg"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=words):
            list_pictures(one, results)


PHOTO, MASK, SHEET = Path("sub/a.jpg"), Path("sub/a.jpg.mask.png"), Path("sub/a.jpg.compare.jpg")
CONTENTS = {MASK: b"mask", PHOTO: b"result"}


@pytest.fixture
def results(tmp_path) -> Path:
    (tmp_path / "r" / "sub").mkdir(parents=True)
    (tmp_path / "photo.jpg").write_bytes(b"photo")
    return tmp_path / "r"


@pytest.fixture
def origin(results) -> dict:
    return Record(results, "w").origin((results.parent / "photo.jpg").stat())


def write(results: Path, origin: dict) -> None:
    Record(results, "w").write(PHOTO, origin, CONTENTS, True)


def finished(results: Path, origin: dict, *files: Path) -> bool:
    return Record(results, "w").why_again(PHOTO, origin, files or list(CONTENTS)) is None


def test_after_a_killed_run_its_files_are_ours_and_others_of_their_length_are_not(results, origin, monkeypatch):
    def write_one_and_die(path: Path, content: bytes) -> None:
        path.write_bytes(content)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, suppress(KeyboardInterrupt):
        patch.setattr(files, "write_bytes", write_one_and_die)
        write(results, origin)
    for content, is_ours in ((CONTENTS[MASK][::-1], False), (CONTENTS[MASK], True)):
        (results / MASK).write_bytes(content)
        assert Record(results, "w").is_ours(MASK) == is_ours
    assert not finished(results, origin, MASK)
    write(results, origin)
    assert finished(results, origin)
    # From then on its name will do.
    (results / MASK).write_bytes(CONTENTS[MASK][::-1])
    assert [Record(results, "w").is_ours(file) for file in (MASK, PHOTO, SHEET)] == [True, True, False]


def test_a_finished_file_is_read_again_only_where_its_time_has_changed(results, origin, monkeypatch):
    write(results, origin)
    with monkeypatch.context() as patch:
        patch.setattr(Record, "_content", lambda *_: pytest.fail("was read"))
        assert finished(results, origin)
    os.utime(results / PHOTO, (1, 1))
    assert finished(results, origin)
    (results / PHOTO).write_bytes(CONTENTS[PHOTO][::-1])
    assert not finished(results, origin)


def test_lines_that_are_torn_or_of_another_kind_are_passed_over_and_older_ones_are_read(results, origin):
    write(results, origin)
    path = results / RECORD
    good = path.read_bytes()
    lines = [json.loads(line) for line in good.splitlines() if line]
    torn = good.split(b"\n")[1][:40]
    for bad in (torn, b"[]", b"7", b"{}", b"\xff", json.dumps({**lines[0], "files": [1]}).encode()):
        path.write_bytes(bad + good)
        assert finished(results, origin)
        path.write_bytes(good + bad)
        write(results, origin)
        assert finished(results, origin)
    for line in lines:
        del line["measures"], line["root"]
    path.write_text("\n".join(map(json.dumps, lines)) + "\n")
    assert finished(results, origin)


def test_runs_at_once_append_whole_lines_and_see_what_the_other_has_done(results, origin, monkeypatch):
    first, second = Record(results, "w"), Record(results, "w")
    assert second.why_again(PHOTO, origin, [PHOTO]) == ""
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda one: one.write(PHOTO, origin, CONTENTS, True), [first, second] * 40))
    lines = (results / RECORD).read_text().split("\n")
    assert [json.loads(line)["photo"] for line in lines if line] == ["sub/a.jpg"] * 160
    assert second.why_again(PHOTO, origin, [PHOTO]) is None
    # With different settings nobody knows whose file came last, of the same length though it is.
    other = origin | {"with": "other"}

    def meanwhile(path: Path, content: bytes) -> None:
        monkeypatch.undo()
        path.write_bytes(content)
        second.write(PHOTO, other, {PHOTO: b"two"}, True)

    monkeypatch.setattr(files, "write_bytes", meanwhile)
    first.write(PHOTO, origin, {PHOTO: b"one"}, True)
    assert not any(finished(results, settings, PHOTO) for settings in (origin, other))


def test_a_full_disk_names_the_record_and_leaves_it_readable(results, origin):
    write(results, origin)
    before, size = resource.getrlimit(resource.RLIMIT_FSIZE), (results / RECORD).stat().st_size
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 20, before[1]))
    try:
        with pytest.raises(OSError, match=RECORD):
            write(results, origin)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    write(results, origin)
    assert finished(results, origin)


def test_an_empty_file_is_nobodys_and_is_done_again(results, origin):
    (results / PHOTO).touch()
    (results / MASK).symlink_to(results / PHOTO)
    record = Record(results, "w")
    assert (record.is_ours(PHOTO), record.is_ours(MASK)) == (True, False)
    assert record.why_again(PHOTO, origin, [PHOTO]) == ""
