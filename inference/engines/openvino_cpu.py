"""An exported network in OpenVINO, the fastest engine on a CPU."""

from __future__ import annotations

import functools
import threading
from collections import OrderedDict
from pathlib import Path

import numpy as np
import openvino

from inference.engines.base import INPUT, BackendError, check_tile, memory_errors

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


class OpenVinoEngine:
    """An `Engine` over an exported file, on the CPU.

    The network is compiled for each size of tile, which takes about as long as running a tile of a megapixel; the few
    sizes that were used last stay compiled. Run without a fixed size it is slower, and OpenVINO refuses some of it.

    Args:
        model: the file, or what is in it.
        precision: "fp32" or "bf16".
        threads: None takes OpenVINO's own choice, the physical cores.

    Raises:
        BackendError: a precision that OpenVINO does not have on this CPU.
    """

    name = "openvino"
    device = "cpu"

    def __init__(self, model: bytes | Path, precision: str = "fp32", threads: int | None = None) -> None:
        self.precision = precision
        self._core = core()
        self._properties = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": self._hint()}
        if threads:
            self._properties["INFERENCE_NUM_THREADS"] = threads
        self._model = self._core.read_model(model if isinstance(model, bytes) else str(model))
        # By (height, width), the one that ran last at the end.
        self._requests: OrderedDict[tuple[int, int], openvino.InferRequest] = OrderedDict()
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
        last = next(reversed(self._requests), size)
        if last != size:
            self._requests[last].get_compiled_model().release_memory()
        if size not in self._requests:
            if len(self._requests) >= COMPILED_SIZES:
                # Dropped before the new one is made, so that there are never more in memory.
                self._requests.popitem(last=False)
            model = self._model.clone()
            model.reshape({INPUT: [1, 3, *size]})
            compiled = self._core.compile_model(model, "CPU", self._properties)
            self._requests[size] = compiled.create_infer_request()
        self._requests.move_to_end(size)
        return self._requests[size]

    def _hint(self) -> str:
        if self.precision not in HINTS:
            raise BackendError(f"precision {self.precision}: openvino runs the network in {' or '.join(HINTS)}")
        if self.precision == "bf16" and "BF16" not in self._core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
            raise BackendError("precision bf16: this CPU has no instructions for it; use fp32")
        return HINTS[self.precision]
