"""Parameters as NumPy arrays, in and out of a network, with nothing left over and nothing left out."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from paddle import nn

from models.nafnet import NAFNet
from utils.weights import Weights


def arrays_of(network: nn.Layer) -> dict[str, np.ndarray]:
    """A copy of every parameter: name -> array, with the official NAFNet names for a NAFNet."""
    return {name: np.array(tensor.numpy()) for name, tensor in network.state_dict().items()}


def load_arrays(network: nn.Layer, arrays: Mapping[str, np.ndarray]) -> None:
    """Sets every parameter of `network` from `arrays`, all or none.

    Values are cast to the parameter's own type, so that half-precision files load too.

    Raises:
        ValueError: a key is missing, unexpected, misshaped or not of floating point; the message lists all of them.
            Paddle's `set_state_dict` would only warn and leave the rest as it was.
    """
    parameters = network.state_dict()
    faults = [f"missing {name} {list(tensor.shape)}" for name, tensor in parameters.items() if name not in arrays]
    faults += [f"unexpected {name} {list(np.shape(arrays[name]))}" for name in arrays if name not in parameters]
    for name in parameters:
        if name not in arrays:
            continue
        expected, found = list(parameters[name].shape), list(np.shape(arrays[name]))
        if expected != found:
            faults.append(f"misshaped {name}: expected {expected}, found {found}")
        elif not np.issubdtype(arrays[name].dtype, np.floating):
            faults.append(f"not floating point {name}: {arrays[name].dtype}")
    if faults:
        raise ValueError(
            f"the weights do not fit this network ({len(faults)} faults): {'; '.join(faults)}. "
            "Check that width, blocks and gate are those that the weights were trained with"
        )
    for name, tensor in parameters.items():
        tensor.set_value(np.asarray(arrays[name], dtype=tensor.numpy().dtype))


def network_of(weights: Weights) -> NAFNet:
    """Builds the network that a file of weights describes, loads it and sets it to evaluation.

    Raises:
        ValueError: the file describes no network of this project, or its arrays do not fit the description.
    """
    try:
        network = NAFNet(**weights.model)
    except TypeError as error:
        raise ValueError(
            f"the weights describe a network {weights.model} that this version cannot build ({error}); "
            "update the project, or convert the original weights again"
        ) from error
    load_arrays(network, weights.params)
    network.eval()
    return network
