"""The submission: only what is needed, the same bytes, and a dry run that finds faults."""

import contextlib
import io
import zipfile
from pathlib import Path

import pytest
from PIL import Image

from configs.schema import PredictConfig
from inference.engines.opened import Graph, OnnxFile
from models.weights import Weights, arrays_of, load_weights, save_weights
from test_code import build
from tests.inference.stand_ins import page
from tests.models.networks import build as build_network
from tests.models.networks import lively_locator


@pytest.fixture(scope="module")
def images(tmp_path_factory) -> list[Path]:
    folder = tmp_path_factory.mktemp("images")
    for name, height in (("one.jpg", 90), ("TWO.JPG", 91)):
        Image.fromarray(page(height, 70)).save(folder / name)
    return sorted(folder.iterdir(), reverse=True)


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Path:
    """A network that restores, and a locator that tells it where."""
    network, path = build_network("tiny", gate=True), tmp_path_factory.mktemp("weights") / "tiny.pdparams"
    predict = {"long_side": 64, "fill": "network", "locator_sides": [64]}
    save_weights(path, Weights(arrays_of(network), predict, locator=lively_locator()))
    return path


@pytest.fixture(scope="module")
def packed(weights, images) -> tuple[Path, str]:
    """The ZIP that passed its trials, and what the command printed."""
    arguments = ["--weights", str(weights), "--out", str(weights.with_name("a.zip")), "--images", str(images[0].parent)]
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(io.StringIO()) as printed:
        patch.setattr(build, "LIMIT_MEMORY_GB", 0.01)
        assert build.main(arguments) == 0
    return weights.with_name("a.zip"), printed.getvalue()


def submission(folder: Path, body: str) -> Path:
    """A ZIP whose predict.py is this, after some imports and with an empty folder of results."""
    start = "import pathlib, shutil, sys\nsource, results = map(pathlib.Path, sys.argv[1:])\nresults.mkdir()\n"
    with zipfile.ZipFile(folder / "a.zip", "w") as archive:
        archive.writestr("predict.py", start + body)
    return folder / "a.zip"


def test_the_zip_holds_predict_the_weights_and_only_what_it_imports(weights, packed, tmp_path):
    with zipfile.ZipFile(packed[0]) as archive:
        names = archive.namelist()
        assert archive.read("model.pdparams") == weights.read_bytes()
        archive.extractall(tmp_path)
        code = sum(entry.file_size for entry in archive.infolist() if entry.filename.endswith(".py"))
    assert {"predict.py", "model.pdparams", "inference/restorer.py", "models/nafnet.py"} <= set(names)
    exported = {name for name in names if ".onnx" in name}
    assert exported == {"model.onnx", "model.onnx.json", "locator.onnx", "locator.onnx.json"}
    # Imported only when they are needed.
    assert {"inference/engines/onnx_graph.py", "models/locator.py", "data/photos/jpeg.py"} <= set(names)
    unwanted = ("tests/", "metrics/", "losses/", "inference/benchmark", "train.py", "test_code/", "models/convert.py")
    assert not any(name.startswith(unwanted) for name in names)
    loaded, exported = load_weights(weights), OnnxFile.load(tmp_path / "model.onnx")
    assert exported.fingerprint == Graph.nafnet(loaded, PredictConfig.from_dict(loaded.predict)).fingerprint
    assert code < 500_000


def test_the_packed_submission_runs_without_the_project(packed):
    # Installed here, and yet not used, since the contest does not have it.
    for words in ("2 pictures restored by onnxruntime fp32 on cpu", "without onnxruntime: paddle fp32 on cpu",
                  "limit 2 (the limit is meant for a V100)", "limit 0.01 (main memory of the process): EXCEEDED"):
        assert words in packed[1]


def test_the_same_content_gives_the_same_bytes(weights, tmp_path, monkeypatch):
    monkeypatch.setattr(build, "export", lambda loaded, folder: (folder / "model.onnx").write_bytes(b"network"))
    names = build.pack(weights, tmp_path / "a.zip")
    assert build.pack(weights, tmp_path / "b.zip") == names == zipfile.ZipFile(tmp_path / "a.zip").namelist()
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()


@pytest.mark.parametrize(("body", "words"), [
    ("shutil.copy(source / 'one.jpg', results)", "TWO.JPG: expected 70x91, found nothing"),
    ("[shutil.copy(p, results / (p.stem + '.png')) for p in source.iterdir()]",
     "one.png: expected nothing, found 70x90"),
    ("from PIL import Image\n[Image.new('RGB', (5, 6)).save(results / p.name) for p in source.iterdir()]",
     "one.jpg: expected 70x90, found 5x6"),
    ("[(results / p.name).write_bytes(b'') for p in source.iterdir()]", "one.jpg: .* found what is unreadable"),
    ("raise SystemExit('no GPU here')", "no GPU here"),
    ("import inference", "No module named 'inference'"),
    # What the contest lacks can neither be imported nor asked for.
    ("import jpeglib", "ModuleNotFoundError.*jpeglib"),
    ("import importlib.util\nraise SystemExit(f'onnx: {importlib.util.find_spec(\"onnx\")}')", "onnx: None"),
])  # fmt: skip
def test_a_wrong_submission_fails_with_the_reason(body, words, images, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(build.ROOT))
    with pytest.raises(RuntimeError, match=words):
        build.dry_run(submission(tmp_path, body), images)


@pytest.mark.parametrize(("engine", "told"), [
    ("openvino bf16 on cpu", None), ("paddle fp32 on gpu:0", None), ("onnxruntime fp32 on cpu", "onnxruntime fp32"),
    ("", "nothing known")])  # fmt: skip
def test_a_right_submission_is_measured_and_one_with_another_engine_fails(images, tmp_path, engine, told):
    """The engine is read from what predict.py prints."""
    words = f"Restoring 2 pictures, with w{', ' * bool(engine)}{engine}"
    restore = "block = bytearray(200_000_000)\n[shutil.copy(p, results) for p in source.iterdir()]\n"
    archive = submission(tmp_path, f"{restore}print('a picture')\nprint('{words}')")
    if told:
        with pytest.raises(RuntimeError, match=f"openvino should run the network, but {told}.* did"):
            build.dry_run(archive, images, engine="openvino")
        return
    result = build.dry_run(archive, images, engine="openvino")
    assert (result.engine, result.ended.words) == (engine, f"a picture\n{words}\n")
    assert 0 <= result.seconds_per_picture <= result.ended.seconds < 60
    assert 0.2 < result.ended.memory_gb < 2


def test_missing_weights_and_missing_pictures_are_named(weights, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    for option, named, words in (("--weights", "none", f"{tmp_path}/none"), ("--images", "empty", "--images")):
        arguments = ["--weights", str(weights), "--out", str(tmp_path / "a.zip"), option, str(tmp_path / named)]
        assert build.main(arguments) == 2
        assert words in capsys.readouterr().err
        assert not (tmp_path / "a.zip").exists()
