"""Cutting a picture into overlapping tiles, running a function on each, and blending the results.

Pure NumPy. The function may be a network, a static predictor or anything else that maps [1, C, h, w] to
[1, K, h, w]; it never learns where its tile lies. The write-up's prediction is the 2 x 2 cut with overlap 0; the
overlap is what hides the seams.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

TileFunction = Callable[[np.ndarray], np.ndarray]


def tile_spans(length: int, parts: int, overlap: int) -> list[tuple[int, int]]:
    """Equal pieces of `length` pixels as (start, stop), in order, together covering everything.

    Args:
        length: pixels to cover, at least 1.
        parts: number of pieces wanted; fewer come back where pieces would coincide (a picture of one pixel).
        overlap: pixels that neighbours share at least (as far as the length allows); 0 gives the plain cut.

    All pieces are equally long, so that TLC and exported models meet one size; where `length` does not divide,
    neighbours share up to `parts - 1` pixels more.
    """
    if length < 1 or parts < 1 or overlap < 0:
        raise ValueError(f"length {length} and parts {parts} must be at least 1, overlap {overlap} at least 0")
    size = min(length, -(-(length + (parts - 1) * overlap) // parts))
    starts = {index * (length - size) // max(parts - 1, 1) for index in range(parts)}
    return [(start, start + size) for start in sorted(starts)]


def run_tiled(
    image: np.ndarray, function: TileFunction, rows: int = 2, columns: int = 2, overlap: int = 64
) -> np.ndarray:
    """Applies `function` to every tile of `image` and blends the results over the overlaps.

    Args:
        image: float32 [C, H, W], H and W >= 1. An odd side is made even first by repeating its last row or column,
            which is cut off at the end: that makes the write-up's four tiles equal.
        function: maps [1, C, h, w] to [1, K, h, w]; K is free.
        overlap: pixels that neighbours share; over them the result passes linearly from one tile to the next.

    Returns:
        float32 [K, H, W]. A function that returns its argument gives the picture back bit for bit, whatever the sizes.
    """
    if image.ndim != 3 or 0 in image.shape:
        raise ValueError(f"expected a picture [C, H, W] with at least one pixel, got {image.shape}")
    height, width = image.shape[1:]
    padded = np.pad(image, ((0, 0), (0, height % 2), (0, width % 2)), mode="edge")
    vertical = tile_spans(padded.shape[1], rows, overlap)
    horizontal = tile_spans(padded.shape[2], columns, overlap)

    strips = (
        _join(((left, _run(function, padded[:, top:bottom, left:right])) for left, right in horizontal), axis=2)
        for top, bottom in vertical
    )
    return _join(zip((top for top, _ in vertical), strips, strict=True), axis=1)[:, :height, :width]


def _run(function: TileFunction, tile: np.ndarray) -> np.ndarray:
    result = np.asarray(function(np.ascontiguousarray(tile[None])))
    if result.ndim != 4 or result.shape[0] != 1 or result.shape[2:] != tile.shape[1:]:
        raise ValueError(
            f"the function made {result.shape} of a tile of {(1, *tile.shape)}; height and width must stay"
        )
    return result[0]


def _join(pieces: Iterable[tuple[int, np.ndarray]], axis: int) -> np.ndarray:
    """Joins (start, array) pieces, ordered by start, along `axis`.

    Over what two pieces share, the weight of the later one rises linearly from above 0 to below 1. The sum is
    written old + weight * (new - old) and not as two products, because only this form returns equal values
    unchanged: the weights then add up to 1 exactly, and not to 1 within rounding.
    """
    joined: np.ndarray | None = None
    for start, piece in pieces:
        if joined is None:
            joined = piece
            continue
        shared = joined.shape[axis] - start
        if shared > 0:
            weights = (np.arange(1, shared + 1, dtype=np.float32) / np.float32(shared + 1)).reshape(
                [-1 if position == axis else 1 for position in range(3)]
            )
            old, new = _slice(joined, axis, start, None), _slice(piece, axis, 0, shared)
            mixed = old + weights * (new - old)
            joined = np.concatenate([_slice(joined, axis, 0, start), mixed, _slice(piece, axis, shared, None)], axis)
        else:
            joined = np.concatenate([joined, piece], axis)
    if joined is None:
        raise ValueError("nothing to join")
    return joined


def _slice(array: np.ndarray, axis: int, start: int, stop: int | None) -> np.ndarray:
    return array[(slice(None),) * axis + (slice(start, stop),)]
