"""What a training run needs to go on: the optimiser's memory, the moving average, and one file that holds it all."""

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import paddle
from paddle.nn import Layer
from paddle.optimizer import Optimizer

from utils.files import array_fault, load_tree, save_tree, set_tensors
from utils.training import CheckpointError


def save_checkpoint(path: str | os.PathLike[str], state: dict[str, Any]) -> None:
    """Writes `state` (nested dictionaries of arrays and plain values) atomically."""
    save_tree(path, {"state": state})


def load_checkpoint(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Reads the state that `save_checkpoint` wrote; CheckpointError: torn, of another kind, or not finite."""
    name = os.fspath(path)
    try:
        tree = load_tree(path)
    except ValueError as error:
        raise CheckpointError(str(error)) from error
    if not isinstance(tree, dict) or "state" not in tree:
        raise CheckpointError(f"{name}: not a checkpoint of train.py (weights alone go to train.init in the config)")
    for part in ("params", "ema"):
        arrays = tree["state"].get(part) if isinstance(tree["state"], dict) else 0
        fault = array_fault(arrays or {}) if isinstance(arrays, dict | None) else "expected names and values"
        if fault:
            raise CheckpointError(f"{name}: {part}: {fault}; go on from an earlier checkpoint")
    return tree["state"]


def optimizer_arrays(optimizer: Optimizer, network: Layer) -> dict[str, dict[str, Any]]:
    """What the optimiser keeps, as {parameter: {"moment1": array, ...}}; nothing before the first step."""
    return {name: {kind: tensor.numpy() for kind, tensor in each.items()}
            for name, each in _optimizer_tensors(optimizer, network).items()}


def load_optimizer_arrays(optimizer: Optimizer, network: Layer, arrays: dict[str, dict[str, np.ndarray]]) -> None:
    """Puts them into an optimiser that has not stepped yet; ValueError lists what does not fit."""
    # Paddle allocates the state in the first step. This one, at a rate of zero, leaves every parameter as it is.
    rate = optimizer.get_lr()
    for parameter in network.parameters():
        if not parameter.stop_gradient:
            parameter.grad = paddle.zeros_like(parameter)
    optimizer.set_lr(0.0)
    optimizer.step()
    optimizer.clear_grad()
    optimizer.set_lr(rate)
    set_tensors(*({f"{name}.{kind}": value for name, kept in nested.items() for kind, value in kept.items()}
                  for nested in (_optimizer_tensors(optimizer, network), arrays)))


def _optimizer_tensors(optimizer: Optimizer, network: Layer) -> dict[str, dict[str, paddle.Tensor]]:
    """By the names in the network; Paddle's own have counters, which another program counts otherwise."""
    structured = {parameter.name: name for name, parameter in network.named_parameters()}
    kept = {name: {} for name in structured.values()}
    for key, tensor in optimizer.state_dict().items():
        # "conv2d_0.w_0" + "_" + "beta1_pow_acc" + "_" + a counter; "conv2d_0.w_0" may begin another name.
        owner = max((name for name in structured if key.startswith(f"{name}_")), key=len)
        kept[structured[owner]][key[len(owner) + 1 :].rpartition("_")[0]] = tensor
    return kept


class MovingAverage:
    """Keeps `average <- average + (1 - d) * (parameter - average)` for every floating entry of a network's state, which
    it starts from. d of iteration t (from 0) is `min(decay, (1 + t) / (10 + t))`, as in TensorFlow's
    ExponentialMovingAverage: it forgets the random start quickly.
    """

    def __init__(self, network: Layer, decay: float) -> None:
        self.decay = decay
        self._live = {key: tensor for key, tensor in network.state_dict().items() if paddle.is_floating_point(tensor)}
        self._average = {name: tensor.detach().clone() for name, tensor in self._live.items()}

    @paddle.no_grad()
    def update(self, iteration: int) -> None:
        """Takes the parameters in as they are after the optimiser's step of `iteration` (from 0)."""
        share = 1 - min(self.decay, (1 + iteration) / (10 + iteration))
        for name, average in self._average.items():
            average.lerp_(self._live[name], share)

    def arrays(self) -> dict[str, np.ndarray]:
        """The averages as arrays, by the network's own parameter names."""
        return {name: tensor.numpy() for name, tensor in self._average.items()}

    def load_arrays(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Takes over `arrays()` of another run; ValueError lists the names and shapes that differ."""
        set_tensors(self._average, arrays)
