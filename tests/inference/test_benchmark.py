"""The benchmark: what it compares is what it says, its numbers add up, and a case that fails is named."""

import csv
import re
from pathlib import Path

import cv2
import pytest

from data.images import read_rgb, upright_size, write_image
from inference import benchmark
from inference.benchmark import SAMPLES, STEPS, all_cases, put_photos
from inference.engines.opened import PRECISIONS
from models.weights import save_weights
from tests.inference.stand_ins import small_weights


def test_every_engine_and_precision_is_a_case():
    cases = all_cases(["locator", "width 16"], "gpu:0")
    assert len({case.name for case in cases}) == len(cases)
    everything = {(kind, backend, precision) for kind, known in PRECISIONS.items()
                  for backend, precisions in known.items() for precision in precisions}  # fmt: skip
    for network in ("width 16", "locator"):
        named = [case for case in cases if case.network == network and case.backend != "auto"]
        assert {(case.device.partition(":")[0], case.backend, case.precision) for case in named} == everything
    assert [case.name for case in cases if case.backend == "auto"] == [
        "locator, mode auto, auto", *(f"width 16, mode {mode}, auto" for mode in ("auto", "tiles", "full")),
    ]
    assert not any(case.device.startswith("gpu") for case in all_cases(["width 32"], "cpu"))


@pytest.mark.long
def test_the_command_measures_what_it_can_and_names_what_it_cannot(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for path in sorted(SAMPLES.iterdir())[:3]:
        write_image(f"pictures/{path.name}", cv2.resize(read_rgb(path), (150, 200)))
    save_weights("w.pdparams", small_weights())
    # Children find no OpenVINO.
    Path("sitecustomize.py").write_text("import sys\nsys.modules['openvino'] = None\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    options = ["--weights=w.pdparams", "--pictures=pictures", "--csv=b.csv"]
    options += [f"--only=4, {words}" for words in ("mode auto, onnxruntime", "mode auto, openvino fp32")]
    assert benchmark.main(options) == 0
    rows = {row["case"]: row for row in csv.DictReader(Path("b.csv").read_text().splitlines())}
    fast, failed = (f"width 4, mode auto, {engine} fp32" for engine in ("onnxruntime", "openvino"))
    assert set(rows) == {fast, failed}
    assert "openvino is not installed" in rows[failed]["problem"]
    row = rows[fast]
    steps, total = [float(row[step]) for step in STEPS], float(row["total"])
    assert min(steps) >= 0
    assert 0.7 * total < sum(steps) < 1.3 * total
    assert 0.05 < float(row["memory"]) < 20
    assert float(row["batch"]) > 0
    table, number = capsys.readouterr().out, r"\d+\.\d\d \| "
    for line in (r"Machine: .* threads; .*, paddlepaddle(-gpu)? \d.*\n\nPhotos: 3 JPEG, 150x200\.$",
                 rf"{fast} \| onnxruntime fp32 \| ({number}){{7}}\d+\.\d\d \|$",
                 rf"\* {failed}: not measured: "):  # fmt: skip
        assert re.search(rf"^(\| )?{line}", table, re.M), line


def test_photos_are_the_bundled_ones_enlarged_or_a_folders(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(benchmark, "SIDES", (60, 80))
    put_photos(tmp_path / "drawn", None)
    assert [sorted(upright_size(path)) for path in (tmp_path / "drawn").iterdir()] == [[60, 80]] * benchmark.PHOTOS
    monkeypatch.setattr(benchmark, "PHOTOS", 2)
    for folder, names in {"source": ("b.jpg", "a.JPG", "c.jpg", "a.png"), "empty": ()}.items():
        (tmp_path / folder).mkdir()
        for name in names:
            (tmp_path / folder / name).touch()
    put_photos(tmp_path / "taken", tmp_path / "source")
    assert sorted(path.name for path in (tmp_path / "taken").iterdir()) == ["a.JPG", "b.jpg"]
    for option, name, words in (("pictures", "empty", "empty: 0 photos"), ("weights", "none.x", "none.x")):
        assert benchmark.main([f"--{option}", str(tmp_path / name)]) == 2
        assert words in capsys.readouterr().err
