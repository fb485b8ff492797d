"""Exported networks on the disk: beside the weights, cached or new; never a torn or foreign one; their proofs."""

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

from inference.engines import exported
from inference.engines.choice import open_backend
from inference.engines.exported import FOLDER_VARIABLE, Graph, Proof, cache_folder, find, make, notes_of, prune
from inference.engines.runtimes import BackendError
from models.weights import load_weights, save_weights
from tests.inference.small import SETTINGS, eager, small_graph, small_weights

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def made(monkeypatch) -> list:
    """Counts how often a file is made."""
    made = []
    monkeypatch.setattr(exported, "make", lambda *arguments: made.append(1) or make(*arguments))
    return made


def test_a_proof_passes_the_same_network_and_notices_a_change_in_any_weight_or_window():
    proof = Proof.of(eager(small_weights()), *small_graph().proof_size)
    again = Proof.from_json(json.loads(json.dumps(proof.to_json())))
    weights, rng = small_weights(), np.random.default_rng(0)
    again.check(eager(weights))
    others = [eager(weights, replace(SETTINGS, tlc_ratio=1.0)), eager(small_weights(gate=False))]
    for name, array in weights.params.items():
        changed = {**weights.params, name: array + rng.normal(0, 4, array.shape).astype(np.float32)}
        others.append(eager(replace(weights, params=changed)))
    for other in others:
        with pytest.raises(BackendError, match="wrong numbers"):
            again.check(other)
    # Nor does what is no number, or was none.
    three = Proof(41, 41, proof.samples[:3])
    assert three.difference(lambda tile: tile * np.float32(np.nan)) == np.inf
    assert Proof(41, 41, np.full_like(three.samples, np.nan)).difference(lambda tile: tile) == np.inf


def test_a_file_is_made_once_and_again_for_other_weights_and_windows(cache, made):
    first = find(small_graph())
    assert find(small_graph()).content == first.content
    # Settings that have nothing to do with the network share it.
    find(small_graph(replace(SETTINGS, rows=7, long_side=99)))
    assert len(made) == 1
    windows = ({"tlc_ratio": 1.0}, {"tlc_ratio": 0.0}, {"tlc_ratio": 0.0, "tlc_train_size": 32})
    others = [find(small_graph(seed=1)), *(find(small_graph(replace(SETTINGS, **each))) for each in windows)]
    assert len(made) == len({file.fingerprint for file in [first, *others]}) == 4
    assert len(list(cache.glob("*.onnx"))) == len(list(cache.glob("*.onnx.json"))) == 4


def test_the_fingerprint_is_that_of_values_shapes_and_code(monkeypatch):
    first, weights = small_graph().fingerprint, small_weights()
    weights.params["intro.bias"] = np.nextafter(weights.params["intro.bias"], np.float32(9))
    for other in (weights, replace(small_weights(), model={"gate": False})):
        assert Graph.nafnet(other, SETTINGS).fingerprint != first
    read, engines = Path.read_bytes, "inference/engines"
    for file in (f"{engines}/onnx_graph.py", f"{engines}/exported.py", "models/nafnet.py", "models/tlc.py"):
        with monkeypatch.context() as patch:
            patch.setattr(Path, "read_bytes", lambda self, file=file: read(self) + b"#" * (self == ROOT / file))
            assert small_graph().fingerprint != first


DAMAGE = {
    "short": ("torn", lambda path: path.write_bytes(path.read_bytes()[:-9])),
    "changed": ("torn, or not", lambda path: path.write_bytes(b"x" + path.read_bytes()[1:])),
    "torn notes": ("json is torn", lambda path: notes_of(path).write_text(notes_of(path).read_text()[:-9])),
    "no notes": ("is not beside it", lambda path: notes_of(path).unlink()),
    "other notes": ("another version of this", lambda path: notes_of(path).write_text('{"weights": "older"}')),
    "other weights": ("other weights", lambda path: make(small_graph(seed=1)).save(path)),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_cached_file_that_is_not_right_is_made_again_with_the_reason(cache, made, caplog, damage):
    content = find(small_graph()).content
    (entry,) = cache.glob("*.onnx")
    words, spoil = DAMAGE[damage]
    spoil(entry)
    for _ in range(2):
        assert find(small_graph()).content == content
    assert len(made) == 2
    assert words in caplog.text
    assert caplog.text.count("is not used") == 1


@pytest.mark.parametrize("damage", [None, "short", "other weights"])
def test_the_file_beside_the_weights_is_used_if_right_and_else_left_alone(tmp_path, cache, made, caplog, damage):
    save_weights(tmp_path / "w.pdparams", small_weights())
    graph, path = Graph.nafnet(load_weights(tmp_path / "w.pdparams"), SETTINGS), tmp_path / "model.onnx"
    make(graph).save(path)
    if damage:
        DAMAGE[damage][1](path)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    found = find(graph)
    assert found.fingerprint == graph.fingerprint
    assert len(made) == cache.exists() == ("model.onnx is not used" in caplog.text) == (damage is not None)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir() if file.is_file()} == before


def test_what_cannot_be_exported_is_refused_with_the_way_out(cache, monkeypatch):
    """Windows that onnxruntime would take all memory for; no package onnx."""
    graph = small_graph(replace(SETTINGS, tlc_ratio=1000.0))
    with pytest.raises(BackendError, match=r"2048 pixels at most, and 16000 are asked for; take tlc_ratio 0"):
        find(graph)
    assert open_backend(graph, device="cpu").name == "paddle"
    monkeypatch.delitem(sys.modules, "inference.engines.onnx_graph", raising=False)
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(BackendError, match=r"install the package onnx.*python -m inference\.export"):
        find(small_graph())


def test_four_processes_at_once_end_with_one_whole_entry(tmp_path):
    code = (
        "import numpy as np; from pathlib import Path; from types import SimpleNamespace\n"
        "from inference.engines import exported\n"
        "graph = SimpleNamespace(name='some', fingerprint='a' * 64, beside=None)\n"
        "proof = exported.Proof.of(lambda tile: tile, 3, 3)\n"
        "exported.make = lambda graph: exported.OnnxFile(b'z' * 100000, 'a' * 64, True, '', proof)\n"
        "for turn in range(40):\n"
        "    file = exported.find(graph)\n"
        "    assert file.content == b'z' * 100000 and file.proof.samples.shape == (3, 3, 3)\n"
        "    if turn % 5 == 4: exported.prune(exported.cache_folder(), Path('other'), 0)\n"
        "exported.find(graph)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT), FOLDER_VARIABLE: str(tmp_path)}
    command = [sys.executable, "-c", code]
    running = [subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) for _ in range(4)]
    for process in running:
        _, printed = process.communicate(timeout=120)
        assert process.returncode == 0, printed
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"{'a' * 24}-some.onnx", f"{'a' * 24}-some.onnx.json"]


def test_the_oldest_and_what_killed_processes_left_goes_and_strangers_stay(cache):
    graphs = [small_graph(seed=seed) for seed in range(4)]
    for graph in graphs:
        find(graph)
    size = sum(path.stat().st_size for path in cache.iterdir()) // 4
    names = [f"{graph.fingerprint[:24]}-nafnet.onnx" for graph in graphs]
    for age, name in enumerate(names):
        os.utime(cache / f"{name}.json", (time.time() - 100 + age,) * 2)
    (cache / "notes.txt").write_bytes(bytes(9000))
    dead, living = f".{2**22 + 1}-abc.tmp.onnx", f".{os.getppid()}-abc.tmp.json"
    for name in (dead, living):
        (cache / name).write_bytes(b"half")
        os.utime(cache / name, (time.time() - 60,) * 2)
    prune(cache, keep=cache / f"{names[1]}.json", limit=2.5 * size)
    kept = (names[1], names[3])
    left = {*kept, *(f"{name}.json" for name in kept), "notes.txt", living}
    assert {path.name for path in cache.iterdir()} == left


def test_the_place_follows_the_environment(monkeypatch):
    places = {"HOME": "/named/.cache/uncover", "XDG_CACHE_HOME": "/named/uncover", FOLDER_VARIABLE: "/named"}
    for variable in places:
        monkeypatch.delenv(variable, raising=False)
    for variable, place in places.items():
        monkeypatch.setenv(variable, "/named")
        assert cache_folder() == Path(place)


@pytest.mark.parametrize("obstacle", ["a file", "read-only"])
def test_where_nothing_can_be_written_it_works_with_a_warning(tmp_path, monkeypatch, caplog, obstacle):
    place = tmp_path / obstacle
    place.write_bytes(b"") if obstacle == "a file" else place.mkdir(stat.S_IREAD | stat.S_IEXEC)
    if obstacle == "read-only" and os.access(place, os.W_OK):
        pytest.skip("this user may write anywhere")
    monkeypatch.setenv(FOLDER_VARIABLE, str(place))
    assert find(small_graph()).gated
    assert "is not kept" in caplog.text
    assert FOLDER_VARIABLE in caplog.text
