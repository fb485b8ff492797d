"""The record: own files are known after any end of a run, torn lines and other runs do no harm."""

import itertools
import json
import resource
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from inference import record
from inference.record import RECORD, Record

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


@pytest.mark.parametrize("steps", [1, 2, 3, 4])
def test_files_are_known_as_ours_wherever_a_run_was_killed_and_others_are_not(results, source, steps, monkeypatch):
    calls = itertools.count(1)

    def dying(function):
        def step(*arguments) -> None:
            if next(calls) > steps:
                raise KeyboardInterrupt
            function(*arguments)

        return step

    with monkeypatch.context() as patch, suppress(KeyboardInterrupt):
        patch.setattr(record, "write_bytes", dying(record.write_bytes))
        patch.setattr(Record, "_append", dying(Record._append))
        Record(results, "w").write(PHOTO, source, CONTENTS, True, (0.25, 0.5))
    after, done = Record(results, "w"), steps == 4
    assert finished(results, source) == done
    for file, content in CONTENTS.items():
        assert not (results / file).exists() or after.is_ours(file)
        # Of the same length, and not what was meant to be written.
        (results / file).write_bytes(content[::-1])
        assert after.is_ours(file) == done
    assert not after.is_ours(SHEET)
    assert not done or after.measures(PHOTO) == (0.25, 0.5)


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

    monkeypatch.setattr(record, "write_bytes", meanwhile)
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
