"""Writes trained weights as ONNX files and a static Paddle model, and puts them in place only when they are right.

    python -m inference.export
    python -m inference.export --weights runs/phase2/model_best.pdparams --out exported

A NAFNet becomes model.onnx, for tiles of any size, and static-512x512/ for tiles of that size (in Paddle Inference
leave oneDNN off: it gets some sizes wrong); a locator becomes locator.onnx. An ONNX file's notes lie beside it, in
model.onnx.json. Every engine that is installed runs it; a difference above 1e-3 from the eager network (white is 1), or
an engine that fails, leaves everything as it was, with exit code 2.
Prediction exports for itself; with these files beside the weights it needs neither Paddle nor onnx.
"""

from __future__ import annotations

import argparse
import importlib.util
import logging
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from configs.schema import PredictConfig
from inference.engines import LIMITS, ONNX_ENGINES, BackendError, Proof
from inference.engines.opened import Graph, make
from inference.restorer import default_weights
from models.weights import Weights, load_weights
from utils.command import DONE, command
from utils.files import naming, write_bytes
from utils.machine import available_cores

if TYPE_CHECKING:
    from paddle import nn

# A multiple of every network's.
STATIC_SIDE = 512


def export(weights: Weights, out: Path) -> list[tuple[Path, str, float]]:
    """Writes and checks the files, then renames them into `out`; for each file and engine: where the file lies now, the
    engine, the largest difference from the eager network.

    `BackendError`: a file is not right, or there is no engine to check it; nothing in `out` was changed.
    """
    engines = [*filter(importlib.util.find_spec, ONNX_ENGINES)]
    if not engines:
        raise BackendError("an ONNX file cannot be checked without onnxruntime or openvino; install one of them")
    # Keeps Paddle's tracer from printing lines of its own log; errors are still printed.
    os.environ.setdefault("GLOG_minloglevel", "2")
    graphs = {}
    if weights.model:
        graph = Graph.nafnet(weights, PredictConfig.from_dict(weights.predict))
        window = graph.proof_size[0]
        # One pixel, a map within TLC's window, one that is higher, one that is larger both ways.
        graphs["model.onnx"] = graph, [(1, 1), (37, 29), graph.proof_size, (window + 4, window - 6)]
    if weights.locator:
        graphs["locator.onnx"] = Graph.locator(weights), [(32, 32), (96, 64), (160, 224)]
    out.mkdir(parents=True, exist_ok=True)
    differences = {}
    with tempfile.TemporaryDirectory(prefix=".export-", dir=out) as name, naming(out, name):
        folder = Path(name)
        for file, (graph, sizes) in graphs.items():
            made, reference = make(graph), graph.reference()
            made.save(folder / file)
            proofs = [Proof.of(reference, *size, graph.inputs) for size in sizes]
            for engine in engines:
                load = partial(ONNX_ENGINES[engine], made.content, "fp32", available_cores())
                differences[file, engine] = _check(file, engine, load, proofs)
            if file == "model.onnx":
                static = f"static-{STATIC_SIDE}x{STATIC_SIDE}"
                load = _write_static(graph, reference.network, folder / static)
                proof = Proof.of(reference, STATIC_SIDE, STATIC_SIDE, graph.inputs)
                differences[static, "paddle"] = _check(static, "paddle", load, [proof])
        # Notes come before their ONNX files.
        for path in sorted(folder.iterdir(), reverse=True):
            if path.is_dir() and (out / path.name).exists():
                (out / path.name).rename(folder / "replaced")
            path.rename(out / path.name)
    return [(out / file, engine, difference) for (file, engine), difference in differences.items()]


def _write_static(graph: Graph, network: nn.Layer, folder: Path) -> Callable[[], Callable]:
    """Writes model.json (Paddle 3.x) or model.pdmodel (2.x) and model.pdiparams, in and out as a `Backend`; returns
    what loads them.
    """
    import paddle

    from models.nafnet import joined

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
            return joined(self.network(tile))

    # Paddle does not notice a full disk: room is made beforehand for the parameters, their heads and the program.
    size = sum(array.nbytes for array in graph.weights.params.values()) + (2 << 20)
    write_bytes(folder / "model.pdiparams", bytes(size))
    spec = paddle.static.InputSpec([1, graph.inputs, STATIC_SIDE, STATIC_SIDE], "float32", "tile")
    paddle.jit.save(paddle.jit.to_static(Head(), input_spec=[spec], full_graph=True), str(folder / "model"))

    def load() -> Callable[[np.ndarray], np.ndarray]:
        loaded = paddle.jit.load(str(folder / "model"))
        loaded.eval()
        return lambda tile: loaded(tile).numpy()

    return load


def _check(file: str, name: str, load: Callable[[], Callable], proofs: list[Proof]) -> float:
    """The largest difference of an engine over a file of `export`; a `BackendError` where it is too large."""
    try:
        engine = load()
        worst = max(proof.difference(engine) for proof in proofs)
    except Exception as error:
        # Whatever an engine raises: the file is of no use to it.
        raise BackendError(f"{name} cannot run {file}: {error}") from error
    if not worst <= LIMITS["fp32"]:
        raise BackendError(f"{file} is wrong: {name} is off by {worst:.2g} from the eager model")
    return worst


@command(ValueError, RuntimeError)
def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, help="file of weights; default: those that predict.py takes")
    parser.add_argument("--out", type=Path, help="folder to write to; default: that of the weights")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    file = options.weights or default_weights()
    for path, engine, difference in export(load_weights(file), options.out or file.parent):
        print(f"{path}: off by {difference:.1e} in {engine}")
    return DONE


if __name__ == "__main__":
    sys.exit(main())
