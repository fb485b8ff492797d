"""A PDF: whether it is whole and may be changed, what its pages draw, and how it is saved.

Format: ISO 32000-1. Needs pikepdf, an optional package.
"""

import io
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pikepdf
from pikepdf import Array, Dictionary, Stream

from data.images import BadImageError

# A picture with a shorter side below this is a logo, a stamp or a strip, and no page.
_SMALLEST_SIDE = 300
# Fields within fields, which a hostile file may nest without end.
_DEEPEST = 8
# What qpdf warns of where nothing is lost by it.
_HARMLESS = ("Resources is missing", "MediaBox is undefined", "Type key should be", "duplicated key")


def open_pdf(content: bytes, name: str) -> pikepdf.Pdf:
    """A whole PDF that may be changed; else BadImageError, which begins with `name`."""
    try:
        pdf = pikepdf.open(io.BytesIO(content.rstrip(b"\0")))  # Some downloads and disks add zeros.
    except pikepdf.PasswordError as error:
        raise BadImageError(f"{name}: is encrypted and asks for a password; save a copy without one first") from error
    except pikepdf.PdfError as error:
        raise BadImageError(f"{name}: a PDF that is broken or cut short") from error
    if pdf.is_encrypted:
        raise BadImageError(f"{name}: is encrypted, and its rights may forbid a change; save a copy without first")
    if not _is_whole(pdf):
        raise BadImageError(f"{name}: a PDF that is broken or cut short; what can be read of it may lack pages")
    if "/Perms" in pdf.Root or _is_signed(_values(_below(pdf.Root, "/AcroForm", "/Fields"))):
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


def turns_of(page: pikepdf.Page) -> int:
    """By how many quarters a page is shown turned clockwise, 0 to 3."""
    angle = page.obj.get("/Rotate")
    return angle // 90 % 4 if isinstance(angle, int) else 0


def drawn(page: pikepdf.Page) -> Iterator[Any]:
    """The pictures, forms and patterns of a page, of those themselves, and of its annotations, each once; None for one
    that the file names and does not hold.
    """
    todo, seen = [page.obj], set()
    for item in todo:  # It grows meanwhile.
        found = _values(_below(item, "/Resources", "/XObject"))
        yield from (None for each in found if each is None)
        found += _values(_below(item, "/Resources", "/Pattern"))
        for shown in (_below(annotation, "/AP", "/N") for annotation in _values(_below(item, "/Annots"))):
            found += [shown] if isinstance(shown, Stream) else _values(shown)
        for each in found:
            if isinstance(each, Stream) and each.objgen not in seen:
                seen.add(each.objgen)
                todo.append(each)
                yield each


def is_picture(stream: Any) -> bool:
    return stream.get("/Subtype") == "/Image"


def is_page(picture: Any) -> bool:
    """Whether a picture is large enough for a page, and more than a stencil that colour goes through."""
    sides = [picture.get(key) for key in ("/Width", "/Height")]
    return not picture.get("/ImageMask") and all(isinstance(side, int) and side >= _SMALLEST_SIDE for side in sides)


def holds_inline(content: Any) -> bool:
    """Whether pictures stand amid the operators of a page, form or pattern."""
    with suppress(pikepdf.exceptions.PikepdfError, TypeError):  # Of what is broken, nothing is shown.
        return bool(pikepdf.parse_content_stream(content, "BI ID EI"))
    return False


def _is_whole(pdf: pikepdf.Pdf) -> bool:
    """Whether every object reads as it stands: what qpdf makes of a damaged file lacks pages, or parts of them."""
    with suppress(pikepdf.exceptions.PikepdfError):
        count = len(pdf.pages)
        for _ in pdf.objects:  # Each is looked at then.
            pass
        told = all(any(word in warning for word in _HARMLESS) for warning in pdf.get_warnings())
        return told and _below(pdf.Root, "/Pages", "/Count") in (None, count)
    return False


def _is_signed(fields: list[Any], kind: Any = None, deepest: int = _DEEPEST) -> bool:
    """Whether a field, or one below it, is a signature that was given."""
    for field in fields:
        own = _below(field, "/FT") or kind
        if own == "/Sig" and _below(field, "/V") is not None:
            return True
        if deepest and _is_signed(_values(_below(field, "/Kids")), own, deepest - 1):
            return True
    return False


def _below(item: Any, *keys: str) -> Any:
    """What stands in an object under one key after the other; None where there is no such thing."""
    for key in keys:
        item = item.get(key) if isinstance(item, Dictionary | Stream) else None
    return item


def _values(item: Any) -> list[Any]:
    """What an array or a dictionary holds; nothing of what is neither."""
    return list(item) if isinstance(item, Array) else list(item.values()) if isinstance(item, Dictionary) else []
