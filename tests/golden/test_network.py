"""The shipped weights on the sample photos, exported networks, and a short training: floats, and so with tolerances."""

import json
from dataclasses import asdict
from functools import partial

import cv2
import numpy as np
import onnxruntime
import pytest
import yaml
from PIL import Image

from configs.schema import ModelConfig, PredictConfig
from inference import Restored, Restorer
from inference.engines.opened import Graph, make
from models.nafnet import NAFNet
from models.weights import Weights, arrays_of, load_weights, save_weights
from tests.conftest import ROOT, python
from tests.golden import pictures
from tests.golden.recorded_values import grid, psnr
from tests.test_train import training_set

SAMPLES, SHIPPED = ROOT / "test_code" / "samples", ROOT / "test_code" / "gated.pdparams"
PAGES = sorted((SAMPLES / "gt").iterdir())
_SMALL = {"tlc_train_size": 16, "tlc_ratio": 1.5}


def _tiny_weights(**predict_settings: object) -> Weights:
    """A tiny gated network whose parameters come from NumPy, so that no version of Paddle matters."""
    model = ModelConfig(preset="tiny", gate=True).arguments()
    params, rng = arrays_of(NAFNet(**model)), np.random.default_rng(5)
    for name in sorted(params):
        shape = params[name].shape
        scale = 0.3 if len(shape) < 2 else 1 / np.sqrt(np.prod(shape[1:]))
        middle = 0.5 if name.endswith(("beta", "gamma")) else float(name.endswith(("norm1.weight", "norm2.weight")))
        params[name] = (middle + rng.normal(0, scale, shape)).astype(np.float32)
    return Weights(params, asdict(PredictConfig(**predict_settings)))


@pytest.fixture(scope="module")
def onnx_restorer() -> Restorer:
    return Restorer(device="cpu", backend="onnxruntime", precision="fp32", threads=2)


def _compare(golden, name: str, restored: Restored, picture: np.ndarray, truth: np.ndarray) -> None:
    golden(f"{name}/occluders", restored.occluders)
    golden(f"{name}/areas", [int(mask.sum()) for mask in (restored.located, restored.mask)], relative=1e-3)
    golden(f"{name}/located", grid(restored.located, 16), absolute=5e-3)
    assert np.array_equal(restored.image[restored.mask == 0], picture[restored.mask == 0])
    there = restored.mask == 1
    golden(f"{name}/psnr", [psnr(restored.image, truth), psnr(restored.image[there], truth[there])], absolute=0.02)
    golden(f"{name}/tone", restored.image[there].mean(0), absolute=0.1)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_the_shipped_weights_find_and_fill_the_samples(golden, onnx_restorer, path):
    """A locator with onnxruntime; the next test holds a gated network, and eager Paddle."""
    photo = SAMPLES / "photos" / path.name
    picture, truth = (np.asarray(Image.open(file)) for file in (photo, path))
    _compare(golden, f"default/{path.stem}", onnx_restorer(photo), picture, truth)


def test_a_gated_network_finds_and_fills_a_small_sample(golden):
    """At less than half the size, to save time; and with a tiny network in 16 bits."""
    picture, truth = (
        cv2.resize(np.asarray(Image.open(SAMPLES / part / "notes_hand.jpg")), (360, 480),
                   interpolation=cv2.INTER_AREA)
        for part in ("photos", "gt")
    )  # fmt: skip
    restorer = partial(Restorer, device="cpu", backend="paddle", precision="fp32", threads=2)
    shipped = restorer(SHIPPED)
    golden("eager/described", shipped.describe())
    _compare(golden, "eager/auto", shipped(picture), picture, truth)
    tiny = _tiny_weights(**_SMALL, fill="network", long_side=256, locate_long_side=192)
    for mode, scale in (("auto", 0.5), ("full", 0.7)):
        result = restorer(tiny, mode=mode, scale=scale, tta=True)(picture.astype(np.uint16) * 257)
        golden(f"eager/tiny/{mode}/areas", [int(result.mask.sum()), result.occluders], relative=1e-3)
        golden(f"eager/tiny/{mode}", grid(result.image / 65535, 6), absolute=1e-4)


@pytest.mark.parametrize("name", ["shipped", "tiny"])
def test_an_exported_network_computes_the_recorded_values(golden, name):
    """Text under a finger, larger than TLC's windows for the tiny one."""
    weights = load_weights(SHIPPED) if name == "shipped" else _tiny_weights(**_SMALL)
    picture = pictures.text_page(96, 128, 16)
    cv2.line(picture, (60, 50), (80, 95), pictures.SKIN, 24)
    tile = np.ascontiguousarray(picture.transpose(2, 0, 1)[None].astype(np.float32) / np.float32(255))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    graph = Graph.nafnet(weights, PredictConfig.from_dict(weights.predict))
    session = onnxruntime.InferenceSession(make(graph).content, options, providers=["CPUExecutionProvider"])
    golden(f"onnx/{name}/names", [[item.name, item.shape] for item in (*session.get_inputs(), *session.get_outputs())])
    outputs = session.run(None, {session.get_inputs()[0].name: tile})
    for index, output in enumerate(outputs):
        samples = output.reshape(-1)[:: output.size // 48]
        golden(f"onnx/{name}/{index}/shape", list(output.shape))
        golden(f"onnx/{name}/{index}/samples", samples, absolute=1e-5, relative=1e-5)
        golden(f"onnx/{name}/{index}/moments", [output.mean(), output.std()], absolute=1e-5, relative=1e-5)
    eager = graph.reference()(tile)
    golden(f"eager/{name}", grid(eager[0].transpose(1, 2, 0)[..., :3], 6), absolute=1e-4)
    golden(f"eager/{name}/mask", grid(eager[0, 3], 6), absolute=1e-4)


def test_twenty_iterations_have_the_recorded_batches_and_losses(golden, tmp_path):
    """Rounding grows from step to step: a rate this small keeps it below the tolerance."""
    (tmp_path / "config.yml").write_text(yaml.safe_dump(training_set(tmp_path)))
    save_weights(tmp_path / "start.pdparams", _tiny_weights())
    changes = [
        "train.iterations=20", "train.save_every=20", f"train.init={tmp_path}/start.pdparams", "validation.every=10",
        "train.stages=[{iterations: 12, batch: 2, patch: 24}, {iterations: 8, batch: 1, patch: 40}]",
        "optimizer.learning_rate=1e-4", "schedule={restarts: [9], eta_min: [1e-6, 1e-7], warmup: 3}",
        "loss=[{name: l1, weight: 2}, {name: fill}, {name: charbonnier}, {name: mask_bce, weight: 0.3},"
        " {name: mask_dice, weight: 0.1}]",
    ]  # fmt: skip
    # In a process of its own: threads are counted when Paddle starts.
    command = ["train.py", "-c", tmp_path / "config.yml", "--device", "cpu", "-o", *changes]
    python(*command, env={"OMP_NUM_THREADS": "1"})
    trained = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text("utf-8").splitlines()]
    exact = ("kind", "iteration", "learning_rate", "stage", "batch", "patch")
    golden("training/plan", [{key: record[key] for key in exact if key in record} for record in trained])
    values = [{key: value for key, value in record.items() if key not in exact and "second" not in key}
              for record in trained]
    golden("training/losses", values, relative=1e-5)
