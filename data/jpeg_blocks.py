"""New pixels in a JPEG file, with every block that they do not touch kept as it is.

Decoding and encoding a JPEG again changes all of it a little. Here the quantised DCT coefficients are taken out of the
file, those of the blocks with changed pixels are computed anew, and all are entropy-coded again.
"""

from __future__ import annotations

import numpy as np

from data.jpeg_coefficients import read_coefficients, write_scans
from data.jpeg_segments import (
    DHT,
    DRI,
    PROGRESSIVE,
    SOS,
    JpegFile,
    Segment,
    UnsupportedJpegError,
    encode_jpeg,
    parse_jpeg,
)

__all__ = ["UnsupportedJpegError", "losses", "replace_blocks"]

# Minimum coded units that are transformed at a time; 16x16 pixels each make 24 MB of float32.
_BATCH = 8192
# RGB to Y, Cb, Cr as in JFIF (ITU-R BT.601 with full range), without the offsets.
_TO_YCC = np.array(
    [[0.299, 0.587, 0.114], [-0.168735892, -0.331264108, 0.5], [0.5, -0.418687589, -0.081312411]], np.float32
)


def replace_blocks(source: bytes, rgb: np.ndarray, changed: np.ndarray) -> bytes:
    """Writes `rgb` into the blocks of a JPEG file that have changed pixels.

    An 8x8 block of a component without a changed pixel in its area keeps its quantised coefficients exactly; the
    others get those of `rgb`, by the file's own colours, sampling factors and quantisation tables. What is written is
    read back and compared before it is returned. In the decoded picture, pixels outside of the touched blocks stay
    as they were, but for one pixel beside a touched block of a subsampled component: decoders blend the chroma of
    neighbours there.

    All APPn and COM segments stay byte for byte and in order; `losses` names what goes. Restart markers go, progressive
    files stay progressive. Greys take the luma of `rgb`; blocks of CMYK are written without black ink.

    Args:
        source: the file.
        rgb: uint8, height x width x 3, turned as the file stores it (before EXIF orientation).
        changed: uint8 or bool, height x width; not 0 where `rgb` differs from the file.

    Raises:
        UnsupportedJpegError: a file, or a kind of file, for which this cannot be done; the message says why.
        ValueError: arrays that do not fit the file.
    """
    jpeg = parse_jpeg(source)
    size = (jpeg.height, jpeg.width)
    if rgb.dtype != np.uint8 or rgb.shape != (*size, 3) or changed.shape != size:
        raise ValueError(
            f"expected RGB uint8 {size[0]}x{size[1]}x3 and as large a mask, got {rgb.dtype} {rgb.shape}, {changed.shape}"
        )
    planes = read_coefficients(jpeg)
    _put_blocks(jpeg, planes, rgb, changed)
    process, scans = write_scans(jpeg, planes)
    content = encode_jpeg(_kept_segments(jpeg, process) + scans)
    written = parse_jpeg(content)
    same = written.colours == jpeg.colours and written.components == jpeg.components
    for before, after in zip(planes, read_coefficients(written), strict=True):
        same = same and np.array_equal(before, after)
    if not same:
        raise UnsupportedJpegError("what was written reads back differently")
    return content


def losses(source: bytes) -> tuple[str, ...]:
    """What `replace_blocks` does not keep of a file beside its picture, in words; empty when nothing is lost.

    Raises:
        UnsupportedJpegError: as `replace_blocks` would.
    """
    jpeg = parse_jpeg(source)
    lost = []
    if jpeg.trailing.strip(b"\0"):
        lost.append(f"{len(jpeg.trailing)} bytes behind the picture (further pictures, video or padding) are dropped")
    if any(segment.marker == DRI and any(segment.payload) for segment in jpeg.segments):
        lost.append("restart markers are dropped")
    if jpeg.process == PROGRESSIVE and len(jpeg.components) == 4:
        lost.append("progressive becomes sequential")
    return tuple(lost)


def _kept_segments(jpeg: JpegFile, process: int) -> list[Segment]:
    """The source's segments but for the entropy coding, and for an index of pictures that no longer follow."""
    kept = []
    for segment in jpeg.segments:
        if segment.marker == jpeg.process:
            kept.append(Segment(process, segment.payload))
        elif segment.marker not in (DHT, DRI, SOS) and not segment.is_picture_index:
            kept.append(segment)
    return kept


def _put_blocks(jpeg: JpegFile, planes: list[np.ndarray], rgb: np.ndarray, changed: np.ndarray) -> None:
    """Overwrites the coefficients of all touched blocks in `planes`."""
    sampling = [(component.vertical, component.horizontal) for component in jpeg.components]
    if len(planes) == 1:
        sampling = [(1, 1)]
    highest, widest = (max(factors) for factors in zip(*sampling, strict=True))
    cells = _touched_cells(changed)
    touched = [
        _touched_blocks(cells, highest // vertical, widest // horizontal) for vertical, horizontal in sampling
    ]
    unit_rows, unit_columns = np.nonzero(_touched_blocks(cells, highest, widest))
    for start in range(0, len(unit_rows), _BATCH):
        rows, columns = unit_rows[start : start + _BATCH], unit_columns[start : start + _BATCH]
        units = _to_planes(_cut(rgb, rows, columns, 8 * highest, 8 * widest), jpeg.colours)
        for index, (component, (vertical, horizontal)) in enumerate(zip(jpeg.components, sampling, strict=True)):
            samples = _shrink(units[..., index], highest // vertical, widest // horizontal)
            blocks = _quantise(samples, jpeg.tables[component.table])
            at_rows = (rows[:, None, None] * vertical + np.arange(vertical)[:, None]) + np.zeros(horizontal, int)
            at_columns = (columns[:, None, None] * horizontal + np.arange(horizontal)) + np.zeros((vertical, 1), int)
            height, width = planes[index].shape[:2]
            inside = (at_rows < height) & (at_columns < width)
            inside[inside] = touched[index][at_rows[inside], at_columns[inside]]
            planes[index][at_rows[inside], at_columns[inside]] = blocks[inside]


def _touched_cells(changed: np.ndarray) -> np.ndarray:
    """Which 8x8 cells of the picture hold a changed pixel, bool."""
    rows = np.logical_or.reduceat(changed != 0, np.arange(0, changed.shape[0], 8), axis=0)
    return np.logical_or.reduceat(rows, np.arange(0, changed.shape[1], 8), axis=1)


def _touched_blocks(cells: np.ndarray, high: int, wide: int) -> np.ndarray:
    """Which blocks of `high` x `wide` cells hold a touched cell."""
    rows = np.logical_or.reduceat(cells, np.arange(0, cells.shape[0], high), axis=0)
    return np.logical_or.reduceat(rows, np.arange(0, cells.shape[1], wide), axis=1)


def _cut(rgb: np.ndarray, rows: np.ndarray, columns: np.ndarray, height: int, width: int) -> np.ndarray:
    """Units of `height` x `width` pixels, [n, height, width, 3]; beyond the picture its last pixels go on."""
    ys = np.minimum(rows[:, None] * height + np.arange(height), rgb.shape[0] - 1)
    xs = np.minimum(columns[:, None] * width + np.arange(width), rgb.shape[1] - 1)
    return rgb[ys[:, :, None], xs[:, None, :]]


def _to_planes(rgb: np.ndarray, colours: str) -> np.ndarray:
    """RGB [..., 3] as what the file's planes hold, float32 [..., components], level-shifted to be around 0.

    CMYK lies inverted in JPEG files, as Adobe's programs write it and Pillow takes it, so that cyan is red as it is;
    YCCK holds the inverse of that once more. No black ink is 255 in both.
    """
    shifted = rgb.astype(np.float32) - 128
    if colours == "rgb":
        return shifted
    if colours == "grey":
        return shifted @ _TO_YCC[:1].T
    if colours == "ycc":
        return shifted @ _TO_YCC.T
    ink = shifted if colours == "cmyk" else (-1 - shifted) @ _TO_YCC.T
    return np.concatenate([ink, np.full((*ink.shape[:-1], 1), 127, np.float32)], axis=-1)


def _shrink(samples: np.ndarray, high: int, wide: int) -> np.ndarray:
    """Means of `high` x `wide` samples of [n, height, width]."""
    if high == wide == 1:
        return samples
    count, height, width = samples.shape
    return samples.reshape(count, height // high, high, width // wide, wide).mean(axis=(2, 4))


def _quantise(samples: np.ndarray, table: np.ndarray) -> np.ndarray:
    """DCT of [n, 8 v, 8 h] samples, divided by `table` and rounded: int16 [n, v, h, 8, 8]."""
    count, height, width = samples.shape
    blocks = samples.reshape(count, height // 8, 8, width // 8, 8).transpose(0, 1, 3, 2, 4)
    coefficients = _DCT @ np.ascontiguousarray(blocks) @ _DCT.T
    return np.clip(np.rint(coefficients / table), -1023, 1023).astype(np.int16)


def _dct_matrix() -> np.ndarray:
    frequency, position = np.arange(8)[:, None], np.arange(8)
    matrix = np.cos((2 * position + 1) * frequency * np.pi / 16) / 2
    matrix[0] /= np.sqrt(2)
    return matrix.astype(np.float32)


_DCT = _dct_matrix()
