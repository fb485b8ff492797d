"""The shipped weights on the sample photos, exported networks, and a short training: floats, and so with tolerances."""

import json
import os
import subprocess
import sys
from dataclasses import asdict
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import onnxruntime
import pytest
import yaml
from PIL import Image

from configs.load import load_config
from configs.schema import ModelConfig, PredictConfig
from data.batches.sampling import lr_at, stage_at
from inference import Restored, Restorer
from inference.engines.opened import Graph, make
from models.nafnet import NAFNet
from models.weights import Weights, arrays_of, load_weights, save_weights
from tests.golden import pictures
from tests.golden.recorded_values import grid, psnr

ROOT = Path(__file__).resolve().parents[2]
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


@pytest.fixture(scope="module", params={"samples": SHIPPED, "default": None}.items(), ids=lambda item: item[0])
def onnx_restorer(request) -> tuple[str, Restorer]:
    name, weights = request.param
    return name, Restorer(weights, "cpu", backend="onnxruntime", precision="fp32", threads=2)


def _compare(golden, name: str, restored: Restored, picture: np.ndarray, truth: np.ndarray) -> None:
    golden(f"{name}/occluders", restored.occluders)
    golden(f"{name}/areas", [int(mask.sum()) for mask in (restored.located, restored.mask)], relative=1e-3)
    golden.mask(f"{name}/located", restored.located)
    assert np.array_equal(restored.image[restored.mask == 0], picture[restored.mask == 0])
    there = restored.mask == 1
    golden(f"{name}/psnr", [psnr(restored.image, truth), psnr(restored.image[there], truth[there])], absolute=0.02)
    golden(f"{name}/tone", restored.image[there].mean(0), absolute=0.1)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_the_shipped_weights_find_and_fill_the_samples(golden, onnx_restorer, path):
    """With onnxruntime, since eager Paddle takes twice the time; the next test holds that one."""
    (name, restorer), photo = onnx_restorer, SAMPLES / "photos" / path.name
    picture, truth = (np.asarray(Image.open(file)) for file in (photo, path))
    _compare(golden, f"{name}/{path.stem}", restorer(photo), picture, truth)


def test_eager_paddle_finds_and_fills_a_small_sample(golden):
    """At less than half the size, to save time; in mode `tiles`, too; and with a tiny network in 16 bits."""
    picture, truth = (
        cv2.resize(np.asarray(Image.open(SAMPLES / part / "notes_hand.jpg")), (360, 480),
                   interpolation=cv2.INTER_AREA)
        for part in ("photos", "gt")
    )  # fmt: skip
    restorer = partial(Restorer, device="cpu", backend="paddle", precision="fp32", threads=2)
    shipped = restorer(SHIPPED)
    golden("eager/described", shipped.describe())
    _compare(golden, "eager/auto", shipped(picture), picture, truth)
    tiles = restorer(SHIPPED, mode="tiles", rows=1, columns=2, overlap=32)
    _compare(golden, "eager/tiles", tiles(picture), picture, truth)
    tiny = _tiny_weights(**_SMALL, fill="network", long_side=256, locate_long_side=192)
    for mode, scale in (("auto", 0.5), ("full", 0.7)):
        result = restorer(tiny, mode=mode, scale=scale, tta=True)(picture.astype(np.uint16) * 257)
        golden(f"eager/tiny/{mode}/areas", [int(result.mask.sum()), result.occluders], relative=1e-3)
        golden(f"eager/tiny/{mode}", grid(result.image / 65535, 6), absolute=1e-4)
    plain = restorer(tiny, mode="full", scale=1, tlc_ratio=0)(picture[:120, :160])
    golden("eager/plain", grid(plain.image, 6), absolute=0.02)


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


def _plan(config: Path) -> dict[str, list[object]]:
    """Learning rate, stage, batch and patch where stages and restarts begin, just before, and 20 times between."""
    settings = load_config(config)
    total, places = settings.train.iterations, {settings.schedule.warmup, *settings.schedule.restarts}
    places |= {sum(stage.iterations for stage in settings.train.stages[:count]) for count in range(20)}
    places |= {place - 1 for place in places} | {total * part // 20 for part in range(20)}
    found = {}
    for iteration in sorted(places & set(range(total))):
        stage, what = stage_at(iteration, settings.train.stages)
        rate = lr_at(iteration, settings.schedule, settings.optimizer.learning_rate, total)
        found[str(iteration)] = [rate, stage, what.batch, what.patch]
    return found


@pytest.mark.parametrize("path", sorted((ROOT / "configs").glob("*.yml")), ids=lambda path: path.stem)
def test_a_config_asks_for_the_recorded_rates_and_stages(golden, path):
    golden(f"plan/{path.stem}", _plan(path), relative=1e-8)


def _training_set(root: Path) -> dict[str, object]:
    """Six patches, their lists, weights to start from, and the config of twenty iterations in two stages."""
    lines = []
    for number in range(6):
        clean = pictures.text_page(64, 64, 20 + number)
        mask = pictures.finger(clean.shape, (20 + 4 * number, 30), (50 - 6 * number, 63), 14)
        trio = (clean, np.where(mask[..., None] == 1, np.uint8(pictures.SKIN), clean), mask * 255)
        for kind, picture in zip(("gt", "occluded", "mask"), trio, strict=True):
            pictures.save(root / kind / f"{number}.png", picture)
        lines.append(f"gt/{number}.png occluded/{number}.png mask/{number}.png\n")
    (root / "train.txt").write_text("".join(lines), encoding="utf-8")
    (root / "val_pages.txt").write_text("".join(lines[:2]), encoding="utf-8")
    save_weights(root / "start.pdparams", _tiny_weights())
    return {
        "output": str(root / "run"), "seed": 3, "model": {"preset": "tiny", "gate": True},
        "data": {"train_list": str(root / "train.txt"), "val_pages": str(root / "val_pages.txt"), "crop": 64,
                 "downscale": 1, "workers": 0},
        "train": {"iterations": 20, "init": str(root / "start.pdparams"), "ema_decay": 0.9, "log_every": 1,
                  "save_every": 20, "stages": [{"iterations": 12, "batch": 2, "patch": 24},
                                               {"iterations": 8, "batch": 1, "patch": 40}]},
        "optimizer": {"learning_rate": 1e-4, "clip_norm": 0.5},
        "schedule": {"restarts": [9], "eta_min": [1e-6, 1e-7], "warmup": 3},
        "loss": [{"name": "l1", "weight": 2.0}, {"name": "fill"}, {"name": "charbonnier"},
                 {"name": "mask_bce", "weight": 0.3}, {"name": "mask_dice", "weight": 0.1}],
        "validation": {"every": 10, "pages": 2},
        "predict": {"rows": 1, "columns": 1, "overlap": 0, "tlc_train_size": 32},
    }  # fmt: skip


def test_twenty_iterations_have_the_recorded_batches_and_losses(golden, tmp_path):
    """Rounding grows from step to step: a rate this small keeps it below the tolerance."""
    (tmp_path / "config.yml").write_text(yaml.safe_dump(_training_set(tmp_path)), encoding="utf-8")
    command = [sys.executable, str(ROOT / "train.py"), "-c", str(tmp_path / "config.yml"), "--device", "cpu"]
    # In a process of its own: threads are counted when Paddle starts.
    done = subprocess.run(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    trained = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text("utf-8").splitlines()]
    exact = ("kind", "iteration", "learning_rate", "stage", "batch", "patch")
    golden("training/plan", [{key: record[key] for key in exact if key in record} for record in trained])
    values = [{key: value for key, value in record.items() if key not in exact and "second" not in key}
              for record in trained]
    golden("training/losses", values, relative=1e-5)
