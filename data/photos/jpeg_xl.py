"""A JPEG that was packed as JPEG XL without loss, as archives do: unpacked bit for bit, and packed again.

It has a box "jbrd" (ISO/IEC 18181-2). What was coded as JPEG XL from the start is refused: the packages there are read
a lossy picture that has a colour profile in other colours, or lose the profile (docs/faq.md).
"""

from collections.abc import Iterator

import numpy as np

from data.images import BadImageError, check_size
from data.photos import jpeg
from data.photos.colours import Encoded


def unpack(source: bytes, name: str) -> bytes:
    """The JPEG inside a JPEG XL; `BadImageError` where there is none, or none that can be unpacked."""
    boxes, skipped = [*_boxes(source)], {b"jxlc": 0, b"jxlp": 4}
    # A part of a codestream has a number of 4 bytes in front.
    codestream = b"".join(content[skipped[kind] :] for kind, content in boxes if kind in skipped)
    if not codestream or b"jbrd" not in dict(boxes):
        raise BadImageError(f"{name}: a JPEG XL that was not made of a JPEG, which is not read; save it as PNG or TIFF")
    check_size(*_packed_size(codestream), name)
    try:
        import imagecodecs

        return imagecodecs.jpegxl_decode_jpeg(source)
    except ImportError as error:
        raise BadImageError(f"{name}: a JPEG XL; to read it, install imagecodecs") from error
    except (imagecodecs.JpegxlError, ValueError) as error:
        raise BadImageError(f"{name}: a JPEG XL that is broken or cut short ({error})") from error


def _boxes(source: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Type and first 64 bytes of each box of a JPEG XL."""
    at = 0
    while at + 8 <= len(source):
        size, start = int.from_bytes(source[at : at + 4], "big"), at + 8
        if size == 1:
            size, start = int.from_bytes(source[start : start + 8], "big"), start + 8
        # 0 is a last box, up to the end.
        end = at + size if at + size >= start else len(source)
        yield source[at + 4 : at + 8], source[start : min(start + 64, end)]
        at = end


def _packed_size(codestream: bytes) -> tuple[int, int]:
    """(width, height) of a codestream's size header, ISO/IEC 18181-1: bits from the lowest."""
    bits = int.from_bytes(codestream[2:18], "little")

    def take(count: int) -> int:
        nonlocal bits
        taken, bits = bits & ((1 << count) - 1), bits >> count
        return taken

    def side() -> int:
        return 8 * (take(5) + 1) if is_small else take((9, 13, 18, 30)[take(2)]) + 1

    # The width may be a fraction of the height.
    is_small, ratios = take(1), ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))
    height = side()
    part, whole = ratios[ratio - 1] if (ratio := take(3)) else (side(), height)
    return height * part // whole, height


def encode(source: bytes, name: str, rgb: np.ndarray, mask: np.ndarray) -> Encoded:
    """What `data.photos.jpeg` makes of the JPEG inside, packed again."""
    import imagecodecs

    encoded = jpeg.encode(unpack(source, name), name, rgb, mask)
    return Encoded(imagecodecs.jpegxl_encode_jpeg(encoded.content), encoded.notes)
