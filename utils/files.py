"""Files that are whole or not there, trees of arrays that are read without running anybody's code, names on one line.

A tree is nested dictionaries and lists of NumPy arrays and plain values, pickled in the layout of `paddle.save`.
`paddle.load` opens it too, but runs whatever a pickle asks for; `load_tree` allows only what rebuilds an array.
"""

import codecs
import csv
import errno
import io
import os
import pickle
import re
import stat
import tempfile
import threading
import time
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

_TEMPORARY = re.compile(r"\.(\d+)-[0-9a-f]+\.tmp(\..*)?", re.DOTALL)
_ABANDONED_SECONDS = 10.0  # Another machine's writer may be at work in a shared folder; it does not pause for so long.
# Control characters (a line break or an escape sequence in a name), bytes that are no text, line separators.
_UNPRINTABLE = ("Cc", "Cs", "Zl", "Zp")
# NumPy 1 and 2 keep the functions that rebuild arrays in private modules of different names.
_ARRAYS = {("numpy", "dtype"): np.dtype, ("numpy", "ndarray"): np.ndarray, ("_codecs", "encode"): codecs.encode}
for _rebuild in (np.zeros(1).__reduce__()[0], np.float64(0).__reduce__()[0], np.zeros(1).__reduce_ex__(5)[0]):
    for _module in ("core.multiarray", "_core.multiarray", "core.numeric", "_core.numeric"):
        _ARRAYS[f"numpy.{_module}", _rebuild.__name__] = _rebuild


@contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yields a temporary path beside `path`; renames it into place when the block succeeds, else removes it.

    It is hidden, this process's and thread's, and keeps the suffix, by which writers choose a format. Folders are made;
    of a link what it leads to is replaced; what cannot be (a pipe, a device, where a standard stream goes) is yielded
    itself. An `OSError` of the block names `path`.
    """
    named = path = Path(path)
    if _is_written_into(path):
        with naming(path):
            yield path
        return
    path = Path(os.path.realpath(path)) if path.is_symlink() else path
    make_folder(path.parent)
    # A name may be as long as the file system allows, so the temporary one must not grow with it.
    mark = abs(hash((path.name, threading.get_ident())))
    temporary = path.with_name(f".{os.getpid()}-{mark:x}.tmp{path.suffix}")
    try:
        with naming(named, temporary):
            yield temporary
            os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise


@contextmanager
def naming(path: str | os.PathLike[str], temporary: str | os.PathLike[str] = "") -> Iterator[None]:
    """An `OSError` of the block gets a name that the caller knows: `path` where it has none, as of a full disk, and
    what is in its place to be where it names `temporary` or a file in there.
    """
    try:
        yield
    except OSError as error:
        name = path if error.filename is None else error.filename
        if temporary and isinstance(name, str) and Path(name).is_relative_to(temporary):
            name = os.fspath(Path(path, Path(name).relative_to(temporary)))
        if not error.errno or name == error.filename:
            raise
        raise OSError(error.errno, error.strerror, os.fspath(name)) from error


def _is_written_into(path: Path) -> bool:
    """Whether a new file in place of `path` would not reach who waits there: a pipe, a device, a standard stream."""
    try:
        there = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    if not stat.S_ISREG(there.st_mode):
        return not stat.S_ISDIR(there.st_mode)
    for stream in (1, 2):
        with suppress(OSError):
            if os.path.samestat(there, os.fstat(stream)):
                return True
    return False


def write_bytes(path: str | os.PathLike[str], content: bytes) -> None:
    """Writes `content` to `path` atomically and flushes it to the disk."""
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        file.write(content)
        file.flush()
        if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            os.fsync(file.fileno())


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Writes `text` as UTF-8 with Unix line ends to `path` atomically; names that are no UTF-8 keep their bytes."""
    write_bytes(path, text.encode("utf-8", "surrogateescape"))


def csv_text(rows: Iterable[Sequence[Any]]) -> str:
    """Rows, the first of which are the headings, as CSV."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def write_csv(path: str | os.PathLike[str], rows: Iterable[Sequence[Any]]) -> None:
    """Writes `csv_text(rows)` to `path`, as `write_text` does."""
    write_text(path, csv_text(rows))


def make_folder(path: Path) -> None:
    """Makes a folder and those above it where they are missing; OSError with plain words where a file is in the way."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise NotADirectoryError(errno.ENOTDIR, "is a file, expected a folder", os.fspath(path)) from error


def check_writable(path: str | os.PathLike[str]) -> None:
    """OSError, before hours of work, where a file `path` cannot be written; makes its folder."""
    path = Path(path)
    if not _is_written_into(path):
        make_folder(path.parent)
        if path.exists():
            open(path, "ab").close()
        try:
            tempfile.TemporaryFile(dir=path.parent).close()
        except OSError as error:
            raise OSError(error.errno, error.strerror, os.fspath(path)) from error


def remove_leftovers(folder: str | os.PathLike[str]) -> list[Path]:
    """Removes, in `folder` and below, the temporary files of writers that were killed; returns them.

    To be called before this process writes there. What is another process's, or only seconds old, stays.
    """
    removed = []
    for path in (Path(place, name) for place, _, names in os.walk(folder) for name in names):
        match = _TEMPORARY.fullmatch(path.name)
        if match and not _is_running(int(match[1])):
            with suppress(FileNotFoundError):  # Its writer may have renamed it in between.
                if time.time() - path.stat().st_mtime > _ABANDONED_SECONDS:
                    path.unlink()
                    removed.append(path)
    return removed


def _is_running(process: int) -> bool:
    """Whether another process of this number runs; this one's number was an earlier one's."""
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True  # somebody else's
    return process != os.getpid()


def printable(text: object) -> str:
    r"""`str(text)` on one line: what would break it or cannot be encoded is written as \n, \x1b or \udcff."""
    return "".join(one.encode("unicode_escape").decode("ascii") if unicodedata.category(one) in _UNPRINTABLE else one
                   for one in str(text))


def quoted(text: str, most: int = 80) -> str:
    """`text` in quotes on one line; of one that is longer than `most` characters the beginning, and how long it is."""
    return printable(repr(text)) if len(text) <= most else f"{printable(repr(text[:most]))}... ({len(text)} characters)"


def looked_for(path: str | os.PathLike[str]) -> str:
    """Where a relative path was looked for, in words to put behind a message; nothing for an absolute one."""
    return "" if os.path.isabs(path) else f" (looked for from {os.getcwd()})"


class UnsafeFileError(ValueError):
    """The file asks for code that a file of weights has no use for."""


class RestrictedUnpickler(pickle.Unpickler):
    """Unpickles the next pickle of a stream; names may only be those for which `allowed` says what stands in."""

    def __init__(self, stream: io.BytesIO, allowed: Mapping[tuple[str, str], Any]) -> None:
        super().__init__(stream)
        self._allowed = allowed

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self._allowed:
            raise UnsafeFileError(f"asks to load {module}.{name}; only arrays and plain values are allowed")
        return self._allowed[module, name]


def save_tree(path: str | os.PathLike[str], tree: dict[str, Any]) -> None:
    """Writes a tree to `path`, atomically; UnsafeFileError where `load_tree` would refuse it."""
    # Protocol 4 is the newest that every supported Paddle reads.
    content = pickle.dumps(tree, protocol=4)
    RestrictedUnpickler(io.BytesIO(content), _ARRAYS).load()
    write_bytes(path, content)


def load_tree(path: str | os.PathLike[str]) -> Any:
    """Reads a file of `save_tree` (or of `paddle.save`, when it holds arrays only).

    UnsafeFileError: it names anything that is not an array or a plain value; ValueError: torn, or not of this kind.
    """
    content = Path(path).read_bytes()
    try:
        return RestrictedUnpickler(io.BytesIO(content), _ARRAYS).load()
    except UnsafeFileError as error:
        raise UnsafeFileError(f"{os.fspath(path)}: {error}") from error
    except Exception as error:
        fault = f"not a whole file of weights or checkpoints ({type(error).__name__}: {error})"
        raise ValueError(f"{os.fspath(path)}: {fault}; it may be cut short: copy or make it again") from error


def array_fault(arrays: Mapping[str, Any]) -> str | None:
    """What is wrong with the first of named `arrays` that is none, or not finite in float32; None: all are good."""
    for name, values in arrays.items():
        if not isinstance(values, np.ndarray) or values.dtype.kind not in "fiub":
            return f"{printable(name)}: expected an array of numbers"
        with np.errstate(over="ignore"):
            broken = values.size - np.count_nonzero(np.isfinite(values.astype(np.float32, copy=False)))
        if broken:
            return f"{printable(name)}: {broken} of its {values.size} numbers are NaN or infinite"
    return None


def set_tensors(tensors: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
    """Sets Paddle's `tensors` from the arrays of the same names, all or none, cast to their own types; ValueError lists
    what does not fit, where `set_state_dict` would only warn.
    """
    faults = [f"missing {name} {list(tensor.shape)}" for name, tensor in tensors.items() if name not in arrays]
    for name, values in arrays.items():
        if name not in tensors:
            faults.append(f"unexpected {name} {list(values.shape)}")
        elif list(values.shape) != list(tensors[name].shape):
            faults.append(f"misshaped {name}: expected {list(tensors[name].shape)}, found {list(values.shape)}")
        elif not np.issubdtype(values.dtype, np.floating):
            faults.append(f"not floating point {name}: {values.dtype}")
    if faults:
        raise ValueError(f"the weights do not fit this network, {len(faults)} faults: {'; '.join(faults)}")
    for name, tensor in tensors.items():
        tensor.set_value(np.asarray(arrays[name], dtype=tensor.numpy().dtype))
