"""Occlusion masks: the four encodings in which they come, and their blobs."""

from __future__ import annotations

import io
import os

import cv2
import numpy as np
from PIL import Image

from data.images import BadImageError, decode_picture, open_picture
from utils.files import write_bytes

# The contest's palette: index 0 is background, index 1 is the occluder.
CONTEST_PALETTE = (128, 0, 0, 0, 128, 0)


def binarise_mask(values: np.ndarray) -> np.ndarray:
    """Turns a grey mask of any known encoding into uint8 height x width with 1 = occluder.

    Known encodings: 0/1, 0/255 (or any grey with a soft edge), and the contest's palette read as grey, 38/75, where
    38 is the background. The write-up compared such greys with 40 and left a value of exactly 40 neither 0 nor 255;
    here every value falls on one side.
    """
    highest = values.max(initial=0)
    lowest = 1 if highest <= 1 else 40 if highest <= 75 else 128
    return (values >= lowest).astype(np.uint8)


def read_mask(path: str | os.PathLike[str]) -> np.ndarray:
    """Reads a mask file of any encoding as uint8 height x width with 1 = occluder; `BadImageError` as `read_rgb`."""
    with open_picture(path) as image:
        decode_picture(image, path)
        if image.mode == "P" and not _shows_greys(image):
            return (np.asarray(image) != 0).astype(np.uint8)
        if image.mode not in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16", "I"):
            raise BadImageError(f"{os.fspath(path)}: a mask of mode {image.mode}, expected grey, palette or RGB")
        if image.mode in ("I;16", "I"):
            values = np.asarray(image)
            return binarise_mask((values // 257 if values.max(initial=0) > 255 else values).astype(np.uint8))
        return binarise_mask(np.asarray(image.convert("L")))


def _shows_greys(image: Image.Image) -> bool:
    """Whether a palette holds greys only: then an optimiser packed a black and white mask, in whatever order."""
    palette = np.asarray(image.getpalette("RGB") or [0, 0, 0], np.int16).reshape(-1, 3)
    used = palette[np.flatnonzero(image.histogram()[: len(palette)])]
    return len(used) > 0 and not np.any(np.ptp(used, axis=1))


def write_mask(path: str | os.PathLike[str], mask: np.ndarray) -> None:
    """Writes a 0/1 mask as a grey PNG of 0 and 255, atomically."""
    buffer = io.BytesIO()
    Image.fromarray((np.asarray(mask) > 0).astype(np.uint8) * 255).save(buffer, format="PNG", compress_level=1)
    write_bytes(path, buffer.getvalue())


def contest_mask_image(mask: np.ndarray) -> Image.Image:
    """The contest's palette PNG of a 0/1 mask, as a Pillow image of mode P."""
    image = Image.fromarray((np.asarray(mask) > 0).astype(np.uint8), mode="P")
    image.putpalette(CONTEST_PALETTE)
    return image


def blobs(mask: np.ndarray, minimum_area: int = 1) -> list[tuple[int, int, int, int, int]]:
    """Connected blobs of a 0/1 mask as (left, top, width, height, area), largest first."""
    if not mask.any():
        return []
    _, _, stats, _ = cv2.connectedComponentsWithStats(np.ascontiguousarray(mask, np.uint8), connectivity=8)
    rows = [tuple(int(value) for value in row) for row in stats[1:] if row[cv2.CC_STAT_AREA] >= minimum_area]
    return sorted(rows, key=lambda row: (-row[4], row[1], row[0]))
