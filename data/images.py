"""The one place where picture files become arrays and arrays become picture files.

Arrays are RGB uint8, height x width x 3. Pillow decodes because it reports a truncated JPEG, which OpenCV returns
half grey without a word.
"""

from __future__ import annotations

import io
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, JpegImagePlugin, UnidentifiedImageError

from utils.atomic import write_bytes

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")
DEFAULT_JPEG_QUALITY = 95
DEFAULT_PNG_LEVEL = 6
DEFAULT_WEBP_QUALITY = 95
_ORIENTATION_TAG = 0x0112
_QUARTER_TURNED = (5, 6, 7, 8)
_GREY_MODES = ("1", "L", "LA", "I", "I;16")
# What Pillow writes for any 8-bit picture; fax compressions want black and white, JPEG wants no alpha.
_TIFF_COMPRESSIONS = ("raw", "packbits", "tiff_lzw", "tiff_adobe_deflate", "tiff_deflate", "lzma", "zstd")
_UNDO_ORIENTATION = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


class BadImageError(ValueError):
    """A file that cannot be used as a picture; the message names it and says why."""


@dataclass(frozen=True)
class Photo:
    """A decoded picture and what its file said beside the pixels.

    Attributes:
        rgb: RGB uint8, height x width x 3, upright (the EXIF orientation is applied).
        orientation: EXIF orientation 1..8 of the file; `rgb` is turned back by it when written.
        alpha: uint8 height x width, upright, or None.
        info: what the encoder needs to write the same kind of file (exif, icc_profile, dpi, qtables, subsampling,
            progressive, mode, compression, lossy).
        lost: what of the file `rgb`, `alpha` and `info` do not hold, in words; empty when nothing is.
    """

    rgb: np.ndarray
    orientation: int = 1
    alpha: np.ndarray | None = None
    info: dict[str, Any] = field(default_factory=dict)
    lost: tuple[str, ...] = ()


def open_picture(path: str | os.PathLike[str]) -> Image.Image:
    """Opens a picture file without decoding it; `BadImageError` instead of Pillow's several exceptions."""
    try:
        return Image.open(path)
    except UnidentifiedImageError as error:
        raise BadImageError(
            f"{os.fspath(path)}: not a picture that can be read (empty, or another kind of file)"
        ) from error
    except Image.DecompressionBombError as error:
        raise BadImageError(f"{os.fspath(path)}: {error}") from error
    except OSError as error:
        raise BadImageError(f"{os.fspath(path)}: cannot be opened ({error.strerror or error})") from error


def decode_picture(image: Image.Image, path: str | os.PathLike[str]) -> None:
    """Decodes an opened picture in place; `BadImageError` where the data end early or make no sense."""
    try:
        image.load()
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise BadImageError(f"{os.fspath(path)}: broken or cut short ({error})") from error


def read_rgb(path: str | os.PathLike[str], reduce: int = 1) -> np.ndarray:
    """Reads a picture as RGB uint8 height x width x 3, upright.

    Args:
        reduce: 1, 2, 4 or 8; a baseline or progressive JPEG is decoded at that fraction of its size (sides round
            up), which is several times faster than decoding and shrinking; other formats are shrunk by a box filter
            to the same size.

    Raises:
        BadImageError: not a picture, or cut short.
    """
    if reduce not in (1, 2, 4, 8):
        raise ValueError(f"reduce is {reduce}, expected 1, 2, 4 or 8")
    with open_picture(path) as image:
        size = (-(-image.width // reduce), -(-image.height // reduce))
        if 1 < reduce <= min(image.size):
            # Asked for the rounded-up size, Pillow would decode odd-sized pictures at the next larger fraction.
            image.draft(None, (image.width // reduce, image.height // reduce))
        decode_picture(image, path)
        orientation = image.getexif().get(_ORIENTATION_TAG, 1)
        flat = _flatten(image)
        if flat.size != size:
            flat = flat.reduce(reduce)
        return np.asarray(_apply_orientation(flat, orientation))


def upright_size(path: str | os.PathLike[str]) -> tuple[int, int]:
    """Width and height of what `read_rgb` gives, from the file's header alone.

    Raises:
        BadImageError: not a picture.
    """
    with open_picture(path) as image:
        # Asked for EXIF that is not at its beginning, a PNG would be decoded to look behind its pixels.
        known = image.format != "PNG" or "exif" in image.info
        lying = known and image.getexif().get(_ORIENTATION_TAG, 1) in _QUARTER_TURNED
        return image.size[::-1] if lying else image.size


def _flatten(image: Image.Image) -> Image.Image:
    """Any mode as 8-bit RGB without alpha; 16-bit greys are scaled, not cut off."""
    if image.mode.startswith("I") or image.mode == "F":
        values = np.asarray(image, np.float64)
        scale = 255 / 65535 if values.max(initial=0) > 255 else 1
        return Image.fromarray((values * scale + 0.5).astype(np.uint8)).convert("RGB")
    if image.mode in ("LA", "PA"):
        return image.convert("RGBA").convert("RGB")
    return image.convert("RGB")


def read_photo(path: str | os.PathLike[str]) -> Photo:
    """Reads a picture together with what is needed to write it back as the same kind of file.

    Raises:
        BadImageError: not a picture, cut short, or several pages or frames in one file.
    """
    with open_picture(path) as image:
        _refuse_several(image, path)
        lost = _losses(image)
        decode_picture(image, path)
        orientation = image.getexif().get(_ORIENTATION_TAG, 1)
        info: dict[str, Any] = {key: image.info[key] for key in ("exif", "icc_profile", "dpi") if image.info.get(key)}
        info["mode"] = image.mode
        # MPO is what phones call a JPEG with a second picture behind it.
        if image.format in ("JPEG", "MPO"):
            info["qtables"] = image.quantization
            info["subsampling"] = JpegImagePlugin.get_sampling(image)
            info["progressive"] = bool(image.info.get("progressive"))
        if image.format == "TIFF":
            info["compression"] = image.info.get("compression", "raw")
        if image.format == "WEBP":
            info["lossy"] = _is_lossy_webp(path)
        alpha = None
        if image.mode in ("RGBA", "LA", "PA"):
            alpha_image = image.convert("RGBA").getchannel("A")
            alpha = np.asarray(_apply_orientation(alpha_image, orientation))
        rgb = np.asarray(_apply_orientation(_flatten(image), orientation))
    return Photo(rgb, orientation if orientation in _UNDO_ORIENTATION else 1, alpha, info, lost)


def _refuse_several(image: Image.Image, path: str | os.PathLike[str]) -> None:
    """Refuses what only the first picture of would come back; a phone's MPO is one photo with a preview behind it."""
    try:
        count = getattr(image, "n_frames", 1)
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise BadImageError(f"{os.fspath(path)}: broken or cut short ({error})") from error
    if count > 1 and image.format != "MPO":
        raise BadImageError(
            f"{os.fspath(path)}: holds {count} pages or frames, and only the first would come back; "
            "save them as single pictures"
        )


def _losses(image: Image.Image) -> tuple[str, ...]:
    """What `Photo` cannot hold of an opened picture that is not decoded yet (decoding forgets the depth)."""
    lost = []
    depth = str(image.tile[0][3]) if image.tile else ""
    if ";16" in depth or image.mode.startswith("I") or image.mode == "F":
        lost.append("more than 8 bits per channel become 8")
    if image.mode == "1":
        lost.append("black and white becomes grey")
    elif image.mode in ("P", "PA"):
        lost.append("the palette becomes RGB, and the file larger")
    elif image.mode not in (*_GREY_MODES, "RGB", "RGBA") and not image.mode.startswith(("I", "F")):
        profile = ", and its colour profile is dropped" if image.info.get("icc_profile") else ""
        lost.append(f"{image.mode} becomes RGB{profile}")
    if "transparency" in image.info:
        lost.append("the transparent colour becomes opaque")
    compression = image.info.get("compression", "raw")
    if image.format == "TIFF" and compression not in (*_TIFF_COMPRESSIONS, "jpeg"):
        lost.append(f"the compression {compression} becomes deflate")
    if image.format == "MPO":
        lost.append("the further pictures behind the first are dropped")
    return tuple(lost)


def _is_lossy_webp(path: str | os.PathLike[str]) -> bool:
    """Whether the first picture chunk is `VP8 ` (lossy) and not `VP8L`; the container is RIFF, see RFC 9649."""
    with open(path, "rb") as file:
        file.seek(12)
        while len(header := file.read(8)) == 8:
            if header[:4] in (b"VP8 ", b"VP8L"):
                return header[:4] == b"VP8 "
            size = int.from_bytes(header[4:], "little")
            file.seek(size + size % 2, os.SEEK_CUR)
    return False


def _apply_orientation(image: Image.Image, orientation: int) -> Image.Image:
    quarter_turns = {6: Image.Transpose.ROTATE_270, 8: Image.Transpose.ROTATE_90}
    apply = quarter_turns.get(orientation, _UNDO_ORIENTATION.get(orientation))
    return image.transpose(apply) if apply is not None else image


def encode_image(
    rgb: np.ndarray,
    suffix: str,
    like: Photo | None = None,
    quality: int = DEFAULT_JPEG_QUALITY,
    png_level: int = DEFAULT_PNG_LEVEL,
) -> bytes:
    """Encodes RGB uint8 height x width x 3 (upright) as a file of the kind that `suffix` names.

    With `like`, its metadata, alpha and orientation are kept, and a JPEG uses the same quantisation tables and
    chroma sampling: an untouched block then comes out nearly as it went in, and the file keeps its size. A TIFF keeps
    its compression where it fits the picture, a lossy WebP stays lossy, and a colour profile goes when the kind of
    colour that it describes does.
    `png_level` is zlib's effort, 0 to 9; 1 takes a third of the time of 6 on pages, at about the same size.
    """
    suffix = suffix.lower()
    if suffix not in IMAGE_SUFFIXES:
        raise ValueError(f"suffix {suffix!r} is not one of {', '.join(IMAGE_SUFFIXES)}")
    if rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3:
        raise ValueError(f"expected RGB uint8 height x width x 3, got {rgb.dtype} {rgb.shape}")
    image = Image.fromarray(np.ascontiguousarray(rgb))
    options: dict[str, Any] = {}
    jpeg = suffix in (".jpg", ".jpeg")
    if like is not None:
        options.update({key: like.info[key] for key in ("exif", "icc_profile", "dpi") if key in like.info})
        if like.alpha is not None and not jpeg and suffix != ".bmp":
            image.putalpha(Image.fromarray(np.ascontiguousarray(like.alpha)))
        elif like.info.get("mode") in ("L", "1", "I;16", "I") and not np.any(np.ptp(rgb, axis=2)):
            image = image.convert("L")
        if not _same_colours(like.info.get("mode", image.mode), image.mode):
            options.pop("icc_profile", None)
        if like.orientation in _UNDO_ORIENTATION:
            image = image.transpose(_UNDO_ORIENTATION[like.orientation])
    info = like.info if like is not None else {}
    if jpeg:
        options.update(_jpeg_options(info, image.mode, quality))
    elif suffix == ".webp":
        options.update({"quality": DEFAULT_WEBP_QUALITY} if info.get("lossy") else {"lossless": True})
    elif suffix in (".tif", ".tiff"):
        options.update(_tiff_options(info, image.mode, quality))
    elif suffix == ".png":
        options["compress_level"] = png_level
    buffer = io.BytesIO()
    image.save(buffer, format=Image.registered_extensions()[suffix], **options)
    return buffer.getvalue()


def _same_colours(before: str, after: str) -> bool:
    """Whether a colour profile for pictures of mode `before` describes those of mode `after`."""
    if before in _GREY_MODES:
        return after in _GREY_MODES
    return before in ("RGB", "RGBA", "P", "PA") and after in ("RGB", "RGBA")


def _jpeg_options(info: dict[str, Any], mode: str, quality: int) -> dict[str, Any]:
    options: dict[str, Any] = {"progressive": bool(info.get("progressive"))}
    tables = info.get("qtables")
    if tables and mode == "RGB" and len(tables) >= 2:
        return {**options, "qtables": tables, "subsampling": max(info["subsampling"], 0)}
    if tables and mode == "L":
        return {**options, "qtables": tables}
    return {**options, "quality": quality}


def _tiff_options(info: dict[str, Any], mode: str, quality: int) -> dict[str, Any]:
    compression = info.get("compression", "raw")
    if compression == "jpeg" and mode in ("L", "RGB"):
        return {"compression": compression, "quality": quality}
    return {"compression": compression if compression in _TIFF_COMPRESSIONS else "tiff_adobe_deflate"}


def write_image(
    path: str | os.PathLike[str],
    rgb: np.ndarray,
    like: Photo | None = None,
    quality: int = DEFAULT_JPEG_QUALITY,
    png_level: int = DEFAULT_PNG_LEVEL,
) -> None:
    """Writes RGB uint8 height x width x 3 to `path` atomically; see `encode_image`."""
    write_bytes(path, encode_image(rgb, Path(path).suffix, like, quality, png_level))
