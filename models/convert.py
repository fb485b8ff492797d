"""Brings the weights of a PyTorch NAFNet over: python -m models.convert IN OUT.pdparams [--predict KEY=VALUE ...]

IN is an official `.pth` (a dictionary `params_ema` or `params`, or the parameters themselves) or a `.safetensors`
file. Convolutions have the same layout in both frameworks and parameters the same names, so nothing is renamed or
transposed; width, blocks and gate are read off the names and shapes. A file with a missing, unexpected or misshaped
key is refused. Neither PyTorch nor anything inside the file is run.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from models.state import network_of
from utils.torch_archive import load_torch_archive
from utils.weights import Weights, save_weights


def read_arrays(path: str | Path) -> dict[str, np.ndarray]:
    """The parameters of a `.pth` or `.safetensors` file by name, floats as float32.

    Raises:
        FileNotFoundError: no such file.
        ValueError: another kind of file, torn, or without a dictionary of parameters.
    """
    path = Path(path)
    if path.suffix == ".safetensors":
        tree: Any = _read_safetensors(path)
    elif path.suffix in (".pth", ".pt"):
        tree = load_torch_archive(path)
        if isinstance(tree, dict):
            # BasicSR, which the official repository builds on, keeps the averaged weights under `params_ema`.
            tree = tree.get("params_ema", tree.get("params", tree))
    else:
        raise ValueError(f"{path}: suffix {path.suffix!r}, expected .pth, .pt or .safetensors")
    if not isinstance(tree, dict) or not tree or not all(isinstance(value, np.ndarray) for value in tree.values()):
        raise ValueError(f"{path}: holds no parameters (looked at params_ema, at params, then at the whole file)")
    return {
        name: values.astype(np.float32) if np.issubdtype(values.dtype, np.floating) else values
        for name, values in tree.items()
    }


def _read_safetensors(path: Path) -> dict[str, np.ndarray]:
    # Imported here: predicting needs this module's neighbours but never this library.
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dictionary)
    except FileNotFoundError:
        raise
    except (SafetensorError, TypeError, OSError) as error:
        raise ValueError(f"{path}: not a whole safetensors file of float16, float32 or float64 ({error})") from error


def infer_model(arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """The arguments of `NAFNet` that fit the names and shapes of `arrays`.

    Raises:
        ValueError: no NAFNet; the message names the key that says so.
    """
    for name in ("intro.weight", "ending.weight"):
        if name not in arrays or arrays[name].ndim != 4:
            raise ValueError(f"no NAFNet: no four-dimensional {name!r} among {len(arrays)} keys")
    outputs = arrays["ending.weight"].shape[0]
    if outputs not in (3, 4):
        raise ValueError(f"'ending.weight' makes {outputs} channels, expected 3 (RGB) or 4 (RGB and the mask)")
    levels = _count(arrays, r"downs\.(\d+)\.")
    return {
        "width": int(arrays["intro.weight"].shape[0]),
        "encoder_blocks": [_count(arrays, rf"encoders\.{level}\.(\d+)\.") for level in range(levels)],
        "middle_blocks": _count(arrays, r"middle_blks\.(\d+)\."),
        "decoder_blocks": [_count(arrays, rf"decoders\.{level}\.(\d+)\.") for level in range(levels)],
        "gate": outputs == 4,
    }


def _count(arrays: Mapping[str, np.ndarray], pattern: str) -> int:
    """How many numbered parts match: the highest number found and one; a gap shows up as missing keys later."""
    numbers = [int(found[1]) for name in arrays if (found := re.match(pattern, name))]
    if not numbers:
        raise ValueError(f"no NAFNet, or a part of one: no key matches {pattern!r} among {len(arrays)} keys")
    return 1 + max(numbers)


def convert(
    source: str | Path, predict: Mapping[str, Any] | None = None, origin: Mapping[str, Any] | None = None
) -> Weights:
    """Reads a PyTorch NAFNet and proves that it is whole by loading it.

    Args:
        source: a `.pth`, `.pt` or `.safetensors` file.
        predict: settings of prediction to store with the weights.
        origin: remarks for people; the file's name and SHA-256 are added.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not the weights of a NAFNet, or not all of them; the message names the file and the keys.
    """
    source = Path(source)
    arrays = read_arrays(source)
    digest = hashlib.sha256(source.read_bytes()).hexdigest()
    try:
        weights = Weights(
            params=arrays,
            model=infer_model(arrays),
            predict=dict(predict or {}),
            origin={**(origin or {}), "converted_from": source.name, "sha256": digest},
        )
        network_of(weights)
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from error
    return weights


def _setting(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise argparse.ArgumentTypeError(f"{text!r}: expected KEY=VALUE")
    return key, yaml.safe_load(value)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m models.convert", description=__doc__.split("\n", 1)[0])
    parser.add_argument("source", metavar="IN", type=Path, help="official .pth, or .safetensors")
    parser.add_argument("target", metavar="OUT.pdparams", type=Path, help="file of weights to write")
    parser.add_argument(
        "--predict", nargs="+", action="extend", type=_setting, default=[], metavar="KEY=VALUE",
        help="settings of prediction to store, as in the `predict` section of a config (long_side=1024 rows=2 ...)",
    )  # fmt: skip
    parser.add_argument(
        "--origin", nargs="+", action="extend", type=_setting, default=[], metavar="KEY=VALUE",
        help="remarks on where the weights come from, for people",
    )  # fmt: skip
    options = parser.parse_args(arguments)
    if options.target.suffix != ".pdparams":
        parser.error(f"{options.target}: the name must end in .pdparams")
    try:
        weights = convert(options.source, dict(options.predict), dict(options.origin))
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    save_weights(options.target, weights)
    count = sum(values.size for values in weights.params.values())
    print(f"{options.target}: {count / 1e6:.2f} M parameters, {weights.model}, predict {weights.predict}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
