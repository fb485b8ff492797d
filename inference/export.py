"""Writes trained weights as an ONNX file and as a static Paddle model, and puts them in place only when they are right.

    python -m inference.export
    python -m inference.export --weights runs/phase2/model_best.pdparams --out exported --size 768x1024

model.onnx takes tiles of any size, or of --size only, and has its notes beside it in model.onnx.json;
static-HEIGHTxWIDTH/ is for tiles of that size (in Paddle Inference leave oneDNN off: it gets some sizes wrong). Each is
run by every engine that is installed, in a process of its own, on random tiles of odd sizes, and compared with the
eager model. A difference above 1e-3 (white is 1) or an engine that fails leaves everything as it was, with exit code 1.

Prediction needs none of this, since it exports for itself and keeps the result in a cache. A model.onnx of any size
that lies beside its weights, with its notes, is used instead of that one; the package onnx is then not needed.
"""

from __future__ import annotations

import argparse
import importlib.util
import logging
import os
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from configs.schema import PredictConfig
from inference.engines.base import LIMITS, BackendError, Proof
from inference.engines.cache import make, notes_of
from inference.engines.choice import onnx_engine
from inference.engines.graphs import NAME, NafnetGraph
from inference.restorer import default_weights
from models.weights import Weights, load_weights
from utils.child import ChildError, ask
from utils.machine import available_cores, start_paddle

STATIC_SIZE = (512, 512)


class Checked(NamedTuple):
    """A file where it lies now, what ran it, and the largest difference from the eager model."""

    file: Path
    engine: str
    difference: float


def export(weights: Weights, settings: PredictConfig, out: Path, size: tuple[int, int] | None = None) -> list[Checked]:
    """Writes and checks the files, then renames them into `out`.

    Args:
        size: (height, width) of the tiles; None makes the ONNX file for any size and the static model for
            `STATIC_SIZE`. The static model's sides are rounded up to the network's multiple.

    Raises:
        BackendError: a file is not right, or there is no engine to check it; nothing in `out` was changed.
    """
    engines = [name for name in ("onnxruntime", "openvino") if importlib.util.find_spec(name) is not None]
    if not engines:
        raise BackendError("an ONNX file cannot be checked without onnxruntime or openvino; install one of them")
    # Keeps Paddle's tracer from printing lines of its own log; errors are still printed.
    os.environ.setdefault("GLOG_minloglevel", "2")
    graph = NafnetGraph(weights, settings)
    reference = graph.reference()
    window = graph.proof_size[0]
    # One pixel, a map within TLC's window, one that is higher, one that is larger both ways.
    sizes = [size] if size else [(1, 1), (37, 29), graph.proof_size, (window + 4, window - 6)]
    multiple = 2 ** len(weights.model["encoder_blocks"])
    height, width = (side + -side % multiple for side in size or STATIC_SIZE)

    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".export-", dir=out) as temporary:
        onnx = Path(temporary, NAME)
        make(graph, *(size or ())).save(onnx)
        proofs = [Proof.of(reference, *tile, whole=True) for tile in sizes]
        checked = [Checked(out / NAME, engine, _check(onnx, engine, proofs)) for engine in engines]
        static = Path(temporary, f"static-{height}x{width}")
        export_static(weights, settings, static, height, width)
        worst = _check(static, "paddle", [Proof.of(reference, height, width)])
        checked.append(Checked(out / static.name, "paddle", worst))

        os.replace(notes_of(onnx), out / notes_of(onnx).name)
        os.replace(onnx, out / NAME)
        if (out / static.name).exists():
            (out / static.name).rename(Path(temporary, "replaced"))
        static.rename(out / static.name)
    return checked


def export_static(weights: Weights, settings: PredictConfig, folder: Path, height: int, width: int) -> None:
    """Writes model.json (Paddle 3.x) or model.pdmodel (2.x) and model.pdiparams for tiles of exactly this size.

    Input and output are those of `inference.engines.base.Engine`.
    """
    start_paddle()
    import paddle

    from models.nafnet import probability
    from models.tlc import convert_to_local
    from models.weights import network_of

    network = network_of(weights)
    if settings.tlc_ratio > 0:
        convert_to_local(network, settings.tlc_train_size, settings.tlc_ratio)

    class Head(paddle.nn.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, tile: paddle.Tensor) -> paddle.Tensor:
            return self.answer(tile)

        # Not rewritten by the tracer: that of Paddle 2.6 loses what a function takes from around it, and of a tile of
        # one size nothing has to be.
        @paddle.jit.not_to_static
        def answer(self, tile: paddle.Tensor) -> paddle.Tensor:
            if not network.gate:
                return self.network(tile)
            restored, logit = self.network(tile)
            return paddle.concat([restored, probability(logit)], axis=1)

    spec = paddle.static.InputSpec([1, 3, height, width], "float32", "tile")
    paddle.jit.save(paddle.jit.to_static(Head(), input_spec=[spec], full_graph=True), str(folder / "model"))


def _check(file: Path, engine: str, proofs: list[Proof]) -> float:
    order = {"file": str(file.absolute()), "engine": engine, "proofs": [proof.to_json() for proof in proofs]}
    try:
        worst = ask("inference.export:measure", order)
    except ChildError as error:
        raise BackendError(f"{engine} cannot run {file.name}: {error}") from error
    if not worst <= LIMITS["fp32"]:
        raise BackendError(f"{file.name} is wrong: {engine} is off by {worst:.2g} from the eager model")
    return worst


def measure(order: dict[str, Any]) -> float:
    """In a process of its own: opens a file of `export` and asks it the proofs; returns the largest difference."""
    file, engine, threads = Path(order["file"]), order["engine"], available_cores()
    run = (
        _StaticModel(file) if engine == "paddle" else onnx_engine(engine, "cpu", "fp32", threads)(file.read_bytes())
    )
    return max(Proof.from_json(proof).difference(run) for proof in order["proofs"])


class _StaticModel:
    """An `Engine` over a folder of `export_static`, on the CPU."""

    name, device, precision = "paddle", "cpu", "fp32"

    def __init__(self, folder: Path) -> None:
        start_paddle()
        import paddle

        paddle.set_device("cpu")
        self._network = paddle.jit.load(str(folder / "model"))
        self._network.eval()

    def __call__(self, tile: np.ndarray) -> np.ndarray:
        return self._network(tile).numpy()


def parse_size(text: str) -> tuple[int, int]:
    """"768x1024" is 768 high and 1024 wide."""
    height, _, width = text.lower().partition("x")
    if height.isdigit() and width.isdigit() and int(height) > 0 and int(width) > 0:
        return int(height), int(width)
    raise argparse.ArgumentTypeError(f"{text!r}: expected HEIGHTxWIDTH in pixels, such as 768x1024")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, help="file of weights; default: those that predict.py takes")
    parser.add_argument("--out", type=Path, help="folder to write to; default: that of the weights")
    parser.add_argument("--size", type=parse_size, metavar="HxW", help="tiles of this size only")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    try:
        file = options.weights or default_weights()
        weights = load_weights(file)
        settings = PredictConfig.from_dict(weights.predict)
        checked = export(weights, settings, options.out or file.parent, options.size)
    except (OSError, ValueError, RuntimeError, MemoryError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    width = max(len(str(item.file)) for item in checked)
    print("file".ljust(width), "engine".ljust(11), "largest difference", sep="  ")
    for item in checked:
        print(str(item.file).ljust(width), item.engine.ljust(11), f"{item.difference:.1e}", sep="  ")
    return 0


if __name__ == "__main__":
    sys.exit(main())
