"""A backend as the steps of a restoration use it: parts of pictures in, and no end of memory while smaller tiles do."""

from __future__ import annotations

import logging

import numpy as np

from inference import memory
from inference.backends.base import Backend
from inference.flips import mean_over_flips
from inference.tiling import SMALLEST_TILE, Cut, run_cut

LOG = logging.getLogger(__name__)


class Network:
    """Runs a backend over parts of pictures.

    Args:
        backend: the engine.
        tta: averages over the four mirrorings of every tile.
        bytes_per_pixel: what a pixel of a tile takes in memory (`inference.memory`); None makes no estimate, and
            tiles become smaller only when the engine says that memory ran out.

    Attributes:
        gated: outputs have the mask probability as a fourth channel.
    """

    def __init__(self, backend: Backend, tta: bool = False, bytes_per_pixel: float | None = None) -> None:
        self.gated = backend.gated
        self._function = mean_over_flips(backend) if tta else backend
        self._bytes_per_pixel = bytes_per_pixel if backend.device == "cpu" else None
        self._told = False

    def __call__(self, picture: np.ndarray, cut: Cut, may_cut: bool = True) -> np.ndarray:
        """The output over the part of a picture that `cut` names.

        Args:
            picture: RGB uint8 or uint16 [h, w, 3]; tiles of it become float32 in [0, 1] one at a time.
            may_cut: tiles may become smaller when memory does not suffice; otherwise that is an error.

        Returns:
            float32 [K, rows, columns], K = 3, or 4 with the mask probability last.

        Raises:
            MemoryError: memory does not suffice, for the smallest tiles neither.
        """
        white = np.float32(np.iinfo(picture.dtype).max)

        def function(tile: np.ndarray) -> np.ndarray:
            return self._function(tile.astype(np.float32) / white)

        channels_first = picture.transpose(2, 0, 1)
        while True:
            smaller = cut.smaller() if may_cut else None
            problem = self._too_large(cut)
            if problem is None or (may_cut and smaller is None):
                # An estimate is no proof: the smallest tiles are tried whatever it says.
                try:
                    return run_cut(channels_first, function, cut)
                except MemoryError as error:
                    problem, cause = str(error), error
            else:
                cause = None
            if smaller is None:
                raise MemoryError(_advice(picture, cut, may_cut, problem)) from cause
            # Said once: in a folder of a thousand photos the thousandth line tells nothing new.
            LOG.log(logging.DEBUG if self._told else logging.WARNING,
                    "tiles of %dx%d become %dx%d: %s", *cut.tile, *smaller.tile, problem)
            self._told = True
            cut = smaller

    def _too_large(self, cut: Cut) -> str | None:
        """Why a tile would not fit into memory, or None."""
        if self._bytes_per_pixel is None:
            return None
        available = memory.available_bytes()
        height, width = cut.tile
        needed = self._bytes_per_pixel * height * width
        if available is None or needed <= memory.SHARE * available:
            return None
        return f"they would take about {needed / 1e9:.1f} GB of the {available / 1e9:.1f} GB that are available"


def _advice(picture: np.ndarray, cut: Cut, may_cut: bool, problem: str) -> str:
    height, width = picture.shape[:2]
    if may_cut:
        return (
            f"memory does not suffice for a picture of {height}x{width} at the working scale, with tiles of "
            f"{cut.tile[0]}x{cut.tile[1]} neither (they are not made smaller than {SMALLEST_TILE}): {problem}. Close "
            "other programs, work at a smaller scale (--scale), or use another device"
        )
    return (
        f"memory does not suffice for a picture of {height}x{width} in one piece, and cutting it would change the "
        f"plain network's result: {problem}. Use --mode tiles, or a smaller --scale"
    )
