"""What may be given to a `Restorer`, as one kind of array."""

from __future__ import annotations

import os
from typing import Union

import numpy as np
from PIL import Image

from data.photo import read_photo

Picture = Union[np.ndarray, Image.Image, str, "os.PathLike[str]"]


def as_pixels(image: Picture) -> np.ndarray:
    """RGB uint8 or uint16 [H, W, 3] of an array, a Pillow image or a file.

    An array is taken as it is. A file is turned upright by its EXIF orientation, and one of 16 bits per channel gives
    uint16. A Pillow image is taken as it lies (`PIL.ImageOps.exif_transpose` turns it upright), as RGB: grey becomes
    three equal channels, 16-bit grey ("I;16", "I") becomes uint16, a palette its colours, CMYK and the other models of
    colour what Pillow converts them to; alpha is dropped.

    Raises:
        TypeError: something else.
        ValueError: an array of another type or shape, an image of mode "F" or of values beyond 16 bits, no pixels.
        BadImageError: a file that cannot be read.
    """
    if isinstance(image, np.ndarray):
        return _checked(image)
    if isinstance(image, Image.Image):
        return _checked(_from_pillow(image))
    if isinstance(image, str | os.PathLike):
        return read_photo(image).pixels
    raise TypeError(
        f"cannot restore {type(image).__name__} {str(image)[:40]!r}: expected an RGB array of uint8 or uint16 "
        "[height, width, 3], a Pillow image, or the path of a picture"
    )


def _from_pillow(image: Image.Image) -> np.ndarray:
    if image.mode == "F" or (image.mode == "I" and not 0 <= image.getextrema()[0] <= image.getextrema()[1] <= 65535):
        raise ValueError(
            f"a Pillow image of mode {image.mode} with values of {image.getextrema()}: expected 0 to 65535 in mode I "
            "or I;16, or 8 bits per channel; scale it first"
        )
    if image.mode == "I" or image.mode.startswith("I;16"):
        return np.repeat(np.asarray(image).astype(np.uint16)[..., None], 3, axis=2)
    return np.asarray(image.convert("RGB"))


def _checked(array: np.ndarray) -> np.ndarray:
    if array.dtype in (np.uint8, np.uint16) and array.ndim == 3 and array.shape[2] == 3 and array.size:
        return array
    advice = ""
    if array.ndim == 2 or (array.ndim == 3 and array.shape[2] == 1):
        advice = "; a grey picture is np.dstack([grey, grey, grey])"
    elif array.ndim == 3 and array.shape[2] == 4:
        advice = "; leave the alpha channel away: image[..., :3]"
    elif np.issubdtype(array.dtype, np.floating):
        advice = "; values from 0 to 1 are (image * 65535 + 0.5).astype(np.uint16)"
    raise ValueError(f"expected RGB uint8 or uint16 height x width x 3, got {array.dtype} {array.shape}{advice}")
