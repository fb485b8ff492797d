"""Writes trained weights as an ONNX file and as a static Paddle model, and puts them in place only when they are right.

    python -m inference.export
    python -m inference.export --weights runs/phase2/model_best.pdparams --out exported --size 768x1024

model.onnx takes tiles of any size, or of --size only; static-HEIGHTxWIDTH/ is for tiles of that size. Each file is run
by every engine that is installed, in a process of its own, on random tiles of odd sizes, and compared with the eager
model. A difference above 1e-3 (white is 1) or an engine that fails leaves everything as it was, with exit code 1.

Prediction needs none of this, since it exports for itself and keeps the result in a cache. A model.onnx of any size
that lies beside its weights is used instead of that one; the package onnx is then not needed.
"""

from __future__ import annotations

import argparse
import importlib.util
import logging
import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from configs.schema import PredictConfig
from inference.engines import cache as onnx_files
from inference.engines.base import LIMITS, BackendError, Proof, proof_size
from inference.engines.cache import discard
from inference.engines.trial import hush_tracer, try_export
from models.weights import Weights, load_weights
from utils.machine import start_paddle

STATIC_SIZE = (512, 512)


@dataclass(frozen=True)
class Checked:
    """A line of the table.

    Attributes:
        file: where it lies now.
        engine: what ran it.
        difference: from the eager model, the largest.
    """

    file: Path
    engine: str
    difference: float


def export(
    weights: Weights, settings: PredictConfig, out: Path, size: tuple[int, int] | None = None
) -> list[Checked]:
    """Writes and checks both files, then renames them into `out`.

    Args:
        size: (height, width) of the tiles; None makes the ONNX file for any size and the static model for
            `STATIC_SIZE`. The static model's sides are rounded up to the network's multiple.

    Raises:
        BackendError: a file is not right, or there is no engine to check it; nothing in `out` was changed.
    """
    hush_tracer()
    start_paddle()
    from inference.engines.eager import EagerNetwork
    from inference.engines.static import export_static

    reference = EagerNetwork.from_weights(weights, settings, "cpu")
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".export-", dir=out) as temporary:
        onnx = Path(temporary, onnx_files.NAME)
        onnx.write_bytes(onnx_files.make(weights, settings, *(size or ())))
        proofs = [Proof.of(reference, *tile, whole=True) for tile in ([size] if size else _odd_sizes(settings))]
        checked = [Checked(out / onnx.name, engine, _check(engine, onnx, proofs)) for engine in _onnx_engines()]

        multiple = 2 ** len(weights.model["encoder_blocks"])
        height, width = (side + -side % multiple for side in size or STATIC_SIZE)
        static = Path(temporary, f"static-{height}x{width}")
        static.mkdir()
        worst = export_static(weights, settings, static, Proof.of(reference, height, width))
        checked.append(Checked(out / static.name, "inference", worst))

        os.replace(onnx, out / onnx.name)
        discard(out / static.name)
        static.rename(out / static.name)
    return checked


def _odd_sizes(settings: PredictConfig) -> list[tuple[int, int]]:
    """One pixel, a map within TLC's window, one that is higher, one that is larger both ways."""
    window = proof_size(settings)[0]
    return [(1, 1), (37, 29), proof_size(settings), (window + 4, window - 6)]


def _onnx_engines() -> list[str]:
    engines = [name for name in ("onnxruntime", "openvino") if importlib.util.find_spec(name) is not None]
    if not engines:
        raise BackendError("an ONNX file cannot be checked without onnxruntime or openvino; install one of them")
    return engines


def _check(engine: str, file: Path, proofs: list[Proof]) -> float:
    worst = try_export(engine, file, proofs)
    if not worst <= LIMITS["fp32"]:
        raise BackendError(f"{file.name} is wrong: {engine} is off by {worst:.2g} from the eager model")
    return worst


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
    from inference.restorer import default_weights

    try:
        file = options.weights or default_weights()
        weights = load_weights(file)
        settings = PredictConfig.from_dict(weights.predict)
        checked = export(weights, settings, options.out or file.parent, options.size)
    except (OSError, ValueError, RuntimeError, MemoryError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    rows = [("file", "size", "engine", "largest difference")]
    rows += [(str(item.file), _megabytes(item.file), item.engine, f"{item.difference:.1e}") for item in checked]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    return 0


def _megabytes(path: Path) -> str:
    files = path.iterdir() if path.is_dir() else [path]
    return f"{sum(file.stat().st_size for file in files) / 1e6:.1f} MB"


if __name__ == "__main__":
    sys.exit(main())
