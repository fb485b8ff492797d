"""Exported networks on the disk, each made once: found beside the weights or in the cache, or written there.

An ONNX file has a JSON file of notes beside it (`model.onnx.json`): what the network was made from, the checksum of the
ONNX file, and what the eager network made of a small tile. So whoever runs it can prove the engine without Paddle, and
a file that is torn, foreign or of another version of this project is never believed. In the cache the name holds the
fingerprint as well; both files are written whole or not at all, so that processes at work at the same time can share
it, and what was used longest ago goes first when it grows beyond `LIMIT_BYTES`.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from inference.engines.base import BackendError, Proof
from inference.engines.graphs import NAME, Graph
from utils.files import write_bytes, write_text

FOLDER_VARIABLE = "UNCOVER_CACHE"
LIMIT_BYTES = 2 << 30

_ENTRY = re.compile(r"[0-9a-f]{24}-\w+\.onnx\.json")
_UNFINISHED = re.compile(r"\.\d+-[0-9a-f]+\.tmp\.(onnx|json)")
_UNFINISHED_SECONDS = 3600
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class OnnxFile:
    """An exported network with its notes.

    Attributes:
        content: the ONNX file, for an engine.
        fingerprint: `Graph.fingerprint` of what it was made from.
        size: (height, width) of its tiles; None for any.
        gated, tlc: of `inference.engines.base.Backend`.
        proof: what the eager network answers.
    """

    content: bytes
    fingerprint: str
    size: tuple[int, int] | None
    gated: bool
    tlc: str
    proof: Proof

    def save(self, path: Path) -> None:
        """Writes both files. The notes first: who comes between finds nothing, instead of half of it."""
        notes = {
            "sha256": hashlib.sha256(self.content).hexdigest(),
            "fingerprint": self.fingerprint,
            "size": self.size,
            "gated": self.gated,
            "tlc": self.tlc,
            "proof": self.proof.to_json(),
        }
        write_text(notes_of(path), json.dumps(notes, indent=1))
        write_bytes(path, self.content)

    @classmethod
    def load(cls, path: Path) -> OnnxFile:
        """Reads both files.

        Raises:
            OSError: there is no such ONNX file.
            ValueError: it cannot be believed; the message says why.
        """
        content = path.read_bytes()
        notes_file = notes_of(path).name
        try:
            notes = json.loads(notes_of(path).read_text("utf-8"))
            size = notes["size"] and tuple(notes["size"])
            proof = Proof.from_json(notes["proof"])
            file = cls(content, notes["fingerprint"], size, notes["gated"], notes["tlc"], proof)
            checksum = notes["sha256"]
        except OSError as error:
            raise ValueError(f"{notes_file} is not beside it") from error
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{notes_file} is torn, or of another version of this project") from error
        if checksum != hashlib.sha256(content).hexdigest():
            raise ValueError(f"torn, or not the file that {notes_file} is about")
        return file


def notes_of(path: Path) -> Path:
    """The JSON file of an ONNX file."""
    return path.with_name(f"{path.name}.json")


def make(graph: Graph, height: int | None = None, width: int | None = None) -> OnnxFile:
    """Exports a network for any size of tile, or for a fixed one. Imports Paddle and onnx.

    Raises:
        BackendError: the package onnx is missing, or the network cannot be exported.
    """
    try:
        content = graph.write(height, width)
    except ImportError as error:
        raise BackendError(
            f"no exported network is at hand, and none can be made here ({error}); install the package onnx, or put "
            f"the {NAME} and {NAME}.json of `python -m inference.export` beside the weights"
        ) from error
    reference = graph.reference()
    size = None if height is None or width is None else (height, width)
    proof = Proof.of(reference, *(size or graph.proof_size))
    return OnnxFile(content, graph.fingerprint, size, reference.gated, reference.tlc, proof)


def find(graph: Graph) -> OnnxFile:
    """The network as ONNX for any size: the file beside the weights, the cache's, or a new one for the cache.

    Raises:
        BackendError: there is none, and none can be made.
    """
    cached = cache_folder() / f"{graph.fingerprint[:24]}-{graph.name}.onnx"
    for place in filter(None, (graph.beside, cached)):
        found = _believed(place, graph)
        if found is not None:
            if place == cached:
                # The youngest entry now, as far as this user may say so: another user's is as good, and grows old.
                with suppress(OSError):
                    os.utime(notes_of(cached))
            return found
    made = make(graph)
    try:
        made.save(cached)
        prune(cached.parent, keep=notes_of(cached))
    except OSError as error:
        _log.warning(
            "the exported network is not kept: %s cannot be written (%s); set %s to a folder that can",
            cached, error.strerror or error, FOLDER_VARIABLE,
        )
    return made


def _believed(path: Path, graph: Graph) -> OnnxFile | None:
    try:
        file = OnnxFile.load(path)
        if file.fingerprint != graph.fingerprint:
            raise ValueError("made from other weights, for other settings, or by another version of this project")
        if file.size is not None:
            raise ValueError(f"made for tiles of {file.size[0]}x{file.size[1]} only")
        return file
    except OSError:
        return None
    except ValueError as error:
        _log.warning("%s is not used: %s; it is made again (python -m inference.export)", path, error)
        return None


def cache_folder() -> Path:
    """Where exports are kept: $UNCOVER_CACHE, else uncover/ in $XDG_CACHE_HOME or ~/.cache; it need not exist."""
    named = os.environ.get(FOLDER_VARIABLE)
    if named:
        return Path(named)
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    # A user without a home keeps nothing.
    return Path(os.devnull if base.startswith("~") else base, "uncover")


def prune(folder: Path, keep: Path, limit: int = LIMIT_BYTES) -> None:
    """Removes what was used longest ago until `limit` bytes are left, and what killed processes left behind.

    Files of other names are nobody's business here. The entry of the notes `keep` stays in any case.
    """
    entries = []
    for path in folder.iterdir():
        with suppress(OSError):
            age = time.time() - path.stat().st_mtime
            if _UNFINISHED.fullmatch(path.name) and age > _UNFINISHED_SECONDS:
                path.unlink()
            elif _ENTRY.fullmatch(path.name):
                pair = [file for file in (path.with_suffix(""), path) if file.exists()]
                entries.append((age, path, pair, sum(file.stat().st_size for file in pair)))
    total = sum(size for *_, size in entries)
    for _, path, pair, size in sorted(entries, key=lambda entry: entry[0], reverse=True):
        if total > limit and path != keep:
            # In a shared folder it may be another user's, who then keeps it.
            with suppress(OSError):
                for file in pair:
                    file.unlink()
                total -= size
