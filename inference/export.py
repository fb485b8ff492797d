"""Writes the networks of trained weights as ONNX files, for tiles of any size, once they are proved right.

    python -m inference.export
    python -m inference.export --weights runs/phase2/model_best.pdparams --out exported

A NAFNet becomes model.onnx, a locator locator.onnx; the notes of each lie beside it, in model.onnx.json. Every engine
that is installed runs it; a difference above 1e-3 from the eager network (white is 1), or an engine that fails, leaves
everything as it was, with exit code 2.
Prediction exports for itself; with these files beside the weights it needs neither Paddle nor onnx.
"""

import importlib.util
import logging
from collections.abc import Sequence
from pathlib import Path

from configs.schema import PredictConfig
from inference.engines import ONNX_ENGINES, BackendError, Proof
from inference.engines.opened import Graph, make
from inference.restorer import default_weights
from models.weights import Weights, load_weights
from utils.command import DONE, command, parser_of
from utils.machine import available_cores


def export(weights: Weights, out: Path) -> list[tuple[Path, str, float]]:
    """Makes and checks all files, then writes them; (path, engine, largest difference from the eager network) of each.

    `BackendError`: a file is not right, or there is no engine to check it; nothing in `out` was changed."""
    engines = [*filter(importlib.util.find_spec, ONNX_ENGINES)]
    if not engines:
        raise BackendError("an ONNX file cannot be checked without onnxruntime or openvino; install one of them")
    graphs = {}
    if weights.model:
        graph = Graph.nafnet(weights, PredictConfig.from_dict(weights.predict))
        window = graph.proof_size[0]
        # One pixel, a map within TLC's window, one that is higher, one that is larger both ways.
        graphs["model.onnx"] = graph, [(1, 1), (37, 29), graph.proof_size, (window + 4, window - 6)]
    if weights.locator:
        graphs["locator.onnx"] = Graph.locator(weights), [(32, 32), (96, 64), (160, 224)]
    files, differences = {}, []
    for name, (graph, sizes) in graphs.items():
        files[out / name], reference = make(graph), graph.reference()
        proofs = [Proof.of(reference, *size, graph.inputs) for size in sizes]
        for engine in engines:
            try:
                backend = ONNX_ENGINES[engine](files[out / name].content, "fp32", available_cores())
                differences.append((out / name, engine, max(proof.check(backend) for proof in proofs)))
            except Exception as error:
                # Whatever an engine raises: the file is of no use to it.
                raise BackendError(f"{engine} cannot run {name}: {error}") from error
    for path, file in files.items():
        file.save(path)
    return differences


@command(ValueError, RuntimeError)
def main(arguments: Sequence[str] | None = None) -> int:
    parser = parser_of(__doc__)
    parser.add_argument("--weights", type=Path, help="file of weights; default: those that predict.py takes")
    parser.add_argument("--out", type=Path, help="folder to write to; default: that of the weights")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    file = options.weights or default_weights()
    for path, engine, difference in export(load_weights(file), options.out or file.parent):
        print(f"{path}: off by {difference:.1e} in {engine}")
    return DONE


if __name__ == "__main__":
    raise SystemExit(main())
