"""The network over a picture of any size: cut into overlapping tiles, run one by one, and blended.

The one place that pads. A tile's function may be a network, a static predictor or anything else that maps float32
[1, 3, h, w] to [1, K, h, w]; it never learns where its tile lies. The write-up's prediction is the 2 x 2 cut with
overlap 0; the overlap is what hides the seams.

Where memory does not suffice, tiles become smaller. On a CPU that has to be known beforehand: Linux hands out memory
that it does not have and ends the process when that is used, so there is no exception to catch.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from inference.engines.base import Backend
from utils.machine import available_bytes

TileFunction = Callable[[np.ndarray], np.ndarray]
Span = tuple[int, int]
Box = tuple[int, int, int, int]

# Padding goes up to a multiple of this: engines that compile for every size then meet few of them, and every network
# of up to six down-samplings takes such a tile as it is.
STEP = 64
# Tiles whose longer side is no longer than this are not cut further when memory runs out.
SMALLEST_TILE = 128
# Bytes per pixel of a tile and channel of the first level, at the peak of a forward pass with TLC, rounded up: how much
# the process grew (resident memory) in its first tile of 0.6 to 2.4 megapixels, widths 16 and 32, two threads.
_BYTES_PER_CHANNEL = {"paddle": 85, "onnxruntime": 32, "openvino": 32}
# What is left for everything else that runs, the full-size picture included.
SHARE = 0.7
_MIRRORINGS = ((), (3,), (2,), (2, 3))
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Cut:
    """Which tiles of a picture are computed: every span of rows with every span of columns.

    Spans are (start, stop) in pixels, in order, equally long, without gaps; neighbours share `overlap` pixels at least
    (as far as the length allows). They may reach beyond the bottom and the right side of the picture, where its last
    row and column are repeated.
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
    sides = (length + length % 2 if parts > 1 else length for length, parts in ((height, rows), (width, columns)))
    return Cut(*(tile_spans(side, parts, overlap) for side, parts in zip(sides, (rows, columns), strict=True)), overlap)


def single_cut(height: int, width: int, overlap: int) -> Cut:
    """A whole picture in one tile, padded to multiples of `STEP`; `overlap` is for when it becomes smaller."""
    return Cut(((0, _padded(height)),), ((0, _padded(width)),), overlap)


def region_cut(box: Box, height: int, width: int, side: int, overlap: int) -> Cut:
    """A region of a picture of this size in tiles of one fixed `side`, all inside the picture; where that is smaller
    than a tile, the tile is the picture padded to `STEP`. The cut's box is wider than a region smaller than a tile.
    """
    top, bottom, left, right = box
    return Cut(
        _region_spans(top, bottom, height, side, overlap), _region_spans(left, right, width, side, overlap), overlap
    )


def _region_spans(start: int, stop: int, length: int, side: int, overlap: int) -> tuple[Span, ...]:
    length = max(length, min(side, _padded(length)))
    side = min(side, length)
    missing = max(0, side - (stop - start))
    start = min(max(0, start - missing // 2), length - max(side, stop - start))
    return covering_spans(start, max(stop, start + side), side, overlap)


def _padded(length: int) -> int:
    return -(-length // STEP) * STEP


def covering_spans(start: int, stop: int, size: int, overlap: int) -> tuple[Span, ...]:
    """As few pieces of exactly `size` pixels as cover `start` to `stop` and share `overlap` each; evenly spread.

    Of an overlap above half a piece only that half counts: pieces that share nearly everything would be countless.
    """
    size = min(size, stop - start)
    overlap = min(overlap, size // 2)
    return _spread(start, stop, size, -(-(stop - start - overlap) // (size - overlap)))


def tile_spans(length: int, parts: int, overlap: int) -> tuple[Span, ...]:
    """`parts` equal pieces of `length` pixels as (start, stop), in order, together covering everything; fewer where
    pieces would coincide (a picture of one pixel).

    All pieces are equally long, so that TLC and exported models meet one size; where `length` does not divide,
    neighbours share up to `parts - 1` pixels more than `overlap`.
    """
    return _spread(0, length, min(length, -(-(length + (parts - 1) * overlap) // parts)), parts)


def _spread(start: int, stop: int, size: int, parts: int) -> tuple[Span, ...]:
    room = stop - start - size
    starts = dict.fromkeys(start + index * room // max(parts - 1, 1) for index in range(parts))
    return tuple((first, first + size) for first in starts)


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
    top, bottom, left, right = cut.box

    def strip(rows: Span) -> np.ndarray:
        tiles = ((columns[0] - left, function(_tile(image, rows, columns))[0]) for columns in cut.columns)
        return _join(tiles, right - left, axis=2)

    joined = _join(((rows[0] - top, strip(rows)) for rows in cut.rows), bottom - top, axis=1)
    return joined[:, : image.shape[1] - top, : image.shape[2] - left]


def _tile(image: np.ndarray, rows: Span, columns: Span) -> np.ndarray:
    """[1, C, h, w], continued by the picture's last row and column where the spans leave it."""
    # A tile may even lie wholly beyond a tiny picture; then its last row or column is all that there is.
    first_row, first_column = min(rows[0], image.shape[1] - 1), min(columns[0], image.shape[2] - 1)
    tile = image[:, first_row : rows[1], first_column : columns[1]]
    missing = (rows[1] - rows[0] - tile.shape[1], columns[1] - columns[0] - tile.shape[2])
    if any(missing):
        tile = np.pad(tile, ((0, 0), (0, missing[0]), (0, missing[1])), mode="edge")
    return np.ascontiguousarray(tile[None])


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
        # Views with `axis` first: blending reads the same along rows and columns.
        target, source = np.moveaxis(joined, axis, 0), np.moveaxis(piece, axis, 0)
        if shared > 0:
            weights = np.arange(1, shared + 1, dtype=np.float32) / np.float32(shared + 1)
            target[start:done] += weights[:, None, None] * (source[:shared] - target[start:done])
        target[done:stop] = source[shared:]
        done = stop
    return joined


def mean_over_flips(function: TileFunction) -> TileFunction:
    """The mean of a tile's function over the tile as it is, mirrored left-right, upside down, and both; each result is
    mirrored back before it counts. Four times the work.
    """

    def average(tile: np.ndarray) -> np.ndarray:
        total: np.ndarray | None = None
        for axes in _MIRRORINGS:
            result = np.flip(function(np.ascontiguousarray(np.flip(tile, axes))), axes)
            total = result.copy() if total is None else np.add(total, result, out=total)
        return total / np.float32(len(_MIRRORINGS))

    return average


class Network:
    """Runs a backend over parts of pictures.

    Args:
        backend: the engine.
        tta: averages over the four mirrorings of every tile.
        bytes_per_pixel: what a pixel of a tile takes in memory; None makes no estimate, and tiles become smaller only
            when the engine says that memory ran out.

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
        channels_first = picture.transpose(2, 0, 1)
        while True:
            smaller, cause = cut.smaller() if may_cut else None, None
            problem = self._too_large(cut)
            # An estimate is no proof: the smallest tiles are tried whatever it says.
            if problem is None or (may_cut and smaller is None):
                try:
                    return run_cut(channels_first, lambda tile: self._function(tile.astype(np.float32) / white), cut)
                except MemoryError as error:
                    problem, cause = str(error), error
            if smaller is None:
                raise MemoryError(_advice(picture, cut, may_cut, problem)) from cause
            # Said once: in a folder of a thousand photos the thousandth line tells nothing new.
            level = logging.DEBUG if self._told else logging.WARNING
            _log.log(level, "tiles of %dx%d become %dx%d: %s", *cut.tile, *smaller.tile, problem)
            self._told = True
            cut = smaller

    def _too_large(self, cut: Cut) -> str | None:
        """Why a tile would not fit into memory, or None."""
        if self._bytes_per_pixel is None:
            return None
        available = available_bytes()
        needed = self._bytes_per_pixel * cut.tile[0] * cut.tile[1]
        if available is None or needed <= SHARE * available:
            return None
        return f"they would take about {needed / 1e9:.1f} GB of the {available / 1e9:.1f} GB that are available"


def _advice(picture: np.ndarray, cut: Cut, may_cut: bool, problem: str) -> str:
    words = f"memory does not suffice for a picture of {picture.shape[0]}x{picture.shape[1]}"
    if not may_cut:
        return (
            f"{words} in one piece, and cutting it would change the plain network's result: {problem}. Use --mode "
            "tiles, or a smaller --scale"
        )
    return (
        f"{words} at the working scale, with tiles of {cut.tile[0]}x{cut.tile[1]} neither (they are not made smaller "
        f"than {SMALLEST_TILE}): {problem}. Close other programs, work at a smaller scale (--scale), or use another "
        "device"
    )


def bytes_per_pixel(model: Mapping[str, Any], backend: str) -> float:
    """About how much memory a pixel of a tile takes while a network of these settings (`Weights.model`) runs; a backend
    that is not known is taken for the hungriest.
    """
    return model["width"] * _BYTES_PER_CHANNEL.get(backend, max(_BYTES_PER_CHANNEL.values()))
