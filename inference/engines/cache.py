"""Notes at the end of an ONNX file, written and read without the package `onnx`.

An ONNX file is a protocol buffer, and a repeated field may go on at its very end: the stamp is a run of
`metadata_props` entries (field 14: key, field 1, and value, field 2) behind everything that was there. Its last entry
is the SHA-256 of all bytes before, so that a torn or changed file is known as such. Whoever reads the file through
onnx or onnxruntime meets ordinary metadata.

Exported networks on the disk, so that each is made once: by what they were made from, whole or not at all.

A cache entry is a file or a folder whose name holds the hash of everything that it depends on, with checksums inside.
It is written under another name and renamed, so that processes at work at the same time see whole entries only; who
finds a torn one makes it again.

The ONNX file of some weights: found beside them or in the cache, or made.

A file says itself what it was made from, and what the eager network made of a small tile: whoever runs it can prove
the engine without Paddle, and finds a file that is torn or belongs to other weights.
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
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from configs.schema import PredictConfig
from inference.engines.base import BackendError, Proof, proof_size
from models.weights import Weights
from utils.files import write_bytes
from utils.machine import start_paddle

_METADATA_PROPS = 14
_LENGTH_DELIMITED = 2
_CHECKSUM = "sha256"
# The last entry is as long in every file: two tags and lengths, the key, the value, and its own tag and length.
_CHECKSUM_BYTES = 2 + 2 + len(_CHECKSUM) + 2 + 64


def stamp(model: bytes, notes: Mapping[str, str]) -> bytes:
    """`model` with `notes` and the checksum behind it."""
    content = model + b"".join(_entry(key, value) for key, value in notes.items())
    return content + _entry(_CHECKSUM, hashlib.sha256(content).hexdigest())


def read_stamp(model: bytes) -> dict[str, str] | None:
    """All metadata of a whole file that `stamp` wrote; None for a torn or changed one and for any other file."""
    content = memoryview(model)[:-_CHECKSUM_BYTES]
    if model[-_CHECKSUM_BYTES:] != _entry(_CHECKSUM, hashlib.sha256(content).hexdigest()):
        return None
    # The checksum says that these are the bytes of `stamp`, so that every length in them is right.
    notes, position = {}, 0
    while position < len(content):
        tag, position = _read_number(content, position)
        if tag & 7 != _LENGTH_DELIMITED:
            _, position = _read_number(content, position)
            continue
        length, position = _read_number(content, position)
        if tag >> 3 == _METADATA_PROPS:
            key, value = _read_pair(content[position : position + length])
            notes[key] = value
        position += length
    return notes


def _entry(key: str, value: str) -> bytes:
    return _field(_METADATA_PROPS, _field(1, key.encode("utf-8")) + _field(2, value.encode("utf-8")))


def _field(number: int, content: bytes) -> bytes:
    return _number(number << 3 | _LENGTH_DELIMITED) + _number(len(content)) + content


def _number(value: int) -> bytes:
    """Seven bits per byte, the lowest first; the eighth says that more follow."""
    content = bytearray()
    while value > 127:
        content.append(value & 127 | 128)
        value >>= 7
    return bytes([*content, value])


def _read_number(content: memoryview, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = content[position]
        position += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, position


def _read_pair(content: memoryview) -> tuple[str, str]:
    texts, position = [], 0
    for _ in range(2):
        _, position = _read_number(content, position)
        length, position = _read_number(content, position)
        texts.append(bytes(content[position : position + length]).decode("utf-8"))
        position += length
    return texts[0], texts[1]


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
    root = Path(__file__).resolve().parents[2]
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


NAME = "model.onnx"
ANY_SIZE = "any"
# What decides about the numbers in a file: the graph's writers, and the eager network whose answer it holds.
_CODE = (
    *(f"inference/engines/{name}.py" for name in ("onnx_graph", "cache", "base")),
    *(f"models/{name}.py" for name in ("nafnet", "tlc")),
)
# In onnxruntime a map is as large as TLC's window while its means are taken: half a gigabyte at this side.
LARGEST_WINDOW = 2048



@dataclass(frozen=True)
class OnnxFile:
    """What is in a whole file of `make`.

    Attributes:
        content: the file, for an engine.
        weights: `export_cache.fingerprint` of what it was made from.
        code: `export_cache.code_version` of what made it.
        size: of its input, "HEIGHTxWIDTH" or `ANY_SIZE`.
        gated: the network has a gate.
        tlc: TLC's windows in words.
        proof: what the eager network answers.
    """

    content: bytes
    weights: str
    code: str
    size: str
    gated: bool
    tlc: str
    proof: Proof

    @classmethod
    def of(cls, content: bytes) -> OnnxFile | None:
        """None for a torn file and for one that `make` did not write."""
        notes = read_stamp(content)
        try:
            return notes and cls(
                content,
                notes["weights"],
                notes["code"],
                notes["size"],
                notes["gated"] == "yes",
                notes["tlc"],
                Proof.from_text(notes["proof"]),
            )
        except (KeyError, ValueError):
            # Whole, but written by another version of this project.
            return None


def make(weights: Weights, settings: PredictConfig, height: int | None = None, width: int | None = None) -> bytes:
    """Writes the network as ONNX, with the stamp. Imports Paddle and onnx.

    Raises:
        BackendError: the package onnx is missing, or TLC's window is larger than `LARGEST_WINDOW`.
    """
    window = int(settings.tlc_train_size * settings.tlc_ratio)
    if window > LARGEST_WINDOW:
        raise BackendError(
            f"exported networks have TLC windows of {LARGEST_WINDOW} pixels at most, and {window} are asked for; take "
            "tlc_ratio 0 (the mean over the whole tile), or backend paddle"
        )
    start_paddle()
    from inference.engines.eager import EagerNetwork

    try:
        from inference.engines.onnx_graph import build_onnx
    except ImportError as error:
        raise BackendError(
            f"no exported network is at hand, and none can be made here ({error}); install the package onnx, or put "
            f"the {NAME} of `python -m inference.export` beside the weights"
        ) from error
    model = build_onnx(weights, settings, height, width)
    reference = EagerNetwork.from_weights(weights, settings, "cpu")
    fixed = height is not None and width is not None
    proof_tile = (height, width) if fixed else proof_size(settings)
    notes = {
        "weights": fingerprint(weights, settings),
        "code": code_version(*_CODE),
        "size": f"{height}x{width}" if fixed else ANY_SIZE,
        "gated": "yes" if reference.gated else "no",
        "tlc": reference.tlc,
        "proof": Proof.of(reference, *proof_tile).to_text(),
    }
    return stamp(model, notes)


def find(weights: Weights, settings: PredictConfig) -> OnnxFile:
    """The network as ONNX for any size: `model.onnx` beside the weights, the cache's, or a new one for the cache.

    Raises:
        BackendError: there is none, and none can be made.
    """
    wanted = fingerprint(weights, settings)
    found = _beside(weights, wanted)
    if found is not None:
        return found
    folder = cache_folder()
    name = entry_name("network.onnx", wanted, code_version(*_CODE))
    content = load_file(folder, name)
    if content is not None:
        found = OnnxFile.of(content)
        if found is not None and found.weights == wanted:
            return found
        _log.warning("%s is torn and made again", folder / name)
    content = make(weights, settings)
    store_file(folder, name, content)
    found = OnnxFile.of(content)
    if found is None:
        raise BackendError("the exported network cannot be read back; this is a fault of this program")
    return found


def _beside(weights: Weights, wanted: str) -> OnnxFile | None:
    if weights.file is None:
        return None
    path = weights.file.with_name(NAME)
    try:
        content = path.read_bytes()
    except OSError:
        return None
    found = OnnxFile.of(content)
    if found is None:
        _log.warning("%s is not used: torn, or not of `python -m inference.export`", path)
    elif found.weights != wanted:
        _log.warning("%s is not used: made from other weights, or with other windows of TLC", path)
    elif found.code != code_version(*_CODE):
        _log.warning("%s is not used: made by another version of this project; export it again", path)
    elif found.size != ANY_SIZE:
        _log.warning("%s is not used: made for tiles of %s only", path, found.size)
    else:
        return found
    return None
