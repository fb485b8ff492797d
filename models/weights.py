"""The file of trained weights: parameters together with what is needed to build and run the network.

Reading it runs nothing from the file and does not import Paddle. Parameters go in and out of a network as NumPy arrays,
with nothing left over and nothing left out.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from utils.files import load_tree, save_tree

if TYPE_CHECKING:
    from paddle import nn

    from models.locator import Locator
    from models.nafnet import NAFNet

FORMAT = 1


@dataclass(frozen=True)
class Weights:
    """What a `.pdparams` file of this project holds: a NAFNet that restores, a locator that finds, or both.

    Attributes:
        params: parameter name -> float array, with the official NAFNet names; empty without a NAFNet.
        model: keyword arguments of `models.nafnet.NAFNet` (width, encoder_blocks, ..., gate), or of
            `models.locator.Locator` (widths); empty without a network.
        predict: settings of prediction that suit these weights (`configs.schema.PredictConfig` as a dictionary).
        origin: where they come from: command, iteration, data, source file; for people, never read by code.
        file: the file that they were read from; not saved.
        locator: the network that finds, where it is not the NAFNet's gate: its `params` and `model`.
    """

    params: dict[str, np.ndarray]
    model: dict[str, Any]
    predict: dict[str, Any] = field(default_factory=dict)
    origin: dict[str, Any] = field(default_factory=dict)
    file: Path | None = field(default=None, compare=False)
    locator: Weights | None = None


def save_weights(path: str | os.PathLike[str], weights: Weights) -> None:
    """Writes one file with everything in it, atomically."""
    tree = {"format": FORMAT} | {name: getattr(weights, name) for name in ("model", "predict", "origin", "params")}
    if weights.locator is not None:
        tree["locator"] = {"model": weights.locator.model, "params": weights.locator.params}
    save_tree(path, tree)


def load_weights(path: str | os.PathLike[str]) -> Weights:
    """Reads a file of `save_weights`; `ValueError`: torn, of another kind, or of a newer version of this project."""
    tree = load_tree(path)
    if not isinstance(tree, dict) or "params" not in tree or "model" not in tree:
        raise ValueError(f"{os.fspath(path)}: holds no 'model' and 'params'; weights of other projects are brought in "
                         "with `python -m models.convert IN OUT.pdparams`")
    if tree.get("format") != FORMAT:
        raise ValueError(f"{os.fspath(path)}: format {tree.get('format')!r}, this version reads format {FORMAT}")
    locator = tree.get("locator")
    return Weights(
        tree["params"], tree["model"], tree.get("predict", {}), tree.get("origin", {}), Path(path).absolute(),
        Weights(locator["params"], locator["model"]) if locator else None,
    )  # fmt: skip


def arrays_of(network: nn.Layer) -> dict[str, np.ndarray]:
    """A copy of every parameter: name -> array, with the official NAFNet names for a NAFNet."""
    return {name: np.array(tensor.numpy()) for name, tensor in network.state_dict().items()}


def load_arrays(network: nn.Layer, arrays: Mapping[str, np.ndarray]) -> None:
    """Sets every parameter of `network` from `arrays`, all or none, cast to the parameter's own type.

    ValueError lists what is missing, unexpected, misshaped or not of floating point; Paddle's `set_state_dict` would
    only warn and leave the rest as it was.
    """
    parameters = network.state_dict()
    faults = [f"missing {name} {list(tensor.shape)}" for name, tensor in parameters.items() if name not in arrays]
    for name, values in arrays.items():
        if name not in parameters:
            faults.append(f"unexpected {name} {list(values.shape)}")
        elif list(values.shape) != list(parameters[name].shape):
            faults.append(f"misshaped {name}: expected {list(parameters[name].shape)}, found {list(values.shape)}")
        elif not np.issubdtype(values.dtype, np.floating):
            faults.append(f"not floating point {name}: {values.dtype}")
    if faults:
        raise ValueError(f"the weights do not fit this network ({len(faults)} faults): {'; '.join(faults)}. Check that "
                         "width, blocks and gate are those that the weights were trained with")
    for name, tensor in parameters.items():
        tensor.set_value(np.asarray(arrays[name], dtype=tensor.numpy().dtype))


def network_of(weights: Weights) -> NAFNet | Locator:
    """Builds the network whose `params` and `model` these are, loads it and sets it to evaluation.

    `ValueError`: it describes no network of this project, or its arrays do not fit the description.
    """
    # Here, since engines that run exported networks read weights without waiting for Paddle.
    from models.locator import Locator
    from models.nafnet import NAFNet

    if not weights.model:
        raise ValueError("the weights hold no network that restores; name a file with one")
    try:
        network = (Locator if "widths" in weights.model else NAFNet)(**weights.model)
    except TypeError as error:
        raise ValueError(f"the weights describe a network {weights.model} that this version cannot build ({error}); "
                         "update the project, or convert the original weights again") from error
    load_arrays(network, weights.params)
    network.eval()
    return network
