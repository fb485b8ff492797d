"""Reads the arrays of a PyTorch `.pth` file without PyTorch and without running anything that the file asks for.

Since PyTorch 1.6 `torch.save` writes a ZIP: one pickle that describes the tensors, and one raw file per storage. The
pickle is read here with a list of four allowed names; older files and whole pickled modules are refused.
"""

from __future__ import annotations

import io
import math
import os
import pickle
import zipfile
from collections import OrderedDict
from typing import Any

import numpy as np

from utils.serialization import UnsafeFileError

# The storages that files of weights use. NumPy has no bfloat16, it is widened to float32.
_STORAGES = {
    "DoubleStorage": np.dtype("<f8"),
    "FloatStorage": np.dtype("<f4"),
    "HalfStorage": np.dtype("<f2"),
    "BFloat16Storage": np.dtype("<u2"),
    "LongStorage": np.dtype("<i8"),
    "IntStorage": np.dtype("<i4"),
    "ShortStorage": np.dtype("<i2"),
    "CharStorage": np.dtype("i1"),
    "ByteStorage": np.dtype("u1"),
    "BoolStorage": np.dtype("?"),
}


class _StorageType:
    """Stands for `torch.FloatStorage` and its like in the pickle."""

    def __init__(self, name: str) -> None:
        self.name = name


def _rebuild_tensor(
    storage: np.ndarray, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: Any
) -> np.ndarray:
    """A tensor's values from its storage; bounds are checked because the numbers come from the file."""
    if offset < 0 or len(size) != len(stride) or min([*size, *stride], default=0) < 0:
        raise ValueError(f"a tensor of size {size}, stride {stride}, offset {offset} makes no sense")
    count = math.prod(size)
    last = offset + sum((length - 1) * step for length, step in zip(size, stride, strict=True))
    if count and (last >= storage.size or count > storage.size):
        raise ValueError(f"a tensor of size {size}, stride {stride}, offset {offset} leaves its {storage.size} values")
    if not count:
        return np.zeros(size, storage.dtype)
    steps = tuple(step * storage.itemsize for step in stride)
    return np.lib.stride_tricks.as_strided(storage[offset:], size, steps).copy()


def _rebuild_parameter(values: np.ndarray, *_: Any) -> np.ndarray:
    return values


_ALLOWED = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    ("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
}


class _ArchiveUnpickler(pickle.Unpickler):
    """Builds dictionaries of arrays; every name that is not needed for that is refused."""

    def __init__(self, archive: zipfile.ZipFile, folder: str) -> None:
        super().__init__(io.BytesIO(archive.read(f"{folder}/data.pkl")), encoding="utf-8")
        self._archive, self._folder = archive, folder
        self._storages: dict[str, np.ndarray] = {}

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _ALLOWED:
            return _ALLOWED[module, name]
        if module == "torch" and name in _STORAGES:
            return _StorageType(name)
        raise UnsafeFileError(f"asks to load {module}.{name}; only dictionaries of tensors are allowed")

    def persistent_load(self, pid: Any) -> np.ndarray:
        kind, storage_type, key, _location, count = pid
        if kind != "storage" or not isinstance(storage_type, _StorageType):
            raise ValueError(f"holds a reference {pid!r} that is not a storage")
        if key not in self._storages:
            dtype = _STORAGES[storage_type.name]
            content = self._archive.read(f"{self._folder}/data/{key}")
            if len(content) != count * dtype.itemsize:
                raise ValueError(f"storage {key} has {len(content)} bytes, expected {count} x {dtype.itemsize}")
            values = np.frombuffer(content, dtype)
            if storage_type.name == "BFloat16Storage":
                values = (values.astype(np.uint32) << 16).view(np.float32)
            self._storages[key] = values
        return self._storages[key]


def load_torch_archive(path: str | os.PathLike[str]) -> Any:
    """What `torch.save` wrote to `path`, with NumPy arrays in place of tensors.

    Raises:
        FileNotFoundError: no such file.
        UnsafeFileError: the file asks for anything beyond dictionaries, plain values and tensors.
        ValueError: torn, or not a ZIP archive of PyTorch 1.6 or newer.
    """
    name = os.fspath(path)
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            roots = [entry.removesuffix("/data.pkl") for entry in names if entry.endswith("/data.pkl")]
            if len(roots) != 1:
                raise ValueError("holds no data.pkl, it is some other ZIP file")
            order = f"{roots[0]}/byteorder"
            if order in names and archive.read(order) != b"little":
                raise ValueError("was written on a big-endian machine")
            return _ArchiveUnpickler(archive, roots[0]).load()
    except UnsafeFileError as error:
        raise UnsafeFileError(f"{name}: {error}") from error
    except FileNotFoundError:
        raise
    except Exception as error:
        raise ValueError(
            f"{name}: not a whole file of PyTorch 1.6 or newer ({type(error).__name__}: {error}); "
            "older files: load and save them again with a newer PyTorch"
        ) from error
