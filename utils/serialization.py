"""One file for a tree of arrays and plain values, readable without running anybody's code.

The files are pickles of built-in types and NumPy arrays, the layout that `paddle.save` uses, so that
`paddle.load` opens them too. `paddle.load` runs whatever a pickle asks for; `load_tree` allows the handful of
names that rebuild an array and refuses everything else.
"""

from __future__ import annotations

import codecs
import io
import os
import pickle
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from utils.files import write_bytes

_PLAIN = (str, bytes, int, float, bool, type(None))

# NumPy 1 and 2 keep the functions that rebuild arrays in private modules of different names.
_ARRAYS = {
    ("numpy", "dtype"): np.dtype,
    ("numpy", "ndarray"): np.ndarray,
    ("_codecs", "encode"): codecs.encode,
    **{
        (f"numpy.{core}.{name}", rebuild.__name__): rebuild
        for core in ("core", "_core")
        for name, rebuild in (
            ("multiarray", np.zeros(1).__reduce__()[0]),
            ("multiarray", np.float64(0).__reduce__()[0]),
            ("numeric", np.zeros(1).__reduce_ex__(5)[0]),
        )
    },
}


class UnsafeFileError(ValueError):
    """The file asks for code that a file of weights has no use for."""


class RestrictedUnpickler(pickle.Unpickler):
    """Unpickles without running anybody's code: every name that is not allowed is refused.

    Args:
        content: the pickle, or a stream of several, of which the next one is read.
        allowed: (module, name) as the pickle has them -> what stands in for them.
        resolve: gives the value of a reference to something outside the pickle; None refuses references.
    """

    def __init__(
        self,
        content: bytes | io.BytesIO,
        allowed: Mapping[tuple[str, str], Any],
        resolve: Callable[[Any], Any] | None = None,
    ) -> None:
        super().__init__(content if isinstance(content, io.BytesIO) else io.BytesIO(content))
        self._allowed, self._resolve = allowed, resolve

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self._allowed:
            raise UnsafeFileError(f"asks to load {module}.{name}; only arrays and plain values are allowed")
        return self._allowed[module, name]

    def persistent_load(self, pid: Any) -> Any:
        if self._resolve is None:
            raise UnsafeFileError(f"refers to {pid!r} outside itself; only arrays and plain values are allowed")
        return self._resolve(pid)


def save_tree(path: str | os.PathLike[str], tree: dict[str, Any]) -> None:
    """Writes nested dictionaries and lists of arrays and plain values to `path`, atomically.

    Raises:
        TypeError: a value is neither an array nor plain; the message names its place in the tree.
    """
    # Protocol 4 is the newest that every supported Paddle reads.
    write_bytes(path, pickle.dumps(_storable(tree, ""), protocol=4))


def _storable(tree: Any, where: str) -> Any:
    """The tree with its arrays in C order, so that the bytes are a function of the values alone."""
    if isinstance(tree, np.ndarray):
        if tree.dtype == object:
            raise TypeError(f"{where}: object arrays cannot be saved, convert to numbers first")
        return np.array(tree, order="C")
    if isinstance(tree, dict):
        for key in tree:
            if not isinstance(key, str):
                raise TypeError(f"{where}: key {key!r} is {type(key).__name__}, expected str")
        return {key: _storable(value, f"{where}.{key}" if where else key) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return type(tree)(_storable(value, f"{where}[{index}]") for index, value in enumerate(tree))
    if not isinstance(tree, _PLAIN):
        raise TypeError(f"{where}: {type(tree).__name__} cannot be saved; use arrays, dicts, lists or plain values")
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
        return RestrictedUnpickler(content, _ARRAYS).load()
    except UnsafeFileError as error:
        raise UnsafeFileError(f"{os.fspath(path)}: {error}") from error
    except Exception as error:
        raise ValueError(
            f"{os.fspath(path)}: not a whole file of weights or checkpoints ({type(error).__name__}: {error}); "
            "it may be cut short: copy or make it again"
        ) from error
