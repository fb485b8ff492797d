import os
import subprocess
import sys

import pytest

from utils.atomic import atomic_path, write_bytes, write_text


def test_writes_replaces_and_leaves_nothing_else(tmp_path):
    path = tmp_path / "new" / "folder" / "x.txt"
    write_text(path, "one\n")
    write_text(path, "zwei ü\n")
    assert path.read_bytes() == "zwei ü\n".encode()
    assert os.listdir(path.parent) == ["x.txt"]


def test_an_error_keeps_the_old_file_and_removes_the_half_one(tmp_path):
    write_bytes(tmp_path / "x.bin", b"old")

    def fail_halfway():
        with atomic_path(tmp_path / "x.bin") as temporary:
            temporary.write_bytes(b"ne")
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        fail_halfway()
    assert (tmp_path / "x.bin").read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["x.bin"]


def test_the_temporary_name_is_hidden_and_keeps_the_suffix(tmp_path):
    with atomic_path(tmp_path / "x.png") as temporary:
        temporary.touch()
        assert temporary.suffix == ".png"
        assert temporary.name.startswith(".")
        assert temporary.parent == tmp_path
        assert not (tmp_path / "x.png").exists()


def test_a_name_as_long_as_the_file_system_allows(tmp_path):
    path = tmp_path / ("n" * 251 + ".png")
    write_bytes(path, b"x")
    assert path.read_bytes() == b"x"


def test_a_killed_writer_leaves_the_old_file_whole(tmp_path):
    write_bytes(tmp_path / "x.bin", b"old")
    script = (
        "import os, sys; from utils.atomic import atomic_path\n"
        "with atomic_path(sys.argv[1]) as temporary:\n"
        "    temporary.write_bytes(b'half'); os.kill(os.getpid(), 9)\n"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path / "x.bin")], check=False)
    assert (tmp_path / "x.bin").read_bytes() == b"old"
