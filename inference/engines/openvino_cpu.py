"""The exported network in OpenVINO, the fastest engine on a CPU."""

from __future__ import annotations

import functools
import threading
from pathlib import Path

import numpy as np
import openvino

from inference.engines.base import INPUT, BackendError, RecentlyUsed, check_tile, memory_errors

HINTS = {"fp32": "f32", "bf16": "bf16"}
# Photos of 4:3, 3:2 and 16:9, upright and across, in one folder. Each size keeps its own copy of the weights, 85 MB at
# width 16; the memory of maps, four times as much for a tile of 0.8 megapixels, only the size that ran last has.
COMPILED_SIZES = 6


@functools.cache
def core() -> openvino.Core:
    """The only one of this process, which stays as long as the process.

    On a CPU with AMX every core puts a signal stack of its own in place, and the one before it back when it goes. When
    the older of two goes first, the younger one puts freed memory back, and the next signal (ctrl-C, a child that
    ends) writes over whatever lies there by then. Seen with OpenVINO 2026.4.
    """
    return openvino.Core()


class OpenVinoBackend:
    """A `Backend` over a file of `inference.engines.onnx_graph`, on the CPU.

    The network is compiled for each size of tile, which takes about as long as running a tile of a megapixel; the few
    sizes that were used last stay compiled. Run without a fixed size it is slower, and OpenVINO refuses some of it.

    Args:
        model: the file, or what is in it.
        gated: the network has a gate.
        tlc: TLC's windows in words.
        precision: "fp32" or "bf16".
        threads: None takes OpenVINO's own choice, the physical cores.

    Raises:
        BackendError: a precision that OpenVINO does not have on this CPU.
    """

    name = "openvino"
    device = "cpu"

    def __init__(
        self, model: bytes | Path, gated: bool, tlc: str, precision: str = "fp32", threads: int | None = None
    ) -> None:
        self.gated, self.tlc, self.precision = gated, tlc, precision
        self._core = core()
        self._properties = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": self._hint()}
        if threads:
            self._properties["INFERENCE_NUM_THREADS"] = threads
        self._model = self._core.read_model(model if isinstance(model, bytes) else str(model))
        self._requests = RecentlyUsed(self._compile, COMPILED_SIZES)
        self._last: tuple[int, int] | None = None
        self._lock = threading.Lock()

    def __call__(self, tile: np.ndarray) -> np.ndarray:
        check_tile(tile)
        with self._lock, memory_errors(self.name, tile):
            request = self._request(tile.shape[2:])
            request.infer({INPUT: tile}, share_inputs=True)
            # A copy: the request writes its next result over this one.
            return np.array(request.get_output_tensor().data)

    def _request(self, size: tuple[int, int]) -> openvino.InferRequest:
        """The one for this size; before another size runs, the last one gives the memory of its maps back."""
        if self._last != size and self._last in self._requests:
            self._requests[self._last].get_compiled_model().release_memory()
        self._last = size
        return self._requests[size]

    def _compile(self, size: tuple[int, int]) -> openvino.InferRequest:
        model = self._model.clone()
        model.reshape({INPUT: [1, 3, *size]})
        return self._core.compile_model(model, "CPU", self._properties).create_infer_request()

    def _hint(self) -> str:
        if self.precision not in HINTS:
            raise BackendError(f"precision {self.precision}: openvino runs the network in {' or '.join(HINTS)}")
        if self.precision == "bf16" and "BF16" not in self._core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
            raise BackendError("precision bf16: this CPU has no instructions for it; use fp32")
        return HINTS[self.precision]
