"""The benchmark: what it compares is what it says, its numbers add up, and a case that fails is named."""

from __future__ import annotations

import csv
import re

import cv2
import numpy as np
import pytest

from configs.schema import PredictConfig
from data.images import read_rgb, upright_size, write_image
from inference import benchmark
from inference.benchmark import RECIPE, SAMPLES, STEPS, all_cases, as_recipe, put_photos
from inference.engines.opened import PRECISIONS, Graph
from models.weights import Weights, arrays_of, model_of, save_weights
from tests.models.networks import build


def lively() -> Weights:
    """A tiny network in which every parameter matters: new ones have beta = gamma = 0."""
    network = build("tiny", gate=True)
    rng = np.random.default_rng(0)
    params = {name: array + rng.normal(0, 0.1, array.shape).astype(np.float32)
              for name, array in arrays_of(network).items()}
    return Weights(params, model_of(params), {"long_side": 96, "tlc_train_size": 256, "tlc_ratio": 2.5})


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
    assert [case.name for case in cases if case.backend == "auto" or case.recipe] == [
        "locator, mode auto, auto", *(f"width 16, mode {mode}, auto" for mode in ("auto", "tiles", "full")),
        "width 16, no gate, the write-up's recipe, paddle fp32",
    ]  # fmt: skip
    assert not any(case.device.startswith("gpu") for case in all_cases(["width 32"], "cpu"))


@pytest.mark.long
def test_the_command_measures_what_it_can_and_names_what_it_cannot(tmp_path, monkeypatch, capsys):
    for path in sorted(SAMPLES.iterdir())[:3]:
        write_image(tmp_path / "pictures" / path.name, cv2.resize(read_rgb(path), (150, 200)))
    save_weights(tmp_path / "w.pdparams", lively())
    # Children find no OpenVINO.
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['openvino'] = None\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    options = [f"--{name}={tmp_path / file}" for name, file in
               (("weights", "w.pdparams"), ("pictures", "pictures"), ("csv", "b.csv"), ("markdown", "b.md"))]
    for words in ("8, mode auto, onnxruntime", "8, mode auto, openvino fp32", "8, no gate"):
        options += ["--only", words]
    assert benchmark.main(options) == 0
    rows = {row["case"]: row for row in csv.DictReader((tmp_path / "b.csv").open())}
    fast, failed, recipe = (f"width 8, {case}" for case in (
        "mode auto, onnxruntime fp32", "mode auto, openvino fp32", "no gate, the write-up's recipe, paddle fp32"))
    assert set(rows) == {fast, failed, recipe}
    assert "openvino is not installed" in rows[failed]["problem"]
    for row in (rows[fast], rows[recipe]):
        steps, total = [float(row[step]) for step in STEPS], float(row["total"])
        assert min(steps) >= 0
        assert 0.7 * total < sum(steps) < 1.3 * total
        assert 0.05 < float(row["memory"]) < 20
    # Of the recipe one photo is timed, and no pipeline.
    assert float(rows[fast]["batch"]) > 0
    assert rows[recipe]["batch"] == ""
    table = (tmp_path / "b.md").read_text()
    assert table in capsys.readouterr().out
    assert re.search(r"Machine: .* threads; .*, paddlepaddle(-gpu)? \d.*\n\nPhotos: 3 JPEG, 150x200\.", table)
    number = r"\d+\.\d\d \| "
    assert re.search(rf"^\| {fast} \| onnxruntime fp32 \| ({number}){{7}}\d+\.\d\d \|$", table, re.M)
    assert re.search(rf"^\| {recipe} \| paddle fp32 \| ({number}){{6}} \| ", table, re.M)
    assert f"* {failed}: not measured: " in table


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
