"""The network in Paddle's eager mode as a function of tiles: the reference for everything faster."""

from __future__ import annotations

from typing import Any

import numpy as np
import paddle

from configs.schema import PredictConfig
from models import gate
from models.state import network_of
from models.tlc import convert_to_local, describe
from utils.device import resolve_device
from utils.weights import Weights


class EagerNetwork:
    """Maps a tile, float32 [1, 3, h, w] in [0, 1], to [1, 3, h, w], or [1, 4, h, w] with the mask probability last.

    The three colours are the restored picture before the gate: inside the mask it is the better one, and the mask
    is decided on the whole picture and not here.

    Attributes:
        gated: the network has a gate.
        tlc: TLC's windows in words.
    """

    def __init__(self, network: Any, settings: PredictConfig) -> None:
        self.gated = bool(network.config["gate"])
        network.eval()
        if settings.tlc_ratio > 0:
            convert_to_local(network, settings.tlc_train_size, settings.tlc_ratio)
        self.tlc = describe(network.tlc_windows)
        self._network = network

    @classmethod
    def from_weights(cls, weights: Weights, settings: PredictConfig, device: str) -> EagerNetwork:
        """Builds the network of `weights` on `device` ("auto", "cpu", "gpu", "gpu:N"), which becomes Paddle's own."""
        resolve_device(device)
        return cls(network_of(weights), settings)

    def __call__(self, tile: np.ndarray) -> np.ndarray:
        with paddle.no_grad():
            output = self._network(paddle.to_tensor(tile))
            if self.gated:
                restored, logit = output
                output = paddle.concat([restored, gate.probability(logit)], axis=1)
            return output.numpy()
