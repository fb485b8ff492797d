"""An engine is a network as a function of tiles: Paddle's eager mode, the reference, and onnxruntime and OpenVINO; all
are guarded (`Backend`) and asked whether they compute what the reference does (`Proof`).

Each imports its package when it is opened, and not before; `inference.engines.opened` does that.
"""

from __future__ import annotations

import functools
import importlib
import re
import sys
import threading
from collections.abc import Callable
from contextlib import nullcontext
from types import ModuleType
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from configs.schema import PredictConfig

if TYPE_CHECKING:
    import openvino
    from paddle import nn

# A network, or what stands in for one: float32 [1, 3, h, w] -> [1, K, h, w].
TileFunction = Callable[[np.ndarray], np.ndarray]
# What an exported network's input and output are called.
INPUT, OUTPUT = "tile", "restored"
# How engines say that memory ran out, in lower case: Paddle, CUDA, onnxruntime, OpenVINO and C++.
_OUT_OF_MEMORY = re.compile(r"out of memory|resource ?exhausted|(cannot|failed to|fail to|could not) alloc|bad.alloc|"
                            "memoryallocation|alloc_failed")  # fmt: skip
# Largest difference in a proof: an engine in fp32 is off by 1e-6, one in bf16 by 4e-3, one that is wrong by a tenth.
LIMITS = {"fp32": 1e-3, "bf16": 2e-2, "fp16": 2e-2}
# A proof keeps every 13th row and 5th column of an output, and the last ones, where padding shows: enough to meet every
# part of the network, little to store.
_ROWS, _COLUMNS = 13, 5
# Photos of 4:3, 3:2 and 16:9, upright and across, in one folder. Each size keeps its own copy of the weights, 85 MB at
# width 16; the memory of maps, four times as much for a tile of 0.8 megapixels, only the size that ran last has.
COMPILED_SIZES = 6


class BackendError(RuntimeError):
    """An engine cannot be used as asked for; the message says which, why, and what to do."""


class Backend:
    """A network as a function of tiles, safe to call from several threads; each engine says in `_run` how.

    Attributes:
        name, device, precision: "paddle", "onnxruntime" or "openvino"; "cpu" or "gpu:INDEX"; "fp32", "bf16" or "fp16".
        gated: it is a NAFNet with a gate.
        tlc: TLC's windows in words.
    """

    name: str
    device, precision, gated, tlc = "cpu", "fp32", False, "none"
    _run: TileFunction

    def __call__(self, tile: np.ndarray) -> np.ndarray:
        """Runs float32 [1, 3, h, w], RGB in [0, 1], C-contiguous, of any size (of a locator, multiples of 32); with a
        fourth channel, the mask, for a network that takes one.

        Returns float32 [1, channels, h, w]. Of NAFNet: the restored colours, before the gate and not clipped, and with
        a gate a fourth channel, the probability that something covers the page. Of a locator: that one's logit.
        MemoryError: memory ran out, and a smaller tile may work; FloatingPointError: NaN or infinity came out.
        """
        height, width = tile.shape[2:]
        try:
            output = self._run(tile)
        except Exception as error:
            if not isinstance(error, MemoryError) and not _OUT_OF_MEMORY.search(str(error).lower()):
                raise
            raise MemoryError(f"{self.name}: memory ran out on a tile of {height} x {width} pixels") from error
        if not np.isfinite(output).all():
            raise FloatingPointError(f"{self.name} in {self.precision} on {self.device}: the values for a tile of "
                                     f"{height} x {width} are not finite; precision fp32 reaches farthest")
        return output


class Proof(NamedTuple):
    """What the eager network made of a random tile: the question that every other engine is asked before it is used."""

    height: int
    width: int
    inputs: int  # channels of the tile
    samples: np.ndarray  # float32 [channels, rows, columns], of the output

    @classmethod
    def of(cls, reference: Backend, height: int, width: int, inputs: int = 3) -> Proof:
        """Asks `reference`."""
        return cls(height, width, inputs, _samples(reference, height, width, inputs))

    def check(self, engine: Backend) -> float:
        """The largest difference, in units of white or of the largest expected value; a `BackendError` where it is too
        large, or the shape is another one.
        """
        found, worst, limit = _samples(engine, *self[:3]), float("inf"), LIMITS[engine.precision]
        if found.shape == self.samples.shape:
            worst = float(np.abs(found - self.samples).max()) / max(1.0, float(np.abs(self.samples).max()))
        if not worst <= limit:
            raise BackendError(
                f"{engine.name} {engine.precision} on {engine.device} gives wrong numbers: off by {worst:.2g} from the "
                f"eager network on a tile of {self.height} x {self.width}, {limit:g} allowed"
            )
        return worst


def mirrored(function: TileFunction, axes: tuple[int, ...]) -> TileFunction:
    """A tile's function over the tile mirrored along `axes`, its result mirrored back."""
    return lambda tile: np.flip(function(np.ascontiguousarray(np.flip(tile, axes))), axes)


def mean_over_flips(function: TileFunction) -> TileFunction:
    """The mean of a tile's function over the tile as it is, mirrored left-right, upside down, and both."""
    looks = [mirrored(function, axes) for axes in ((), (3,), (2,), (2, 3))]
    return lambda tile: sum(look(tile) for look in looks) / np.float32(len(looks))


def random_tile(height: int, width: int, channels: int = 3) -> np.ndarray:
    """float32 [1, channels, height, width] in [0, 1), the same every time."""
    return np.random.default_rng(height * 65537 + width).random((1, channels, height, width), dtype=np.float32)


def _samples(engine: TileFunction, *tile: int) -> np.ndarray:
    output = engine(random_tile(*tile))[0]
    return output[:, [*range(0, output.shape[1], _ROWS), -1]][..., [*range(0, output.shape[2], _COLUMNS), -1]]


class EagerNetwork(Backend):
    """A network of `models` on the device where it lies, converted for prediction (evaluation, TLC); without `settings`
    a locator. "bf16" and "fp16", on a GPU, are Paddle's automatic mixed precision: of convolutions.
    """

    name = "paddle"

    def __init__(
        self, network: nn.Layer, settings: PredictConfig | None, device: str = "cpu", precision: str = "fp32"
    ) -> None:
        from models.nafnet import convert_to_local, windows_in_words

        self.network, self.device, self.precision = network, device, precision
        network.eval()
        if settings:
            if settings.tlc_ratio > 0:
                if not hasattr(network, "encoders"):
                    raise ValueError("a Restormer has no channel means that TLC could make local; take tlc_ratio 0")
                convert_to_local(network, settings.tlc_train_size, settings.tlc_ratio)
            self.gated, self.tlc = network.gate, windows_in_words(network.tlc_windows)
        # Paddle's current device is everybody's: another network may have moved it since.
        self._place, self._lock = network.parameters()[0].place, threading.Lock()

    def _run(self, tile: np.ndarray) -> np.ndarray:
        import paddle

        from models.nafnet import joined

        kind = {"bf16": "bfloat16", "fp16": "float16"}.get(self.precision)
        with self._lock, paddle.no_grad(), paddle.amp.auto_cast(dtype=kind) if kind else nullcontext():
            output = joined(self.network(paddle.to_tensor(tile, place=self._place)))
            return output.astype("float32").numpy()


class OnnxRuntimeEngine(Backend):
    """What is in an ONNX file, on the CPU in fp32."""

    name = "onnxruntime"

    def __init__(self, content: bytes, precision: str, threads: int) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        # Warnings about what the optimiser did; errors come as exceptions.
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])

    def _run(self, tile: np.ndarray) -> np.ndarray:
        # A session may be run by several threads at once.
        return self._session.run([OUTPUT], {INPUT: tile})[0]


class OpenVinoEngine(Backend):
    """What is in an ONNX file, on the CPU in "fp32" or "bf16": the fastest engine there.

    It is compiled for each size of tile, which takes as long as running a megapixel; the sizes that were used last stay
    compiled. Without a fixed size it is slower, and OpenVINO refuses some of it.
    """

    name = "openvino"

    def __init__(self, content: bytes, precision: str, threads: int) -> None:
        self.precision, self._core = precision, openvino_core()
        if precision == "bf16" and "BF16" not in self._core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
            raise BackendError("precision bf16: this CPU has no instructions for it; use fp32")
        self._properties = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": {"fp32": "f32", "bf16": "bf16"}[precision],
            "INFERENCE_NUM_THREADS": threads,
        }
        self._model = self._core.read_model(content)
        self._request = functools.lru_cache(COMPILED_SIZES)(self._compiled)
        self._last, self._lock = None, threading.Lock()

    def _run(self, tile: np.ndarray) -> np.ndarray:
        with self._lock:
            if self._last not in (None, tile.shape):
                # Before another size runs, the last one gives the memory of its maps back.
                self._request(self._last).get_compiled_model().release_memory()
            self._last, request = tile.shape, self._request(tile.shape)
            request.infer({INPUT: tile}, share_inputs=True)
            # A copy: the request writes its next result over this one.
            return np.array(request.get_output_tensor().data)

    def _compiled(self, size: tuple[int, ...]) -> openvino.InferRequest:
        model = self._model.clone()
        model.reshape({INPUT: [*size]})
        return self._core.compile_model(model, "CPU", self._properties).create_infer_request()


@functools.cache
def openvino_core() -> openvino.Core:
    """The only one of this process, which stays as long as the process.

    On a CPU with AMX every core puts a signal stack of its own in place, and the one before it back when it goes: when
    the older of two goes first, the next signal writes over freed memory (OpenVINO 2026.4).
    """
    return load("openvino").Core()


def load(package: str) -> ModuleType:
    """Imports an engine's package, OpenVINO without the one that would send its maker an event."""
    sys.modules.setdefault("openvino_telemetry", None)
    return importlib.import_module(package)


# Those that run an exported network.
ONNX_ENGINES = {"onnxruntime": OnnxRuntimeEngine, "openvino": OpenVinoEngine}
