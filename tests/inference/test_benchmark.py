"""The benchmark: what it compares is what it says, its numbers add up, and a case that fails is named."""

from __future__ import annotations

import csv
import io
import json

import numpy as np
import paddle
import pytest
from PIL import Image

from configs.schema import PredictConfig
from inference.benchmark import __main__ as command
from inference.benchmark.cases import (
    _SAMPLES,
    RECIPE,
    SIDES,
    Case,
    all_cases,
    as_recipe,
    doubled,
    sample_pictures,
    take_pictures,
)
from inference.benchmark.measure import compare, measure
from inference.benchmark.report import Result, csv_text, describe, markdown, matrix_rate
from inference.engines.choice import PRECISIONS
from inference.engines.exported import Graph
from inference.restorer import Restored
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


def run(weights: Weights, tile: np.ndarray) -> np.ndarray:
    return Graph.nafnet(weights, PredictConfig.from_dict(weights.predict)).reference()(tile)


@pytest.fixture
def tile():
    return np.random.default_rng(1).random((1, 3, 70, 53), dtype=np.float32)


@pytest.mark.parametrize("gate", [False, True])
def test_a_doubled_network_has_twice_the_width_and_computes_the_same(gate, tile):
    weights = lively(gate)
    wide = doubled(weights)
    assert wide.model["width"] == 2 * weights.model["width"]
    assert network_of(wide).config == wide.model
    expected = run(weights, tile)
    assert expected.std() > 0.1
    np.testing.assert_allclose(run(wide, tile), expected, atol=2e-5)
    np.testing.assert_allclose(run(doubled(wide), tile), expected, atol=4e-5)


def test_the_recipes_network_is_the_same_without_its_gate(tile):
    weights = lively()
    weights.predict.update(tlc_ratio=2.5, tlc_train_size=256)
    recipe = as_recipe(weights)
    assert recipe.model["gate"] is False
    assert recipe.predict == {"long_side": 0, "downscale": 1, **RECIPE}
    np.testing.assert_array_equal(run(recipe, tile), run(weights, tile)[:, :3])
    assert as_recipe(recipe).params.keys() == recipe.params.keys()


def test_photos_are_the_bundled_ones_enlarged_or_a_folders(tmp_path):
    for name in ("samples", "source", "taken"):
        (tmp_path / name).mkdir()
    sample_pictures(tmp_path / "samples", 1)
    (photo,) = (tmp_path / "samples").iterdir()
    assert sorted(Image.open(photo).size) == list(SIDES)
    sample_pictures(tmp_path / "samples", 9, (60, 80))
    contents = [path.read_bytes() for path in sorted((tmp_path / "samples").iterdir())]
    # Mirrored after a turn through all of them, and so none is there twice until two turns are over.
    assert len(set(contents)) == min(9, 2 * len(list(_SAMPLES.glob("*.jpg"))))
    for name in ("b.jpg", "a.JPG", "c.jpg", "a.png"):
        (tmp_path / "source" / name).write_bytes(name.encode())
    take_pictures(tmp_path / "source", tmp_path / "taken", 2)
    assert sorted(path.name for path in (tmp_path / "taken").iterdir()) == ["a.JPG", "b.jpg"]


def test_every_engine_and_precision_is_a_case_and_the_reference_comes_first():
    cases = all_cases("width 16", "width 32", 1024, "gpu:0")
    assert cases[0].is_reference
    assert len({case.name for case in cases}) == len(cases)
    measured = {(case.device.partition(":")[0], case.backend, case.precision) for case in cases[:-2]
                if case.network == "width 16" and case.backend != "auto"}
    assert measured == {
        (kind, backend, precision)
        for kind, known in PRECISIONS.items() for backend, precisions in known.items() for precision in precisions
    }  # fmt: skip
    assert [case.mode for case in cases if case.backend == "auto" and not case.settings] == [
        "auto", "tiles", "full", "auto"
    ]  # fmt: skip
    assert [(case.network, case.mode, case.backend, case.precision) for case in cases if case.recipe] == [
        ("width 32, no gate", "tiles", "paddle", "fp32"), ("width 16, no gate", "tiles", "paddle", "fp32")
    ]  # fmt: skip
    assert [case.mode for case in cases if case.settings == {"long_side": 2048}] == ["auto", "tiles", "full"]
    fewer = all_cases("width 32", "width 64", 2048, "cpu", recipe=False)
    assert not any(case.recipe or case.settings or case.device.startswith("gpu") for case in fewer)


@pytest.fixture
def order(tmp_path):
    """An order for `measure`, of three small photos."""
    for name in ("pictures", "results", "reference"):
        (tmp_path / name).mkdir()
    sample_pictures(tmp_path / "pictures", 3, (150, 200))
    weights = lively()
    # Everything is an occluder, so that there is something to compare.
    weights.params["ending.bias"][3] += 5
    save_weights(tmp_path / "w.pdparams", weights)
    places = {name: str(tmp_path / name) for name in ("pictures", "results", "reference")}
    return {"weights": str(tmp_path / "w.pdparams"), "threads": 2, **places}


def measured(order, case):
    return json.loads(json.dumps(measure({**order, "case": vars(case)})))


def test_a_case_is_measured_and_compared_with_the_reference(order, tmp_path):
    reference = measured(order, Case("n", "auto", "paddle", "fp32", "cpu"))
    assert (reference["engine"], reference["difference"]) == ("paddle fp32", None)
    assert len(reference["steps"]) == 2
    for steps in reference["steps"]:
        parts = [steps[name] for name in ("decode", "locate", "restore", "compose", "encode")]
        assert min(parts) >= 0
        assert 0.8 * steps["total"] < sum(parts) <= steps["total"]
    assert 0 < reference["network"] < max(steps["total"] for steps in reference["steps"])
    assert 0.05 < reference["memory"] < 20
    assert reference["batch"] > 0
    assert {path.name for path in (tmp_path / "results").iterdir()} == {f"sample_00{index}.jpg" for index in range(3)}

    network = convert_to_local(network_of(lively()), 32, 1.5)
    # Locating runs on the whole photo at 96 px, in one tile that may be a little larger; nothing is left to restore.
    assert 1 <= reference["gmac"] / (multiply_adds(network, 96, 72) / 1e9) < 3

    again = measured(order, Case("n", "auto", "onnxruntime", "fp32", "cpu"))
    assert again["engine"] == "onnxruntime fp32"
    assert again["difference"]["outside"] == 0
    assert again["difference"]["largest"] <= 1
    opened = measured({**order, "pictures": None}, Case("n", "auto", "onnxruntime", "fp32", "cpu"))
    assert opened.keys() == {"engine", "device", "start"}


def test_the_recipe_is_one_photo_in_four_tiles_of_its_full_size(order):
    recipe = as_recipe(load_weights(order["weights"]))
    save_weights(order["weights"], recipe)
    answer = measured(order, Case("n", "tiles", "paddle", "fp32", recipe=True))
    assert len(answer["steps"]) == 1
    assert "batch" not in answer
    assert answer["gmac"] == pytest.approx(4 * multiply_adds(network_of(recipe), 100, 75) / 1e9)


def test_differences_are_counted_where_they_belong(tmp_path):
    source = np.full((4, 5, 3), 100, np.uint8)
    first, second = source.copy(), source.copy()
    one, two = np.zeros((4, 5), np.uint8), np.zeros((4, 5), np.uint8)
    one[1, 1:3], two[1, 1] = 1, 1
    first[1, 1:3], second[1, 1] = 90, 97
    second[3, 4, 0] = 104
    np.savez(tmp_path / "page.npz", image=first, mask=one)
    found = compare(Restored(second, two, 1), tmp_path / "page.npz", source)
    assert found == {"largest": 10.0, "mean": 8.5, "outside": 4.0}


def answer(seconds: float, **others) -> dict:
    steps = {"decode": 0.1, "locate": seconds - 0.4, "restore": 0.0, "compose": 0.1, "encode": 0.2, "total": seconds}
    return {
        "engine": "openvino fp32", "device": "cpu", "start": 1.0, "steps": [steps] * 3, "batch": seconds - 0.25,
        "network": 0.5, "gmac": 10.0, "memory": 1.0, "difference": None, **others,
    }  # fmt: skip


@pytest.fixture
def results():
    apart = {"largest": 3.0, "mean": 0.25, "outside": 0.0}
    recipe = answer(150.0, engine="paddle fp32")
    del recipe["batch"]
    return [
        Result(Case("width 16", "auto", "openvino", "bf16"), [answer(1, engine="openvino bf16", difference=apart)]),
        Result(Case("width 16"), [answer(3.0, memory=1.5), answer(2.0)]),
        Result(Case("width 16", "full"), problem="no engine"),
        Result(Case("width 32, no gate", "tiles", "paddle", "fp32", recipe=True), [recipe]),
    ]


def test_the_table_has_the_fastest_round_and_the_largest_memory(results):
    table = markdown("a machine", "five photos", [80.0, 100.0], results)
    rows = [[cell.strip() for cell in line.split("|")[1:-1]]
            for line in table.splitlines() if line.startswith("| width")]
    assert rows == [
        ["width 16, mode auto", "openvino bf16", "0.10", "0.60", "0.00", "0.10", "0.20", "1.00", "0.75", "1.00",
         "40 (40%)", "3 / 0.250"],
        ["width 16, mode auto", "openvino fp32 (auto)", "0.10", "1.60", "0.00", "0.10", "0.20", "2.00", "1.75", "1.50",
         "40 (40%)", ""],
        ["width 32, no gate, the write-up's recipe", "paddle fp32", "0.10", "149.60", "0.00", "0.10", "0.20", "150.00",
         "", "1.00", "40 (40%)", ""],
    ]  # fmt: skip
    for words in ("width 16, mode full, auto: not measured: no engine", "a machine", "80, 100 GFLOP/s"):
        assert words in table


def test_the_csv_has_a_line_per_round_and_one_for_what_failed(results):
    rows = list(csv.DictReader(io.StringIO(csv_text("a machine", [80.0, 100.0], results))))
    assert [(row["case"], row["round"]) for row in rows] == [
        ("width 16, mode auto, openvino bf16", "1"), ("width 16, mode auto, auto", "1"),
        ("width 16, mode auto, auto", "2"), ("width 16, mode full, auto", ""),
        ("width 32, no gate, the write-up's recipe, paddle fp32", "1"),
    ]  # fmt: skip
    assert [float(row["total"]) for row in rows if row["round"]] == [1, 3, 2, 150]
    assert rows[0]["largest"] == "3.0"
    assert rows[3]["problem"] == "no engine"
    assert {row["machine"] for row in rows} == {"a machine"}


def test_the_rate_of_matrix_products_is_that_of_this_machine():
    assert 1 < matrix_rate(512) < 1e5
    words = describe(2)
    assert f"paddlepaddle {paddle.__version__}" in words or f"paddlepaddle-gpu {paddle.__version__}" in words
    assert "2 threads" in words


@pytest.mark.long
def test_the_command_measures_what_it_can_and_names_what_it_cannot(tmp_path, monkeypatch, capsys):
    save_weights(tmp_path / "tiny.pdparams", lively())
    (tmp_path / "photos").mkdir()
    sample_pictures(tmp_path / "photos", 3, (150, 200))
    # Children find no OpenVINO.
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['openvino'] = None\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    files = [tmp_path / "b.csv", tmp_path / "b.md"]
    code = command.main([
        "--repeat", "1", "--count", "2", "--weights", str(tmp_path / "tiny.pdparams"), "--csv", str(files[0]),
        "--pictures", str(tmp_path / "photos"), "--markdown", str(files[1]),
        "--only", "8, mode auto, onnxruntime", "--only", "8, mode auto, openvino fp32", "--only", "8, no gate",
    ])  # fmt: skip
    output = capsys.readouterr().out
    assert code == 0
    rows = {row["case"]: row for row in csv.DictReader(io.StringIO(files[0].read_text()))}
    assert set(rows) == {
        "width 8, mode auto, onnxruntime fp32", "width 8, mode auto, openvino fp32",
        "width 8, no gate, the write-up's recipe, paddle fp32",
    }  # fmt: skip
    assert "openvino is not installed" in rows["width 8, mode auto, openvino fp32"]["problem"]
    assert float(rows["width 8, mode auto, onnxruntime fp32"]["gmac"]) > 0
    assert files[1].read_text() in output
    assert "not measured: " in output


def test_a_wrong_order_is_refused_before_anything_is_measured(tmp_path, capsys):
    assert command.main(["--weights", str(tmp_path / "none.pdparams")]) == 2
    assert "none.pdparams" in capsys.readouterr().err
    save_weights(tmp_path / "tiny.pdparams", lively())
    (tmp_path / "empty").mkdir()
    options = ["--weights", str(tmp_path / "tiny.pdparams"), "--pictures", str(tmp_path / "empty")]
    assert command.main(options) == 2
    assert "empty: no *.jpg" in capsys.readouterr().err
    assert command.main(["--repeat", "0"]) == 2
