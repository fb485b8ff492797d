"""Brings the weights of a PyTorch network over.

    python -m models.convert IN OUT.pdparams [--predict KEY=VALUE ...]

IN is a `.pth` or a `.safetensors` file of an official NAFNet or Restormer, of this project's locator, or the ImageNet
weights of EfficientNet-Lite0 that a locator starts from. The parameters may lie in dictionaries (`params_ema`,
`state_dict`, ...) and below prefixes (`module.`, `net_g.`, ...); of several copies the moving average is taken, as
BasicSR does. Names and shapes say which network it is. A key that is missing, unexpected or misshaped is refused, and
so is NaN. Neither PyTorch nor anything inside the file is run.
"""

import hashlib
import io
import math
import os
import re
import zipfile
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from configs.load import override
from configs.schema import PredictConfig
from models.weights import Weights, arrays_of, load_weights, network_of, save_weights
from utils.command import DONE, command, parser_of
from utils.files import RestrictedUnpickler, UnsafeFileError, array_fault, check_writable, printable
from utils.machine import start_paddle

_BFLOAT16 = np.dtype([("bits", "<u2")])  # the upper half of a float32; NumPy has none
# The storages that files of weights use, and the same by the names of safetensors.
_STORAGES = {
    "DoubleStorage": np.dtype("<f8"), "FloatStorage": np.dtype("<f4"), "HalfStorage": np.dtype("<f2"),
    "BFloat16Storage": _BFLOAT16, "LongStorage": np.dtype("<i8"), "IntStorage": np.dtype("<i4"),
    "ShortStorage": np.dtype("<i2"), "CharStorage": np.dtype("i1"), "ByteStorage": np.dtype("u1"),
    "BoolStorage": np.dtype("?"),
}  # fmt: skip
_NAMES = ("F64", "F32", "F16", "BF16", "I64", "I32", "I16", "I8", "U8", "BOOL")
_TYPES = dict(zip(_NAMES, _STORAGES.values(), strict=True))


def _rebuild_tensor(values: np.ndarray, offset: int, size: Sequence[int], stride: Sequence[int], *_: Any) -> np.ndarray:
    """A view of a tensor's values in its storage; bounds are checked because the numbers come from the file."""
    last = offset + sum((length - 1) * step for length, step in zip(size, stride, strict=False))
    sane = offset >= 0 and len(size) == len(stride) and min([*size, *stride], default=0) >= 0
    # Strides of 0 would make much of little.
    if not sane or (0 not in size and last >= values.size) or math.prod(size) > values.size:
        raise ValueError(f"a tensor of size {size}, stride {stride}, offset {offset} leaves its {values.size} values")
    return np.lib.stride_tricks.as_strided(values[offset:], size, [step * values.itemsize for step in stride])


_ENCODER = ("_conv_stem.", "_bn0.", "_blocks.")
# The key that shows a network, and what stands before it: dictionaries and wrappers.
_FIRST = re.compile(r"((?:.+\.)??)(?:intro|patch_embed\.proj|(?:encoder\.)?_conv_stem)\.weight", re.DOTALL)
_AVERAGE = re.compile(r"(?:^|[._])ema(?:$|[._])", re.IGNORECASE)
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
        trees = [name for name in archive.namelist() if name.endswith("/data.pkl")]
        if len(trees) != 1:
            raise ValueError("holds no data.pkl, it is some other ZIP file")
        unpickler = _Unpickler(io.BytesIO(archive.read(trees[0])))
        tree = unpickler.load()
        for key, values in unpickler.storages.items():
            content = archive.read(f"{trees[0].removesuffix('data.pkl')}data/{key}")
            values[:] = np.frombuffer(content, values.dtype, len(values))
    return tree


def _read_sequence(content: bytes) -> Any:
    """Before PyTorch 1.6: a magic number, a version, the machine, the tree, the storages' keys, and their values."""
    stream = io.BytesIO(content)
    magic, version, machine = (RestrictedUnpickler(stream, {}).load() for _ in range(3))
    if (magic, version) != (_MAGIC, 1001) or not machine.get("little_endian"):
        raise ValueError("begins like no file of torch.save on a little-endian machine")
    unpickler = _Unpickler(stream)
    tree = unpickler.load()
    for key in RestrictedUnpickler(stream, {}).load():
        values, count = unpickler.storages[key], int.from_bytes(stream.read(8), "little")
        values[:] = np.frombuffer(stream.read(count * values.itemsize), values.dtype, len(values))
    return tree


class _Unpickler(RestrictedUnpickler):
    """The storages that a tree refers to are made when they are named; who calls fills them from the file."""

    def __init__(self, stream: io.BytesIO) -> None:
        super().__init__(stream, _ALLOWED)
        self.storages: dict[str, np.ndarray] = {}

    def persistent_load(self, reference: Any) -> np.ndarray:
        kind, storage, key, _location, count, *_ = reference
        if kind != "storage" or storage not in _STORAGES:
            raise ValueError(f"holds a reference {reference!r} that is not a storage")
        return self.storages.setdefault(key, np.zeros(count, _STORAGES[storage]))


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a `.pth` or `.safetensors` file, floats as float32, by the dotted names of all dictionaries around.

    ValueError: another kind of file, torn, without arrays, or (`UnsafeFileError`) with more than plain values.
    """
    if path.suffix not in (".pth", ".pt", ".safetensors"):
        raise ValueError(f"{path}: suffix {path.suffix!r}, expected .pth, .pt or .safetensors")
    content, kind = path.read_bytes(), "safetensors" if path.suffix == ".safetensors" else "torch.save"
    read_torch = _read_zip if content[:2] == b"PK" else _read_sequence
    try:
        tree = _read_safetensors(content) if kind == "safetensors" else read_torch(content)
        named = dict(_named_arrays(tree, "", set()))
    except UnsafeFileError as error:
        raise UnsafeFileError(f"{path}: {error}") from error
    except Exception as error:
        raise ValueError(f"{path}: not a whole file of {kind} ({type(error).__name__}: {error})") from error
    if not named:
        raise ValueError(f"{path}: holds no parameters, in none of its dictionaries")
    return {name: _plain(values) for name, values in named.items()}


def _plain(values: np.ndarray) -> np.ndarray:
    if values.dtype == _BFLOAT16:
        return (values["bits"].astype(np.uint32) << 16).view(np.float32)
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, which is looked for later
        return values.astype(np.float32) if values.dtype.kind == "f" else values


def _read_safetensors(content: bytes) -> dict[str, np.ndarray]:
    # Imported where it is needed; its own reader for NumPy knows no bfloat16.
    from safetensors import deserialize

    tree = dict(sorted(deserialize(content), key=lambda pair: pair[0]))  # it gives them in any order
    for name, tensor in tree.items():
        if tensor["dtype"] not in _TYPES:
            raise ValueError(f"{name} is of {tensor['dtype']}, expected one of {', '.join(_TYPES)}")
        tree[name] = np.frombuffer(tensor["data"], _TYPES[tensor["dtype"]]).reshape(tensor["shape"])
    return tree


def _named_arrays(tree: Any, prefix: str, seen: set[int]) -> Iterator[tuple[str, np.ndarray]]:
    """Every array below `tree` with its dotted name; what stands at several places once, or it could have no end."""
    for key, value in tree.items() if isinstance(tree, dict) else ():
        if isinstance(value, np.ndarray):
            yield f"{prefix}{key}", value
        elif isinstance(value, dict) and id(value) not in seen:
            seen.add(id(value))
            yield from _named_arrays(value, f"{prefix}{key}.", seen)


def network_arrays(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The parameters of the one network or moving average, by their own names; ValueError: no network, or several."""
    found = dict.fromkeys(match[1] for name in arrays if (match := _FIRST.fullmatch(name)))
    # `params` beside `params_ema`; a discriminator beside a generator has other names, and is not found at all.
    prefixes = [prefix for prefix in found if _AVERAGE.search(prefix)] or list(found)
    if not prefixes:
        first = ", ".join(printable(name)[:80] for name in list(arrays)[:3])
        raise ValueError(f"no NAFNet, Restormer or locator: none of {len(arrays)} keys ends in "
                         f"intro.weight, patch_embed.proj.weight or _conv_stem.weight; the first are {first}")
    if len(prefixes) > 1:
        first = ", ".join(f"{printable(prefix)[:80]}*" for prefix in prefixes[:3])
        raise ValueError(f"holds {len(prefixes)} networks ({first}); save the one to convert in a file of its own")
    return {name.removeprefix(prefixes[0]): values for name, values in arrays.items() if name.startswith(prefixes[0])}


def convert(source: Path) -> Weights:
    """Reads a PyTorch network and proves that it is whole by loading it; `ValueError` names the file and wrong keys."""
    arrays = read_arrays(source)
    origin = {"converted_from": source.name, "sha256": hashlib.sha256(source.read_bytes()).hexdigest()}
    try:
        arrays = network_arrays(arrays)
        if fault := array_fault(arrays):
            raise ValueError(f"{fault}; a network with such weights answers nothing, take an earlier file")
        finds = any(name.endswith("_conv_stem.weight") for name in arrays)
        arrays = _of_locator(arrays) if finds else arrays
        weights = Weights(arrays)
        network_of(weights)
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from error
    if finds:
        return Weights({}, {}, origin, locator=weights)
    # TLC, which would be on, has no place in a Restormer.
    return replace(weights, predict={"tlc_ratio": 0} if "dim" in weights.model else {}, origin=origin)


def _of_locator(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """A locator's own parameters, or those that EfficientNet-Lite0 lends to its encoder: then the decoder is fresh."""
    renamed = {name.replace(".running_mean", "._mean").replace(".running_var", "._variance"): values
               for name, values in arrays.items() if not name.endswith(".num_batches_tracked")}
    if "_conv_stem.weight" not in renamed:
        return renamed
    import paddle

    from models.locator import Locator

    paddle.seed(0)
    decoder = {name: array for name, array in arrays_of(Locator()).items() if not name.startswith("encoder.")}
    # What belongs to its classifier is of no use here.
    return {f"encoder.{name}": values for name, values in renamed.items() if name.startswith(_ENCODER)} | decoder


@command(ValueError)
def main(arguments: Sequence[str] | None = None) -> int:
    parser = parser_of(__doc__, "python -m models.convert")
    parser.add_argument("source", metavar="IN", type=Path, help="official .pth, or .safetensors")
    parser.add_argument("target", metavar="OUT.pdparams", type=Path, help="file of weights to write")
    parser.add_argument("--predict", nargs="+", action="extend", default=[], metavar="KEY=VALUE",
                        help="settings of prediction to store, as in the config's `predict` (long_side=1024 ...)")
    parser.add_argument("--locator", metavar="FILE.pdparams", type=Path, help="file whose locator comes along, with "
                        "its settings of prediction; IN may then be a .pdparams as well")
    options = parser.parse_args(arguments)
    if options.target.suffix != ".pdparams":
        parser.error(f"{options.target}: the name must end in .pdparams")
    check_writable(options.target)
    settings = override({}, options.predict, "--predict")
    # Keeps Paddle's own log to itself.
    os.environ.setdefault("GLOG_minloglevel", "2")
    start_paddle()
    own = options.locator is not None and options.source.suffix == ".pdparams"
    weights = (load_weights if own else convert)(options.source)
    finds = Weights({}) if options.locator is None else load_weights(options.locator)
    predict = {**weights.predict, **finds.predict, **settings}
    PredictConfig.from_dict(predict)
    weights = replace(weights, predict=predict, locator=finds.locator or weights.locator)
    save_weights(options.target, weights)
    for network in (weights, weights.locator):
        if network and network.model:
            count = sum(values.size for values in network.params.values())
            print(f"{options.target}: {count / 1e6:.2f} M parameters, {network.model}")
    print(f"{options.target}: predict {weights.predict}")
    return DONE


if __name__ == "__main__":
    raise SystemExit(main())
