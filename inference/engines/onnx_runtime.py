"""An exported network in onnxruntime: one file for tiles of every size, on the CPU or through CUDA."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime

from inference.engines.base import INPUT, OUTPUT, BackendError, check_tile, memory_errors

CUDA = "CUDAExecutionProvider"


class OnnxRuntimeEngine:
    """An `Engine` over an exported file, in fp32.

    Args:
        model: the file, or what is in it.
        device: "cpu" or "gpu:INDEX".
        threads: of the CPU; None takes onnxruntime's own choice, the physical cores.

    Raises:
        BackendError: this build of onnxruntime cannot use the device.
    """

    name = "onnxruntime"
    precision = "fp32"

    def __init__(self, model: bytes | Path, device: str = "cpu", threads: int | None = None) -> None:
        self.device = device
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or 0
        # Warnings about what the optimiser did; errors come as exceptions.
        options.log_severity_level = 3
        source = model if isinstance(model, bytes) else str(model)
        self._session = onnxruntime.InferenceSession(source, options, providers=_providers(device))
        if device != "cpu" and CUDA not in self._session.get_providers():
            # onnxruntime has only logged that CUDA did not start, and would go on with the CPU.
            raise BackendError(
                f"onnxruntime could not start CUDA on {device}; check its CUDA and cuDNN libraries, or use device cpu"
            )

    def __call__(self, tile: np.ndarray) -> np.ndarray:
        check_tile(tile)
        # A session may be run by several threads at once.
        with memory_errors(self.name, tile):
            return self._session.run([OUTPUT], {INPUT: tile})[0]


def _providers(device: str) -> list:
    if device == "cpu":
        return ["CPUExecutionProvider"]
    if CUDA not in onnxruntime.get_available_providers():
        raise BackendError(
            f"this onnxruntime has no {CUDA} for {device} (it has {', '.join(onnxruntime.get_available_providers())}); "
            "install onnxruntime-gpu, or use device cpu"
        )
    # TF32 would round to 10 bits of fraction on newer cards.
    return [(CUDA, {"device_id": device.removeprefix("gpu:"), "use_tf32": "0"}), "CPUExecutionProvider"]
