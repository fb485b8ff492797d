"""Stand-ins: pages with red rectangles and a restorer that paints those over; functions in a network's place; and a
small random network with TLC windows that small tiles exceed.
"""

from collections.abc import Callable
from dataclasses import asdict

import numpy as np

from configs.schema import PredictConfig
from inference.engines import Backend, EagerNetwork
from inference.engines.opened import Graph
from inference.restorer import Restored, Restorer
from models.weights import Weights, arrays_of
from tests.models.networks import random_network

BOX = (200, 150, 300, 260)
Box = tuple[int, int, int, int]


def page(height: int = 300, width: int = 420, box: Box | None = BOX, kind: type = np.uint8) -> np.ndarray:
    """RGB uint8 or uint16: noisy grey paper, with a red rectangle (top, left, bottom, right) on it."""
    image = np.random.default_rng(height).integers(110, 146, (height, width, 3), dtype=np.uint8)
    if box:
        image[box[0] : box[2], box[1] : box[3]] = (230, 20, 20)
    return image.astype(kind) * kind(np.iinfo(kind).max // 255)


def paint_over(image: np.ndarray) -> Restored:
    """What is red becomes mid-grey."""
    white = np.iinfo(image.dtype).max
    mask = ((image[..., 0] > 0.6 * white) & (image[..., 1] < 0.3 * white)).astype(np.uint8)
    restored = image.copy()
    restored[mask > 0] = white // 2
    return Restored(restored, mask, int(mask.any()), {"locate": 0.25, "restore": 0.5, "compose": 0.125})


class StandIn(Backend):
    """In place of a network a function from float32 [1, 3, h, w] to [1, K, h, w], with a fourth channel where it is
    `gated`; tiles of more than `memory` pixels run out of memory.
    """

    name = "stand-in"

    def __init__(
        self, function: Callable[[np.ndarray], np.ndarray], gated: bool = True, memory: float = 1e9, device: str = "cpu"
    ) -> None:
        self.gated, self.device, self.tiles = gated, device, []
        self._function, self._memory = function, memory

    def _run(self, tile: np.ndarray) -> np.ndarray:
        assert tile.dtype == np.float32
        assert tile.flags.c_contiguous
        self.tiles.append(tile.shape)
        if tile.shape[2] * tile.shape[3] > self._memory:
            raise MemoryError
        return self._function(tile)


def paint_red_over(tile: np.ndarray) -> np.ndarray:
    """As a gated network: what is red (> 0.6) is covered, and what lies below is grey 0.5."""
    covered = ((tile[:, :1] > 0.6) & (tile[:, 1:2] < 0.3)).astype(np.float32)
    return np.concatenate([np.where(covered > 0, np.float32(0.5), tile), covered], 1)


def brighten(tile: np.ndarray) -> np.ndarray:
    """As a network without a gate: everything becomes a little lighter."""
    return tile + np.float32(0.1)


def restorer_over(*arguments: object, **options: object) -> Restorer:
    """A restorer over any backend; takes what `Restorer._set_up` takes."""
    restorer = Restorer.__new__(Restorer)
    restorer._set_up(*arguments, **options)
    restorer.weights = restorer.fingerprint = "a stand-in"
    return restorer


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
