"""Restoring on a Ray cluster: two nodes, one of which is killed, give each file once and the single run's bytes.

Without Ray only what is refused is tested; with it (`pip install '.[ray]'`) all.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest
from PIL import Image

from inference import on_ray
from inference.folder import restore_folder
from inference.on_ray import Work
from inference.restorer import Restorer
from inference.sources import list_pictures
from models.weights import Weights, arrays_of, save_weights
from tests.inference.painted import page
from tests.models.networks import build
from uncover import room
from uncover.__main__ import main


@pytest.fixture(scope="module")
def cluster():
    """Two nodes of two processors, with small stores."""
    ray = pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    node = {"num_cpus": 2, "object_store_memory": 80_000_000, "include_dashboard": False}
    made = Cluster(initialize_head=True, head_node_args=node)
    made.second = made.add_node(num_cpus=2, object_store_memory=80_000_000)
    yield made
    ray.shutdown()
    made.shutdown()


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("photos") / "in"
    for index in range(12):
        path = folder / f"shelf {index % 3}" / f"{index}.{'jpg' if index % 2 else 'png'}"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(page(60 + index, 80)).save(path)
    (folder / "bad.jpg").write_bytes(b"bad")
    (folder / ".hidden.jpg").write_bytes(b"bad")
    (folder / "notes.txt").write_bytes(b"no picture")
    return folder


@pytest.fixture(scope="module")
def settings(tmp_path_factory) -> dict:
    network, path = build("tiny", gate=True), tmp_path_factory.mktemp("weights") / "tiny.pdparams"
    save_weights(path, Weights(arrays_of(network), network.config, {"long_side": 64, "fill": "network"}))
    return {"weights": str(path), "device": "cpu", "mode": "full", "threads": 1}


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.long
def test_a_node_killed_in_the_middle_costs_no_file(cluster, photos, settings, tmp_path, monkeypatch):
    ray = pytest.importorskip("ray")
    monkeypatch.setattr(on_ray, "TASKS_PER_SLOT", 1)
    work = Work(str(photos), str(tmp_path / "out"), json.dumps(settings), {"save_mask": True})
    names, there = on_ray.list_work(work.source, work.results, "*")
    assert len(names) == 13
    assert not there
    assert "2 nodes, 4 processors" in on_ray.connect(cluster.address)
    outcomes = {}
    for outcome in on_ray.restore_on_ray(work, names, there, {"CPU": 1}):
        assert str(outcome.name) not in outcomes
        outcomes[str(outcome.name)] = outcome
        if len(outcomes) == 3:
            cluster.remove_node(cluster.second, allow_graceful=False)
    ray.shutdown()
    assert [name for name, outcome in outcomes.items() if outcome.status == "failed"] == ["bad.jpg"]
    assert sorted(outcomes) == names
    listing = list_pictures(photos, tmp_path / "alone")
    assert len(list(restore_folder(Restorer(**settings), listing, tmp_path / "alone", save_mask=True))) == 13
    ours, alone = files(tmp_path / "out"), files(tmp_path / "alone")
    assert len(ours) == 24
    assert ours == {name: content for name, content in alone.items() if not Path(name).name.startswith(".")}


def restore(*words: object) -> int:
    return main(["restore", *map(str, words)])


def test_a_second_run_does_what_is_missing_and_nothing_else(cluster, settings, photos, tmp_path, capsys):
    few, out = tmp_path / "few", tmp_path / "out"
    few.mkdir()
    for name in ("0.png", "3.jpg"):
        (few / name).write_bytes((photos / "shelf 0" / name).read_bytes())
    words = ("--ray", cluster.address, few, f"file://{out}", "--weights", settings["weights"], "--mode", "full")
    assert restore(*words, "--threads", 1, "--include", "*.PNG") == 0
    assert capsys.readouterr().out.endswith("0 skipped, 0 failed\n")
    times = {name: (out / name).stat().st_mtime_ns for name in files(out)}
    assert list(times) == ["0.png"]
    old, new = out / ".of-a-dead-run.uncover.tmp", out / ".of-a-run-now.uncover.tmp"
    for path, age in ((old, 7200), (new, 60)):
        path.write_bytes(b"half")
        os.utime(path, (time.time() - age,) * 2)
    (few / "bad.jpg").write_bytes(b"bad")
    for kept in (1, 2):
        assert restore(*words, "--threads", 1) == 1
        told = capsys.readouterr()
        assert "3 of 3 pictures: " in told.out
        assert f" {kept} skipped, 1 failed" in told.out
        assert "failed: bad.jpg: " in told.err
        assert times["0.png"] == (out / "0.png").stat().st_mtime_ns
        assert sorted(files(out)) == [new.name, "0.png", "3.jpg"]


def test_weights_that_no_node_has_end_the_run(cluster, photos, tmp_path, capsys):
    assert restore(f"--ray={cluster.address}", photos, tmp_path / "out", "--weights", tmp_path / "none.pdparams") == 2
    told = capsys.readouterr()
    assert "a node of the cluster cannot restore: " in told.err
    assert "none.pdparams" in told.err
    assert files(tmp_path / "out") == {}


@pytest.mark.parametrize(
    ("source", "results", "said"),
    [
        ("in/shelf 0/0.png", "out", "is a file, expected a folder"),
        ("in", "in/out", "lies in"),
        ("in", "in", "lies in"),
        ("nowhere", "out", "no such folder or address"),
        ("in/none", "out", "no pictures found"),
        ("in", "out", "no Ray cluster at 127.0.0.1:1"),
    ],
)
def test_what_cannot_be_done_is_refused_in_a_sentence(photos, source, results, said, capsys):
    pytest.importorskip("ray")
    (photos / "none").mkdir(exist_ok=True)
    assert restore(photos.parent / source, photos.parent / results, "--ray", "127.0.0.1:1") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert said in line
    assert not (photos / "out").exists()


def test_without_the_extra_it_says_what_to_install(monkeypatch, capsys):
    monkeypatch.setattr(room("inference.on_ray"), "find_spec", lambda name: None)
    assert restore("--ray", "auto", "in", "out") == 2
    assert capsys.readouterr().err == "error: --ray needs ray and fsspec; install the extra: pip install '.[ray]'\n"


def test_its_help_is_found_by_the_option(capsys):
    with pytest.raises(SystemExit):
        restore("--ray", "auto", "--help")
    told = capsys.readouterr().out
    assert told.startswith("usage: uncover restore ")
    assert "\n    uncover restore --ray auto photos results " in told
