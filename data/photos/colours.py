"""A file's own numbers, in its stored orientation: what they mean as RGB, and a fill put among them.

What has no parts that could be left alone (WebP, BMP, HEIC, HEIF, AVIF) is written anew as a whole from them, with
alpha and metadata. A BMP (but for alpha, which is rare there) and a lossless WebP stay so, value for value. HEIC and
AVIF are turned upright as the file says, and their EXIF orientation is cleared.
"""

import io
import re
from contextlib import suppress
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image

from data.images import decoded, to_array
from data.photos import thumbnails

with suppress(ImportError):  # What Pillow opens HEIC with, which iPhones take.
    import pillow_heif

    pillow_heif.register_heif_opener(thumbnails=False)

# Quality is high, because every encoding costs. WebP's methods go from 0 (fast) to 6 (small), and its effort for
# lossless pictures from 0 to 100: about as long as PNG takes. "exact": the colours below a transparent pixel are values
# of the file like any other.
_LOSSLESS = {"BMP": {}, "WEBP": {"lossless": True, "quality": 20, "method": 0, "exact": True}}
_LOSSY = {
    "WEBP": {"quality": 95, "method": 1, "exact": True},
    # Their encoders' usual efforts take seven and twelve times as long, for files that are smaller by a tenth or less.
    "HEIF": {"quality": 92, "chroma": 444, "enc_params": {"preset": "ultrafast"}},
    "AVIF": {"quality": 92, "subsampling": "4:4:4", "speed": 9},
}
# In a HEIC or AVIF: AV1's mark for 10 or 12 bits a colour, and a picture beside it that is no alpha: for depth or more
# light (ISO/IEC 23008-12; AV1 Codec ISO Media File Format Binding, 2.3).
_DEEP_AV1 = re.compile(rb"av1C..[\x40-\x7f\xc0-\xff]", re.DOTALL)
_ALPHA = rb"urn:mpeg:(?:hevc:2015:auxid:1|mpegB:cicp:systems:auxiliary:alpha)\0"
_BESIDE = re.compile(rb"auxC\0{4}(?!" + _ALPHA + rb")|infe.{8}tmap", re.DOTALL)
_METADATA = {"exif": thumbnails.in_exif, "icc_profile": bytes, "xmp": thumbnails.in_xmp, "dpi": tuple}


class Coding(NamedTuple):
    """What samples, height x width or with channels last, say of colours; channels behind those are alpha."""

    kind: str  # "grey", "rgb", "inks" (cyan, magenta, yellow, black) or "palette".
    bits: int = 8  # Of grey; fewer than 8 reach from 0 to 2 ** bits - 1.
    white_is_zero: bool = False
    palette: np.ndarray | None = None  # uint8 [M, 3].


GREY, RGB, INKS = map(Coding, ("grey", "rgb", "inks"))
BY_MODE = {"1": GREY, "L": GREY, "RGB": RGB, "RGBA": RGB, "CMYK": INKS}  # Of Pillow.


class Encoded(NamedTuple):
    """A finished file, and what of the source could not be kept, in words for the log."""

    content: bytes | bytearray
    notes: tuple[str, ...] = ()


def encode(source: bytes, name: str, rgb: np.ndarray, mask: np.ndarray) -> Encoded:
    """`source`, of a kind that is written anew, with `rgb` (uint8, stored orientation) where `mask` is 1."""
    samples, coding, image = read(source, name)
    cover(samples, coding, mask, rgb)
    kind, buffer, notes = image.format, io.BytesIO(), ()
    # Of a WebP's chunks (RFC 9649) that of the picture says it, and what stands in front is the colour profile.
    lossy = kind != "BMP" and not (kind == "WEBP" and re.search(rb"VP8[L ]", source[12:])[0] == b"VP8L")
    how = (_LOSSY if lossy else _LOSSLESS)[kind]
    if lossy:
        deep = image.info.get("bit_depth", 8) > 8 or (kind == "AVIF" and _DEEP_AV1.search(source))
        bits = ", in 8 bits for each colour" if deep else ""
        notes = (f"a lossy {kind} was encoded anew as a whole, at quality {how['quality']}{bits}",)
        if kind != "WEBP" and _BESIDE.search(source):
            notes += (f"pictures beside that of a {kind} (of depth, or a gain map for bright screens) are dropped",)
    elif kind == "BMP" and image.mode not in ("L", "RGB"):
        samples, notes = samples[..., :3], ("a BMP with a palette or alpha becomes one of 24 bits",)
    metadata = {key: change(image.info[key]) for key, change in _METADATA.items() if image.info.get(key)}
    Image.fromarray(np.ascontiguousarray(samples)).save(buffer, kind, **how, **metadata)
    return Encoded(buffer.getvalue(), notes)


def read(source: bytes, name: str) -> tuple[np.ndarray, Coding, Image.Image]:
    """The file's own samples (uint8), what they are, and what else it tells; palettes become RGB."""
    image = decoded(source, name)
    mode = image.mode if image.mode in ("L", "RGB", "RGBA", "CMYK") else "RGB"
    return to_array(image, mode), BY_MODE[mode], image


def rgb_of(samples: np.ndarray, coding: Coding) -> np.ndarray:
    """RGB height x width x 3, uint16 where the samples are."""
    channels = samples.reshape(*samples.shape[:2], -1)
    if coding.kind == "palette":
        return coding.palette[channels[..., 0]]
    if coding.kind == "rgb":
        return np.ascontiguousarray(channels[..., :3])
    if coding.kind == "inks":
        return to_array(Image.fromarray(np.ascontiguousarray(channels[..., :4]), "CMYK"), "RGB")
    grey = _turned(channels, coding)[..., :1]
    return np.repeat(grey * np.uint8(255 // (2**coding.bits - 1)) if coding.bits < 8 else grey, 3, axis=-1)


def samples_of(rgb: np.ndarray, coding: Coding) -> np.ndarray:
    """Samples [N, channels] of colours [N, 3]: what `rgb_of` takes for them, or the nearest to that."""
    if coding.kind == "palette":
        return nearest_entries(rgb, coding.palette)[:, None]
    if coding.kind == "rgb":
        return rgb
    if coding.kind == "inks":  # Without black, which Pillow's conversion undoes exactly.
        return np.concatenate([255 - rgb, np.zeros_like(rgb[:, :1])], axis=1)
    # The rounded mean: equal channels stay what they are.
    grey = ((rgb.sum(axis=1, keepdims=True, dtype=np.uint32) + 1) // 3).astype(rgb.dtype)
    return _turned(to_levels(grey, coding.bits), coding)


def _turned(levels: np.ndarray, coding: Coding) -> np.ndarray:
    return levels.dtype.type(2**coding.bits - 1) - levels if coding.white_is_zero else levels


def to_levels(grey: np.ndarray, bits: int) -> np.ndarray:
    """The nearest of 2 ** `bits` levels for grey uint8; it stays as it is for 8 bits and more."""
    if bits >= 8:
        return grey
    step = 255 // (2**bits - 1)
    return ((grey.astype(np.uint16) + step // 2) // step).astype(np.uint8)


def cover(samples: np.ndarray, coding: Coding, mask: np.ndarray, rgb: np.ndarray) -> None:
    """Puts `rgb` where `mask` is not 0 into contiguous samples; alpha stays."""
    fill = samples_of(rgb[mask != 0], coding)
    samples.reshape(*mask.shape, -1)[mask != 0, : fill.shape[1]] = fill


def to_bits(levels: np.ndarray, bits: int) -> np.ndarray:
    """Levels below 2 ** `bits`, 1 to 8 bits, packed to bytes row by row, the leftmost in the highest bits."""
    shifts = np.arange(bits - 1, -1, -1, dtype=np.uint8)
    return np.packbits((levels[..., None] >> shifts & 1).reshape(len(levels), -1), axis=1)


def nearest_entries(rgb: np.ndarray, palette: np.ndarray, allowed: np.ndarray | bool = True) -> np.ndarray:
    """Indices (uint8 [N]) of the `allowed` entries of `palette` (uint8 [M, 3]) nearest to the colours `rgb` [N, 3]."""
    # Each colour once; one number a colour is much faster than three.
    codes, where = np.unique(rgb.astype(np.uint32) @ np.uint32([1 << 16, 1 << 8, 1]), return_inverse=True)
    colours = (codes[:, None] >> np.uint32([16, 8, 0]) & 255).astype(np.float32)
    entries = np.flatnonzero(np.broadcast_to(allowed, len(palette))).astype(np.uint8)
    found = cv2.batchDistance(colours, palette[entries].astype(np.float32), cv2.CV_32F, normType=cv2.NORM_L2SQR, K=1)
    return entries[found[1][where.reshape(-1), 0]] if len(rgb) else entries[:0]
