"""The benchmark: what it compares is what it says, its numbers add up, and a case that fails is named."""

from __future__ import annotations

import argparse
import csv
import json
import re

import cv2
import numpy as np
import pytest

from configs.schema import PredictConfig
from data.images import read_rgb, upright_size, write_image
from inference import benchmark
from inference.benchmark import RECIPE, SAMPLES, STEPS, Case, all_cases, as_recipe, measure, put_photos, write_tables
from inference.engines.opened import PRECISIONS, Graph
from models.weights import Weights, arrays_of, save_weights
from tests.models.networks import build


def lively() -> Weights:
    """A tiny network in which every parameter matters: new ones have beta = gamma = 0."""
    network = build("tiny", gate=True)
    rng = np.random.default_rng(0)
    params = {name: array + rng.normal(0, 0.1, array.shape).astype(np.float32)
              for name, array in arrays_of(network).items()}
    return Weights(params, network.config, {"long_side": 96, "tlc_train_size": 256, "tlc_ratio": 2.5})


def test_the_recipes_network_is_the_same_without_its_gate():
    weights, tile = lively(), np.random.default_rng(1).random((1, 3, 70, 53), dtype=np.float32)
    recipe = as_recipe(weights)
    assert recipe.model["gate"] is False
    assert recipe.predict == {"long_side": 0, **RECIPE}
    ours, plain = (Graph.nafnet(one, PredictConfig.from_dict(one.predict)).reference() for one in (weights, recipe))
    np.testing.assert_array_equal(plain(tile), ours(tile)[:, :3])


def test_every_engine_and_precision_is_a_case():
    cases = all_cases(["locator", "width 16"], "gpu:0")
    assert len({case.name for case in cases}) == len(cases)
    everything = {(kind, backend, precision) for kind, known in PRECISIONS.items()
                  for backend, precisions in known.items() for precision in precisions}  # fmt: skip
    for network in ("width 16", "locator"):
        named = [case for case in cases if case.network == network and case.backend != "auto"]
        assert {(case.device.partition(":")[0], case.backend, case.precision) for case in named} == everything
    assert [case.what for case in cases if case.backend == "auto" or case.recipe] == [
        "locator, mode auto", *(f"width 16, mode {mode}" for mode in ("auto", "tiles", "full")),
        "width 16, no gate, the write-up's recipe",
    ]  # fmt: skip
    assert not any(case.device.startswith("gpu") for case in all_cases(["width 32"], "cpu"))


@pytest.fixture
def order(tmp_path):
    """What `measure` is asked, with three small photos."""
    for path in sorted(SAMPLES.iterdir())[:3]:
        write_image(tmp_path / "pictures" / path.name, cv2.resize(read_rgb(path), (150, 200)))
    save_weights(tmp_path / "w.pdparams", lively())
    return {"weights": str(tmp_path / "w.pdparams"), "folder": str(tmp_path)}


def test_a_case_is_measured(order, tmp_path):
    answer = json.loads(json.dumps(measure(order | Case("n", "auto", "paddle", "fp32", "cpu")._asdict())))
    assert answer["engine"] == "paddle fp32"
    assert min(answer[step] for step in STEPS) >= 0
    assert 0.7 * answer["total"] < sum(answer[step] for step in STEPS) < 1.3 * answer["total"]
    assert 0.05 < answer["memory"] < 20
    assert answer["batch"] > 0
    assert len(list((tmp_path / "results").glob("[!.]*"))) == 3


def test_the_tables_hold_what_was_measured_and_name_what_was_not(tmp_path, capsys):
    numbers = dict.fromkeys(STEPS, 0.1) | {"engine": "x", "problem": "", "total": 2.0, "memory": 1.5}
    rows = [
        {"case": "a", "what": "one", **numbers, "batch": 1.75},
        {"case": "b", "what": "two", **numbers},
        {"case": "c", "what": "three", "problem": "no engine"},
    ]
    write_tables(argparse.Namespace(csv=tmp_path / "b.csv", markdown=tmp_path / "b.md"), "a machine", rows)
    table = (tmp_path / "b.md").read_text()
    assert table in capsys.readouterr().out
    steps = "0.10 | 0.10 | 0.10 | 0.10 | 0.10"
    assert f"| one | x | {steps} | 2.00 | 1.75 | 1.50 |\n" in table
    assert f"| two | x | {steps} | 2.00 |  | 1.50 |\n" in table
    assert "a machine" in table
    assert "* c: not measured: no engine" in table
    read = list(csv.DictReader((tmp_path / "b.csv").open()))
    assert [(row["case"], row["total"], row["problem"]) for row in read] == [
        ("a", "2.0", ""), ("b", "2.0", ""), ("c", "", "no engine")
    ]  # fmt: skip


@pytest.mark.long
def test_the_command_measures_what_it_can_and_names_what_it_cannot(order, tmp_path, monkeypatch, capsys):
    # Children find no OpenVINO.
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['openvino'] = None\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    options = [f"--weights={order['weights']}", f"--pictures={tmp_path}/pictures", f"--csv={tmp_path}/b.csv"]
    for words in ("8, mode auto, onnxruntime", "8, mode auto, openvino fp32", "8, no gate"):
        options += ["--only", words]
    assert benchmark.main(options) == 0
    rows = {row["case"]: row for row in csv.DictReader((tmp_path / "b.csv").open())}
    recipe = "width 8, no gate, the write-up's recipe, paddle fp32"
    assert set(rows) == {"width 8, mode auto, onnxruntime fp32", "width 8, mode auto, openvino fp32", recipe}
    assert "openvino is not installed" in rows["width 8, mode auto, openvino fp32"]["problem"]
    assert float(rows["width 8, mode auto, onnxruntime fp32"]["batch"]) > 0
    # Of the recipe one photo is timed, and no pipeline.
    assert float(rows[recipe]["total"]) > 0
    assert rows[recipe]["batch"] == ""
    printed = capsys.readouterr().out
    assert "Photos: 3 JPEG, 150x200" in printed
    assert re.search(r"Machine: .* threads; .*, paddlepaddle(-gpu)? \d", printed)


def test_photos_are_the_bundled_ones_enlarged_or_a_folders(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(benchmark, "SIDES", (60, 80))
    put_photos(tmp_path / "drawn", None)
    assert [sorted(upright_size(path)) for path in (tmp_path / "drawn").iterdir()] == [[60, 80]] * benchmark.PHOTOS
    monkeypatch.setattr(benchmark, "PHOTOS", 2)
    (tmp_path / "source").mkdir()
    for name in ("b.jpg", "a.JPG", "c.jpg", "a.png"):
        (tmp_path / "source" / name).write_bytes(b"")
    put_photos(tmp_path / "taken", tmp_path / "source")
    assert sorted(path.name for path in (tmp_path / "taken").iterdir()) == ["a.JPG", "b.jpg"]
    (tmp_path / "empty").mkdir()
    assert benchmark.main(["--pictures", str(tmp_path / "empty")]) == 2
    assert "empty: 0 photos" in capsys.readouterr().err
    assert benchmark.main(["--weights", str(tmp_path / "none.pdparams")]) == 2
    assert "none.pdparams" in capsys.readouterr().err
