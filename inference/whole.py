"""Restoring a whole picture without asking what covers it: the plain network, and networks without a gate."""

from __future__ import annotations

import cv2
import numpy as np

from inference.compose import add_difference
from inference.locate import to_float
from inference.network import Network
from inference.tiling import Cut, equal_cut

# Rows of a picture that are converted at a time, so that no second full-size picture of floats is needed.
_ROWS = 512


def plain(network: Network, picture: np.ndarray) -> np.ndarray:
    """The network's output for a whole picture in one piece, clipped and rounded, and nothing else.

    Of a network with a gate these are the colours before the gate.

    Args:
        picture: RGB uint8 or uint16 [H, W, 3].

    Returns:
        The same type and shape.

    Raises:
        MemoryError: memory does not suffice; cutting the picture would change the numbers.
    """
    height, width = picture.shape[:2]
    return _quantised(network(picture, equal_cut(height, width, 1, 1, 0), may_cut=False), picture.dtype)


def everything(network: Network, picture: np.ndarray, small: np.ndarray, cut: Cut) -> np.ndarray:
    """What a network without a gate makes of a whole picture, as in the write-up.

    Args:
        picture: RGB uint8 or uint16 [H, W, 3].
        small: the same at the working scale; where it is smaller, only the network's difference is enlarged.
        cut: the tiles of `small`.

    Returns:
        The type and shape of `picture`.
    """
    output = network(small, cut)
    if small.shape == picture.shape:
        return _quantised(output, picture.dtype)
    result = picture.copy()
    add_difference(result, output - to_float(small).transpose(2, 0, 1))
    return result


def changes(result: np.ndarray, picture: np.ndarray) -> np.ndarray:
    """uint8 [H, W]: 1 where any channel differs."""
    changed = np.empty(picture.shape[:2], np.uint8)
    for start in range(0, len(picture), _ROWS):
        rows = slice(start, start + _ROWS)
        changed[rows] = cv2.absdiff(result[rows], picture[rows]).max(2) > 0
    return changed


def _quantised(output: np.ndarray, kind: np.dtype) -> np.ndarray:
    """float32 [K, H, W], of which the first three count, as [H, W, 3] of `kind`: clipped and rounded."""
    white = np.float32(np.iinfo(kind).max)
    result = np.empty((*output.shape[1:], 3), kind)
    for start in range(0, len(result), _ROWS):
        rows = slice(start, start + _ROWS)
        result[rows] = (np.clip(output[:3, rows], 0, 1) * white + np.float32(0.5)).transpose(1, 2, 0)
    return result
