"""What a file's own numbers mean, in its stored orientation: grey levels, indices and inks to RGB, and a fill back."""

from __future__ import annotations

import io
from typing import NamedTuple

import numpy as np
from PIL import Image

from data.images import decode_picture, open_picture, stored_orientation, to_array

# Distances of so many colours to a whole palette are held at a time.
_COLOURS_AT_ONCE = 16_384


class Encoded(NamedTuple):
    """A finished file, and what of the source could not be kept, in words for the log."""

    content: bytes | bytearray
    notes: tuple[str, ...] = ()


def decode(source: bytes, name: str) -> tuple[np.ndarray, int]:
    """A JPEG, WebP or BMP as RGB uint8 height x width x 3, and its EXIF orientation."""
    samples, mode, image = read_samples(source, name)
    return rgb_of(samples, mode), stored_orientation(image)


def read_samples(source: bytes, name: str) -> tuple[np.ndarray, str, Image.Image]:
    """The file's own uint8 samples, Pillow's name of what they are, and what else it tells; palettes become RGB."""
    image = open_picture(io.BytesIO(source), name)
    decode_picture(image, name)
    mode = image.mode if image.mode in ("L", "RGB", "RGBA", "CMYK") else "RGB"
    return to_array(image, mode), mode, image


def grey_of(rgb: np.ndarray) -> np.ndarray:
    """RGB [..., 3] as grey [...] of the same type, the rounded mean: equal channels stay what they are."""
    return ((rgb.sum(axis=-1, dtype=np.uint32) + 1) // 3).astype(rgb.dtype)


def widen(levels: np.ndarray, bits: int) -> np.ndarray:
    """Grey levels of 1, 2 or 4 bits as uint8 over 0..255; those of more bits as they are."""
    return levels * np.uint8(255 // (2**bits - 1)) if bits < 8 else levels


def narrow(grey: np.ndarray, bits: int) -> np.ndarray:
    """The opposite of `widen`: the nearest levels."""
    if bits >= 8:
        return grey
    step = 255 // (2**bits - 1)
    return ((grey.astype(np.uint16) + step // 2) // step).astype(np.uint8)


def to_bits(levels: np.ndarray, bits: int) -> np.ndarray:
    """Levels below 2 ** `bits`, 1 to 8 bits, packed to bytes row by row, the leftmost in the highest bits."""
    shifts = np.arange(bits - 1, -1, -1, dtype=np.uint8)
    return np.packbits((levels[..., None] >> shifts & 1).reshape(len(levels), -1), axis=1)


def ink_of(rgb: np.ndarray) -> np.ndarray:
    """RGB uint8 [..., 3] as CMYK uint8 [..., 4] without black: what Pillow's conversion gives and undoes exactly."""
    return np.concatenate([255 - rgb, np.zeros_like(rgb[..., :1])], axis=-1)


def rgb_of(samples: np.ndarray, mode: str = "") -> np.ndarray:
    """Grey, colours with or without alpha, or the inks of Pillow's `mode` CMYK as RGB height x width x 3."""
    if mode == "CMYK":
        return to_array(Image.fromarray(samples, mode), "RGB")
    return np.ascontiguousarray(samples[..., :3]) if samples.ndim == 3 else np.repeat(samples[..., None], 3, axis=-1)


def cover(samples: np.ndarray, mode: str, mask: np.ndarray, rgb: np.ndarray) -> None:
    """Puts `rgb` where `mask` is not 0 into uint8 samples of Pillow's `mode`, as `rgb_of` reads them; alpha stays."""
    covered, fill = mask != 0, rgb[mask != 0]
    if mode == "CMYK":
        samples[covered] = ink_of(fill)
    elif samples.ndim == 2:
        samples[covered] = grey_of(fill)
    else:
        samples[..., :3][covered] = fill


def nearest_entries(rgb: np.ndarray, palette: np.ndarray, allowed: np.ndarray | bool = True) -> np.ndarray:
    """Indices (uint8 [N]) of the `allowed` entries of `palette` (uint8 [M, 3]) nearest to the colours `rgb` [N, 3]."""
    # Each colour once; one number a colour is much faster than three.
    codes, where = np.unique(rgb.astype(np.uint32) @ np.uint32([1 << 16, 1 << 8, 1]), return_inverse=True)
    colours = (codes[:, None] >> np.uint32([16, 8, 0]) & 255).astype(np.float32)
    entries = palette.astype(np.float32)
    # |c - e|^2 without |c|^2, which is the same for every entry.
    penalty = np.where(allowed, (entries**2).sum(1), np.inf)
    parts = (colours[at : at + _COLOURS_AT_ONCE] for at in range(0, len(colours), _COLOURS_AT_ONCE))
    nearest = [np.argmin(penalty - 2 * part @ entries.T, axis=1) for part in parts]
    return np.concatenate(nearest or [[]]).astype(np.uint8)[where.reshape(-1)]
