"""A small random network, with TLC windows that small tiles exceed, and what the eager network makes of tiles."""

from dataclasses import asdict

import numpy as np

from configs.schema import PredictConfig
from inference.engines import EagerNetwork
from inference.engines.opened import Graph
from models.weights import Weights, arrays_of, model_of
from tests.models.networks import random_network

# Windows of 24, 12 and 6 pixels.
SETTINGS = PredictConfig(tlc_train_size=16, tlc_ratio=1.5)


def small_weights(seed: int = 0, gate: bool = True) -> Weights:
    network = random_network(
        seed, width=4, encoder_blocks=[1, 1], middle_blocks=1, decoder_blocks=[1, 1], gate=gate
    )
    return Weights(arrays_of(network), model_of(arrays_of(network)), predict=asdict(SETTINGS))


def small_graph(settings: PredictConfig = SETTINGS, **arguments: object) -> Graph:
    return Graph.nafnet(small_weights(**arguments), settings)


def eager(weights: Weights, settings: PredictConfig = SETTINGS) -> EagerNetwork:
    return Graph.nafnet(weights, settings).reference()


def tile(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((1, 3, height, width), dtype=np.float32)
