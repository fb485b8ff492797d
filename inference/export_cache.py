"""Exported networks on the disk, so that each is made once: by what they were made from, whole or not at all.

A cache entry is a file or a folder whose name holds the hash of everything that it depends on, with checksums inside.
It is written under another name and renamed, so that processes at work at the same time see whole entries only; who
finds a torn one makes it again.
"""

from __future__ import annotations

import functools
import hashlib
import json
import logging
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from configs.schema import PredictConfig
from utils.atomic import write_bytes
from utils.weights import Weights

FOLDER_VARIABLE = "UNCOVER_CACHE"
LIMIT_BYTES = 2 << 30

_MANIFEST = "manifest.json"
_ENTRY = re.compile(r"[0-9a-f]{24}-[\w.]+(\.onnx)?")
_UNFINISHED = re.compile(r"\.[0-9]+-.*\.tmp(\.onnx)?")
_UNFINISHED_SECONDS = 3600
_log = logging.getLogger(__name__)


def fingerprint(weights: Weights, settings: PredictConfig) -> str:
    """SHA-256 of what an exported network depends on: parameters, shape of the network, windows of TLC."""
    digest = hashlib.sha256()
    windows = [settings.tlc_train_size, settings.tlc_ratio] if settings.tlc_ratio > 0 else None
    digest.update(json.dumps([weights.model, windows], sort_keys=True).encode())
    for name, array in sorted(weights.params.items()):
        digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


@functools.cache
def code_version(*modules: str) -> str:
    """A short hash of source files beside this package ("models/nafnet.py"): what another version wrote is not used."""
    root = Path(__file__).resolve().parent.parent
    digest = hashlib.sha256()
    for module in modules:
        digest.update((root / module).read_bytes())
    return digest.hexdigest()[:12]


def entry_name(kind: str, *parts: str) -> str:
    """The name of a cache entry: a hash of `parts` and a readable `kind` ("network.onnx", "static-512x512")."""
    return f"{hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:24]}-{kind}"


def cache_folder() -> Path:
    """Where exports are kept: $UNCOVER_CACHE, else uncover/ in $XDG_CACHE_HOME or ~/.cache.

    Where nothing can be written, a folder for this process only, with a warning.
    """
    named = os.environ.get(FOLDER_VARIABLE)
    if named:
        return _writable(Path(named))
    try:
        return _writable(Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "uncover")
    except RuntimeError:
        # Path.home() of a user without a home.
        return _writable(Path(os.devnull) / "uncover")


@functools.cache
def _writable(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError as error:
        temporary = tempfile.TemporaryDirectory(prefix="uncover-")
        _KEPT.append(temporary)
        _log.warning(
            "exported networks are not kept: %s cannot be written (%s); set %s to a folder that can",
            folder, error.strerror or error, FOLDER_VARIABLE,
        )
        return Path(temporary.name)


# Temporary folders live as long as the process.
_KEPT: list[tempfile.TemporaryDirectory] = []


def store_file(folder: Path, name: str, content: bytes) -> None:
    """Puts a file into the cache; a full disk is a warning, since the caller has the content."""
    try:
        write_bytes(folder / name, content)
    except OSError as error:
        _log.warning("%s is not kept: %s", folder / name, error)
        return
    prune(folder, keep=name)


def load_file(folder: Path, name: str) -> bytes | None:
    """A file of the cache; None when there is none. Whether it is whole is for its reader to find out."""
    try:
        content = (folder / name).read_bytes()
    except OSError:
        return None
    _note_use(folder / name)
    return content


def store_folder(folder: Path, name: str, fill: Callable[[Path], None]) -> Path:
    """Puts a folder into the cache.

    Args:
        fill: writes the files into the empty folder that it is given, and raises when they are not good.

    Returns:
        The finished folder: this one, or that of a process which was faster.
    """
    folder.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(prefix=f".{os.getpid()}-", suffix=".tmp", dir=folder))
    try:
        fill(unfinished)
        sums = {path.name: _checksum(path) for path in sorted(unfinished.iterdir())}
        write_bytes(unfinished / _MANIFEST, json.dumps(sums).encode())
        os.chmod(unfinished, 0o755)
        for _ in range(10):
            try:
                unfinished.rename(folder / name)
                break
            except OSError:
                # Somebody else's is there: as good as ours, or torn and to be thrown away.
                if load_folder(folder, name) is not None:
                    break
                discard(folder / name)
        else:
            raise OSError(f"{folder / name}: something that cannot be replaced is in the way; remove it")
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    prune(folder, keep=name)
    return folder / name


def load_folder(folder: Path, name: str) -> Path | None:
    """A folder of the cache whose files are all there and unchanged; None when there is none."""
    place = folder / name
    try:
        sums = json.loads((place / _MANIFEST).read_bytes())
        whole = all(_checksum(place / file) == checksum for file, checksum in sums.items())
    except (OSError, ValueError, AttributeError):
        return None
    if not whole:
        return None
    _note_use(place)
    return place


def _note_use(place: Path) -> None:
    """Makes an entry the youngest one, as far as this user may: another user's is as good, and grows old."""
    with suppress(OSError):
        os.utime(place)


def discard(place: Path) -> None:
    """Removes a torn entry: first its name, so that nobody finds half of it."""
    aside = place.with_name(f".{os.getpid()}-{time.monotonic_ns()}.tmp")
    try:
        place.rename(aside)
    except FileNotFoundError:
        return
    _remove(aside)


def prune(folder: Path, keep: str, limit: int = LIMIT_BYTES) -> None:
    """Removes what was used longest ago until `limit` bytes are left, and what killed processes left behind.

    Files of other names are nobody's business here. `keep` stays in any case.
    """
    entries = []
    for path in folder.iterdir():
        with suppress(OSError):
            age = time.time() - path.stat().st_mtime
            if _UNFINISHED.fullmatch(path.name) and age > _UNFINISHED_SECONDS:
                _remove(path)
            elif _ENTRY.fullmatch(path.name):
                entries.append((age, path, _size(path)))
    total = sum(size for _, _, size in entries)
    for _, path, size in sorted(entries, reverse=True, key=lambda entry: entry[0]):
        if total <= limit:
            break
        if path.name != keep:
            with suppress(OSError):
                # In a shared folder it may be another user's, who then keeps it.
                discard(path)
                total -= size


def _size(path: Path) -> int:
    return sum(file.stat().st_size for file in path.iterdir()) if path.is_dir() else path.stat().st_size


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _checksum(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
