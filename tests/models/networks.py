"""Networks and pictures for the tests."""

from pathlib import Path

import numpy as np
import paddle

from configs.schema import PRESETS
from models.locator import Locator
from models.nafnet import NAFNet
from models.weights import Weights, arrays_of, load_arrays, save_weights

TINY = {"width": 4, "encoder_blocks": [1], "middle_blocks": 1, "decoder_blocks": [1]}
# Uneven numbers of blocks, so that a swapped level or a reversed list shows.
SMALL = {"width": 4, "encoder_blocks": [1, 2], "middle_blocks": 2, "decoder_blocks": [2, 1]}


def build(preset: str, **changes: object) -> NAFNet:
    """A new network of a preset with single values changed."""
    return NAFNet(**{**PRESETS[preset], **changes})


def plain_weights(path: Path) -> Path:
    """A file with a tiny network without a gate, which changes every pixel."""
    network = build("tiny")
    arrays = {name: values + np.float32(0.1) for name, values in arrays_of(network).items()}
    save_weights(path, Weights(arrays, {"tlc_train_size": 64, "overlap": 0}))
    return path


def random_network(seed: int = 0, **arguments: object) -> NAFNet:
    """A NAFNet in which beta, gamma and the norms are random too; a fresh one would be nearly the identity."""
    paddle.seed(seed)
    network = NAFNet(**arguments)
    rng = np.random.default_rng(seed)
    arrays = arrays_of(network)
    for name in sorted(arrays):
        if name.endswith(("beta", "gamma", "norm1.weight", "norm2.weight", "norm1.bias", "norm2.bias")):
            arrays[name] = rng.normal(0.5, 0.3, arrays[name].shape).astype(np.float32)
        if name.endswith("sca.1.weight"):
            # Stronger than at the start, so that what the attention averages over shows in the output.
            arrays[name] = rng.normal(0, 1, arrays[name].shape).astype(np.float32)
    load_arrays(network, arrays)
    network.eval()
    return network


def drawn_arrays(seed: int, **model: object) -> dict[str, np.ndarray]:
    """Float32 parameters, the same for the same seed; multiples of 1/64, which bfloat16 holds exactly."""
    rng, shapes = np.random.default_rng(seed), {name: array.shape for name, array in arrays_of(NAFNet(**model)).items()}
    return {name: (rng.integers(-64, 65, shapes[name]) / 64).astype(np.float32) for name in sorted(shapes)}


def lively_locator() -> Weights:
    """A small decoder's locator whose norms all do something."""
    paddle.seed(3)
    network = Locator(widths=(16, 12, 8, 8))
    rng = np.random.default_rng(4)
    params = arrays_of(network)
    for name, values in params.items():
        if name.endswith("_variance"):
            params[name] = rng.uniform(0.5, 2, values.shape).astype(np.float32)
        elif "norm" in name or "_bn" in name:
            params[name] = (values + rng.normal(0, 0.1, values.shape)).astype(np.float32)
    return Weights(params)


def random_picture(height: int, width: int, seed: int = 0, samples: int = 1) -> np.ndarray:
    """[samples, 3, height, width] float32 in [0, 1]."""
    return np.random.default_rng(seed).random((samples, 3, height, width), dtype=np.float32)
