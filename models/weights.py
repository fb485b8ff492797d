"""The file of trained weights, with all that the network needs; reading it runs none of it, nor imports Paddle."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from utils.files import array_fault, load_tree, save_tree, set_tensors

if TYPE_CHECKING:
    from paddle import nn

FORMAT = 1


@dataclass(frozen=True, eq=False)
class Weights:
    """What a `.pdparams` file of this project holds: a network that restores, a locator that finds, or both."""

    params: dict[str, np.ndarray]  # Official name -> float array; empty without a network that restores
    predict: dict[str, Any] = field(default_factory=dict)  # Settings that suit them, those of a `PredictConfig`
    # Where they come from: command, iteration, data, source file; for people, never read by code.
    origin: dict[str, Any] = field(default_factory=dict)
    file: Path | None = None  # That they were read from; not saved
    locator: Weights | None = None  # The network that finds, where it is not the NAFNet's gate: its `params`

    @cached_property
    def model(self) -> dict[str, Any]:
        """The network's keyword arguments, as names and shapes of `params` show them: of `NAFNet`, `Restormer` (with
        dim) or `Locator` (widths); empty without a network. ValueError names what is missing, or of another shape.
        """
        try:
            if "encoder._conv_stem.weight" in self.params:
                steps = range(_count(self.params, "merges"))
                return {"widths": [len(self.params[f"merges.{step}.pointwise.weight"]) for step in steps]}
            restormer = "patch_embed.proj.weight" in self.params
            return (_restormer_of if restormer else _nafnet_of)(self.params) if self.params else {}
        except (KeyError, IndexError, TypeError) as error:
            raise ValueError(f"no whole network of a known kind: {error} among {len(self.params)} keys") from error


def save_weights(path: str | os.PathLike[str], weights: Weights) -> None:
    """Writes one file with everything in it, atomically; `model` is for people and for earlier versions."""
    tree = {"format": FORMAT} | {name: getattr(weights, name) for name in ("model", "predict", "origin", "params")}
    if weights.locator is not None:
        tree["locator"] = {"model": weights.locator.model, "params": weights.locator.params}
    save_tree(path, tree)


def load_weights(path: str | os.PathLike[str]) -> Weights:
    """Reads a file of `save_weights`; `ValueError`: torn, of another kind or a newer version, or NaN and infinite."""
    tree, name = load_tree(path), os.fspath(path)
    if not isinstance(tree, dict) or "params" not in tree:
        raise ValueError(f"{name}: holds no 'params'; `python -m models.convert` brings other weights in")
    if tree.get("format") != FORMAT:
        raise ValueError(f"{name}: format {tree.get('format')!r}, this version reads format {FORMAT}")
    file, weights = Path(path).absolute(), _part(tree, f"{name}: ")
    locator = replace(_part(tree["locator"], f"{name}: locator."), file=file) if tree.get("locator") else None
    return replace(weights, file=file, locator=locator)


def _part(tree: Any, place: str) -> Weights:
    """One network of a file and what stands beside it; an error says where that is."""
    parts = tree if isinstance(tree, dict) else {"params": None}
    for key in ("params", "predict", "origin"):
        if not isinstance(parts.setdefault(key, {}), dict):
            raise ValueError(f"{place}{key}: expected names and values; it is no file of this project's")
    weights = Weights(parts["params"], parts["predict"], parts["origin"])
    try:
        if fault := array_fault(weights.params):
            raise ValueError(f"{fault}; take an earlier file, or train it anew")
        weights.model  # noqa: B018 - now, while the file has a name
    except ValueError as error:
        raise ValueError(f"{place}params: {error}") from error
    return weights


def _nafnet_of(arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    (width, inputs), outputs = arrays["intro.weight"].shape[:2], len(arrays["ending.weight"])
    for what, channels in (("'intro.weight' takes", inputs), ("'ending.weight' makes", outputs)):
        if channels not in (3, 4):
            raise ValueError(f"{what} {channels} channels, expected 3 (RGB) or 4 (RGB and the mask)")
    levels = range(_count(arrays, "downs"))
    return {
        "width": width, "encoder_blocks": [_count(arrays, f"encoders.{level}") for level in levels],
        "middle_blocks": _count(arrays, "middle_blks"),
        "decoder_blocks": [_count(arrays, f"decoders.{level}") for level in levels],
        "gate": outputs == 4, **({"mask_input": True} if inputs == 4 else {}),
    }  # fmt: skip


def _restormer_of(arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    dim, inputs = arrays["patch_embed.proj.weight"].shape[:2]
    outputs = len(arrays["output.weight"])
    if (inputs, outputs) != (3, 3) or any(name.startswith("skip_conv.") for name in arrays):
        raise ValueError(f"a Restormer that takes {inputs} channels and makes {outputs}; expected RGB, in and out")
    blocks = [_count(arrays, level) for level in ("encoder_level1", "encoder_level2", "encoder_level3", "latent")]
    return {"dim": dim, "num_blocks": blocks, "num_refinement_blocks": _count(arrays, "refinement")}


def _count(arrays: Mapping[str, np.ndarray], part: str) -> int:
    """How many numbered layers a part has, never more than it has keys; a gap shows up as missing keys later."""
    numbers = {found[1] for name in arrays if (found := re.match(rf"{part}\.(\d+)\.", name))}
    if not numbers:
        raise KeyError(f"no key matches {part}.N")
    return len(numbers)


def arrays_of(network: nn.Layer) -> dict[str, np.ndarray]:
    """A copy of every parameter: name -> array, with the official NAFNet names for a NAFNet."""
    return {name: np.array(tensor.numpy()) for name, tensor in network.state_dict().items()}


def load_arrays(network: nn.Layer, arrays: Mapping[str, np.ndarray]) -> None:
    """Sets every parameter of `network` from `arrays`, all or none, as `set_tensors` does; ValueError as of that."""
    set_tensors(network.state_dict(), arrays)


def network_of(weights: Weights) -> nn.Layer:
    """The network of these `params`, for evaluation; `ValueError`: they are none of this project's, or not whole."""
    # Here, since engines that run exported networks read weights without waiting for Paddle.
    from models.locator import Locator
    from models.nafnet import NAFNet
    from models.restormer import Restormer

    if not weights.model:
        raise ValueError("the weights hold no network that restores; name a file with one")
    kind = Locator if "widths" in weights.model else Restormer if "dim" in weights.model else NAFNet
    network = kind(**weights.model)
    try:
        load_arrays(network, weights.params)
    except ValueError as error:
        raise ValueError(f"{weights.file}: {error}" if weights.file else str(error)) from error
    network.eval()
    return network
