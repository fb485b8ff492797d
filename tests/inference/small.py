"""A small random network, with TLC windows that small tiles exceed; what the eager one makes of tiles; programs."""

import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np

from configs.schema import PredictConfig
from inference.engines import EagerNetwork
from inference.engines.opened import Graph
from models.weights import Weights, arrays_of
from tests.models.networks import random_network

ROOT = Path(__file__).resolve().parents[2]
# Windows of 24, 12 and 6 pixels.
SETTINGS = PredictConfig(tlc_train_size=16, tlc_ratio=1.5)


def small_weights(seed: int = 0, gate: bool = True) -> Weights:
    network = random_network(
        seed, width=4, encoder_blocks=[1, 1], middle_blocks=1, decoder_blocks=[1, 1], gate=gate
    )
    return Weights(arrays_of(network), predict=asdict(SETTINGS))


def small_graph(settings: PredictConfig = SETTINGS, **arguments: object) -> Graph:
    return Graph.nafnet(small_weights(**arguments), settings)


def eager(weights: Weights, settings: PredictConfig = SETTINGS) -> EagerNetwork:
    return Graph.nafnet(weights, settings).reference()


def tile(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((1, 3, height, width), dtype=np.float32)


def printed_by(code: str, *arguments: object, folder: Path = ROOT, **environment: object) -> list[str]:
    """Runs a program that finds the project's rooms, in a process of its own, to its good end; the lines it prints."""
    variables = os.environ | {name: str(value) for name, value in {"PYTHONPATH": ROOT, **environment}.items()}
    done = subprocess.run([sys.executable, "-c", code, *map(str, arguments)], cwd=folder, env=variables,
                          capture_output=True, text=True, check=False, timeout=300)  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()
