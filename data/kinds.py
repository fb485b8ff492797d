"""What kind of picture a file is, told by its first bytes: names and suffixes may be wrong, or missing.

Signatures: the formats' own specifications; most are listed together at https://www.garykessler.net/library/magic.html.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

# Without any extra package.
READ = ("JPEG", "PNG", "TIFF", "WEBP", "BMP")
# What names say; the content decides.
SUFFIXES = {
    **dict.fromkeys((".jpg", ".jpeg", ".jpe", ".jfif"), "JPEG"), ".png": "PNG", ".bmp": "BMP",
    **dict.fromkeys((".tif", ".tiff"), "TIFF"), ".webp": "WEBP",
    **dict.fromkeys((".heic", ".heif"), "HEIC"), ".avif": "AVIF", ".jxl": "JPEG XL", ".pdf": "PDF",
}  # fmt: skip
# As many bytes as an SVG may have in front of its first element.
STARTING_BYTES = 1024
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
    "PDF": rb"%PDF-",
    "SVG": rb"(?:\xef\xbb\xbf)?\s*<(?:[?!][^>]*>\s*<)*(?:svg:)?svg[\s>]",
    "PPM": rb"P[1-6]\s+(?:#[^\n]*\n\s*)*[0-9]+\s+[0-9]+\s",
}
_PATTERNS = {kind: re.compile(pattern, re.DOTALL) for kind, pattern in _SIGNATURES.items()}
_ADVICE = {
    "HEIC": "install pillow-heif, or save it as JPEG",
    "raw photo of a camera": "save it as TIFF or JPEG",
    "PDF": "predict.py restores it as a whole",
}


def kind_of(start: bytes) -> str:
    """The kind of a picture by its `STARTING_BYTES`; "" for what is none of `_SIGNATURES`."""
    return next((kind for kind, pattern in _PATTERNS.items() if pattern.match(start)), "")


def kind_of_file(path: str | os.PathLike[str]) -> str:
    """`kind_of` a regular file; "" for one that cannot be opened."""
    try:
        if Path(path).is_file():  # A pipe would be waited for.
            with open(path, "rb") as file:
                return kind_of(file.read(STARTING_BYTES))
    except OSError:
        pass
    return ""


def unread(kind: str) -> str:
    """What to tell about a picture of a kind that is not read, without its name."""
    words = kind if kind.startswith(("raw", "PDF")) else f"{kind} picture"
    article = "an" if kind[:1] in "AEIO" or kind[:2] == "SV" else "a"
    return f"{article} {words}, which is not read; {_ADVICE.get(kind, 'save it as JPEG or PNG')}"
