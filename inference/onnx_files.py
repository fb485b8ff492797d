"""The ONNX file of some weights: found beside them or in the cache, or made.

A file says itself what it was made from, and what the eager network made of a small tile: whoever runs it can prove
the engine without Paddle, and finds a file that is torn or belongs to other weights.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

from configs.schema import PredictConfig
from inference.backends.base import BackendError
from inference.backends.proof import Proof, proof_size
from inference.export_cache import cache_folder, code_version, entry_name, fingerprint, load_file, store_file
from inference.onnx_stamp import read_stamp, stamp
from utils.threads import start_paddle
from utils.weights import Weights

NAME = "model.onnx"
ANY_SIZE = "any"
# What decides about the numbers in a file: the graph's writers, and the eager network whose answer it holds.
_CODE = (
    *(f"inference/{name}.py" for name in ("onnx_graph", "onnx_writer", "onnx_names", "onnx_files", "backends/proof")),
    *(f"models/{name}.py" for name in ("nafnet", "layers", "tlc", "gate")),
)
# In onnxruntime a map is as large as TLC's window while its means are taken: half a gigabyte at this side.
LARGEST_WINDOW = 2048
_log = logging.getLogger(__name__)


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
    from inference.backends.eager import EagerNetwork

    try:
        from inference.onnx_graph import build_onnx
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
