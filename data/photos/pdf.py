"""A PDF: whether it is whole and may be changed, what its pages draw, and a picture read as RGB and put back.

A picture's samples are taken as they lie there, and only those under the mask are exchanged: colour space, bits and
/Decode stay. A JPEG goes by its blocks, all else comes back lossless. Format: ISO 32000-1, 7.4 (filters), 8.6 (colour
spaces), 8.9 (images) and 12 (annotations, signatures). Needs pikepdf, an optional package.
"""

import copy
import io
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

import numpy as np
import pikepdf
from pikepdf import Array, Dictionary, Name, Stream
from pikepdf.exceptions import DependencyError, PasswordError, PikepdfError
from PIL import Image

from data.images import BadImageError, check_size, decoded, to_array
from data.jpeg_segments import BROKEN
from data.photos import colours, jpeg

_SMALLEST_SIDE = 300  # A picture with a shorter side below this is a logo, a stamp or a strip, and no page
# What qpdf warns of where nothing is lost by it.
_HARMLESS = ("Resources is missing", "MediaBox is undefined", "Type key should be", "duplicated key")
# By the mode in which Pillow would hold a picture: what its samples say, how many a pixel has, and of what bits.
_KINDS = {
    **dict.fromkeys(("1", "L", "I;16"), ("grey", 1, (1, 2, 4, 8, 16))),
    "P": ("palette", 1, (1, 2, 4, 8)), "RGB": ("rgb", 3, (8, 16)), "CMYK": ("inks", 4, (8,)),
}  # fmt: skip
_SRGB = b"colr\1\0\0\0\0\0\x10"  # How a JPEG 2000 says that it is in sRGB (ISO 15444-1, I.5.3.3)


def open_pdf(content: bytes, name: str) -> pikepdf.Pdf:
    """A whole PDF that may be changed; else BadImageError, which begins with `name`."""
    try:
        pdf = pikepdf.open(io.BytesIO(content.rstrip(b"\0")))  # Some downloads and disks add zeros.
        if pdf.is_encrypted:
            raise BadImageError(f"{name}: is encrypted, and its rights may forbid a change; save a copy without first")
        pages, objects = len(pdf.pages), list(pdf.objects)  # All are read then.
    except PasswordError as error:
        raise BadImageError(f"{name}: is encrypted and asks for a password; save a copy without one first") from error
    except PikepdfError as error:
        raise BadImageError(f"{name}: a PDF that is broken or cut short") from error
    repaired = [told for told in pdf.get_warnings() if not any(word in told for word in _HARMLESS)]
    if repaired or _below(pdf.Root, "/Pages", "/Count") != pages:
        raise BadImageError(f"{name}: a PDF that is broken or cut short; what can be read of it may lack pages")
    fields = (each for each in objects if _below(each, "/FT") == "/Sig" or _below(each, "/V", "/ByteRange"))
    if "/Perms" in pdf.Root or any(_below(field, "/V") is not None for field in fields):
        raise BadImageError(f"{name}: is signed, and a change would break the signature; print it to a PDF first")
    return pdf


def save(pdf: pikepdf.Pdf) -> bytes:
    """The file, without the small pictures of its pages, which show them as they were."""
    for page in pdf.pages:
        if "/Thumb" in page.obj:
            del page.obj["/Thumb"]
    result = io.BytesIO()
    pdf.save(result, deterministic_id=True, compress_streams=False, fix_metadata_version=False,
             linearize=pdf.is_linearized)  # fmt: skip
    return result.getvalue()


def drawn(page: pikepdf.Page) -> Iterator[Any]:
    """The pictures, forms and patterns of a page, in those and in annotations, each once; None: one is not there."""
    todo, seen = [page.obj], set()
    for item in todo:  # It grows meanwhile.
        found = _values(_below(item, "/Resources", "/XObject"))
        yield from (None for each in found if each is None)
        found += _values(_below(item, "/Resources", "/Pattern"))
        for shown in (_below(annotation, "/AP", "/N") for annotation in _values(_below(item, "/Annots"))):
            found += [shown, *_values(shown)]
        for each in found:
            if isinstance(each, Stream) and each.objgen not in seen:
                seen.add(each.objgen)
                todo.append(each)
                yield each


def is_page(picture: Any) -> bool:
    """Whether a picture is large enough for a page, and more than a stencil that colour goes through."""
    sides = [picture.get(key) for key in ("/Width", "/Height")]
    return not picture.get("/ImageMask") and all(isinstance(side, int) and side >= _SMALLEST_SIDE for side in sides)


def holds_inline(content: Any) -> bool:
    """Whether pictures stand amid the operators of a page, form or pattern."""
    with suppress(PikepdfError, TypeError):  # Of what is broken, nothing is shown.
        return bool(pikepdf.parse_content_stream(content, "BI ID EI"))
    return False


def read(stream: Any) -> tuple[np.ndarray, Callable[[np.ndarray, np.ndarray], tuple[str, ...]]]:
    """RGB (uint8, or uint16 of 16 bits, height x width x 3) of a picture as it lies in the PDF, and what puts such RGB
    back where a mask is not 0 and tells what could not be kept.

    BadImageError without a name, from both, says why it cannot be read, or not be put back truthfully.
    """
    with _in_plain_words():
        held = pikepdf.PdfImage(stream)
        check_size(held.width, held.height, "picture")
        *outer, packed = held.filters or [""]
        bits, plain, image, source = held.bits_per_component, copy.copy(stream), None, b""  # The copy is not saved.
        if packed in ("/DCTDecode", "/JPXDecode"):
            plain.Filter, plain.DecodeParms = Array(map(Name, outer)), Array(held.decode_parms[: len(outer)])
            source = _unpacked(plain)
            image = decoded(source, "picture")
            if image.format not in ("JPEG", "MPO"):
                is_told = "/ColorSpace" in stream or _SRGB in source
                _demand(is_told and not stream.get("/SMaskInData"), "its JPEG 2000 alone tells its colours or opacity")
                source = b""
        elif packed == "/CCITTFaxDecode":
            plain.ColorSpace, plain.Decode = Name.DeviceGray, Array([0, 1])
            image = pikepdf.PdfImage(plain).as_pil_image()
        if image is not None:
            bits, own = {"1": 1, "I;16": 16}.get(image.mode, 8), image.mode if image.mode in _KINDS else "RGB"
            samples = to_array(image, own).astype(np.uint16 if bits == 16 else np.uint8)
            if source and own == "CMYK":
                samples = 255 - samples  # Pillow turns inks round, as Adobe's programs do; a PDF says it by /Decode.
        mode = own if image is not None and "/ColorSpace" not in stream else held.mode
        _demand(mode in _KINDS, f"its colour space, {mode}, is not grey, RGB, CMYK or a palette of these")
        kind, channels, allowed = _KINDS[mode]
        _demand(bits in allowed, f"it has {bits} bits for each of its colours")
        if image is None:
            samples = _samples(_unpacked(stream), mode, *held.size, bits)
        fits = samples.size == samples.shape[0] * samples.shape[1] * channels
        told = [each["/ColorTransform"] for each in held.decode_parms if source and "/ColorTransform" in (each or {})]
        _demand(fits and (kind != "palette" or image is None or bits == 1) and
                ("adobe_transform" in getattr(image, "info", ()) or told in ([], [int(channels == 3)])),
                "its colours are coded in a rare way")  # fmt: skip
        decode = [] if packed == "/JPXDecode" else [float(value) for value in stream.get("/Decode", ())]
        usual = [0, 2**bits - 1] if kind == "palette" else [0, 1] * channels
        _demand(decode in ([], usual, usual[::-1]), "its /Decode stretches its values")
        flip = samples.dtype.type(2**bits - 1 if decode == usual[::-1] else 0)
        samples, palette = samples ^ flip, None
        if kind == "palette":
            base, table = held.palette
            count = min(len(table) // len(base), int(stream.ColorSpace[2]) + 1)
            palette = np.array(Image.frombytes(base, (count, 1), table[: count * len(base)]).convert("RGB"))[0]
            _demand(samples.max() < count, "its palette lacks colours")
        coding = colours.Coding(kind, bits, palette=palette)
        return colours.rgb_of(samples, coding), partial(_put, stream, samples, coding, flip, source)


def _put(stream: Any, samples: np.ndarray, coding: colours.Coding, flip: np.integer, source: bytes, rgb: np.ndarray,
         mask: np.ndarray) -> tuple[str, ...]:  # fmt: skip
    """Writes a picture of these `samples`, which /Decode turns round by `flip`; or of a JPEG, its `source`."""
    with _in_plain_words():
        if source:
            inks = coding.kind == "inks"
            content, notes = jpeg.encode(source, "picture", rgb if inks else rgb ^ flip, mask, inks and not flip)
            stream.write(bytes(content), filter=Name.DCTDecode)
        else:
            colours.cover(samples, coding, mask, rgb)
            values, notes = samples ^ flip, ()
            packed = colours.to_bits(values, coding.bits) if coding.bits < 8 else values.astype(f">u{values.itemsize}")
            stream.write(zlib.compress(packed.tobytes(), 6), filter=Name.FlateDecode)
            stream.BitsPerComponent = coding.bits
            if "/ColorSpace" not in stream:
                stream.ColorSpace = Name.DeviceRGB
            if "/Decode" in stream and not flip:  # That of a JPEG 2000 did not count.
                del stream["/Decode"]
        for key in ("/DecodeParms", "/Alternates"):  # The latter show it as it was.
            if key in stream:
                del stream[key]
        return notes


def _unpacked(stream: Any) -> bytes:
    return stream.read_bytes(pikepdf.StreamDecodeLevel.specialized)


def _samples(content: bytes, mode: str, width: int, height: int, bits: int) -> np.ndarray:
    """What rows of bytes hold, each of which begins with a byte of its own, for a mode of Pillow's."""
    channels = _KINDS[mode][1]
    if bits == 16:
        values = np.frombuffer(content, ">u2", height * width * channels)
        return values.astype(np.uint16).reshape(height, width, channels)
    mode = "P" if channels == 1 else mode  # Whose levels are not stretched.
    return np.array(Image.frombytes(mode, (width, height), content, "raw", f"P;{bits}" if bits < 8 else mode))


def _below(item: Any, *keys: str) -> Any:
    """What stands in an object under one key after the other; None where there is no such thing."""
    for key in keys:
        item = item.get(key) if isinstance(item, Dictionary | Stream) else None
    return item


def _values(item: Any) -> list[Any]:
    """What an array or a dictionary holds; nothing of what is neither."""
    return list(item) if isinstance(item, Array) else list(item.values()) if isinstance(item, Dictionary) else []


@contextmanager
def _in_plain_words() -> Iterator[None]:
    try:
        yield
    except BadImageError as error:
        raise BadImageError(str(error).removeprefix("picture: ")) from error
    except DependencyError as error:
        raise BadImageError("it is coded as JBIG2; to restore it, install the program jbig2dec") from error
    except (*BROKEN, TypeError, AttributeError, zlib.error, PikepdfError) as error:
        raise BadImageError("it is broken, or of a kind that is not read") from error


def _demand(condition: object, otherwise: str) -> None:
    if not condition:
        raise BadImageError(otherwise)
