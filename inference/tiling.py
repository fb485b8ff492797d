"""Cutting a picture into overlapping tiles, running a function on each, and blending the results.

Pure NumPy, and the one place that pads. The function may be a network, a static predictor or anything else that maps
[1, C, h, w] to [1, K, h, w]; it never learns where its tile lies. The write-up's prediction is the 2 x 2 cut with
overlap 0; the overlap is what hides the seams.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import numpy as np

TileFunction = Callable[[np.ndarray], np.ndarray]
Span = tuple[int, int]
Box = tuple[int, int, int, int]

# Padding goes up to a multiple of this: engines that compile for every size then meet few of them, and every network
# of up to six down-samplings takes such a tile as it is.
STEP = 64
# Tiles whose longer side is no longer than this are not cut further when memory runs out.
SMALLEST_TILE = 128


@dataclass(frozen=True)
class Cut:
    """Which tiles of a picture are computed: every span of rows with every span of columns.

    Attributes:
        rows, columns: (start, stop) in pixels, in order, equally long, without gaps. They may reach beyond the bottom
            and the right side of the picture, where its last row and column are repeated.
        overlap: pixels that neighbours share at least (as far as the length allows).
    """

    rows: tuple[Span, ...]
    columns: tuple[Span, ...]
    overlap: int

    @property
    def tile(self) -> tuple[int, int]:
        """(height, width) of every tile."""
        return self.rows[0][1] - self.rows[0][0], self.columns[0][1] - self.columns[0][0]

    @property
    def box(self) -> Box:
        """(top, bottom, left, right) of all tiles together."""
        return self.rows[0][0], self.rows[-1][1], self.columns[0][0], self.columns[-1][1]

    def smaller(self) -> Cut | None:
        """The same box in tiles of half the longer side; None where that side is `SMALLEST_TILE` or less already."""
        height, width = self.tile
        if max(height, width) <= SMALLEST_TILE:
            return None
        top, bottom, left, right = self.box
        half = -(-max(height, width) // 2)
        overlap = min(self.overlap, half // 4)
        if height >= width:
            return replace(self, rows=covering_spans(top, bottom, half, overlap), overlap=overlap)
        return replace(self, columns=covering_spans(left, right, half, overlap), overlap=overlap)


def equal_cut(height: int, width: int, rows: int, columns: int, overlap: int) -> Cut:
    """The write-up's cut: a whole picture in `rows` x `columns` tiles.

    An odd side is made even before it is cut, which makes the four tiles equal; one that is not cut stays as it is.
    """
    padded_height, padded_width = (
        length + length % 2 if parts > 1 else length for length, parts in ((height, rows), (width, columns))
    )
    return Cut(
        tuple(tile_spans(padded_height, rows, overlap)), tuple(tile_spans(padded_width, columns, overlap)), overlap
    )


def single_cut(height: int, width: int, overlap: int) -> Cut:
    """A whole picture in one tile, padded to multiples of `STEP`; `overlap` is for when it becomes smaller."""
    return Cut(((0, padded(height)),), ((0, padded(width)),), overlap)


def region_cut(box: Box, height: int, width: int, side: int, overlap: int) -> Cut:
    """A region of a picture in tiles of one fixed size, all inside the picture.

    Args:
        box: (top, bottom, left, right) of the region.
        height, width: of the picture; where it is smaller than a tile, the tile is the picture padded to `STEP`.
        side: of the tiles.

    Returns:
        The cut, whose box holds the region: it is wider where the region is smaller than a tile.
    """
    top, bottom, left, right = box
    return Cut(_region_spans(top, bottom, height, side, overlap), _region_spans(left, right, width, side, overlap),
               overlap)


def _region_spans(start: int, stop: int, length: int, side: int, overlap: int) -> tuple[Span, ...]:
    length = max(length, min(side, padded(length)))
    side = min(side, length)
    missing = max(0, side - (stop - start))
    start = min(max(0, start - missing // 2), length - max(side, stop - start))
    return covering_spans(start, max(stop, start + side), side, overlap)


def padded(length: int) -> int:
    """The next multiple of `STEP`."""
    return -(-length // STEP) * STEP


def covering_spans(start: int, stop: int, size: int, overlap: int) -> tuple[Span, ...]:
    """As few pieces of exactly `size` pixels as cover `start` to `stop` and share `overlap` each; evenly spread.

    Of an overlap above half a piece only that half counts: pieces that share nearly everything would be countless.
    """
    length = stop - start
    size = min(size, length)
    overlap = min(overlap, size // 2)
    parts = -(-(length - overlap) // (size - overlap))
    starts = (start + index * (length - size) // max(parts - 1, 1) for index in range(parts))
    return tuple((first, first + size) for first in starts)


def tile_spans(length: int, parts: int, overlap: int) -> list[Span]:
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


def run_cut(image: np.ndarray, function: TileFunction, cut: Cut) -> np.ndarray:
    """Applies `function` to every tile of `cut` and blends the results over the overlaps.

    Args:
        image: [C, H, W] of any type, H and W >= 1; tiles are cut out of it as they are needed.
        function: maps [1, C, h, w], of the type of `image`, to float32 [1, K, h, w]; K is free.

    Returns:
        float32 [K, h, w], the part of the cut's box that lies in the picture; over what tiles share, the result passes
        linearly from one to the next. A function that returns its argument gives the picture back bit for bit,
        whatever the sizes.
    """
    _check_picture(image)
    top, bottom, left, right = cut.box
    strips = (
        (start - top, _join(
            ((first - left, _run(function, _tile(image, (start, stop), (first, last)))) for first, last in cut.columns),
            right - left, axis=2,
        ))
        for start, stop in cut.rows
    )
    joined = _join(strips, bottom - top, axis=1)
    return joined[:, : image.shape[1] - top, : image.shape[2] - left]


def _check_picture(image: np.ndarray) -> None:
    if image.ndim != 3 or 0 in image.shape:
        raise ValueError(f"expected a picture [C, H, W] with at least one pixel, got {image.shape}")


def _tile(image: np.ndarray, rows: Span, columns: Span) -> np.ndarray:
    """[1, C, h, w], continued by the picture's last row and column where the spans leave it."""
    # A tile may even lie wholly beyond a tiny picture; then its last row or column is all that there is.
    first_row, first_column = min(rows[0], image.shape[1] - 1), min(columns[0], image.shape[2] - 1)
    tile = image[:, first_row : rows[1], first_column : columns[1]]
    missing = (rows[1] - rows[0] - tile.shape[1], columns[1] - columns[0] - tile.shape[2])
    if any(missing):
        tile = np.pad(tile, ((0, 0), (0, missing[0]), (0, missing[1])), mode="edge")
    return np.ascontiguousarray(tile[None])


def _run(function: TileFunction, tile: np.ndarray) -> np.ndarray:
    result = np.asarray(function(tile))
    if result.ndim != 4 or result.shape[0] != 1 or result.shape[2:] != tile.shape[2:]:
        raise ValueError(f"the function made {result.shape} of a tile of {tile.shape}; height and width must stay")
    return result[0]


def _join(pieces: Iterable[tuple[int, np.ndarray]], length: int, axis: int) -> np.ndarray:
    """Joins (start, array) pieces, ordered by start and together `length` long, along `axis`.

    Over what two pieces share, the weight of the later one rises linearly from above 0 to below 1. The sum is
    written old + weight * (new - old) and not as two products, because only this form returns equal values
    unchanged: the weights then add up to 1 exactly, and not to 1 within rounding.
    """
    joined, done = np.empty(0, np.float32), 0
    for start, piece in pieces:
        stop = start + piece.shape[axis]
        if done == 0:
            if stop == length:
                return piece
            shape = list(piece.shape)
            shape[axis] = length
            joined = np.empty(shape, piece.dtype)
        shared = done - start
        if shared > 0:
            weights = (np.arange(1, shared + 1, dtype=np.float32) / np.float32(shared + 1)).reshape(
                [-1 if position == axis else 1 for position in range(3)]
            )
            old = _slice(joined, axis, start, done)
            old += weights * (_slice(piece, axis, 0, shared) - old)
        _slice(joined, axis, done, stop)[...] = _slice(piece, axis, shared, None)
        done = stop
    return joined


def _slice(array: np.ndarray, axis: int, start: int, stop: int | None) -> np.ndarray:
    return array[(slice(None),) * axis + (slice(start, stop),)]
