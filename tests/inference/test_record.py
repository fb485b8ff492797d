"""The record: own files are known after any end of a run, torn lines and other runs do no harm."""

from __future__ import annotations

import json
import resource
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from inference.record import RECORD, Record

PHOTO, MASK, SHEET = Path("sub/a.jpg"), Path("sub/a.jpg.mask.png"), Path("sub/a.jpg.compare.jpg")
CONTENTS = {MASK: b"mask", PHOTO: b"result"}


@pytest.fixture
def source(tmp_path) -> dict:
    (tmp_path / "r" / "sub").mkdir(parents=True)
    (tmp_path / "photo.jpg").write_bytes(b"photo")
    return Record(tmp_path / "r", "w").origin((tmp_path / "photo.jpg").stat())


def write(record: Record, results: Path, source: dict, contents=CONTENTS, *, steps: int = 9) -> None:
    """The steps of one photo, of which only the first are done: the line, every file, the line again."""
    line = record._intend(PHOTO, source, True, contents)
    for name, content in list(contents.items())[: steps - 1]:
        (results / name).write_bytes(content)
    if steps > 1 + len(contents):
        record._append(line | {"done": True})


@pytest.mark.parametrize("steps", [1, 2, 3, 4])
def test_files_are_known_as_ours_wherever_a_run_was_killed_and_others_are_not(tmp_path, source, steps):
    write(Record(tmp_path / "r", "w"), tmp_path / "r", source, steps=steps)
    after = Record(tmp_path / "r", "w")
    for file in CONTENTS:
        assert not (tmp_path / "r" / file).exists() or after.is_ours(file)
    assert (after.why_again(PHOTO, source, list(CONTENTS), SHEET) is None) == (steps == 4)
    for file in CONTENTS:
        (tmp_path / "r" / file).write_bytes(CONTENTS[file][::-1])
        # Of the same length, and not what was meant to be written.
        assert after.is_ours(file) == (steps == 4)
    assert not after.is_ours(SHEET)


def test_lines_that_are_torn_or_of_another_kind_are_passed_over(tmp_path, source):
    write(Record(tmp_path / "r", "w"), tmp_path / "r", source)
    path = tmp_path / "r" / RECORD
    good = path.read_bytes()
    line = good.split(b"\n")[1]
    bad = [line[: len(line) // 2], b"[]", b"7", b"{}", b"\xff", json.dumps({**json.loads(line), "files": [1]}).encode()]
    for torn in bad:
        path.write_bytes(torn + good)
        assert Record(tmp_path / "r", "w").why_again(PHOTO, source, list(CONTENTS), SHEET) is None
        path.write_bytes(good + torn)
        record = Record(tmp_path / "r", "w")
        assert record.why_again(PHOTO, source, list(CONTENTS), SHEET) is None
        write(record, tmp_path / "r", source)
        assert Record(tmp_path / "r", "w").why_again(PHOTO, source, list(CONTENTS), SHEET) is None


def test_runs_at_once_append_whole_lines_and_see_what_the_other_has_done(tmp_path, source):
    first, second = Record(tmp_path / "r", "w"), Record(tmp_path / "r", "w")
    assert second.why_again(PHOTO, source, [PHOTO], SHEET) == ""
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda record: write(record, tmp_path / "r", source), [first, second] * 40))
    lines = (tmp_path / "r" / RECORD).read_text().split("\n")
    assert [json.loads(line)["photo"] for line in lines if line] == ["sub/a.jpg"] * 160
    assert second.why_again(PHOTO, source, [PHOTO], SHEET) is None
    # With different settings nobody knows whose file came last, of the same length though it is.
    ours = first._intend(PHOTO, source, True, {PHOTO: b"one"})
    other = source | {"with": "other"}
    write(second, tmp_path / "r", other, {PHOTO: b"two"})
    first._append(ours | {"done": True})
    for settings in (source, other):
        assert Record(tmp_path / "r", "").why_again(PHOTO, settings, [PHOTO], SHEET) is not None


def test_a_full_disk_names_the_record_and_leaves_it_readable(tmp_path, source):
    record = Record(tmp_path / "r", "w")
    write(record, tmp_path / "r", source)
    size = (tmp_path / "r" / RECORD).stat().st_size
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 20, before[1]))
    try:
        with pytest.raises(OSError, match=RECORD):
            record._intend(PHOTO, source, True, CONTENTS)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    write(Record(tmp_path / "r", "w"), tmp_path / "r", source)
    assert record.why_again(PHOTO, source, list(CONTENTS), SHEET) is None


def test_an_empty_file_is_nobodys_and_is_done_again(tmp_path):
    source = tmp_path / "one.png"
    source.write_bytes(b"a photo")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "one.png").touch()
    (tmp_path / "out" / "link.png").symlink_to(tmp_path / "out" / "one.png")
    record = Record(tmp_path / "out", "")
    assert record.is_ours(Path("one.png"))
    assert not record.is_ours(Path("link.png"))
    origin = record.origin(source.stat())
    assert record.why_again(Path("one.png"), origin, [Path("one.png")], Path("s")) == ""
    assert record.why_again(Path("two.png"), origin, [Path("two.png")], Path("s")) == ""
