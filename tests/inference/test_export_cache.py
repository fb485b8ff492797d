"""The cache: whole entries only, for several processes at once, of bounded size, and somewhere that can be written."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from inference.engines import cache as export_cache
from inference.engines.cache import (
    cache_folder,
    entry_name,
    fingerprint,
    load_file,
    load_folder,
    prune,
    store_file,
    store_folder,
)
from tests.inference.small import SETTINGS, small_weights

ROOT = Path(__file__).resolve().parents[2]
NAME = entry_name("static-8x8", "x")


def fill(folder: Path) -> None:
    (folder / "a").write_bytes(b"first" * 1000)
    (folder / "b").write_bytes(b"second")


def test_the_fingerprint_is_that_of_values_shapes_and_windows():
    weights = small_weights()
    first = fingerprint(weights, SETTINGS)
    assert first == fingerprint(small_weights(), SETTINGS)
    weights.params["intro.bias"] = np.nextafter(weights.params["intro.bias"], np.float32(9))
    assert fingerprint(weights, SETTINGS) != first
    weights = small_weights()
    weights.model["gate"] = False
    assert fingerprint(weights, SETTINGS) != first


def test_a_folder_comes_back_whole_or_not_at_all(tmp_path):
    place = store_folder(tmp_path, NAME, fill)
    assert load_folder(tmp_path, NAME) == place
    assert (place / "b").read_bytes() == b"second"
    (place / "a").write_bytes(b"first" * 999)
    assert load_folder(tmp_path, NAME) is None
    assert store_folder(tmp_path, NAME, fill) == place
    assert load_folder(tmp_path, NAME) == place
    for torn in ("a", "manifest.json"):
        (place / torn).unlink()
        assert load_folder(tmp_path, NAME) is None
        store_folder(tmp_path, NAME, fill)
    (place / "manifest.json").write_text("[1]")
    assert load_folder(tmp_path, NAME) is None
    assert [path.name for path in tmp_path.iterdir()] == [NAME]


def test_a_folder_that_cannot_be_filled_leaves_the_old_one_and_nothing_else(tmp_path):
    def fails(folder: Path) -> None:
        fill(folder)
        raise RuntimeError("wrong numbers")

    with pytest.raises(RuntimeError, match="wrong numbers"):
        store_folder(tmp_path, NAME, fails)
    assert not list(tmp_path.iterdir())


def test_who_comes_second_takes_what_the_first_one_made(tmp_path):
    def slow(folder: Path) -> None:
        store_folder(tmp_path, NAME, fill)
        (folder / "a").write_bytes(b"late")

    place = store_folder(tmp_path, NAME, slow)
    assert (place / "a").read_bytes() == b"first" * 1000
    assert [path.name for path in tmp_path.iterdir()] == [NAME]


def test_eight_processes_at_once_end_with_one_whole_entry(tmp_path):
    code = (
        "import sys; from pathlib import Path; from inference.engines.cache import *\n"
        "folder = Path(sys.argv[1])\n"
        "def fill(place):\n"
        "    for name in 'abc': (place / name).write_bytes(name.encode() * 100000)\n"
        "for turn in range(20):\n"
        f"    place = load_folder(folder, {NAME!r}) or store_folder(folder, {NAME!r}, fill)\n"
        "    if turn % 5 == 4: discard(place)\n"
        f"    store_file(folder, {entry_name('network.onnx', 'y')!r}, b'z' * 100000)\n"
        f"    assert load_file(folder, {entry_name('network.onnx', 'y')!r}) == b'z' * 100000\n"
        f"store_folder(folder, {NAME!r}, fill)\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    running = [subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) for _ in range(8)]
    for process in running:
        _, printed = process.communicate(timeout=120)
        assert process.returncode == 0, printed
    assert len(list(tmp_path.iterdir())) == 2


def test_the_least_recently_used_goes_first_and_strangers_stay(tmp_path):
    names = [entry_name("network.onnx", str(index)) for index in range(4)]
    for age, name in enumerate(names):
        store_file(tmp_path, name, bytes(1000))
        os.utime(tmp_path / name, (time.time() - 100 + age,) * 2)
    (tmp_path / "notes.txt").write_bytes(bytes(9000))
    load_file(tmp_path, names[0])
    prune(tmp_path, keep=names[1], limit=2000)
    assert {path.name for path in tmp_path.iterdir()} == {names[0], names[1], "notes.txt"}


def test_the_entries_of_another_user_are_used_although_they_cannot_be_touched(tmp_path, monkeypatch):
    name = entry_name("network.onnx", "x")
    store_file(tmp_path, name, b"theirs")
    place = store_folder(tmp_path, NAME, fill)

    def forbidden(path):
        raise PermissionError(path)

    monkeypatch.setattr(export_cache.os, "utime", forbidden)
    assert load_file(tmp_path, name) == b"theirs"
    assert load_folder(tmp_path, NAME) == place


def test_what_killed_processes_left_behind_goes_after_a_while(tmp_path):
    old, new = tmp_path / ".12-abc.tmp", tmp_path / ".13-abc.tmp"
    for folder in (old, new):
        folder.mkdir()
        fill(folder)
    (tmp_path / ".14-abc.tmp.onnx").write_bytes(b"half")
    for path in (old, tmp_path / ".14-abc.tmp.onnx"):
        os.utime(path, (time.time() - 7200,) * 2)
    store_file(tmp_path, entry_name("network.onnx"), b"x")
    assert {path.name for path in tmp_path.iterdir()} == {new.name, entry_name("network.onnx")}


def test_the_place_follows_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv(export_cache.FOLDER_VARIABLE, str(tmp_path / "named"))
    assert cache_folder() == tmp_path / "named"
    monkeypatch.delenv(export_cache.FOLDER_VARIABLE)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "uncover"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache_folder() == tmp_path / "home" / ".cache" / "uncover"


@pytest.mark.parametrize("obstacle", ["a file", "read-only"])
def test_where_nothing_can_be_written_a_temporary_folder_serves_with_a_warning(
    tmp_path, monkeypatch, caplog, obstacle
):
    place = tmp_path / obstacle
    if obstacle == "a file":
        place.write_bytes(b"")
    else:
        place.mkdir()
        place.chmod(stat.S_IREAD | stat.S_IEXEC)
        if os.access(place, os.W_OK):
            pytest.skip("this user may write anywhere")
    monkeypatch.setenv(export_cache.FOLDER_VARIABLE, str(place))
    folder = cache_folder()
    assert folder == cache_folder()
    store_file(folder, entry_name("network.onnx"), b"x")
    assert load_file(folder, entry_name("network.onnx")) == b"x"
    assert caplog.text.count("are not kept") == 1
    assert export_cache.FOLDER_VARIABLE in caplog.text


def test_a_full_disk_is_a_warning(tmp_path, caplog):
    store_file(tmp_path / "file" / "missing", "n" * 300, b"x")
    assert "is not kept" in caplog.text
