"""The benchmark: what it compares is what it says, its numbers add up, and a case that fails is named."""

from __future__ import annotations

import argparse
import csv
import json

import cv2
import numpy as np
import paddle
import pytest

from configs.schema import PredictConfig
from data.images import read_rgb, upright_size, write_image
from inference import benchmark
from inference.benchmark import SAMPLES, Case, all_cases, put_photos, write_tables
from inference.engines.choice import PRECISIONS
from inference.engines.exported import Graph
from inference.restorer import Restored
from inference.timing import RECIPE, STEPS, as_recipe, describe, difference, doubled, matrix_rate, measure
from models.nafnet import multiply_adds
from models.tlc import convert_to_local
from models.weights import Weights, arrays_of, load_weights, network_of, save_weights
from tests.models.networks import build


def lively(gate: bool = True) -> Weights:
    """A tiny network in which every parameter matters: new ones have beta = gamma = 0."""
    network = build("tiny", gate=gate)
    rng = np.random.default_rng(0)
    params = {name: array + rng.normal(0, 0.1, array.shape).astype(np.float32)
              for name, array in arrays_of(network).items()}
    return Weights(params, network.config, {"long_side": 96, "tlc_train_size": 32})


def run(weights: Weights) -> np.ndarray:
    tile = np.random.default_rng(1).random((1, 3, 70, 53), dtype=np.float32)
    return Graph.nafnet(weights, PredictConfig.from_dict(weights.predict)).reference()(tile)


@pytest.mark.parametrize("gate", [False, True])
def test_a_doubled_network_has_twice_the_width_and_computes_the_same(gate):
    weights = lively(gate)
    wide = doubled(weights)
    assert network_of(wide).config == wide.model == {**weights.model, "width": 2 * weights.model["width"]}
    expected = run(weights)
    assert expected.std() > 0.1
    np.testing.assert_allclose(run(wide), expected, atol=2e-5)


def test_the_recipes_network_is_the_same_without_its_gate():
    weights = lively()
    weights.predict.update(tlc_ratio=2.5, tlc_train_size=256)
    recipe = as_recipe(weights)
    assert recipe.model["gate"] is False
    assert recipe.predict == RECIPE
    np.testing.assert_array_equal(run(recipe), run(weights)[:, :3])


def test_every_engine_and_precision_is_a_case_and_the_reference_comes_first():
    cases = all_cases("width 16", "width 32", 1024, "gpu:0")
    assert cases[0] == Case("width 16", "auto", "paddle", "fp32", "cpu")
    assert len({case.name for case in cases}) == len(cases)
    named = [case for case in cases if case.network == "width 16" and case.backend != "auto"]
    assert {(case.device.partition(":")[0], case.backend, case.precision) for case in named} == {
        (kind, backend, precision)
        for kind, known in PRECISIONS.items() for backend, precisions in known.items() for precision in precisions
    }  # fmt: skip
    words = [case.what for case in cases if case.backend == "auto" or case.recipe]
    assert words == [
        *(f"width 16, mode {mode}" for mode in ("auto", "tiles", "full")),
        *(f"width 16, mode {mode}, working at 2048 px" for mode in ("auto", "tiles", "full")),
        "width 32, mode auto", "width 32, no gate, the write-up's recipe", "width 16, no gate, the write-up's recipe",
    ]  # fmt: skip
    located = [case for case in all_cases("width 16", "width 32", 1024, "cpu", "locator") if case.network == "locator"]
    assert {case.backend for case in located} >= {"auto", "paddle", "onnxruntime"}
    assert {case.mode for case in located} == {"auto"}
    fewer = all_cases("width 32", "width 64", 2048, "cpu")
    assert not any(case.settings or case.device.startswith("gpu") for case in fewer)


@pytest.fixture
def order(tmp_path):
    """What `measure` is asked, with three small photos."""
    for path in sorted(SAMPLES.iterdir())[:3]:
        write_image(tmp_path / "pictures" / path.name, cv2.resize(read_rgb(path), (150, 200)))
    weights = lively()
    # Everything is an occluder, so that there is something to compare.
    weights.params["ending.bias"][3] += 5
    save_weights(tmp_path / "w.pdparams", weights)
    return {"weights": str(tmp_path / "w.pdparams"), "folder": str(tmp_path)}


def measured(order: dict, case: Case) -> dict:
    return json.loads(json.dumps(measure({**order, **case._asdict()})))


def test_a_case_is_measured_and_compared_with_the_reference(order, tmp_path):
    first = measured(order, Case("n", "auto", "paddle", "fp32", "cpu"))
    assert first["engine"] == "paddle fp32"
    assert "largest" not in first
    assert min(first[step] for step in STEPS) >= 0
    assert 0 < first["network"] < 2 * first["total"]
    assert 0.7 * first["total"] < sum(first[step] for step in STEPS) < 1.3 * first["total"]
    assert 0.05 < first["memory"] < 20
    assert first["batch"] > 0
    assert len(list((tmp_path / "results").iterdir())) == 3
    network = convert_to_local(network_of(lively()), 32, 1.5)
    # Locating runs on the whole photo at 96 px, in one tile that may be a little larger; nothing is left to restore.
    assert 1 <= first["gmac"] / (multiply_adds(network, 96, 72) / 1e9) < 3
    assert first["gflops"] == pytest.approx(2 * first["gmac"] / first["network"])

    again = measured(order, Case("n", "auto", "onnxruntime", "fp32", "cpu"))
    assert again["engine"] == "onnxruntime fp32"
    assert 0 <= again["mean"] <= again["largest"] <= 1


def test_the_recipe_is_one_photo_in_four_tiles_of_its_full_size(order):
    recipe = as_recipe(load_weights(order["weights"]))
    save_weights(order["weights"], recipe)
    answer = measured(order, Case("n", "tiles", "paddle", "fp32", recipe=True))
    assert "batch" not in answer
    assert answer["gmac"] == pytest.approx(4 * multiply_adds(network_of(recipe), 100, 75) / 1e9)


def test_differences_are_counted_where_a_result_may_have_changed_the_photo(tmp_path):
    first, second = np.full((2, 4, 5, 3), 100, np.uint8)
    one, two = np.zeros((2, 4, 5), np.uint8)
    one[1, 1:3], two[1, 1] = 1, 1
    first[1, 1:3], second[1, 1], second[3, 4] = 90, 97, 0
    np.savez(tmp_path / "page.npz", image=first, mask=one)
    assert difference(Restored(second, two, 1), tmp_path / "page.npz") == (10.0, 8.5)


def test_the_tables_hold_what_was_measured_and_name_what_was_not(tmp_path, capsys):
    numbers = dict.fromkeys(STEPS, 0.1) | {"total": 2.0, "memory": 1.5, "gflops": 40.0, "matmul_gflops": 80.0}
    numbers |= {"engine": "x", "problem": ""}
    rows = [
        {"case": "a", "what": "one", **numbers, "batch": 1.75, "largest": 3, "mean": 0.25},
        {"case": "b", "what": "two", **numbers, "matmul_gflops": 100.0},
        {"case": "c", "what": "three", "problem": "no engine"},
    ]
    write_tables(argparse.Namespace(csv=tmp_path / "b.csv", markdown=tmp_path / "b.md"), "a machine", rows)
    table = (tmp_path / "b.md").read_text()
    assert table in capsys.readouterr().out
    steps = "0.10 | 0.10 | 0.10 | 0.10 | 0.10"
    assert f"| one | x | {steps} | 2.00 | 1.75 | 1.50 | 40 (40%) | 3 / 0.250 |\n" in table
    assert f"| two | x | {steps} | 2.00 |  | 1.50 | 40 (40%) |  |\n" in table
    for words in ("a machine", "* c: not measured: no engine", "matrix products: 100."):
        assert words in table
    read = list(csv.DictReader((tmp_path / "b.csv").open()))
    assert [(row["case"], row["total"], row["problem"]) for row in read] == [
        ("a", "2.0", ""), ("b", "2.0", ""), ("c", "", "no engine")
    ]  # fmt: skip


def test_the_machine_is_described_and_timed():
    assert 1 < matrix_rate(512) < 1e5
    words = describe(2)
    assert f"paddlepaddle {paddle.__version__}" in words or f"paddlepaddle-gpu {paddle.__version__}" in words
    assert "2 threads" in words


@pytest.mark.long
def test_the_command_measures_what_it_can_and_names_what_it_cannot(order, tmp_path, monkeypatch, capsys):
    save_weights(order["weights"], lively())
    # Children find no OpenVINO.
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['openvino'] = None\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    options = [f"--weights={order['weights']}", f"--pictures={tmp_path}/pictures", f"--csv={tmp_path}/b.csv"]
    for words in ("8, mode auto, onnxruntime", "8, mode auto, openvino fp32", "8, no gate"):
        options += ["--only", words]
    assert benchmark.main(options) == 0
    rows = {row["case"]: row for row in csv.DictReader((tmp_path / "b.csv").open())}
    assert set(rows) == {
        "width 8, mode auto, onnxruntime fp32", "width 8, mode auto, openvino fp32",
        "width 8, no gate, the write-up's recipe, paddle fp32",
    }  # fmt: skip
    assert "openvino is not installed" in rows["width 8, mode auto, openvino fp32"]["problem"]
    assert float(rows["width 8, mode auto, onnxruntime fp32"]["gmac"]) > 0
    assert "Photos: 3 JPEG, 150x200" in capsys.readouterr().out


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
