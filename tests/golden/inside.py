"""The one place here that knows the project's modules: when they move, this file follows, and no recorded value.

Everything else of this package goes through the command lines, and `Restorer`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import data_preparation
import generate_meta_info
import predict
from configs.load import load_config
from configs.schema import ModelConfig, PredictConfig
from data.batches.sampling import lr_at, stage_at
from data.synthesis.__main__ import main as synthesis
from inference import Restored, Restorer, restorer
from inference.engines.exported import Graph, make
from inference.fill.patches import TONE_RING, PageRules, carry_page_on, match_tone
from inference.find.locate import OutlineRules, follow_edges
from inference.find.occlusion import OcclusionRules, occluders_from_probability, visible_changes
from inference.paste import PasteRules, Patch, paste
from metrics.__main__ import main as metrics
from models.nafnet import NAFNet
from models.weights import Weights, arrays_of, load_weights, save_weights

__all__ = ["Restored", "Restorer", "load_weights", "metrics", "predict", "save_weights", "synthesis"]
ROOT = Path(__file__).resolve().parent.parent.parent
CONFIGS = ROOT / "configs"
SAMPLES = ROOT / "test_code" / "samples"
SHIPPED = ROOT / "test_code" / "gated.pdparams"
prepare, list_patches = data_preparation.main, generate_meta_info.main
rules = PasteRules()


def stand_in_for_restorer(patch: pytest.MonkeyPatch, function: Callable[[np.ndarray], Restored]) -> None:
    """predict.py then takes `function` for a restorer, and loads no network."""

    class StandIn:
        def __init__(self, *arguments: object, **options: object) -> None: ...

        def __call__(self, image: np.ndarray) -> Restored:
            return function(image)

        def describe(self) -> str:
            return "a stand-in"

    patch.setattr(restorer, "Restorer", StandIn)


def page_fill(picture: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """RGB uint8 with the page carried on over what is 1 in `mask`."""
    return carry_page_on(picture, mask, rules, PageRules().scaled(max(mask.shape)))


def network_fill(restored: np.ndarray, picture: np.ndarray, probability: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """float32 [h, w, 3], the network's picture in the tone of the page around."""
    return match_tone(restored, picture, probability, mask, rules.reach, TONE_RING)


def pasted(image: np.ndarray, fill: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The image with the smaller `fill` (float32) in it, and what changed."""
    result, changed, (height, width) = image.copy(), np.zeros(image.shape[:2], np.uint8), mask.shape
    paste(result, changed, Patch((0, height, 0, width), mask, fill), (height, width), rules)
    return result, changed


def occluders(probability: np.ndarray, threshold: float = 0.4) -> list[np.ndarray]:
    """The masks of what is removed; the shipped weights ask for a threshold of 0.4."""
    return occluders_from_probability(probability, OcclusionRules(threshold=threshold))


def default_threshold() -> tuple[float, float]:
    """Of the rules, and of weights that do not say."""
    return OcclusionRules().threshold, PredictConfig().mask_threshold


def visible(picture: np.ndarray, output: np.ndarray) -> np.ndarray:
    """What a network without a gate has removed."""
    return visible_changes(picture, output, OcclusionRules())


def outline(mask: np.ndarray, picture: np.ndarray) -> np.ndarray:
    """The mask at the edges of an RGB uint8 picture."""
    return follow_edges(mask, picture.astype(np.float32) / np.float32(255), OutlineRules())


def tiny_weights(**predict_settings: object) -> Weights:
    """A tiny gated network whose parameters come from NumPy, so that no version of Paddle matters."""
    model = ModelConfig(preset="tiny", gate=True).arguments()
    params, rng = arrays_of(NAFNet(**model)), np.random.default_rng(5)
    for name in sorted(params):
        shape = params[name].shape
        scale = 0.3 if len(shape) < 2 else 1 / np.sqrt(np.prod(shape[1:]))
        middle = 0.5 if name.endswith(("beta", "gamma")) else float(name.endswith(("norm1.weight", "norm2.weight")))
        params[name] = (middle + rng.normal(0, scale, shape)).astype(np.float32)
    return Weights(params, model, PredictConfig(**predict_settings).to_dict())


def exported(weights: Weights) -> bytes:
    """The ONNX file, for tiles of any size."""
    return make(Graph.nafnet(weights, PredictConfig.from_dict(weights.predict))).content


def eager(weights: Weights, tile: np.ndarray) -> np.ndarray:
    """What Paddle makes of float32 [1, 3, h, w]."""
    return Graph.nafnet(weights, PredictConfig.from_dict(weights.predict)).reference()(tile)


def plan(config: Path) -> dict[str, list[object]]:
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
