"""Exported networks on the disk: beside the weights, cached or new; never a torn, stale or foreign one."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from inference.engines import cache as onnx_files
from inference.engines.base import BackendError
from inference.engines.cache import FOLDER_VARIABLE, OnnxFile, cache_folder, find, make, notes_of, prune
from inference.engines.choice import open_backend
from inference.engines.graphs import NAME, NafnetGraph
from models.weights import load_weights, save_weights
from tests.inference.small import SETTINGS, small_weights

ROOT = Path(__file__).resolve().parents[3]


def graph(settings=SETTINGS, **arguments) -> NafnetGraph:
    return NafnetGraph(small_weights(**arguments), settings)


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def made(monkeypatch) -> list:
    """Counts how often a file is made."""
    made = []
    monkeypatch.setattr(onnx_files, "make", lambda *arguments: made.append(1) or make(*arguments))
    return made


def test_a_file_is_made_once_and_again_for_other_weights_and_windows(cache, made):
    first = find(graph())
    assert find(graph()).content == first.content
    # Settings that have nothing to do with the network share it.
    find(graph(replace(SETTINGS, rows=7, long_side=99)))
    assert len(made) == 1
    others = [
        find(graph(seed=1)),
        find(graph(replace(SETTINGS, tlc_ratio=1.0))),
        find(graph(replace(SETTINGS, tlc_ratio=0.0))),
        find(graph(replace(SETTINGS, tlc_ratio=0.0, tlc_train_size=32))),
    ]
    assert len(made) == 4
    assert len({file.fingerprint for file in [first, *others]}) == 4
    assert len(list(cache.glob("*.onnx"))) == len(list(cache.glob("*.onnx.json"))) == 4


def test_the_fingerprint_is_that_of_values_shapes_and_code(monkeypatch, tmp_path):
    first = graph().fingerprint
    assert graph().fingerprint == first
    changed = small_weights()
    changed.params["intro.bias"] = np.nextafter(changed.params["intro.bias"], np.float32(9))
    assert NafnetGraph(changed, SETTINGS).fingerprint != first
    changed = small_weights()
    changed.model["gate"] = False
    assert NafnetGraph(changed, SETTINGS).fingerprint != first
    read = Path.read_bytes
    for file in ("inference/engines/onnx_graph.py", "inference/engines/base.py", "models/nafnet.py", "models/tlc.py"):
        with monkeypatch.context() as patch:
            patch.setattr(Path, "read_bytes", lambda self, file=file: read(self) + b"#" * (self == ROOT / file))
            assert graph().fingerprint != first


def tear_notes(path: Path) -> None:
    notes_of(path).write_text(notes_of(path).read_text()[:-9])


DAMAGE = {
    "torn": lambda path: path.write_bytes(path.read_bytes()[:-9]),
    "torn, or not": lambda path: path.write_bytes(b"x" + path.read_bytes()[1:]),
    "empty": lambda path: path.write_bytes(b""),
    "json is torn": tear_notes,
    "is not beside it": lambda path: notes_of(path).unlink(),
    "another version of this project": lambda path: notes_of(path).write_text('{"weights": "of an older version"}'),
    "other weights": lambda path: make(graph(seed=1)).save(path),
    "tiles of 32x40 only": lambda path: make(graph(), 32, 40).save(path),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_cached_file_that_is_not_right_is_made_again_with_the_reason(cache, made, caplog, damage):
    content = find(graph()).content
    (entry,) = cache.glob("*.onnx")
    DAMAGE[damage](entry)
    for _ in range(2):
        assert find(graph()).content == content
    assert len(made) == 2
    assert {"empty": "torn"}.get(damage, damage) in caplog.text
    assert caplog.text.count("is not used") == 1


@pytest.mark.parametrize("damage", [None, *DAMAGE])
def test_the_file_beside_the_weights_is_used_where_it_is_right_and_else_left_alone(
    tmp_path, cache, made, caplog, damage
):
    save_weights(tmp_path / "w.pdparams", small_weights())
    beside = NafnetGraph(load_weights(tmp_path / "w.pdparams"), SETTINGS)
    path = tmp_path / NAME
    make(beside).save(path)
    if damage:
        DAMAGE[damage](path)
    before = {file.name: file.read_bytes() for file in (path, notes_of(path)) if file.exists()}
    found = find(beside)
    assert (found.fingerprint, found.size) == (beside.fingerprint, None)
    assert len(made) == (damage is not None)
    assert cache.exists() == (damage is not None)
    assert (f"{NAME} is not used" in caplog.text) == (damage is not None)
    assert {file.name: file.read_bytes() for file in (path, notes_of(path)) if file.exists()} == before


def test_notes_come_back_and_are_json_that_says_what_it_is_about(tmp_path):
    file = make(graph(gate=False), 21, 34)
    file.save(tmp_path / NAME)
    again = OnnxFile.load(tmp_path / NAME)
    assert (again.gated, again.size, again.content) == (False, (21, 34), file.content)
    assert "24x24" in again.tlc
    np.testing.assert_array_equal(again.proof.samples, file.proof.samples)
    notes = json.loads((tmp_path / "model.onnx.json").read_text())
    assert (notes["size"], notes["fingerprint"]) == ([21, 34], graph(gate=False).fingerprint)


def test_a_window_that_onnxruntime_would_take_all_memory_for_is_refused_with_the_way_out(cache):
    settings = replace(SETTINGS, tlc_ratio=1000.0)
    with pytest.raises(BackendError, match=r"2048 pixels at most, and 16000 are asked for; take tlc_ratio 0"):
        find(graph(settings))
    assert open_backend(small_weights(), settings, device="cpu").name == "paddle"


def test_without_onnx_and_without_a_file_the_way_out_is_named(cache, monkeypatch):
    monkeypatch.delitem(sys.modules, "inference.engines.onnx_graph", raising=False)
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(BackendError, match=r"install the package onnx.*python -m inference\.export"):
        find(graph())


def test_eight_processes_at_once_end_with_one_whole_entry(tmp_path):
    code = (
        "import sys, time; from pathlib import Path; import numpy as np\n"
        "from inference.engines.base import Proof; from inference.engines import cache\n"
        "class Graph:\n"
        "    name, fingerprint, proof_size, beside = 'some', 'a' * 64, (3, 3), None\n"
        "    gated, tlc = True, ''\n"
        "    def write(self, *size): return b'z' * 100000\n"
        "    def reference(self): return self\n"
        "    def __call__(self, tile): return tile\n"
        "for turn in range(40):\n"
        "    file = cache.find(Graph())\n"
        "    assert file.content == b'z' * 100000 and file.proof.samples.shape == (3, 3, 3)\n"
        "    if turn % 5 == 4: cache.prune(cache.cache_folder(), Path('other'), 0)\n"
        "cache.find(Graph())\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT), FOLDER_VARIABLE: str(tmp_path)}
    command = [sys.executable, "-c", code]
    running = [subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) for _ in range(8)]
    for process in running:
        _, printed = process.communicate(timeout=120)
        assert process.returncode == 0, printed
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"{'a' * 24}-some.onnx", f"{'a' * 24}-some.onnx.json"]


def test_the_least_recently_used_goes_first_and_strangers_stay(cache):
    graphs = [graph(seed=seed) for seed in range(4)]
    size = len(find(graphs[0]).content)
    for one in graphs[1:]:
        find(one)
    names = [f"{one.fingerprint[:24]}-nafnet.onnx" for one in graphs]
    for age, name in enumerate(names):
        os.utime(cache / f"{name}.json", (time.time() - 100 + age,) * 2)
    (cache / "notes.txt").write_bytes(bytes(9000))
    find(graphs[0])
    prune(cache, keep=cache / f"{names[1]}.json", limit=3 * size)
    assert {path.name for path in cache.iterdir()} == {
        *names[:2], *(f"{name}.json" for name in names[:2]), "notes.txt"
    }  # fmt: skip


def test_what_killed_processes_left_behind_goes_after_a_while(cache):
    cache.mkdir()
    old, new = cache / ".12-abc.tmp.onnx", cache / ".13-abc.tmp.json"
    for path in (old, new):
        path.write_bytes(b"half")
    os.utime(old, (time.time() - 7200,) * 2)
    find(graph())
    assert new.exists()
    assert not old.exists()


def test_the_place_follows_the_environment(monkeypatch):
    monkeypatch.setenv(FOLDER_VARIABLE, "/named")
    assert cache_folder() == Path("/named")
    monkeypatch.delenv(FOLDER_VARIABLE)
    monkeypatch.setenv("XDG_CACHE_HOME", "/xdg")
    assert cache_folder() == Path("/xdg/uncover")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/somebody")
    assert cache_folder() == Path("/home/somebody/.cache/uncover")


@pytest.mark.parametrize("obstacle", ["a file", "read-only"])
def test_where_nothing_can_be_written_it_works_with_a_warning(tmp_path, monkeypatch, caplog, obstacle):
    place = tmp_path / obstacle
    if obstacle == "a file":
        place.write_bytes(b"")
    else:
        place.mkdir()
        place.chmod(stat.S_IREAD | stat.S_IEXEC)
        if os.access(place, os.W_OK):
            pytest.skip("this user may write anywhere")
    monkeypatch.setenv(FOLDER_VARIABLE, str(place))
    assert find(graph()).gated
    assert "is not kept" in caplog.text
    assert FOLDER_VARIABLE in caplog.text


def test_the_entries_of_another_user_are_used_although_they_cannot_be_touched(cache, made, monkeypatch):
    find(graph())

    def forbidden(*arguments):
        raise PermissionError

    monkeypatch.setattr(onnx_files.os, "utime", forbidden)
    find(graph())
    assert len(made) == 1
