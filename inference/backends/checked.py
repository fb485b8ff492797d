"""Numbers that are none, caught: reduced precision is repeated in fp32, fp32 is an error."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

import numpy as np

from inference.backends.base import Backend

_log = logging.getLogger(__name__)


class CheckedBackend:
    """A `Backend` around another that never returns NaN or infinity.

    Args:
        backend: does the work.
        open_fp32: opens the same network in fp32, called at most once and only when it is needed; None when `backend`
            computes in fp32 itself.
    """

    def __init__(self, backend: Backend, open_fp32: Callable[[], Backend] | None = None) -> None:
        self.name, self.device, self.precision = backend.name, backend.device, backend.precision
        self.gated, self.tlc = backend.gated, backend.tlc
        self._backend = backend
        self._open_fp32 = open_fp32
        self._fp32: Backend | None = None
        self._lock = threading.Lock()

    def __call__(self, tile: np.ndarray) -> np.ndarray:
        output = self._backend(tile)
        if np.isfinite(output).all():
            return output
        if self._open_fp32 is None:
            raise FloatingPointError(self._problem(self._backend, tile))
        fallback = self._full_precision(tile)
        output = fallback(tile)
        if np.isfinite(output).all():
            return output
        raise FloatingPointError(self._problem(fallback, tile))

    def _full_precision(self, tile: np.ndarray) -> Backend:
        with self._lock:
            if self._fp32 is None:
                _log.warning("%s; such tiles are repeated in fp32", self._problem(self._backend, tile))
                self._fp32 = self._open_fp32()
            return self._fp32

    @staticmethod
    def _problem(backend: Backend, tile: np.ndarray) -> str:
        finite = "" if np.isfinite(tile).all() else " (nor were those of the tile itself)"
        height, width = tile.shape[-2:]
        return (
            f"{backend.name} in {backend.precision} on {backend.device}: the values for a tile of {height} x {width} "
            f"are not finite{finite}"
        )
