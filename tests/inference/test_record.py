"""The record: own files are known after any end of a run, torn lines and other runs do no harm."""

import json
import resource
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from inference import files
from inference.files import RECORD, Record

PHOTO, MASK, SHEET = Path("sub/a.jpg"), Path("sub/a.jpg.mask.png"), Path("sub/a.jpg.compare.jpg")
CONTENTS = {MASK: b"mask", PHOTO: b"result"}


@pytest.fixture
def results(tmp_path) -> Path:
    (tmp_path / "r" / "sub").mkdir(parents=True)
    (tmp_path / "photo.jpg").write_bytes(b"photo")
    return tmp_path / "r"


@pytest.fixture
def source(results) -> dict:
    return Record(results, "w").origin((results.parent / "photo.jpg").stat())


def write(results: Path, source: dict) -> None:
    Record(results, "w").write(PHOTO, source, CONTENTS, True)


def finished(results: Path, source: dict, *files: Path) -> bool:
    return Record(results, "w").why_again(PHOTO, source, files or list(CONTENTS)) is None


def test_after_a_killed_run_its_files_are_ours_and_others_of_their_length_are_not(results, source, monkeypatch):
    def write_one_and_die(path: Path, content: bytes) -> None:
        path.write_bytes(content)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, suppress(KeyboardInterrupt):
        patch.setattr(files, "write_bytes", write_one_and_die)
        write(results, source)
    for content, is_ours in ((CONTENTS[MASK][::-1], False), (CONTENTS[MASK], True)):
        (results / MASK).write_bytes(content)
        assert Record(results, "w").is_ours(MASK) == is_ours
    assert not finished(results, source, MASK)
    write(results, source)
    assert finished(results, source)
    # From then on its name will do.
    (results / MASK).write_bytes(CONTENTS[MASK][::-1])
    assert [Record(results, "w").is_ours(file) for file in (MASK, PHOTO, SHEET)] == [True, True, False]


def test_lines_that_are_torn_or_of_another_kind_are_passed_over_and_older_ones_are_read(results, source):
    write(results, source)
    path = results / RECORD
    good = path.read_bytes()
    lines = [json.loads(line) for line in good.splitlines() if line]
    torn = good.split(b"\n")[1][:40]
    for bad in (torn, b"[]", b"7", b"{}", b"\xff", json.dumps({**lines[0], "files": [1]}).encode()):
        path.write_bytes(bad + good)
        assert finished(results, source)
        path.write_bytes(good + bad)
        write(results, source)
        assert finished(results, source)
    for line in lines:
        del line["measures"], line["root"]
    path.write_text("\n".join(map(json.dumps, lines)) + "\n")
    assert finished(results, source)


def test_runs_at_once_append_whole_lines_and_see_what_the_other_has_done(results, source, monkeypatch):
    first, second = Record(results, "w"), Record(results, "w")
    assert second.why_again(PHOTO, source, [PHOTO]) == ""
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda one: one.write(PHOTO, source, CONTENTS, True), [first, second] * 40))
    lines = (results / RECORD).read_text().split("\n")
    assert [json.loads(line)["photo"] for line in lines if line] == ["sub/a.jpg"] * 160
    assert second.why_again(PHOTO, source, [PHOTO]) is None
    # With different settings nobody knows whose file came last, of the same length though it is.
    other = source | {"with": "other"}

    def meanwhile(path: Path, content: bytes) -> None:
        monkeypatch.undo()
        path.write_bytes(content)
        second.write(PHOTO, other, {PHOTO: b"two"}, True)

    monkeypatch.setattr(files, "write_bytes", meanwhile)
    first.write(PHOTO, source, {PHOTO: b"one"}, True)
    assert not any(finished(results, settings, PHOTO) for settings in (source, other))


def test_a_full_disk_names_the_record_and_leaves_it_readable(results, source):
    write(results, source)
    before, size = resource.getrlimit(resource.RLIMIT_FSIZE), (results / RECORD).stat().st_size
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 20, before[1]))
    try:
        with pytest.raises(OSError, match=RECORD):
            write(results, source)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    write(results, source)
    assert finished(results, source)


def test_an_empty_file_is_nobodys_and_is_done_again(results, source):
    (results / PHOTO).touch()
    (results / MASK).symlink_to(results / PHOTO)
    record = Record(results, "w")
    assert (record.is_ours(PHOTO), record.is_ours(MASK)) == (True, False)
    assert record.why_again(PHOTO, source, [PHOTO]) == ""
