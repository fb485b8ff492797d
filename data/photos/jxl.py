"""A user's JPEG XL, as archives make them of JPEGs: unpacked bit for bit, restored by its blocks, and packed again.

Of a JPEG that was packed without loss the container says how to get it back (box "jbrd" of ISO/IEC 18181-2), and its
EXIF, profile and XMP come with it. A picture that was coded as JPEG XL from the start is refused: neither imagecodecs
nor Pillow's plugin writes colour profiles, and the plugin takes a moving picture for a still one and 16 bits for 8.
"""

from __future__ import annotations

import io

import numpy as np

from data.images import BadImageError, check_size, open_picture
from data.photos import colours, jpeg
from data.photos.colours import Encoded

# Widths that the size header gives as fractions of the height.
_RATIOS = (None, (1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))


def decode(source: bytes, name: str) -> tuple[np.ndarray, int]:
    """RGB uint8 height x width x 3 as it lies in the JPEG, and its EXIF orientation."""
    return colours.decode(_unpack(source, name), name)


def encode(source: bytes, name: str, rgb: np.ndarray, mask: np.ndarray) -> Encoded:
    """`source` with `rgb` (uint8, stored orientation) where `mask` is 1."""
    import imagecodecs

    encoded = jpeg.encode(_unpack(source, name), name, rgb, mask)
    return Encoded(imagecodecs.jpegxl_encode_jpeg(encoded.content), encoded.notes)


def count_pixels(source: bytes, name: str) -> int:
    """Height x width, as the JPEG inside says."""
    with open_picture(io.BytesIO(_unpack(source, name)), name) as image:
        return image.width * image.height


def _unpack(source: bytes, name: str) -> bytes:
    """The JPEG inside."""
    boxes = _boxes(source)
    if b"jbrd" not in boxes:
        raise BadImageError(f"{name}: a JPEG XL that was not made of a JPEG, which is not read; save it as PNG or TIFF")
    # A part of a codestream has a number of 4 bytes in front.
    check_size(*_size(boxes[b"jxlc"] if b"jxlc" in boxes else boxes.get(b"jxlp", b"")[4:]), name)
    try:
        import imagecodecs

        return imagecodecs.jpegxl_decode_jpeg(source)
    except ImportError as error:
        raise BadImageError(f"{name}: a JPEG XL; to read it, install imagecodecs") from error
    except (imagecodecs.JpegxlError, ValueError) as error:
        raise BadImageError(f"{name}: a JPEG XL that is broken or cut short ({error})") from error


def _boxes(source: bytes) -> dict[bytes, bytes]:
    """The first 64 bytes of the first box of each type; a bare codestream has none."""
    at, found = 0, {}
    while at + 8 <= len(source) and source[:4] == b"\0\0\0\x0c":
        size, start = int.from_bytes(source[at : at + 4], "big"), at + 8
        if size == 1:
            size, start = int.from_bytes(source[start : start + 8], "big"), start + 8
        found.setdefault(source[at + 4 : at + 8], source[start : start + 64])
        # 0 is a last box, up to the end.
        at = at + size if at + size >= start else len(source)
    return found


def _size(codestream: bytes) -> tuple[int, int]:
    """(width, height) of a codestream's size header, ISO/IEC 18181-1: bits from the lowest."""
    bits = int.from_bytes(codestream[2:18], "little")

    def take(count: int) -> int:
        nonlocal bits
        taken, bits = bits & ((1 << count) - 1), bits >> count
        return taken

    is_small = take(1)

    def side() -> int:
        return 8 * (take(5) + 1) if is_small else take((9, 13, 18, 30)[take(2)]) + 1

    height, ratio = side(), _RATIOS[take(3)]
    return (side() if ratio is None else height * ratio[0] // ratio[1]), height
