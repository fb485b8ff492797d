"""A picture in a PDF: whether it can be read as RGB and put back truthfully, and both.

Its samples are taken as they lie there, and only those under the mask are exchanged: colour space, bits and /Decode
stay. A JPEG goes by its blocks, all else comes back lossless. Format: ISO 32000-1, 7.4 (filters), 8.6 (colour spaces)
and 8.9 (images). Needs pikepdf, an optional package.
"""

import copy
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import pikepdf
from pikepdf import Array, Name

from data.images import BadImageError, check_size, decoded, to_array
from data.jpeg_segments import BROKEN
from data.photos import colours, jpeg

_KINDS = {"/DeviceGray": "grey", "/CalGray": "grey", "/DeviceRGB": "rgb", "/CalRGB": "rgb", "/DeviceCMYK": "inks"}
_CHANNELS = {"grey": 1, "palette": 1, "rgb": 3, "inks": 4}
_BITS = {"grey": (1, 2, 4, 8, 16), "palette": (1, 2, 4, 8), "rgb": (8, 16), "inks": (8,)}
# How a JPEG 2000 says that it is in sRGB (ISO 15444-1, I.5.3.3).
_SRGB = b"colr\1\0\0\0\0\0\x10"
# Of as many channels, where the PDF leaves it to the picture's own file.
_SPACES = {1: Name.DeviceGray, 3: Name.DeviceRGB, 4: Name.DeviceCMYK}


class Picture(NamedTuple):
    """A picture that can be put back."""

    stream: Any  # Of pikepdf
    samples: np.ndarray  # uint8 or uint16, height x width or with channels last, as /Decode makes them
    coding: colours.Coding
    flip: int  # All bits of a sample where /Decode turns them round, else 0
    jpeg: bytes  # The whole JPEG; empty for another kind

    def rgb(self) -> np.ndarray:
        """uint8, or uint16 of 16 bits, height x width x 3, as it lies in the PDF."""
        return colours.rgb_of(self.samples, self.coding)

    def put(self, rgb: np.ndarray, mask: np.ndarray) -> tuple[str, ...]:
        """Writes `rgb`, as `rgb()` gives it, where `mask` is not 0, and tells what could not be kept."""
        with _in_plain_words():
            stream, bits = self.stream, self.coding.bits
            if self.jpeg:
                is_plain = self.coding.kind == "inks" and not self.flip
                rgb = rgb if self.coding.kind == "inks" else rgb ^ np.uint8(self.flip)
                content, notes = jpeg.encode(self.jpeg, "picture", rgb, mask, is_plain)
                stream.write(bytes(content), filter=Name.DCTDecode)
            else:
                colours.cover(self.samples, self.coding, mask, rgb)
                values, notes = self.samples ^ self.samples.dtype.type(self.flip), ()
                values = colours.to_bits(values, bits) if bits < 8 else values.astype(">u2" if bits == 16 else "u1")
                if stream.get("/Filter") == Name.JPXDecode and "/Decode" in stream:  # It did not count there.
                    del stream["/Decode"]
                stream.write(zlib.compress(values.tobytes(), 6), filter=Name.FlateDecode)
                stream.BitsPerComponent = bits
                if "/ColorSpace" not in stream:
                    stream.ColorSpace = _SPACES[_CHANNELS[self.coding.kind]]
            for key in ("/DecodeParms", "/Alternates"):  # The latter show it as it was.
                if key in stream:
                    del stream[key]
            return notes


def read(stream: Any) -> Picture:
    """A picture of a PDF; BadImageError without a name says why one cannot be read, or not be put back truthfully."""
    with _in_plain_words():
        width, height = int(stream.Width), int(stream.Height)
        check_size(width, height, "picture")
        filters, parms = (_listed(stream.get(key)) for key in ("/Filter", "/DecodeParms"))
        outer, last = max(len(filters) - 1, 0), None if len(parms) < len(filters) or not filters else parms[-1]
        packed, bits = str(filters[-1]) if filters else "", int(stream.get("/BitsPerComponent", 1))
        space, content, image = stream.get("/ColorSpace"), b"", None
        if packed in ("/DCTDecode", "/JPXDecode"):
            content = _bytes(_changed(stream, Filter=Array(filters[:outer]), DecodeParms=Array(parms[:outer])))
            image = decoded(content, "picture")
            if image.format not in ("JPEG", "MPO"):
                _demand(not stream.get("/SMaskInData"), "it holds its own transparency")
                _demand(space is not None or _SRGB in content, "its colours are told inside its JPEG 2000 alone")
                content = b""
        elif packed == "/CCITTFaxDecode":
            plain = _changed(stream, ColorSpace=Name.DeviceGray, Decode=Array([0, 1]))
            image = pikepdf.PdfImage(plain).as_pil_image()
        if image is not None:
            samples, bits = _of_image(image)
            space = _SPACES[samples.shape[2] if samples.ndim == 3 else 1] if space is None else space
        if content and samples.shape[2:] == (4,):
            samples = 255 - samples  # Pillow turns inks round, as Adobe's programs do, but a PDF says it by /Decode.
        coding = _coding(space, bits)
        channels = _CHANNELS[coding.kind]
        _demand(bits in _BITS[coding.kind], f"it has {bits} bits for each of its colours")
        if image is None:
            samples = _from_bytes(_bytes(stream), (height, width, channels), bits)
        is_fitting = samples.size == samples.shape[0] * samples.shape[1] * channels
        _demand(is_fitting and (image is None or bits == 1 or coding.kind != "palette"),
                "its colours are not of its colour space")  # fmt: skip
        told = last.get("/ColorTransform") if content and last is not None else None
        _demand(told is None or "adobe_transform" in image.info or int(told) == (channels == 3),
                "the colours of its JPEG are coded in a rare way")  # fmt: skip
        decode = [] if packed == "/JPXDecode" else [float(value) for value in _listed(stream.get("/Decode"))]
        usual = [0, 2**bits - 1] if coding.kind == "palette" else [0, 1] * channels
        _demand(decode in ([], usual, usual[::-1]), "its /Decode stretches its values")
        flip = 2**bits - 1 if decode == usual[::-1] else 0
        samples = samples ^ samples.dtype.type(flip)
        _demand(coding.palette is None or samples.max() < len(coding.palette), "its palette lacks colours")
        return Picture(stream, samples, coding, flip, content)


def _coding(space: Any, bits: int) -> colours.Coding:
    """What samples in a colour space say."""
    name, *more = space if isinstance(space, Array) else [space]
    if name == "/Indexed":
        base, last, table = more
        table = table.read_bytes() if isinstance(table, pikepdf.Stream) else bytes(table)
        coding = _coding(base, 8)
        channels, count = _CHANNELS[coding.kind], min(int(last) + 1, 2**bits)
        entries = np.frombuffer(table, np.uint8)[: count * channels].reshape(1, -1, channels)
        return colours.Coding("palette", bits, palette=colours.rgb_of(entries, coding)[0])
    if name == "/ICCBased" and more[0].read_bytes()[16:20] != b"Lab ":
        name = _SPACES.get(int(more[0].N))
    kind = _KINDS.get(str(name))
    _demand(kind, f"its colour space, {str(name).strip('/')}, is not grey, RGB, CMYK or a palette of these")
    return colours.Coding(kind, bits)


def _of_image(image: Any) -> tuple[np.ndarray, int]:
    """Samples of a decoded picture, without alpha, and their bits."""
    bits = {"1": 1, "I;16": 16}.get(image.mode, 8)
    mode = {"LA": "L", "RGBA": "RGB"}.get(image.mode, image.mode)
    mode = mode if mode in ("1", "L", "I;16", "RGB", "CMYK") else "RGB"
    return to_array(image, mode).astype(np.uint16 if bits == 16 else np.uint8), bits


def _from_bytes(content: bytes, shape: tuple[int, int, int], bits: int) -> np.ndarray:
    """Samples out of rows of bytes, each of which begins with a byte of its own."""
    height, width, channels = shape
    row = -(-width * channels * bits // 8)
    _demand(len(content) >= row * height, "broken or cut short: rows of pixels are missing")
    rows = np.frombuffer(content, np.uint8, row * height).reshape(height, row)
    if bits >= 8:
        return (rows.view(">u2").astype(np.uint16) if bits == 16 else rows).reshape(shape)
    return np.unpackbits(rows, axis=1)[:, : width * bits].reshape(height, width, bits) @ np.uint8(
        [1 << bit for bit in range(bits)][::-1]
    )


def _bytes(stream: Any) -> bytes:
    return stream.read_bytes(pikepdf.StreamDecodeLevel.specialized)


def _listed(value: Any) -> list[Any]:
    return [] if value is None else list(value) if isinstance(value, Array) else [value]


def _changed(stream: Any, **keys: Any) -> Any:
    """A copy of a stream with other keys; it is not saved with the PDF."""
    other = copy.copy(stream)
    for key, value in keys.items():
        other[f"/{key}"] = value
    return other


@contextmanager
def _in_plain_words() -> Iterator[None]:
    try:
        yield
    except BadImageError as error:
        raise BadImageError(str(error).removeprefix("picture: ")) from error
    except pikepdf.exceptions.DependencyError as error:
        raise BadImageError("it is coded as JBIG2; to restore it, install the program jbig2dec") from error
    except (*BROKEN, TypeError, AttributeError, zlib.error, pikepdf.exceptions.PikepdfError) as error:
        raise BadImageError("it is broken, or packed in a way that is not read") from error


def _demand(condition: object, otherwise: str) -> None:
    if not condition:
        raise BadImageError(otherwise)
