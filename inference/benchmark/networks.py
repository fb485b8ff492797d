"""The networks that are timed, made of one file of weights without any training."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from models.weights import Weights

# The write-up's prediction: the full-size photo in four equal tiles, TLC's window 2.5 x 256 = 640.
RECIPE = {
    "rows": 2,
    "columns": 2,
    "overlap": 0,
    "tlc_train_size": 256,
    "tlc_ratio": 2.5,
    "downscale": 1,
    "long_side": 0,
}


def doubled(weights: Weights) -> Weights:
    """The same function as a network of twice the width: every channel is there twice, and every convolution takes
    half of each.

    So a width that nobody has trained is timed on a network that finds the same occluders and hence does the same
    work per photo as one that was trained. LayerNorm's mean and variance over channels stay what they were.
    """
    params = {name: _doubled(name, np.asarray(array)) for name, array in weights.params.items()}
    return replace(weights, params=params, model={**weights.model, "width": 2 * weights.model["width"]}, file=None)


def _doubled(name: str, array: np.ndarray) -> np.ndarray:
    if array.ndim == 4 and name.endswith(("beta", "gamma")):
        return array.repeat(2, axis=1)
    reads_picture, writes_picture = name.startswith("intro."), name.startswith("ending.")
    depthwise = name.endswith("conv2.weight")
    if not writes_picture:
        # PixelShuffle makes one channel of four neighbours, which have to stay together.
        together = 4 if name.startswith("ups.") else 1
        groups = array.reshape(array.shape[0] // together, together, *array.shape[1:])
        array = groups.repeat(2, axis=0).reshape(-1, *array.shape[1:])
    if array.ndim == 4 and not reads_picture and not depthwise:
        array = array.repeat(2, axis=1) / np.asarray(2, array.dtype)
    return array


def as_recipe(weights: Weights) -> Weights:
    """The write-up's kind of network, without a gate, with its way of prediction as `predict`."""
    params, model = dict(weights.params), dict(weights.model)
    if model["gate"]:
        params.update({name: params[name][:3] for name in ("ending.weight", "ending.bias")})
        model["gate"] = False
    predict: dict[str, Any] = {**weights.predict, **RECIPE}
    return replace(weights, params=params, model=model, predict=predict, file=None)
