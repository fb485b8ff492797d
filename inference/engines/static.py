"""The network in Paddle's static predictor: traced for one size of tile, tried out, kept, and run again and again."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import paddle
from paddle import inference, nn
from paddle.static import InputSpec

from configs.schema import PredictConfig
from inference.engines.base import LIMITS, BackendError, Proof, RecentlyUsed, check_tile, memory_errors, proof_size
from inference.engines.cache import cache_folder, code_version, entry_name, fingerprint, load_folder, store_folder
from inference.engines.eager import EagerNetwork
from inference.engines.trial import try_export
from models import nafnet as gate
from models.nafnet import NAFNet
from models.tlc import convert_to_local, describe, local_windows
from models.weights import Weights, network_of
from utils.files import write_text

_CODE = ("models/nafnet.py", "models/tlc.py", "inference/engines/static.py")
_MODEL, _NOTES = "model", "notes.json"
_GPU_POOL_MEGABYTES = 100
# A predictor holds its parameters and the memory of one tile.
_KEPT = 3
# Larger tiles are run once before they are trusted, but not compared: that would cost an eager run of that size, and
# beyond TLC's window all sizes are one graph.
_COMPARED_PIXELS = 512 * 512


class StaticBackend:
    """A `Backend` that exports and compiles the network for each size of tile, padded to the network's multiple.

    Exports are kept in the cache; each is tried out in another process before it is used here for the first time.

    Args:
        weights: what to run.
        settings: for TLC's windows.
        device: "cpu" or "gpu:INDEX".
        threads: of the CPU.

    Raises:
        BackendError: this Paddle's predictor does not run the network, or gives wrong numbers.
    """

    name = "inference"
    precision = "fp32"

    def __init__(self, weights: Weights, settings: PredictConfig, device: str, threads: int) -> None:
        self.device = device
        levels = len(weights.model["encoder_blocks"])
        self.gated = bool(weights.model.get("gate", False))
        ratio = settings.tlc_ratio
        self.tlc = describe(local_windows(settings.tlc_train_size, ratio, levels + 1) if ratio > 0 else None)
        self._weights, self._settings, self._threads = weights, settings, threads
        self._fingerprint = fingerprint(weights, settings)
        self._multiple = 2**levels
        self._reference: EagerNetwork | None = None
        self._predictors = RecentlyUsed(self._open, _KEPT)
        self._lock = threading.Lock()
        small = self._folder(*self._padded(*proof_size(settings)))
        _Notes.read(small).proof.check(self)

    def __call__(self, tile: np.ndarray) -> np.ndarray:
        check_tile(tile)
        height, width = tile.shape[2:]
        below, right = (-side % self._multiple for side in (height, width))
        # Padded here and not in the graph, where oneDNN pads the wrong axes.
        padded = np.pad(tile, ((0, 0), (0, 0), (0, below), (0, right)))
        with self._lock, memory_errors(self.name, tile):
            output = self._predictors[padded.shape[2:]](padded)
        return np.ascontiguousarray(output[:, :, :height, :width])

    def _padded(self, height: int, width: int) -> tuple[int, int]:
        return height + -height % self._multiple, width + -width % self._multiple

    def _open(self, size: tuple[int, int]) -> StaticPredictor:
        return StaticPredictor(self._folder(*size), self.device, self._threads)

    def _folder(self, height: int, width: int) -> Path:
        """The finished export for this size, from the cache or new."""
        cache = cache_folder()
        name = entry_name(
            f"static-{height}x{width}",
            self._fingerprint, code_version(*_CODE), paddle.__version__, self.device, str(height), str(width),
        )
        return load_folder(cache, name) or store_folder(cache, name, lambda place: self._export(place, height, width))

    def _export(self, folder: Path, height: int, width: int) -> None:
        if self._reference is None:
            self._reference = EagerNetwork(network_of(self._weights), self._settings, self.device)
        compared = height * width <= _COMPARED_PIXELS
        proof = Proof.of(self._reference, height, width) if compared else Proof.unanswered(height, width)
        export_static(self._weights, self._settings, folder, proof, self.device, self._threads)


def export_static(
    weights: Weights, settings: PredictConfig, folder: Path, proof: Proof, device: str = "cpu", threads: int = 0
) -> float:
    """Writes the static model for tiles of exactly the proof's size, and tries it out.

    Args:
        folder: empty; receives model.json (3.x) or model.pdmodel (2.x), model.pdiparams and notes.json.
        proof: its sides are multiples of 2**levels.

    Returns:
        The largest difference from the proof.

    Raises:
        BackendError: no setting of the predictor gives the right numbers; the message says what each did.
    """
    network = network_of(weights)
    if settings.tlc_ratio > 0:
        convert_to_local(network, settings.tlc_train_size, settings.tlc_ratio)
    spec = InputSpec([1, 3, proof.height, proof.width], "float32", "tile")
    traced = paddle.jit.to_static(_Head(network), input_spec=[spec], full_graph=True)
    paddle.jit.save(traced, str(folder / _MODEL))
    problems = []
    # oneDNN is the faster way and the one with the traps; under 2.x it ends the process on many sizes.
    for onednn in (True, False) if _pir() and device == "cpu" else (False,):
        _Notes(onednn, network.gate, proof).write(folder)
        try:
            worst = try_export("inference", folder, [proof], device, threads)
        except BackendError as error:
            problem = str(error)
        else:
            if worst <= LIMITS["fp32"]:
                return worst
            problem = f"off by {worst:.2g} from the eager network"
        problems.append(f"{'with' if onednn else 'without'} oneDNN: {problem}")
    raise BackendError(
        f"the static predictor of Paddle {paddle.__version__} does not run this network for tiles of "
        f"{proof.height} x {proof.width} ({'; '.join(problems)}); take another backend"
    )


class StaticPredictor:
    """A `Backend` for tiles of the one size that a folder of `export_static` was made for. Not locked.

    Args:
        folder: with model and notes.
        device: "cpu" or "gpu:INDEX".
        threads: of the CPU.
    """

    name, precision = StaticBackend.name, StaticBackend.precision
    tlc = ""

    def __init__(self, folder: Path, device: str, threads: int) -> None:
        notes = _Notes.read(folder)
        self.device, self.gated = device, notes.gated
        program = next(path for path in (folder / f"{_MODEL}.json", folder / f"{_MODEL}.pdmodel") if path.is_file())
        config = inference.Config(str(program), str(folder / f"{_MODEL}.pdiparams"))
        config.disable_glog_info()
        if device == "cpu":
            config.disable_gpu()
            config.set_cpu_math_library_num_threads(threads)
        else:
            config.enable_use_gpu(_GPU_POOL_MEGABYTES, int(device.removeprefix("gpu:")))
        if notes.onednn:
            config.enable_mkldnn()
        else:
            config.disable_mkldnn()
        if _pir():
            # Without these two, reusing memory is refused with a word about a missing pass.
            config.enable_new_ir(True)
            config.enable_new_executor(True)
        # Without this the predictor keeps every map of the network: 4 GB for a tile of 512 x 512.
        config.enable_memory_optim()
        self._predictor = inference.create_predictor(config)

    def __call__(self, tile: np.ndarray) -> np.ndarray:
        predictor = self._predictor
        # Names of inputs and outputs differ between Paddle's versions.
        predictor.get_input_handle(predictor.get_input_names()[0]).copy_from_cpu(tile)
        predictor.run()
        return predictor.get_output_handle(predictor.get_output_names()[0]).copy_to_cpu()


@dataclass(frozen=True)
class _Notes:
    """What a folder says about itself.

    Attributes:
        onednn: the way in which it was proved.
        gated: the network has a gate.
        proof: what the eager network answers.
    """

    onednn: bool
    gated: bool
    proof: Proof

    def write(self, folder: Path) -> None:
        notes = {"onednn": self.onednn, "gated": self.gated, "proof": self.proof.to_text()}
        write_text(folder / _NOTES, json.dumps(notes))

    @classmethod
    def read(cls, folder: Path) -> _Notes:
        notes = json.loads((folder / _NOTES).read_text("utf-8"))
        return cls(notes["onednn"], notes["gated"], Proof.from_text(notes["proof"]))


class _Head(nn.Layer):
    """The network with the one output of a `Backend`."""

    def __init__(self, network: NAFNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, tile: paddle.Tensor) -> paddle.Tensor:
        if not self.network.gate:
            return self.network(tile)
        restored, logit = self.network(tile)
        return paddle.concat([restored, gate.probability(logit)], axis=1)


def _pir() -> bool:
    """Whether this Paddle has the new intermediate representation, as all of 3.x."""
    return int(paddle.__version__.split(".")[0]) >= 3
