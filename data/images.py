"""Picture files become RGB arrays, and RGB arrays new picture files; a user's own come back through `data.photos`.

What kind of picture a file is, its first bytes tell: names may be wrong, or missing. Signatures: the formats' own
specifications; most are listed together at https://www.garykessler.net/library/magic.html.
"""

import io
import os
import re
import struct
from contextlib import suppress
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, PngImagePlugin, UnidentifiedImageError

from data.jpeg_segments import BROKEN, UnsupportedJpegError, load_whole
from utils.files import write_bytes

_READ = ("JPEG", "PNG", "TIFF", "WEBP", "BMP")  # Kinds that are read without any extra package
# What names say; the content decides.
SUFFIXES = {
    **dict.fromkeys((".jpg", ".jpeg", ".jpe", ".jfif"), "JPEG"), ".png": "PNG", ".bmp": "BMP",
    **dict.fromkeys((".tif", ".tiff"), "TIFF"), ".webp": "WEBP",
    **dict.fromkeys((".heic", ".heif"), "HEIC"), ".avif": "AVIF", ".jxl": "JPEG XL", ".pdf": "PDF",
}  # fmt: skip
IMAGE_SUFFIXES = tuple(suffix for suffix, kind in SUFFIXES.items() if kind in _READ)
STARTING_BYTES = 1024  # As many bytes as an SVG may have in front of its first element
# By Pillow's names where it has one. Each pattern is long enough not to fit a text or a program by chance.
_SIGNATURES = {
    "JPEG": rb"\xff\xd8\xff",
    "PNG": rb"\x89PNG\r\n\x1a\n",
    "raw photo of a camera": rb"II\*\0.{4}CR|IIU\0|II\x1a\0\0\0HEAP|IIR[OS]|MMOR|FUJIFILMCCD-RAW|\0MRM|FOVb"
    rb"|....ftypcrx ",
    "TIFF": rb"II\*\0|MM\0\*|II\+\0|MM\0\+",
    "WEBP": rb"RIFF....WEBP",
    "BMP": rb"BM.{12}[\x0c\x28\x34\x38\x40\x6c\x7c]\0\0\0",
    "AVIF": rb"....ftyp(?:avi[fs]|mif1.{4}(?:.{4})*?avif|msf1.{4}(?:.{4})*?avis)",
    "HEIC": rb"....ftyp(?:he[iv][cxms]|mif1|msf1)",
    "JPEG XL": rb"\xff\x0a[^\0]|\0\0\0\x0cJXL \r\n\x87\n",
    "JPEG 2000": rb"\0\0\0\x0cjP  \r\n\x87\n|\xff\x4f\xff\x51",
    "GIF": rb"GIF8[79]a",
    "Photoshop": rb"8BPS\0[\x01\x02]",
    "PDF": rb"%PDF-|.{1,1015}%PDF-[12]\.[0-9]\s",  # Readers allow for other bytes in front.
    "SVG": rb"(?:\xef\xbb\xbf)?\s*<(?:[?!][^>]*>\s*<)*(?:svg:)?svg[\s>]",
    "PPM": rb"P[1-6]\s+(?:#[^\n]*\n\s*)*[0-9]+\s+[0-9]+\s",
}
_ADVICE = {
    "HEIC": "install pillow-heif, or save it as JPEG",
    "raw photo of a camera": "save it as TIFF or JPEG",
    "PDF": "predict.py restores it as a whole",
}
# A photo of 200 megapixels has to work, and a file of a few kilobytes that claims gigabytes of pixels must not.
MAX_PIXELS = 400_000_000
# Pillow's own limits lie at 89 (a warning) and 178 megapixels; `open_picture` holds every file to ours instead.
Image.MAX_IMAGE_PIXELS = None
# Of a PNG's texts and profile, unpacked: Pillow stops at 1 MB each, which edits kept as XMP outgrow.
PngImagePlugin.MAX_TEXT_CHUNK = PngImagePlugin.MAX_TEXT_MEMORY = 64 << 20
# EXIF orientation -> cv2.flip's code that turns the picture upright, after a transposition for the last four.
_FLIPS, _QUARTER_TURNED = {2: 1, 3: -1, 4: 0, 6: 1, 7: -1, 8: 0}, (5, 6, 7, 8)
# Rows that leave Pillow at a time are about this many pixels: its own way holds a large picture three times.
_BAND_PIXELS = 500_000
# A wrong checksum of a PNG's text is no reason to refuse it; a lower-case first letter marks what is not shown.
_check, _skip = PngImagePlugin.ChunkStream.crc, PngImagePlugin.ChunkStream.crc_skip
PngImagePlugin.ChunkStream.crc = lambda self, kind, data: (_skip if kind[:1].islower() else _check)(self, kind, data)


def one_line(error: BaseException) -> str:
    """What a library says; some of them add line breaks."""
    return " ".join(str(error).split())


class BadImageError(ValueError):
    """A file that cannot be used as a picture; the message names it and says why."""


def kind_of(start: bytes) -> str:
    """The kind of a picture by its `STARTING_BYTES`; "" for what is none of `_SIGNATURES`."""
    return next((kind for kind, pattern in _SIGNATURES.items() if re.match(pattern, start, re.DOTALL)), "")


def kind_of_file(path: str | os.PathLike[str]) -> str:
    """`kind_of` a regular file; "" for one that cannot be opened."""
    with suppress(OSError):
        if Path(path).is_file():  # A pipe would be waited for.
            with open(path, "rb") as file:
                return kind_of(file.read(STARTING_BYTES))
    return ""


def unread(kind: str) -> str:
    """What to tell about a picture of a kind that is not read, without its name."""
    words = kind if kind.startswith(("raw", "PDF")) else f"{kind} picture"
    article = "an" if kind[:1] in "AEIO" or kind[:2] == "SV" else "a"
    return f"{article} {words}, which is not read; {_ADVICE.get(kind, 'save it as JPEG or PNG')}"


def open_picture(file: str | os.PathLike[str] | io.BytesIO, name: str | None = None) -> Image.Image:
    """Opens a picture, a path or a file's content, without decoding it; messages call it `name` or by its path.

    BadImageError in place of Pillow's several exceptions; also where the header claims over `MAX_PIXELS` pixels.
    """
    name = name or os.fspath(file)
    try:
        image = Image.open(file)
    except UnidentifiedImageError as error:
        with io.BytesIO(file.getvalue()) if isinstance(file, io.BytesIO) else open(file, "rb") as stream:
            start = stream.read(STARTING_BYTES)
        what, kind = "cut short at its start, or another kind of file" if start else "it is empty", kind_of(start)
        known = kind in (*_READ, "AVIF") or (kind == "HEIC" and "HEIF" in Image.OPEN)
        told = unread(kind) if kind and not known else f"not a picture that can be read ({what})"
        raise BadImageError(f"{name}: {told}") from error
    except OSError as error:
        what = f"cannot be opened ({error.strerror})" if error.strerror else f"broken or cut short ({one_line(error)})"
        raise BadImageError(f"{name}: {what}") from error
    except BROKEN as error:
        raise BadImageError(f"{name}: its header is broken ({one_line(error)})") from error
    check_size(*image.size, name)
    if image.format == "TIFF":
        # Pillow maps files of which it knows the name, with the sides of the upright picture where EXIF turns it.
        image.filename = ""
    return image


def check_size(width: int, height: int, name: str) -> None:
    """Refuses a picture that would fill the memory, before anything is decoded."""
    if width * height > MAX_PIXELS:
        raise BadImageError(f"{name}: {width} x {height} = {width * height:,} pixels; the limit is {MAX_PIXELS:,}")


def check_single(count: int, name: str) -> None:
    """Refuses a file of which only the first page or frame would be restored."""
    if count > 1:
        told = "pages or frames, and only the first would be restored; save them as single pictures"
        raise BadImageError(f"{name}: holds {count} {told}")


def decode_picture(image: Image.Image, path: str | os.PathLike[str]) -> None:
    """Decodes an opened picture in place; `BadImageError` where the data end early or make no sense."""
    name = os.fspath(path)
    try:
        if image.format == "JPEG":
            load_whole(image)
        image.load()
    except UnsupportedJpegError as error:
        raise BadImageError(f"{name}: {error}") from error
    except BROKEN as error:
        raise BadImageError(f"{name}: broken or cut short ({one_line(error)})") from error
    if image.format == "PNG" and image.filename:
        # Pillow leaves rows that a PNG lacks black without a word: the last or, of an interlaced one, the one above.
        rows = np.asarray(image.crop((0, max(image.height - 2, 0), *image.size)))
        if not rows.reshape(len(rows), -1).any(axis=1).all():
            check_png_rows(Path(image.filename).read_bytes(), name)


def decoded(content: bytes, name: str) -> Image.Image:
    """The one picture that a file of this `content` holds, decoded; BadImageError as of the steps."""
    image = open_picture(io.BytesIO(content), name)
    check_single(getattr(image, "n_frames", 1), name)
    decode_picture(image, name)
    return image


def check_png_rows(content: bytes, name: str) -> None:
    """Refuses a PNG whose pixels end before its last row: OpenCV does, and Pillow does not."""
    if cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED) is None:
        raise BadImageError(f"{name}: broken or cut short (rows of pixels are missing)")


def to_array(image: Image.Image, mode: str | None = None) -> np.ndarray:
    """A decoded picture as an array, in another of Pillow's modes if one is named."""
    rows, result = max(_BAND_PIXELS // max(image.width, 1), 1), None
    for top in range(0, image.height, rows):
        band = np.asarray(image.crop((0, top, image.width, min(top + rows, image.height))).convert(mode or image.mode))
        result = np.empty((image.height, *band.shape[1:]), band.dtype) if result is None else result
        result[top : top + rows] = band
    return result


def eight_bit(rgb: np.ndarray) -> np.ndarray:
    """uint8 of uint8 or uint16, each value the nearest."""
    return rgb if rgb.dtype == np.uint8 else ((rgb.astype(np.uint32) + 128) // 257).astype(np.uint8)


def stored_orientation(image: Image.Image) -> int:
    """EXIF orientation 1..8 of an opened picture; 1 where it says nothing or nonsense."""
    try:
        orientation = image.getexif().get(0x0112, 1)
    except (SyntaxError, ValueError, KeyError, TypeError, struct.error):
        # What Pillow raises where EXIF is broken: no reason to refuse a picture that every viewer shows.
        return 1
    return orientation if orientation in range(1, 9) else 1


def turn_upright(stored: np.ndarray, orientation: int) -> np.ndarray:
    """The upright picture of one that is stored with an EXIF orientation 1..8; the same array for 1."""
    turned = cv2.transpose(stored) if orientation in _QUARTER_TURNED else stored
    return cv2.flip(turned, _FLIPS[orientation]) if orientation in _FLIPS else turned


def turn_back(upright: np.ndarray, orientation: int) -> np.ndarray:
    """The opposite of `turn_upright`: how a file of that orientation stores an upright picture."""
    # All turns but those by a quarter undo themselves.
    return turn_upright(upright, {6: 8, 8: 6}.get(orientation, orientation))


def read_rgb(path: str | os.PathLike[str], reduce: int = 1) -> np.ndarray:
    """Reads a picture as RGB uint8 height x width x 3, upright; BadImageError: not a picture, or cut short.

    `reduce` is 1, 2, 4 or 8: a JPEG is decoded at that fraction of its size (sides round up), which is several times
    faster than decoding and shrinking; other formats are shrunk by a box filter to the same size.
    """
    if reduce not in (1, 2, 4, 8):
        raise ValueError(f"reduce is {reduce}, expected 1, 2, 4 or 8")
    with open_picture(path) as image:
        size = (-(-image.width // reduce), -(-image.height // reduce))
        if 1 < reduce <= min(image.size):
            # Asked for the rounded-up size, Pillow would decode odd-sized pictures at the next larger fraction.
            image.draft(None, (image.width // reduce, image.height // reduce))
        decode_picture(image, path)
        flat = _flatten(image)
        if flat.size != size:
            flat = flat.reduce(reduce)
        return turn_upright(to_array(flat), stored_orientation(image))


def read_rgba(path: str | os.PathLike[str]) -> tuple[np.ndarray, np.ndarray | None]:
    """What `read_rgb` gives, and the alpha channel (uint8 height x width, upright) or None."""
    with open_picture(path) as image:
        decode_picture(image, path)
        rgb = turn_upright(to_array(_flatten(image)), stored_orientation(image))
        if image.mode not in ("P", "RGBA", "LA", "PA") or not image.has_transparency_data:
            return rgb, None
        return rgb, turn_upright(np.asarray(image.convert("RGBA").getchannel("A")), stored_orientation(image))


def upright_size(path: str | os.PathLike[str]) -> tuple[int, int]:
    """Width and height of what `read_rgb` gives, from the file's header alone; `BadImageError` for no picture."""
    with open_picture(path) as image:
        # Asked for EXIF that is not at its beginning, a PNG would be decoded to look behind its pixels.
        known = image.format != "PNG" or "exif" in image.info
        # Pillow turns TIFF, and no other kind of file: its size is upright already.
        lying = known and image.format != "TIFF" and stored_orientation(image) in _QUARTER_TURNED
        return image.size[::-1] if lying else image.size


def _flatten(image: Image.Image) -> Image.Image:
    """Any mode as 8-bit RGB without alpha; 16-bit greys are scaled, not cut off."""
    if image.mode.startswith("I") or image.mode == "F":
        values = np.clip(np.rint(np.asarray(image)), 0, 65535).astype(np.uint16)
        grey = eight_bit(values) if values.max(initial=0) > 255 else values.astype(np.uint8)
        return Image.fromarray(grey).convert("RGB")
    return image.convert("RGB")


def encode_image(rgb: np.ndarray, suffix: str, quality: int = 95) -> bytes:
    """RGB uint8 height x width x 3 as a new file of the kind that `suffix` names; all but JPEG are lossless."""
    suffix = suffix.lower()
    if suffix not in IMAGE_SUFFIXES:
        raise ValueError(f"suffix {suffix!r} is not one of {', '.join(IMAGE_SUFFIXES)}")
    # Zlib's least effort takes a third of the time of the usual one on pages, at about the same size.
    options = {"JPEG": {"quality": quality}, "PNG": {"compress_level": 1}, "WEBP": {"lossless": True}}
    kind, buffer = SUFFIXES[suffix], io.BytesIO()
    Image.fromarray(np.ascontiguousarray(rgb)).save(buffer, kind, **options.get(kind, {}))
    return buffer.getvalue()


def write_image(path: str | os.PathLike[str], rgb: np.ndarray, quality: int = 95) -> None:
    """Writes RGB uint8 height x width x 3 to `path` atomically; see `encode_image`."""
    write_bytes(path, encode_image(rgb, Path(path).suffix, quality))


def pictures_below(folder: str | os.PathLike[str]) -> list[Path]:
    """Paths, relative to `folder` and sorted, of the picture files in it and in its sub-folders.

    Hidden files and folders are left out: half-written files have hidden names. Linked folders are not followed.
    """
    files = (path for path in Path(folder).rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file())
    found = (path.relative_to(folder) for path in files)
    return sorted(path for path in found if not any(part.startswith(".") for part in path.parts))
