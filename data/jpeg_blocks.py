"""New pixels in a JPEG file, with every block that they do not touch kept as it is.

Decoding and encoding a JPEG again changes all of it a little. Here the quantised DCT coefficients are taken out of the
file, those of the blocks with changed pixels are computed anew, and all are coded again without loss.
"""

from __future__ import annotations

import numpy as np

from data.jpeg_coefficients import read_coefficients, reread_coefficients, same_coefficients, write_scans
from data.jpeg_headers import JpegFile, parse_jpeg
from data.jpeg_segments import DHT, DRI, PROGRESSIVE, SOS, Segment, UnsupportedJpegError, encode_jpeg

__all__ = ["UnsupportedJpegError", "losses", "replace_blocks"]

# Pixels that are transformed at a time; the arrays between take about 50 bytes for each.
_BATCH_PIXELS = 1 << 20


def replace_blocks(source: bytes, rgb: np.ndarray, changed: np.ndarray) -> bytes:
    """Writes `rgb` into the blocks of a JPEG file that have changed pixels.

    An 8x8 block of a component without a changed pixel in its area keeps its quantised coefficients exactly; the
    others get those of `rgb`, by the file's own colours, sampling factors and quantisation tables. What is written is
    read back and compared before it is returned. In the decoded picture, pixels outside of the touched blocks stay as
    they were, but for one pixel beside a touched block of a subsampled component, where decoders blend neighbours.

    All APPn and COM segments stay byte for byte and in order, but for an index of further pictures (MPF); `losses`
    says what goes. Progressive files stay progressive. Grey files take the luma of `rgb`; touched blocks of CMYK files
    hold no black ink.

    Args:
        source: the file.
        rgb: uint8, height x width x 3, turned as the file stores it (before its EXIF orientation).
        changed: uint8 or bool, height x width; not 0 where `rgb` differs from the file.

    Raises:
        UnsupportedJpegError: this cannot be done for this file or kind of file; the message says why.
        ValueError: arrays that do not fit the file.
    """
    jpeg = parse_jpeg(source)
    size = (jpeg.frame.height, jpeg.frame.width)
    if rgb.dtype != np.uint8 or rgb.shape != (*size, 3) or changed.shape != size:
        raise ValueError(
            f"expected RGB uint8 of {size[0]} x {size[1]} x 3 and changed of {size[0]} x {size[1]}, "
            f"got {rgb.dtype} {rgb.shape} and {changed.shape}"
        )
    planes = read_coefficients(jpeg)
    _put_blocks(jpeg, planes, rgb, changed)
    process, scans = write_scans(jpeg, planes)
    content = encode_jpeg(_kept_segments(jpeg, process) + scans)
    written = parse_jpeg(content)
    if written.colours != jpeg.colours or not same_coefficients(planes, reread_coefficients(written)):
        raise UnsupportedJpegError("what was written reads back differently")
    return content


def losses(source: bytes) -> tuple[str, ...]:
    """What `replace_blocks` does not keep of a file, in words; empty when nothing is lost.

    Raises:
        UnsupportedJpegError: as `replace_blocks` would, for what the headers say.
    """
    jpeg = parse_jpeg(source)
    lost = []
    if jpeg.trailing.strip(b"\0"):
        lost.append("what lies behind the picture (further pictures, a video) is dropped")
    if any(segment.marker == DRI and any(segment.payload) for segment in jpeg.segments):
        lost.append("restart markers are dropped")
    if jpeg.frame.process == PROGRESSIVE and len(jpeg.frame.components) == 4:
        lost.append("a progressive CMYK file becomes sequential")
    return tuple(lost)


def _kept_segments(jpeg: JpegFile, process: int) -> list[Segment]:
    """The source's segments but for the coding, and for an index of pictures that no longer follow."""
    kept = []
    for segment in jpeg.segments:
        if segment.is_frame:
            kept.append(Segment(process, segment.payload))
        elif segment.marker not in (DHT, DRI, SOS) and not segment.is_picture_index:
            kept.append(segment)
    return kept


def _put_blocks(jpeg: JpegFile, planes: list[np.ndarray], rgb: np.ndarray, changed: np.ndarray) -> None:
    """Overwrites the coefficients of all touched blocks in `planes`."""
    cells = _touched_cells(changed)
    weights, offsets = _from_rgb(jpeg.colours)
    for plane, component, weight, offset in zip(planes, jpeg.frame.components, weights, offsets, strict=True):
        high, wide = jpeg.frame.spacing(component)
        rows, columns = np.nonzero(_any_in(cells, high, wide))
        batch = max(1, _BATCH_PIXELS // (64 * high * wide))
        for start in range(0, len(rows), batch):
            where = rows[start : start + batch], columns[start : start + batch]
            samples = _cut(rgb, *where, 8 * high, 8 * wide).astype(np.float32) @ weight + offset
            means = samples.reshape(-1, 8, high, 8, wide).mean(axis=(2, 4))
            plane[where] = _quantised_dct(means, jpeg.tables[component.table])


def _touched_cells(changed: np.ndarray) -> np.ndarray:
    """Which 8x8 cells of the picture hold a changed pixel, bool."""
    height, width = changed.shape
    rows, columns = -(-height // 8), -(-width // 8)
    padded = np.zeros((8 * rows, 8 * columns), bool)
    padded[:height, :width] = changed
    # Eight pixels at a time: a row of a cell is one number.
    return np.bitwise_or.reduce(padded.view(np.uint64).reshape(rows, 8, columns), axis=1) != 0


def _any_in(cells: np.ndarray, high: int, wide: int) -> np.ndarray:
    """Which groups of `high` x `wide` cells, such as a block of a subsampled component covers, hold a touched one."""
    rows = np.logical_or.reduceat(cells, np.arange(0, cells.shape[0], high), axis=0)
    return np.logical_or.reduceat(rows, np.arange(0, cells.shape[1], wide), axis=1)


def _cut(rgb: np.ndarray, rows: np.ndarray, columns: np.ndarray, height: int, width: int) -> np.ndarray:
    """Areas of `height` x `width` pixels, [n, height, width, 3]; beyond the picture its last pixels go on."""
    ys = np.minimum(rows[:, None] * height + np.arange(height), rgb.shape[0] - 1)
    xs = np.minimum(columns[:, None] * width + np.arange(width), rgb.shape[1] - 1)
    return rgb[ys[:, :, None], xs[:, None, :]]


def _from_rgb(colours: str) -> tuple[np.ndarray, np.ndarray]:
    """Weights [components, 3] and offsets [components] that make RGB in 0..255 to level-shifted samples.

    Y, Cb and Cr are those of JFIF (ITU-R BT.601 with full range). CMYK lies inverted in a JPEG file, as Adobe's
    programs write it and as Pillow takes it, so that red lies there as it is when there is no black ink. YCCK has that
    inverted once more, but for the black.
    """
    ycc = np.array([[0.299, 0.587, 0.114], [-0.168735892, -0.331264108, 0.5], [0.5, -0.418687589, -0.081312411]])
    none, black = np.zeros((1, 3)), [127.0]
    weights, offsets = {
        "grey": (ycc[:1], [-128]),
        "ycc": (ycc, [-128, 0, 0]),
        "rgb": (np.eye(3), [-128] * 3),
        "cmyk": (np.concatenate([np.eye(3), none]), [-128] * 3 + black),
        "ycck": (np.concatenate([-ycc, none]), [127, 0, 0, *black]),
    }[colours]
    return weights.astype(np.float32), np.array(offsets, np.float32)


def _quantised_dct(samples: np.ndarray, table: np.ndarray) -> np.ndarray:
    """DCT of level-shifted samples [n, 8, 8], divided by `table` and rounded, int16."""
    frequency, position = np.arange(8)[:, None], np.arange(8)
    matrix = np.cos((2 * position + 1) * frequency * np.pi / 16) / np.where(frequency, 2, np.sqrt(8))
    matrix = matrix.astype(np.float32)
    coefficients = matrix @ samples @ matrix.T / table
    return np.clip(np.rint(coefficients), -1023, 1023).astype(np.int16)
