"""A user's JPEG: decoded, and written back with every block that is not touched as it was.

The quantised DCT coefficients are taken out of the file, those of blocks with changed pixels are computed anew, and all
are coded again without loss. Where that cannot be done (jpeglib is missing, or the file is of a rare kind), the picture
is encoded anew with the same tables, and only the segments around it stay byte for byte.

A JPEG that was packed as JPEG XL without loss, as archives do, is unpacked bit for bit (box "jbrd" of ISO/IEC 18181-2)
and packed again. What was coded as JPEG XL from the start is refused: the packages there are read a lossy picture that
has a colour profile in other colours, or lose the profile (docs/faq.md).
"""

import io
from collections.abc import Iterator

import cv2
import numpy as np
from PIL import Image, JpegImagePlugin

from data.images import BadImageError, check_size
from data.jpeg_segments import APP0, APP14, COM, Segment, UnsupportedJpegError, join, split
from data.photos import colours, jpeg_file, thumbnails
from data.photos.colours import Encoded

# Pixels that are transformed at a time; the arrays between take about 50 bytes for each.
_BATCH_PIXELS = 1 << 20
_YCC = np.array([[0.299, 0.587, 0.114], [-0.168735892, -0.331264108, 0.5], [0.5, -0.418687589, -0.081312411]])
# Weights [components, 3] and offsets [components] that make RGB in 0..255 to level-shifted samples. Y, Cb and Cr are
# JFIF's (ITU-R BT.601 with full range). CMYK lies inverted in the file, as Adobe's programs write it and Pillow takes
# it: without black ink, red lies there as it is. YCCK has that inverted once more, but for the black.
_FROM_RGB = {
    "grey": (_YCC[:1], [-128]),
    "ycc": (_YCC, [-128, 0, 0]),
    "rgb": (np.eye(3), [-128, -128, -128]),
    "cmyk": (np.eye(4, 3), [-128, -128, -128, 127]),
    "ycck": (np.eye(4, 3) @ -_YCC, [127, 0, 0, 127]),
}
_FREQUENCY, _POSITION = np.ogrid[:8, :8]
_DCT = np.cos((2 * _POSITION + 1) * _FREQUENCY * np.pi / 16) / np.where(_FREQUENCY, 2, np.sqrt(8))


def encode(source: bytes, name: str, rgb: np.ndarray, mask: np.ndarray) -> Encoded:
    """`source`, which was decoded before, with `rgb` (uint8, stored orientation) where `mask` is 1."""
    try:
        return replace_blocks(source, rgb, mask)
    except UnsupportedJpegError as error:
        notes = [f"every block of the JPEG was encoded anew, with the same tables ({error})"]
    samples, coding, image = colours.read(source, name)
    colours.cover(samples, coding, mask, rgb)
    if image.format == "MPO":
        notes.append("the further pictures behind the first are dropped")
    buffer, tables = io.BytesIO(), [image.quantization[slot] for slot in sorted(image.quantization)]
    # 0 is no subsampling: for grey, for inks, and for what Pillow does not write.
    how = {"qtables": tables, "subsampling": max(JpegImagePlugin.get_sampling(image), 0)}
    Image.fromarray(samples, image.mode).save(buffer, "JPEG", progressive="progressive" in image.info, **how)
    markers = {f"APP{number}": APP0 + number for number in range(16)} | {"COM": COM}
    old = thumbnails.in_segments(Segment(markers[kind], payload) for kind, payload in image.applist)
    new, _ = split(buffer.getvalue())
    # Adobe's segment, which tells how colours are coded, is the new one.
    kept = [each for each in old if each.marker != APP14]
    content = join(kept + [each for each in new if each.marker == APP14 or not each.is_metadata])
    return Encoded(content, tuple(notes))


def replace_blocks(source: bytes, rgb: np.ndarray, changed: np.ndarray) -> Encoded:
    """Writes `rgb` into the blocks of a JPEG file that have changed pixels; all others keep their coefficients exactly.

    APPn and COM segments stay byte for byte and in order, but for what `thumbnails` drops of them. `source` was decoded
    before, which tells what lacks; `UnsupportedJpegError` says why it cannot be done for it.
    """
    jpeg = jpeg_file.parse(source)
    jpeg = jpeg._replace(segments=[*thumbnails.in_segments(jpeg.segments)])
    planes = jpeg_file.coefficients(jpeg)
    _put_blocks(jpeg, planes, rgb, changed)
    content = jpeg_file.with_coefficients(jpeg, planes)
    # Nothing is returned that does not read back as what was to be written.
    written = jpeg_file.parse(content)
    same = all(map(np.array_equal, planes, jpeg_file.coefficients(written)))
    if not same or _colours(written) != _colours(jpeg):
        raise UnsupportedJpegError("what was written reads back differently")
    more = jpeg.trailing.strip(b"\0")
    notes = ("what lies behind the picture (further pictures, a video) is dropped",) if more else ()
    return Encoded(content, notes)


def _colours(jpeg: jpeg_file.JpegFile) -> str:
    """What the components hold, by libjpeg's rules (`default_decompress_parms`)."""
    ids, info = bytes(component.id for component in jpeg.components), jpeg.header.info
    transform = info.get("adobe_transform")
    if len(ids) != 3:
        return "grey" if len(ids) == 1 else "ycck" if transform else "cmyk"
    marked = "jfif" in info or transform
    return "rgb" if not marked and (transform == 0 or ids == b"RGB") else "ycc"


def _put_blocks(jpeg: jpeg_file.JpegFile, planes: list[np.ndarray], rgb: np.ndarray, changed: np.ndarray) -> None:
    """Overwrites the coefficients of all touched blocks in `planes`."""
    # Whole blocks of every component; beyond the picture its last pixels go on.
    units = (8 * max(component.spacing[axis] for component in jpeg.components) for axis in (0, 1))
    below, beside = (-side % unit for side, unit in zip(changed.shape, units, strict=True))
    rgb = cv2.copyMakeBorder(rgb, 0, below, 0, beside, cv2.BORDER_REPLICATE)
    changed = np.pad(changed != 0, ((0, below), (0, beside)))
    weights, offsets, transform = (np.float32(values) for values in (*_FROM_RGB[_colours(jpeg)], _DCT))
    for plane, component, weight, offset in zip(planes, jpeg.components, weights, offsets, strict=True):
        high, wide = component.spacing
        rows, columns = len(rgb) // (8 * high), rgb.shape[1] // (8 * wide)
        areas = rgb.reshape(rows, 8 * high, columns, 8 * wide, 3)
        touched = changed.reshape(rows, 8 * high, -1).any(axis=1).reshape(rows, columns, -1).any(axis=2)
        ys, xs = np.nonzero(touched)
        batch = max(1, _BATCH_PIXELS // (64 * high * wide))
        for start in range(0, len(ys), batch):
            where = ys[start : start + batch], xs[start : start + batch]
            samples = areas[where[0], :, where[1]].astype(np.float32) @ weight + offset
            means = samples.reshape(-1, 8, high, 8, wide).mean(axis=(2, 4))
            coefficients = transform @ means @ transform.T / component.steps
            plane[where] = np.clip(np.rint(coefficients), -1023, 1023).astype(np.int16)


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


def encode_packed(source: bytes, name: str, rgb: np.ndarray, mask: np.ndarray) -> Encoded:
    """What `encode` gives of the JPEG inside a JPEG XL, packed again."""
    import imagecodecs

    encoded = encode(unpack(source, name), name, rgb, mask)
    return Encoded(imagecodecs.jpegxl_encode_jpeg(encoded.content), encoded.notes)
