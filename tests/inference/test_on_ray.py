"""Restoring on a Ray cluster: two nodes, one of which is killed, give each file once and the single run's bytes.

Without Ray only what is refused is tested; with it (`pip install '.[ray]'`) all.
"""

import errno
import json
import os
import re
import sys
import time
from datetime import timedelta
from pathlib import Path

import pytest
from PIL import Image

from inference import on_ray
from inference.files import list_pictures
from inference.folder import restore_folder
from inference.on_ray import Work
from inference.restorer import Restorer
from models.weights import save_weights
from tests.inference.stand_ins import page, small_weights
from uncover import room
from uncover.__main__ import main


@pytest.fixture(scope="module")
def cluster():
    """Two nodes of two processors, with small stores."""
    ray = pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    node = {"num_cpus": 2, "object_store_memory": 80_000_000}
    made = Cluster(initialize_head=True, head_node_args=node | {"include_dashboard": False})
    made.second = made.add_node(**node)
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
    (folder / "no suffix").write_bytes((folder / "shelf 0" / "0.png").read_bytes())
    for name in ("bad.jpg", ".hidden.jpg", "notes.txt"):
        (folder / name).write_bytes(b"bad")
    (folder / "none").mkdir()
    return folder


@pytest.fixture(scope="module")
def settings(tmp_path_factory) -> dict:
    save_weights(path := tmp_path_factory.mktemp("weights") / "tiny.pdparams", small_weights())
    return {"weights": str(path), "device": "cpu", "mode": "full", "threads": 1}


def files(folder: Path) -> dict[str, bytes]:
    names = (path for path in folder.rglob("[!.]*") if path.is_file() and ".uncover" not in path.parts)
    return {str(path.relative_to(folder)): path.read_bytes() for path in names}


def restore(*words: object) -> int:
    return main(["restore", *map(str, words)])


@pytest.mark.long
def test_a_node_killed_in_the_middle_costs_no_file(cluster, photos, settings, tmp_path, monkeypatch):
    ray = pytest.importorskip("ray")
    monkeypatch.setattr(on_ray, "TASKS_PER_SLOT", 1)
    work = Work(str(photos), str(tmp_path / "out"), json.dumps(settings), {"save_mask": True})
    names, outcomes = on_ray.list_work(work, "*"), []
    assert "2 nodes, 4 processors" in on_ray.connect(cluster.address)
    for outcome in on_ray.restore_on_ray(work, names, {"CPU": 1}):
        outcomes.append(outcome)
        if len(outcomes) == 3:
            cluster.remove_node(cluster.second, allow_graceful=False)
    ray.shutdown()
    assert [str(outcome.name) for outcome in outcomes if outcome.status == "failed"] == ["bad.jpg"]
    assert sorted(str(outcome.name) for outcome in outcomes) == names
    alone = restore_folder(Restorer(**settings), list_pictures(photos, ""), tmp_path / "alone", save_mask=True)
    assert len(list(alone)) == len(names) == 14
    assert len(files(tmp_path / "out")) == 26
    assert files(tmp_path / "out") == files(tmp_path / "alone")


def test_a_second_run_goes_on_and_the_exit_code_tells_of_failures(cluster, settings, photos, tmp_path, capsys):
    words = ("--ray", cluster.address, photos, tmp_path / "out", "--weights", settings["weights"], "--mode", "full")
    assert restore(*words, "--threads", 1, "--include", "0.*") == 0
    assert " 0 skipped, 0 failed\n" in capsys.readouterr().out
    assert restore(*words, "--threads", 1, "--include", "*.*") == 1
    told = capsys.readouterr()
    assert all(said in told.out for said in ("13 pictures: ", " 1 skipped, 1 failed"))
    assert "failed: bad.jpg: " in told.err


@pytest.mark.parametrize("results", ["file://{}/out", "memory://out"])
def test_the_rules_are_those_of_a_folder(settings, photos, tmp_path, results):
    fsspec = pytest.importorskip("fsspec")
    few = tmp_path / "few"
    few.mkdir()
    for name in ("0.png", "3.jpg"):
        (few / name).write_bytes((photos / "shelf 0" / name).read_bytes())
    work = Work(str(few), results.format(tmp_path), json.dumps(settings), {})
    kept, out = fsspec.url_to_fs(work.results)
    old, new = f"{out}/.of-a-dead-run.uncover.tmp", f"{out}/.of-a-run-now.uncover.tmp"
    kept.makedirs(out)
    for path in (old, new):
        kept.pipe_file(path, b"half")
    if "file" in kept.protocol:
        os.utime(old, (time.time() - 7200,) * 2)
    else:
        kept.store[old].modified -= timedelta(hours=2)

    def told(**orders: bool) -> list[str]:
        """Of both pictures: the state, and why one failed."""
        asked = work._replace(orders=orders)
        outcomes = [on_ray.restore_one(asked, name) for name in on_ray.list_work(asked, "*")]
        # What the weights, which are random, find is another matter.
        return [one.message if one.status == "failed" else one.status.replace("untouched", "restored")
                for one in outcomes]  # fmt: skip

    assert [told(), told()] == [["restored"] * 2, ["skipped"] * 2]
    assert (kept.exists(old), kept.exists(new)) == (False, True)
    kept.pipe_file(f"{out}/0.png", b"")
    os.utime(few / "3.jpg", (1, 1))
    assert [told(), told()] == [["restored"] * 2, ["skipped"] * 2]
    kept.pipe_file(f"{out}/3.jpg.mask.png", b"theirs")
    done, failed = told(save_mask=True)
    assert done == "restored"
    assert failed.startswith(f"{work.results}/3.jpg.mask.png: there is a file that this program did not make")
    assert kept.cat_file(f"{out}/3.jpg.mask.png") == b"theirs"
    assert told(save_mask=True, overwrite=True) == ["restored"] * 2
    if "file" in kept.protocol:
        (tmp_path / "out" / "0.png").unlink()
        (tmp_path / "out" / "0.png").symlink_to(few / "0.png")
        before = (few / "0.png").read_bytes()
        assert "is an original photo, by a link" in told(overwrite=True)[0]
        assert (few / "0.png").read_bytes() == before


@pytest.fixture
def store(photos):
    """A store in memory with `in/photos/photos/x.png` and some more photos."""
    fsspec = pytest.importorskip("fsspec")
    kept, content = fsspec.filesystem("memory"), (photos / "shelf 0" / "0.png").read_bytes()
    for name in ("x.png", "photos/x.png", "only/photos/y.png"):
        kept.pipe_file(f"/in/photos/{name}", content)
    for name in ("[1] what? *.png", "1 what.png"):
        kept.pipe_file(f"/odd/{name}", content)
    yield kept
    kept.store.clear()


@pytest.mark.parametrize("results", ["memory://in", "memory:///in/", "memory://in/photos", "memory://in/photos/out"])
def test_no_result_takes_the_place_of_a_photo_in_a_store(store, results):
    before = dict(store.store)
    with pytest.raises(ValueError, match="name another folder"):
        on_ray.list_work(Work("memory://in/photos", results, "", {"overwrite": True}), "*")
    assert store.store == before
    assert len(on_ray.list_work(Work("memory://in/photos", "file:///in/photos" + os.devnull, "", {}), "*")) == 3


def test_a_name_may_hold_what_is_a_pattern_elsewhere(store, settings):
    work = Work("memory://odd", "memory://out", json.dumps(settings), {})
    names = on_ray.list_work(work, "*")
    assert not [name for name in 2 * names if on_ray.restore_one(work, name).status == "failed"]
    found = {path.removeprefix("/out/") for path in store.find("/out") if ".uncover/" not in path}
    assert found == set(names) == {"[1] what? *.png", "1 what.png"}


def test_a_store_that_takes_nothing_more_fails_a_picture_and_counts_as_stuck(store, settings, monkeypatch):
    def pipe_file(*_: object) -> None:
        raise OSError(errno.EDQUOT, "no")

    monkeypatch.setattr(type(store), "pipe_file", pipe_file)
    outcome = on_ray.restore_one(Work("memory://odd", "memory://out", json.dumps(settings), {}), "1 what.png")
    assert (outcome.status, outcome.results_stuck) == ("failed", True)
    assert outcome.message == "its result cannot be written: no"


@pytest.mark.parametrize(
    ("device", "gpus", "gets"), [("auto", 2, "auto"), ("auto", 0, "cpu"), ("gpu:1", 0, "gpu"), ("cpu", 2, "cpu")]
)
def test_a_task_gets_a_gpu_where_it_is_to_use_one(store, settings, monkeypatch, device, gpus, gets):
    monkeypatch.setattr(pytest.importorskip("ray"), "cluster_resources", lambda: {"CPU": 8, "GPU": gpus})
    monkeypatch.setattr(on_ray, "connect", lambda address: "here")
    monkeypatch.setattr(on_ray, "restore_on_ray", lambda work, names, slot: (json.loads(work.settings), slot))
    monkeypatch.setattr(on_ray, "watched", lambda outcomes, results: outcomes)
    asked = settings | {"device": device}
    count, told, (given, slot) = on_ray.begin("auto", "memory://odd", "memory://out", "*", asked, {})
    assert (count, given["device"], slot.get("GPU", 0)) == (2, gets, int(gets != "cpu"))
    assert ("a GPU" in told) == (gets != "cpu")


def test_weights_that_no_node_has_end_the_run(cluster, photos, tmp_path, capsys):
    assert restore(f"--ray={cluster.address}", photos, tmp_path / "out", "--weights", tmp_path / "none.pdparams") == 2
    assert re.search(r"a node of the cluster cannot restore: .*none\.pdparams", capsys.readouterr().err)
    assert files(tmp_path / "out") == {}


@pytest.mark.parametrize(("source", "results", "said"), [
    ("in/shelf 0/0.png", "out", "is a file, expected a folder"), ("in", "in/out", "lies in"), ("in", "in", "lies in"),
    ("nowhere", "out", "no such folder or address"), ("in/none", "out", "no pictures found"),
    ("in", "out", "no Ray cluster at 127.0.0.1:1"), ("in", "s3://scans/out", "s3fs")])  # fmt: skip
def test_what_cannot_be_done_is_refused_in_a_sentence(photos, source, results, said, capsys, monkeypatch):
    pytest.importorskip("ray")
    monkeypatch.setitem(sys.modules, "s3fs", None)
    monkeypatch.chdir(photos.parent)
    assert restore(source, results, "--ray", "127.0.0.1:1") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert said in line
    assert not (photos / "out").exists()


def test_without_the_extra_it_says_what_to_install(monkeypatch, capsys):
    monkeypatch.setattr(room("inference.on_ray"), "find_spec", lambda name: None)
    assert restore("--ray", "auto", "in", "out") == 2
    assert capsys.readouterr().err == "error: --ray needs ray and fsspec; install the extra: pip install '.[ray]'\n"
