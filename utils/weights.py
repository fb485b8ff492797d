"""The file of trained weights: parameters together with what is needed to build and run the network."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from utils.serialization import load_tree, save_tree

FORMAT = 1


@dataclass(frozen=True)
class Weights:
    """What a `.pdparams` file of this project holds.

    Attributes:
        params: parameter name -> float array, with the official NAFNet names.
        model: keyword arguments of `models.nafnet.NAFNet` (width, encoder_blocks, ..., gate).
        predict: settings of prediction that suit these weights (`configs.schema.PredictConfig` as a dictionary).
        origin: where they come from: command, iteration, data, source file; for people, never read by code.
        file: the file that they were read from; not saved.
    """

    params: dict[str, np.ndarray]
    model: dict[str, Any]
    predict: dict[str, Any] = field(default_factory=dict)
    origin: dict[str, Any] = field(default_factory=dict)
    file: Path | None = field(default=None, compare=False)


def save_weights(path: str | os.PathLike[str], weights: Weights) -> None:
    """Writes one file with everything in it, atomically."""
    save_tree(
        path,
        {
            "format": FORMAT,
            "model": weights.model,
            "predict": weights.predict,
            "origin": weights.origin,
            "params": dict(weights.params),
        },
    )


def load_weights(path: str | os.PathLike[str]) -> Weights:
    """Reads a file of `save_weights`; nothing in it is executed.

    Raises:
        FileNotFoundError: no such file.
        ValueError: torn, of another kind, or written by a newer version of this project.
    """
    tree = load_tree(path)
    if not isinstance(tree, dict) or "params" not in tree or "model" not in tree:
        raise ValueError(
            f"{os.fspath(path)}: holds no 'model' and 'params'; weights of other projects are brought in with "
            "`python -m models.convert IN OUT.pdparams`"
        )
    if tree.get("format") != FORMAT:
        raise ValueError(f"{os.fspath(path)}: format {tree.get('format')!r}, this version reads format {FORMAT}")
    return Weights(
        params=tree["params"],
        model=tree["model"],
        predict=tree.get("predict", {}),
        origin=tree.get("origin", {}),
        file=Path(path).absolute(),
    )
