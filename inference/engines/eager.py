"""The networks in Paddle's eager mode: the reference for everything faster."""

from __future__ import annotations

import threading
from contextlib import AbstractContextManager, nullcontext

import numpy as np
import paddle

from configs.schema import PredictConfig
from inference.engines.base import check_tile, memory_errors
from models.nafnet import NAFNet, probability
from models.tlc import convert_to_local, describe
from models.weights import LocatorWeights, Weights, locator_of, network_of
from utils.machine import resolve_device


class EagerNetwork:
    """A `Backend` over a network of `models`, which it converts for prediction (evaluation, TLC).

    Args:
        network: from `models`.
        settings: for TLC's windows.
        device: where the network's parameters lie, "cpu" or "gpu:INDEX".
        precision: "fp32", or on a GPU "bf16" or "fp16": Paddle's automatic mixed precision, in which convolutions
            are computed so; norms, and TLC's sums, stay in fp32.
    """

    name = "paddle"

    def __init__(self, network: NAFNet, settings: PredictConfig, device: str = "cpu", precision: str = "fp32") -> None:
        self.device, self.precision = device, precision
        self.gated = bool(network.config["gate"])
        network.eval()
        if settings.tlc_ratio > 0:
            convert_to_local(network, settings.tlc_train_size, settings.tlc_ratio)
        self.tlc = describe(network.tlc_windows)
        self._network = network
        # Paddle's current device is everybody's: another network may have moved it since.
        self._place = network.parameters()[0].place
        self._lock = threading.Lock()

    @classmethod
    def from_weights(
        cls, weights: Weights, settings: PredictConfig, device: str, precision: str = "fp32"
    ) -> EagerNetwork:
        """Builds the network of `weights` on `device` ("auto", "cpu", "gpu", "gpu:N"), which becomes Paddle's own."""
        device = resolve_device(device)
        return cls(network_of(weights), settings, device, precision)

    def __call__(self, tile: np.ndarray) -> np.ndarray:
        check_tile(tile)
        with self._lock, memory_errors(self.name, tile), paddle.no_grad(), _autocast(self.precision):
            output = self._network(paddle.to_tensor(tile, place=self._place))
            if self.gated:
                restored, logit = output
                output = paddle.concat([restored, probability(logit)], axis=1)
            return output.astype("float32").numpy()


class EagerLocator(EagerNetwork):
    """The same over a locator, which has neither gate nor TLC; arguments as `from_weights` takes them."""

    gated, tlc = False, "none"

    def __init__(self, weights: LocatorWeights, device: str, precision: str = "fp32") -> None:
        self.device, self.precision = resolve_device(device), precision
        self._network = locator_of(weights)
        self._place = self._network.parameters()[0].place
        self._lock = threading.Lock()


def _autocast(precision: str) -> AbstractContextManager:
    if precision == "fp32":
        return nullcontext()
    return paddle.amp.auto_cast(dtype={"bf16": "bfloat16", "fp16": "float16"}[precision])
