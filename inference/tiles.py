"""The network over a picture of any size: cut into overlapping tiles, run one by one, and blended.

The write-up's prediction is the 2 x 2 cut with overlap 0; the overlap is what hides the seams. Where memory does not
suffice, tiles become smaller; on a CPU that has to be known beforehand, since Linux hands out memory that it does not
have and ends the process when that is used.
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Self

import numpy as np

from inference.engines import Backend, TileFunction, mean_over_flips
from utils.machine import lack_of_memory

Span = tuple[int, int]
Box = tuple[int, int, int, int]

# Padding goes up to a multiple of this: engines that compile for every size then meet few of them, and every network
# of up to six down-samplings takes such a tile as it is.
STEP = 64
# When memory runs out, no side of a tile is made shorter than this: in smaller tiles the gated network no longer sees
# what covers a page (a head over a magazine: IoU 0.93 in tiles of 512, 0.82 in smaller ones, then nothing).
SMALLEST_TILE = 512
# Bytes per pixel of a tile and channel of the first level, at the peak of a forward pass with TLC, rounded up: how much
# the process grew (resident memory) in its first tile of 0.6 to 2.4 megapixels, widths 16 and 32, two threads.
_BYTES_PER_CHANNEL = {"paddle": 85, "onnxruntime": 32, "openvino": 40}
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Cut:
    """Which tiles of a picture are computed: every span of rows with every span of columns.

    Spans are (start, stop) in pixels, in order, equally long, without gaps; neighbours share `overlap` pixels at least,
    as far as the length allows. Beyond the picture its last row and column are repeated."""

    rows: tuple[Span, ...]
    columns: tuple[Span, ...]
    overlap: int

    @property
    def tile(self) -> tuple[int, int]:
        """(height, width) of every tile."""
        return tuple(spans[0][1] - spans[0][0] for spans in (self.rows, self.columns))

    @property
    def box(self) -> Box:
        """(top, bottom, left, right) of all tiles together."""
        return self.rows[0][0], self.rows[-1][1], self.columns[0][0], self.columns[-1][1]

    def smaller(self) -> Self | None:
        """The same box in tiles of half the longer side, `SMALLEST_TILE` at least; None where it is no longer."""
        height, width = self.tile
        if max(height, width) <= SMALLEST_TILE:
            return None
        half = max(SMALLEST_TILE, -(-max(height, width) // 2))
        overlap = min(self.overlap, half // 4)
        side, ends = ("rows", self.box[:2]) if height >= width else ("columns", self.box[2:])
        return replace(self, **{side: _covering(*ends, half, overlap)}, overlap=overlap)


def equal_cut(height: int, width: int, rows: int, columns: int, overlap: int) -> Cut:
    """The write-up's cut: a whole picture in `rows` x `columns` tiles, fewer where they would coincide (one pixel). An
    odd side is made even first; where it does not divide, neighbours share some pixels more than `overlap`."""
    spans = []
    for length, parts in ((height, rows), (width, columns)):
        length += length % 2 if parts > 1 else 0
        spans.append(_spread(0, length, min(length, -(-(length + (parts - 1) * overlap) // parts)), parts))
    return Cut(*spans, overlap)


def single_cut(height: int, width: int, overlap: int) -> Cut:
    """A whole picture in one tile, padded to multiples of `STEP`; `overlap` is for when it becomes smaller."""
    return Cut(((0, _padded(height)),), ((0, _padded(width)),), overlap)


def region_cut(box: Box, height: int, width: int, side: int, overlap: int) -> Cut:
    """A region of a picture of this size in tiles of one fixed `side`, all inside the picture; where that is smaller
    than a tile, the tile is the picture padded to `STEP`. The cut's box is wider than a region smaller than a tile."""
    spans = []
    for start, stop, length in ((*box[:2], height), (*box[2:], width)):
        length = max(length, min(side, _padded(length)))
        size = min(side, length)
        longer = max(size, stop - start)
        start = min(max(0, start - (longer - stop + start) // 2), length - longer)
        spans.append(_covering(start, max(stop, start + size), size, overlap))
    return Cut(*spans, overlap)


def _padded(length: int) -> int:
    return -(-length // STEP) * STEP


def _covering(start: int, stop: int, size: int, overlap: int) -> tuple[Span, ...]:
    """As few pieces of `size` pixels as cover `start` to `stop` and share `overlap`."""
    size = min(size, stop - start)
    overlap = min(overlap, size // 2)  # pieces that share nearly everything would be countless
    return _spread(start, stop, size, -(-(stop - start - overlap) // (size - overlap)))


def _spread(start: int, stop: int, size: int, parts: int) -> tuple[Span, ...]:
    room = stop - start - size
    starts = dict.fromkeys(start + index * room // max(parts - 1, 1) for index in range(parts))
    return tuple((first, first + size) for first in starts)


def run_cut(image: np.ndarray, function: TileFunction, cut: Cut) -> np.ndarray:
    """Applies `function` to every tile of `cut`, and passes linearly from one result to the next where tiles overlap.

    `image` is [C, H, W] of any type; `function` maps [1, C, h, w] of that type to float32 [1, K, h, w]. Returns float32
    [K, h, w], the part of the cut's box that lies in the picture; of a function that returns its argument bit for bit.
    """
    _, height, width = image.shape

    def results(rows: Span) -> Iterator[np.ndarray]:
        down = np.arange(*rows).clip(max=height - 1)[:, None]
        for columns in cut.columns:
            across = np.arange(*columns).clip(max=width - 1)
            yield function(np.ascontiguousarray(image[None, :, down, across]))[0]

    joined = _join((_join(results(rows), cut.columns, axis=2) for rows in cut.rows), cut.rows, axis=1)
    return joined[:, : height - cut.box[0], : width - cut.box[2]]


def _join(pieces: Iterator[np.ndarray], spans: Sequence[Span], axis: int) -> np.ndarray:
    """Joins [K, h, w] pieces at `spans` of `axis`; over what two share, the weight of the later one rises linearly."""
    first = next(pieces)
    if len(spans) == 1:
        return first
    shape, begin = list(first.shape), spans[0][0]
    shape[axis] = spans[-1][1] - begin
    joined, done = np.empty(shape, first.dtype), begin
    # Views with `axis` first: blending reads the same along rows and columns.
    target = np.moveaxis(joined, axis, 0)
    for (start, stop), piece in zip(spans, chain([first], pieces), strict=True):
        source, shared = np.moveaxis(piece, axis, 0), done - start
        weights = np.arange(1, shared + 1, dtype=np.float32) / np.float32(shared + 1)
        # old + weight * (new - old): only this form returns equal values unchanged.
        both = target[start - begin : done - begin]
        both += weights[:, None, None] * (source[:shared] - both)
        target[done - begin : stop - begin] = source[shared:]
        done = stop
    return joined


class Network:
    """Runs a backend over parts of pictures, with `tta` as the mean over the four mirrorings of every tile.

    `width` (channels of the first level) tells what a pixel of a tile takes in memory; at 0 nothing is estimated."""

    def __init__(self, backend: Backend, tta: bool = False, width: int = 0) -> None:
        self.gated = backend.gated
        self._function = mean_over_flips(backend) if tta else backend
        self._bytes_per_pixel = width * _BYTES_PER_CHANNEL.get(backend.name, 85) if backend.device == "cpu" else 0
        self._told = False

    def __call__(self, picture: np.ndarray, cut: Cut, may_cut: bool = True) -> np.ndarray:
        """The output over the part of a picture (RGB uint8 or uint16 [h, w, 3]) that `cut` names: float32
        [K, rows, columns], K = 3, or 4 with the mask probability last.

        `may_cut`: tiles may become smaller when memory does not suffice; MemoryError: not for the smallest ones either.
        """
        channels_first, white = picture.transpose(2, 0, 1), np.float32(np.iinfo(picture.dtype).max)
        while True:
            height, width = cut.tile
            try:
                if problem := lack_of_memory(self._bytes_per_pixel * height * width):
                    raise MemoryError(problem)
                return run_cut(channels_first, lambda tile: self._function(tile.astype(np.float32) / white), cut)
            except MemoryError as error:
                smaller = cut.smaller() if may_cut else None
                if smaller is None:
                    how = (f"in tiles of {height}x{width} (in smaller ones it could miss what covers the page)"
                           if may_cut else "in one piece, and cutting it would change the plain network's result")
                    raise MemoryError(
                        f"memory does not suffice for {picture.shape[0]}x{picture.shape[1]} pixels {how}: {error}. "
                        "Close other programs, work at a smaller scale (--scale 0.5, in modes tiles and full), or use "
                        f"{'another device' if may_cut else '--mode tiles'}"
                    ) from error
                # Said once: in a folder of a thousand photos the thousandth line tells nothing new.
                level = logging.DEBUG if self._told else logging.WARNING
                _log.log(level, "tiles of %dx%d become %dx%d: %s", *cut.tile, *smaller.tile, error)
                self._told, cut = True, smaller
