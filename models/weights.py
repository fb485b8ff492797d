"""The file of trained weights: parameters together with what is needed to build and run the network.

Reading it runs nothing from the file and does not import Paddle. Parameters go in and out of a network as NumPy arrays,
with nothing left over and nothing left out.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from utils.files import array_fault, load_tree, save_tree

if TYPE_CHECKING:
    from paddle import nn

    from models.locator import Locator
    from models.nafnet import NAFNet
    from models.restormer import Restormer

FORMAT = 1


@dataclass(frozen=True)
class Weights:
    """What a `.pdparams` file of this project holds: a network that restores, a locator that finds, or both.

    Attributes:
        params: parameter name -> float array, with the official names; empty without a network that restores.
        model: keyword arguments of `models.nafnet.NAFNet` (width, encoder_blocks, ..., gate), of
            `models.restormer.Restormer` (dim, ...), or of `models.locator.Locator` (widths); empty without a network.
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
    """Reads a file of `save_weights`; `ValueError`: torn, of another kind or a newer version, or NaN and infinite."""
    tree, name = load_tree(path), os.fspath(path)
    if not isinstance(tree, dict) or "params" not in tree or "model" not in tree:
        raise ValueError(f"{name}: holds no 'model' and 'params'; weights of other projects are brought in "
                         "with `python -m models.convert IN OUT.pdparams`")
    if tree.get("format") != FORMAT:
        raise ValueError(f"{name}: format {tree.get('format')!r}, this version reads format {FORMAT}")
    tree = {"predict": {}, "origin": {}, **tree}
    locator = tree.get("locator") or None
    for place, part in (("", tree), ("locator.", {"model": {}, "params": {}} if locator is None else locator)):
        for key in ("model", "params", "predict", "origin") if part is tree else ("model", "params"):
            if not isinstance(part, dict) or not isinstance(part.get(key), dict):
                raise ValueError(f"{name}: {place}{key}: expected names and values; this file was not written by "
                                 "train.py or models.convert")
        fault = array_fault(part["params"])
        if fault:
            raise ValueError(f"{name}: {place}params: {fault}; take an earlier file, or train it anew")
    return Weights(
        tree["params"], tree["model"], tree["predict"], tree["origin"], Path(path).absolute(),
        Weights(locator["params"], locator["model"]) if locator else None,
    )  # fmt: skip


def infer_model(arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """The arguments of `NAFNet` that fit the names and shapes of `arrays`; ValueError with the key that fits none."""
    for name in ("intro.weight", "ending.weight"):
        if name not in arrays or arrays[name].ndim != 4:
            raise ValueError(f"no NAFNet: no four-dimensional {name!r} among {len(arrays)} keys")
    outputs = arrays["ending.weight"].shape[0]
    if outputs not in (3, 4):
        raise ValueError(f"'ending.weight' makes {outputs} channels, expected 3 (RGB) or 4 (RGB and the mask)")
    inputs = arrays["intro.weight"].shape[1]
    if inputs not in (3, 4):
        raise ValueError(f"'intro.weight' takes {inputs} channels, expected 3 (RGB) or 4 (RGB and the mask)")
    levels = count_of(arrays, r"downs\.(\d+)\.")
    return {
        "width": int(arrays["intro.weight"].shape[0]),
        "encoder_blocks": [count_of(arrays, rf"encoders\.{level}\.(\d+)\.") for level in range(levels)],
        "middle_blocks": count_of(arrays, r"middle_blks\.(\d+)\."),
        "decoder_blocks": [count_of(arrays, rf"decoders\.{level}\.(\d+)\.") for level in range(levels)],
        "gate": outputs == 4, **({"mask_input": True} if inputs == 4 else {}),
    }


def infer_restormer(arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """The arguments of `Restormer` that fit; ValueError as of `infer_model`."""
    try:
        dim, inputs = arrays["patch_embed.proj.weight"].shape[:2]
        outputs, hidden = len(arrays["output.weight"]), arrays["latent.0.ffn.project_out.weight"].shape[1]
        levels = [*(f"encoder_level{level}" for level in (1, 2, 3)), "latent"]
        heads = [len(arrays[f"{level}.0.attn.temperature"]) for level in levels]
    except (KeyError, ValueError, IndexError, TypeError) as error:
        raise ValueError(f"no Restormer, or a part of one: {error} is missing or misshaped") from error
    if (inputs, outputs) != (3, 3) or any(name.startswith("skip_conv.") for name in arrays):
        raise ValueError(f"a Restormer that takes {inputs} channels and makes {outputs}; expected one of RGB pictures, "
                         "in and out, and not the one for dual pixels")
    return {
        "dim": dim, "num_blocks": [count_of(arrays, rf"{level}\.(\d+)\.") for level in levels],
        "num_refinement_blocks": count_of(arrays, r"refinement\.(\d+)\."), "heads": heads,
        "ffn_expansion_factor": 2.66 if hidden == int(8 * dim * 2.66) else hidden / (8 * dim),
        "bias": "output.bias" in arrays, "centred": "latent.0.norm1.body.bias" in arrays,
    }  # fmt: skip


def widths_of(arrays: Mapping[str, np.ndarray]) -> list[int]:
    """The argument of `Locator` that fits; ValueError as of `infer_model`."""
    try:
        return [len(arrays[f"merges.{step}.pointwise.weight"]) for step in range(count_of(arrays, r"merges\.(\d+)\."))]
    except (KeyError, TypeError) as error:
        raise ValueError(f"no locator, or a part of one: {error} is missing among {len(arrays)} keys") from error


def count_of(arrays: Mapping[str, np.ndarray], pattern: str) -> int:
    """How many numbered parts match: the highest number found and one; a gap shows up as missing keys later."""
    numbers = [int(found[1]) for name in arrays if (found := re.match(pattern, name))]
    if not numbers:
        raise ValueError(f"no whole network of a known kind: no key matches {pattern!r} among {len(arrays)} keys")
    return 1 + max(numbers)


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


def network_of(weights: Weights) -> NAFNet | Restormer | Locator:
    """Builds the network whose `params` and `model` these are, loads it and sets it to evaluation.

    `ValueError`: it describes no network of this project, or its arrays do not fit the description.
    """
    # Here, since engines that run exported networks read weights without waiting for Paddle.
    from models.locator import Locator
    from models.nafnet import NAFNet
    from models.restormer import Restormer

    if not weights.model:
        raise ValueError("the weights hold no network that restores; name a file with one")
    if "widths" in weights.model:
        kind, shape_of = Locator, lambda arrays: {"widths": widths_of(arrays)}
    else:
        kind, shape_of = (Restormer, infer_restormer) if "dim" in weights.model else (NAFNet, infer_model)
    try:
        # What the arrays show comes first: a network of another size could fill the memory before they are compared.
        shown = shape_of(weights.params)
        told = {key: list(value) if isinstance(value, tuple) else value for key, value in weights.model.items()}
        differing = {key: value for key, value in told.items() if key in shown and value != shown[key]}
        if differing:
            raise ValueError(f"the weights describe a network with {differing}, but their arrays show {shown}")
        network = kind(**weights.model)
    except TypeError as error:
        raise ValueError(f"the weights describe a network {weights.model} that this version cannot build ({error}); "
                         "update the project, or convert the original weights again") from error
    load_arrays(network, weights.params)
    network.eval()
    return network
