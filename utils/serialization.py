"""One file for a tree of arrays and plain values, readable without running anybody's code.

The files are pickles of built-in types and NumPy arrays, the layout that `paddle.save` uses, so that
`paddle.load` opens them too. `paddle.load` runs whatever a pickle asks for; `load_tree` allows the handful of
names that rebuild an array and refuses everything else.
"""

from __future__ import annotations

import io
import os
import pickle
from typing import Any

import numpy as np

from utils.files import write_bytes

_PLAIN = (str, bytes, int, float, bool, type(None))

_ALLOWED = {
    ("numpy", "dtype"),
    ("numpy", "ndarray"),
    ("_codecs", "encode"),
    # NumPy 1 and NumPy 2 name the same functions differently.
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy.core.multiarray", "scalar"),
    ("numpy._core.multiarray", "scalar"),
    ("numpy.core.numeric", "_frombuffer"),
    ("numpy._core.numeric", "_frombuffer"),
}


class UnsafeFileError(ValueError):
    """The file asks for code that a file of weights has no use for."""


class _PlainUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise UnsafeFileError(f"asks to load {module}.{name}; only arrays and plain values are allowed")
        # A file written under NumPy 2 names `numpy._core`, which NumPy 1 does not have.
        if module.startswith("numpy._core") and not hasattr(np, "_core"):
            module = module.replace("numpy._core", "numpy.core", 1)
        return super().find_class(module, name)


def _check_plain(tree: Any, where: str) -> None:
    if isinstance(tree, np.ndarray):
        if tree.dtype == object:
            raise TypeError(f"{where}: object arrays cannot be saved, convert to numbers first")
    elif isinstance(tree, dict):
        for key, value in tree.items():
            if not isinstance(key, str):
                raise TypeError(f"{where}: key {key!r} is {type(key).__name__}, expected str")
            _check_plain(value, f"{where}.{key}" if where else key)
    elif isinstance(tree, list | tuple):
        for index, value in enumerate(tree):
            _check_plain(value, f"{where}[{index}]")
    elif not isinstance(tree, _PLAIN):
        raise TypeError(f"{where}: {type(tree).__name__} cannot be saved; use arrays, dicts, lists or plain values")


def save_tree(path: str | os.PathLike[str], tree: dict[str, Any]) -> None:
    """Writes nested dictionaries and lists of arrays and plain values to `path`, atomically.

    Raises:
        TypeError: a value is neither an array nor plain; the message names its place in the tree.
    """
    _check_plain(tree, "")
    # Protocol 4 is the newest that every supported Paddle reads. C order keeps the bytes a function of the values.
    write_bytes(path, pickle.dumps(_contiguous(tree), protocol=4))


def _contiguous(tree: Any) -> Any:
    if isinstance(tree, np.ndarray):
        return np.array(tree, order="C")
    if isinstance(tree, dict):
        return {key: _contiguous(value) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return type(tree)(_contiguous(value) for value in tree)
    return tree


def load_tree(path: str | os.PathLike[str]) -> Any:
    """Reads a file of `save_tree` (or of `paddle.save`, when it holds arrays only).

    Raises:
        FileNotFoundError: no such file.
        UnsafeFileError: the file names anything that is not an array or a plain value.
        ValueError: the file is torn or is not of this kind.
    """
    with open(path, "rb") as file:
        content = file.read()
    try:
        return _PlainUnpickler(io.BytesIO(content)).load()
    except UnsafeFileError as error:
        raise UnsafeFileError(f"{os.fspath(path)}: {error}") from error
    except Exception as error:
        raise ValueError(
            f"{os.fspath(path)}: not a whole file of weights or checkpoints ({type(error).__name__}: {error}); "
            "it may be cut short: copy or make it again"
        ) from error
