"""Which networks can be exported, and what there is to know of each: what it depends on, who writes it, who proves it.

The cache, the check and the engines take any `Graph`. Another network needs a class like `NafnetGraph` and a writer
like `inference.engines.onnx_graph`.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from configs.schema import PredictConfig
from inference.engines.base import Backend, BackendError
from models.weights import LocatorWeights, Weights
from utils.machine import start_paddle

NAME, LOCATOR_NAME = "model.onnx", "locator.onnx"
# In onnxruntime a map is as large as TLC's window while its means are taken: half a gigabyte at this side.
LARGEST_WINDOW = 2048

_ROOT = Path(__file__).resolve().parents[2]


class Graph(Protocol):
    """A network that can be exported.

    Attributes:
        name: one word for the names of files.
        fingerprint: SHA-256 of all that decides about the numbers: parameters, settings, the code of this project.
        proof_size: (height, width) of a tile that is cheap to run and meets every part of the network.
        beside: where an exported file may lie that was handed over with the weights; None where there is none.
    """

    name: str
    fingerprint: str
    proof_size: tuple[int, int]
    beside: Path | None

    def write(self, height: int | None = None, width: int | None = None) -> bytes:
        """The network as ONNX, for any size or a fixed one; imports onnx, and raises ImportError without it."""
        ...

    def reference(self, device: str = "cpu", precision: str = "fp32") -> Backend:
        """The network in eager Paddle, which has to be importable and `device` to work."""
        ...


class NafnetGraph:
    """NAFNet as a `Graph`, with or without its gate, with TLC.

    Args:
        weights: of the network.
        settings: of prediction, of which TLC's windows count.
    """

    name = "nafnet"

    def __init__(self, weights: Weights, settings: PredictConfig) -> None:
        self._weights, self._settings = weights, settings
        self._window = int(settings.tlc_train_size * settings.tlc_ratio)
        # Odd, and still higher than TLC's window, so that its means are local ones.
        self.proof_size = ((min(self._window, 1024) + 17) | 1, 41)
        self.beside = None if weights.file is None else weights.file.with_name(NAME)

    @functools.cached_property
    def fingerprint(self) -> str:
        settings = self._settings
        windows = [settings.tlc_train_size, settings.tlc_ratio] if settings.tlc_ratio > 0 else None
        code = ("models/nafnet.py", "models/tlc.py", "inference/engines/onnx_graph.py")
        return _fingerprint(self._weights, windows, code)

    def write(self, height: int | None = None, width: int | None = None) -> bytes:
        if self._window > LARGEST_WINDOW:
            raise BackendError(
                f"exported networks have TLC windows of {LARGEST_WINDOW} pixels at most, and {self._window} are asked "
                "for; take tlc_ratio 0 (the mean over the whole tile), or backend paddle"
            )
        start_paddle()
        from inference.engines.onnx_graph import build_onnx

        return build_onnx(self._weights, self._settings, height, width)

    def reference(self, device: str = "cpu", precision: str = "fp32") -> Backend:
        start_paddle()
        from inference.engines.eager import EagerNetwork

        return EagerNetwork.from_weights(self._weights, self._settings, device, precision)


class LocatorGraph:
    """A locator as a `Graph`; its output is [1, 1, h, w], the logit of an occluder."""

    name = "locator"
    proof_size = (96, 64)

    def __init__(self, weights: LocatorWeights, file: Path | None) -> None:
        self._weights = weights
        self.beside = None if file is None else file.with_name(LOCATOR_NAME)

    @functools.cached_property
    def fingerprint(self) -> str:
        return _fingerprint(self._weights, None, ("models/locator.py", "inference/engines/locator_graph.py"))

    def write(self, height: int | None = None, width: int | None = None) -> bytes:
        start_paddle()
        from inference.engines.locator_graph import build_locator

        return build_locator(self._weights, height, width)

    def reference(self, device: str = "cpu", precision: str = "fp32") -> Backend:
        start_paddle()
        from inference.engines.eager import EagerLocator

        return EagerLocator(self._weights, device, precision)


def _fingerprint(weights: Weights | LocatorWeights, settings: Any, code: Sequence[str]) -> str:
    """SHA-256 of parameters, the network's shape, further settings (JSON), and files of this project."""
    digest = hashlib.sha256(json.dumps([weights.model, settings], sort_keys=True).encode())
    for name, array in sorted(weights.params.items()):
        digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
        digest.update(array.tobytes())
    # Proofs are part of what is exported.
    for file in (*code, "inference/engines/base.py"):
        digest.update((_ROOT / file).read_bytes())
    return digest.hexdigest()
