"""Files are whole or not there, what killed writers leave can be told from what others write, names fit on a line."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from utils.files import atomic_path, printable, remove_leftovers, write_bytes, write_text


def test_writes_replaces_and_leaves_nothing_else(tmp_path):
    path = tmp_path / "new" / "folder" / "x.txt"
    write_text(path, "one\n")
    write_text(path, "zwei ü\n")
    assert path.read_bytes() == "zwei ü\n".encode()
    # A name as long as the file system allows.
    write_bytes(path.with_name("n" * 251 + ".png"), b"x")
    assert sorted(os.listdir(path.parent)) == ["n" * 251 + ".png", "x.txt"]


def test_an_error_keeps_the_old_file_and_removes_the_half_one(tmp_path):
    write_bytes(tmp_path / "x.png", b"old")

    def fail_halfway():
        with atomic_path(tmp_path / "x.png") as temporary:
            temporary.write_bytes(b"ne")
            # Writers choose a format by the suffix, and listings pass over hidden names.
            assert (temporary.suffix, temporary.name[0], temporary.parent) == (".png", ".", tmp_path)
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        fail_halfway()
    assert (tmp_path / "x.png").read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["x.png"]


def test_two_threads_that_write_one_file_do_not_meet(tmp_path):
    with atomic_path(tmp_path / "x.bin") as temporary:
        temporary.write_bytes(b"first")
        with ThreadPoolExecutor(1) as other:
            other.submit(write_bytes, tmp_path / "x.bin", b"second").result()
        assert temporary.read_bytes() == b"first"
    assert (tmp_path / "x.bin").read_bytes() == b"first"
    assert os.listdir(tmp_path) == ["x.bin"]


def test_a_killed_writer_leaves_the_old_file_whole_and_what_it_left_can_be_removed(tmp_path):
    path = tmp_path / "sub" / "x.bin"
    write_bytes(path, b"old")
    script = (
        "import os, sys; from utils.files import atomic_path\n"
        "with atomic_path(sys.argv[1]) as temporary:\n"
        "    temporary.write_bytes(b'half'); os.kill(os.getpid(), 9)\n"
    )
    assert subprocess.run([sys.executable, "-c", script, str(path)], check=False).returncode == -9
    assert path.read_bytes() == b"old"
    (left,) = (other for other in path.parent.iterdir() if other != path)
    # In a shared folder it might be another machine's, written this very moment.
    assert remove_leftovers(tmp_path) == []
    os.utime(left, (0, 0))
    assert remove_leftovers(tmp_path) == [left]
    assert os.listdir(path.parent) == ["x.bin"]
    assert remove_leftovers(tmp_path / "nowhere") == []


def test_only_what_nobody_writes_any_more_is_removed(tmp_path):
    names = {
        "own.jpg": False,
        ".hidden.jpg": False,
        ".1-abc.tmp.keep": False,  # the first process always runs
        f".{os.getppid()}-abc.tmp.jpg": False,
        f".{os.getpid()}-abc.tmp.jpg": True,  # an earlier process of the same number, as in containers
        f".{2**22 + 1}-abc.tmp.jpg": True,  # above the largest number of a process
        f".{2**22 + 1}-abc.tmp": True,
        f".{2**80}-abc.tmp.jpg": True,
        f".{2**22 + 1}-xyz.tmp.jpg": False,  # not a name of this module's
    }
    for name in names:
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (0, 0))
    assert {path.name for path in remove_leftovers(tmp_path)} == {name for name, goes in names.items() if goes}
    assert set(os.listdir(tmp_path)) == {name for name, goes in names.items() if not goes}


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("深\u3000页 é 1.jpg", "深\u3000页 é 1.jpg"),
        ("two\nlines.jpg", "two\\nlines.jpg"),
        ("red\x1b[31m.jpg", "red\\x1b[31m.jpg"),
        (os.fsdecode(b"latin-\xff.jpg"), "latin-\\udcff.jpg"),
    ],
)
def test_every_name_becomes_one_line_that_can_be_encoded(name, shown):
    assert printable(name) == shown
    assert printable(name).encode("utf-8")
