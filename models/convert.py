"""Brings the weights of a PyTorch network over.

    python -m models.convert IN OUT.pdparams [--predict KEY=VALUE ...]

IN is a `.pth` (a dictionary `params_ema` or `params`, or the parameters themselves) or a `.safetensors` file, of an
official NAFNet, of this project's locator, or the ImageNet weights of EfficientNet-Lite0 that a locator starts from.
Convolutions have the same layout in both frameworks and parameters the same names but for a norm's running statistics;
which network it is, is read off names and shapes. A file with a missing, unexpected or misshaped key is refused.

Neither PyTorch nor anything inside the file is run: pickles are read with a short list of allowed names.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import math
import re
import sys
import zipfile
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from models.weights import Weights, arrays_of, load_arrays, network_of, save_weights
from utils.command import command, program
from utils.files import RestrictedUnpickler, UnsafeFileError, check_writable

# The storages that files of weights use. NumPy has no bfloat16, it is widened to float32.
_STORAGES = {
    "DoubleStorage": np.dtype("<f8"), "FloatStorage": np.dtype("<f4"), "HalfStorage": np.dtype("<f2"),
    "BFloat16Storage": np.dtype("<u2"), "LongStorage": np.dtype("<i8"), "IntStorage": np.dtype("<i4"),
    "ShortStorage": np.dtype("<i2"), "CharStorage": np.dtype("i1"), "ByteStorage": np.dtype("u1"),
    "BoolStorage": np.dtype("?"),
}  # fmt: skip


def _rebuild_tensor(
    storage: np.ndarray, offset: int, size: Sequence[int], stride: Sequence[int], *_: Any
) -> np.ndarray:
    """A view of a tensor's values in its storage; bounds are checked because the numbers come from the file."""
    last = offset + sum((length - 1) * step for length, step in zip(size, stride, strict=False))
    sane = offset >= 0 and len(size) == len(stride) and min([*size, *stride], default=0) >= 0
    # Strides of 0 would make much of little.
    if not sane or (0 not in size and last >= storage.size) or math.prod(size) > storage.size:
        raise ValueError(f"a tensor of size {size}, stride {stride}, offset {offset} leaves its {storage.size} values")
    if 0 in size:
        return np.zeros(size, storage.dtype)
    return np.lib.stride_tricks.as_strided(storage[offset:], size, [step * storage.itemsize for step in stride])


_ENCODER = ("_conv_stem.", "_bn0.", "_blocks.")
_MAGIC = 0x1950A86A20F9469CFC6C
_ALLOWED = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    ("torch._utils", "_rebuild_parameter"): lambda values, *_: values,
    # A storage's type stands only inside references to it; its name says all.
    **{("torch", name): name for name in _STORAGES},
}


def _read_zip(content: bytes) -> Any:
    """PyTorch 1.6 and newer: a pickle, and a raw file per storage."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        names = archive.namelist()
        roots = [entry.removesuffix("/data.pkl") for entry in names if entry.endswith("/data.pkl")]
        if len(roots) != 1:
            raise ValueError("holds no data.pkl, it is some other ZIP file")
        storages = _Storages()
        tree = RestrictedUnpickler(archive.read(f"{roots[0]}/data.pkl"), _ALLOWED, storages.refer).load()
        for key in storages.arrays:
            storages.fill(key, archive.read(f"{roots[0]}/data/{key}"))
    return tree


def _read_sequence(content: bytes) -> Any:
    """Before PyTorch 1.6: a magic number, a version, the machine, the tree, the storages' keys, and their values."""
    stream, storages = io.BytesIO(content), _Storages()
    magic, version, machine = (RestrictedUnpickler(stream, {}).load() for _ in range(3))
    if (magic, version) != (_MAGIC, 1001) or not machine.get("little_endian"):
        raise ValueError("begins like no file of torch.save on a little-endian machine")
    tree = RestrictedUnpickler(stream, _ALLOWED, storages.refer).load()
    for key in RestrictedUnpickler(stream, {}).load():
        count = int.from_bytes(stream.read(8), "little")
        storages.fill(key, stream.read(count * storages.kinds[key].itemsize))
    return tree


class _Storages:
    """The storages that a pickle refers to: made when they are named, filled once their values are read."""

    def __init__(self) -> None:
        self.arrays: dict[str, np.ndarray] = {}
        self.kinds: dict[str, np.dtype] = {}

    def refer(self, reference: Any) -> np.ndarray:
        kind, storage, key, _location, count, *_ = reference
        if kind != "storage" or storage not in _STORAGES:
            raise ValueError(f"holds a reference {reference!r} that is not a storage")
        if key not in self.arrays:
            self.kinds[key] = _STORAGES[storage]
            self.arrays[key] = np.zeros(count, np.float32 if storage == "BFloat16Storage" else _STORAGES[storage])
        return self.arrays[key]

    def fill(self, key: str, content: bytes) -> None:
        array, kind = self.arrays[key], self.kinds[key]
        if len(content) != array.size * kind.itemsize:
            raise ValueError(f"storage {key} has {len(content)} bytes, expected {array.size} x {kind.itemsize}")
        values = np.frombuffer(content, kind)
        array[:] = values if kind == array.dtype else (values.astype(np.uint32) << 16).view(np.float32)


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """The parameters of a `.pth` or `.safetensors` file by name, floats as float32.

    ValueError: another kind of file, torn, without parameters, or (`UnsafeFileError`) with more than plain values.
    """
    if path.suffix not in (".pth", ".pt", ".safetensors"):
        raise ValueError(f"{path}: suffix {path.suffix!r}, expected .pth, .pt or .safetensors")
    content = path.read_bytes()
    try:
        if path.suffix == ".safetensors":
            # Imported here: predicting needs this module's neighbours but never this library.
            from safetensors.numpy import load

            tree: Any = load(content)
        else:
            tree = _read_zip(content) if content[:2] == b"PK" else _read_sequence(content)
            if isinstance(tree, dict):
                # BasicSR, which the official repository builds on, keeps the averaged weights under `params_ema`.
                tree = tree.get("params_ema", tree.get("params", tree))
    except UnsafeFileError as error:
        raise UnsafeFileError(f"{path}: {error}") from error
    except Exception as error:
        kind = "safetensors" if path.suffix == ".safetensors" else "torch.save"
        raise ValueError(f"{path}: not a whole file of {kind} ({type(error).__name__}: {error})") from error
    if not isinstance(tree, dict) or not tree or not all(isinstance(value, np.ndarray) for value in tree.values()):
        raise ValueError(f"{path}: holds no parameters (looked at params_ema, at params, then at the whole file)")
    floats = {name for name, values in tree.items() if np.issubdtype(values.dtype, np.floating)}
    return {name: values.astype(np.float32) if name in floats else values.copy() for name, values in tree.items()}


def infer_model(arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """The arguments of `NAFNet` that fit the names and shapes of `arrays`; ValueError with the key that fits none."""
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


def convert(source: Path, predict: Mapping[str, Any] | None = None) -> Weights:
    """Reads a PyTorch network and proves that it is whole by loading it; `ValueError` names the file and wrong keys.

    `predict` are settings of prediction to store with the weights.
    """
    arrays, predict = read_arrays(source), dict(predict or {})
    origin = {"converted_from": source.name, "sha256": hashlib.sha256(source.read_bytes()).hexdigest()}
    try:
        if any(name.endswith("_conv_stem.weight") for name in arrays):
            return Weights({}, {}, predict, origin, locator=_locator(arrays))
        weights = Weights(arrays, infer_model(arrays), predict, origin)
        network_of(weights)
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from error
    return weights


def _locator(arrays: Mapping[str, np.ndarray]) -> Weights:
    """A locator's own parameters, or those that EfficientNet-Lite0 lends to its encoder: then the decoder is fresh."""
    renamed = {
        name.replace(".running_mean", "._mean").replace(".running_var", "._variance"): values
        for name, values in arrays.items()
        if not name.endswith(".num_batches_tracked")
    }
    if "_conv_stem.weight" in renamed:
        # What belongs to its classifier is of no use here.
        return fresh_locator({f"encoder.{name}": renamed[name] for name in renamed if name.startswith(_ENCODER)})
    widths = [len(renamed[f"merges.{step}.pointwise.weight"]) for step in range(_count(renamed, r"merges\.(\d+)\."))]
    locator = Weights(renamed, {"widths": widths})
    network_of(locator)
    return locator


def fresh_locator(encoder: Mapping[str, np.ndarray], seed: int = 0) -> Weights:
    """A locator to train, whose encoder has these parameters (all of them) and whose decoder has random ones."""
    import paddle

    from models.locator import Locator

    paddle.seed(seed)
    network = Locator()
    params = {name: array for name, array in arrays_of(network).items() if not name.startswith("encoder.")}
    load_arrays(network, {**params, **encoder})
    return Weights({**params, **encoder}, network.config)


def _setting(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise argparse.ArgumentTypeError(f"{text!r}: expected KEY=VALUE")
    return key, yaml.safe_load(value)


@command(ValueError)
def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        program("python -m models.convert"), description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("source", metavar="IN", type=Path, help="official .pth, or .safetensors")
    parser.add_argument("target", metavar="OUT.pdparams", type=Path, help="file of weights to write")
    parser.add_argument(
        "--predict", nargs="+", action="extend", type=_setting, default=[], metavar="KEY=VALUE",
        help="settings of prediction to store, as in the config's `predict` (long_side=1024 rows=2 ...)",
    )  # fmt: skip
    options = parser.parse_args(arguments)
    if options.target.suffix != ".pdparams":
        parser.error(f"{options.target}: the name must end in .pdparams")
    check_writable(options.target)
    weights = convert(options.source, dict(options.predict))
    save_weights(options.target, weights)
    kind, network = ("locator", weights.locator) if weights.locator else ("NAFNet", weights)
    count = sum(values.size for values in network.params.values())
    print(f"{options.target}: {kind}, {count / 1e6:.2f} M parameters, {network.model}, predict {weights.predict}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
