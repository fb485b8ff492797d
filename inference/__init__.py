"""What runs a trained network over a picture: the only package that pads, tiles and pastes.

`from inference import Restorer` gives the one class that everything else uses; it is loaded when first asked for,
so that `inference.tiles` and `inference.paste` work without Paddle. Where to look:

    one picture     restorer: inputs -> locate -> regions (or whole) -> fill -> compose; occlusion decides what goes
    the network     network: tiling, flips and memory around one of backends/, which are opened by backends.choice
    exported files  onnx_files: onnx_graph (with onnx_writer, onnx_names), onnx_stamp; export_cache keeps them
    a folder        folder: sources -> pipeline -> outcomes, and sheet for before/after
    command lines   predict.py (arguments), python -m inference.export, .sheet, .benchmark
    training        validation
"""

from __future__ import annotations

from typing import Any


def __getattr__(name: str) -> Any:
    if name in ("Restored", "Restorer"):
        from inference import restorer

        return getattr(restorer, name)
    raise AttributeError(f"module 'inference' has no attribute {name!r}")
