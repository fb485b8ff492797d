"""The directories of a TIFF: which of them are pages, and how one is written anew, without its thumbnails.

Format: TIFF 6.0, section 2, and Adobe's Technical Note 1 (sub-directories); BigTIFF is the same with wider numbers.
`file` and `page` are tifffile's.
"""

from __future__ import annotations

import io
import struct
from typing import Any

from data.images import BadImageError

_SUBFILE, _SUB_DIRECTORIES, _DNG_VERSION = 254, 330, 50706
# Bits of the first: a thumbnail or an overview; a mask, which says what counts and shows nothing.
_REDUCED, _MASK = 1, 4
# Photometric values of what a sensor saw.
_SENSOR = (32803, 34892)


def pages(file: Any, name: str) -> list[Any]:
    """Directories that are pictures of their own; the others are thumbnails, overviews and masks of those.

    BadImageError: a camera's raw photo, which hides behind a thumbnail of it.
    """
    every = [each for page in file.pages for each in (page, *_below(page))]
    raw = any(_DNG_VERSION in page.tags or page.photometric in _SENSOR for page in every)
    if raw or _role(file.pages[0]) or not all(_role(each) for page in file.pages for each in _below(page)):
        raise BadImageError(f"{name}: a raw photo of a camera, which is not read; save it as TIFF or JPEG")
    return [page for page in file.pages if not _role(page)]


def spans(file: Any) -> list[tuple[int, int]]:
    """Offset and size of every block of every directory, sorted."""
    every = [each for page in file.pages for each in (page, *_below(page))]
    return sorted(span for page in every for span in zip(page.dataoffsets, page.databytecounts, strict=False))


def thumbnails(file: Any, page: Any) -> list[Any]:
    """Directories that show `page` smaller: below it, and behind it up to the next page."""
    found = [each for each in _below(page) if _role(each) & _REDUCED]
    for each in file.pages[page.index + 1 :]:
        if not _role(each):
            break
        found += [each] if _role(each) & _REDUCED else []
    return found


def rewrite(content: io.BytesIO, file: Any, page: Any, drop: set[int], entries: dict[int, list[int]]) -> None:
    """Writes the directory of `page` anew at the end, without the tags `drop`, its thumbnails and what points at them.

    `content` is the file, as far as it has been changed; `entries` are further tags of whole numbers.
    """
    tiff, data = file.tiff, content.getbuffer().tobytes()
    number, word, small = tiff.offsetformat, tiff.offsetformat[-1], tiff.byteorder
    start = page.offset + tiff.tagnosize
    (count,) = struct.unpack_from(tiff.tagnoformat, data, page.offset)
    raw = [data[at : at + tiff.tagsize] for at in range(start, start + count * tiff.tagsize, tiff.tagsize)]
    kept = {struct.unpack_from(small + "H", each)[0]: each for each in raw}
    # By their offsets: tifffile makes another object of a directory each time.
    gone = {each.offset for each in thumbnails(file, page)}
    drop = drop | ({_SUB_DIRECTORIES} if gone & {each.offset for each in _below(page)} else set())
    kept = {tag: each for tag, each in kept.items() if tag not in drop}
    end = content.seek(0, io.SEEK_END)
    for tag, values in entries.items():
        packed = struct.pack(f"{small}{len(values)}{word}", *values)
        if len(packed) > tiff.offsetsize:
            end = content.seek(end + end % 2)
            at, end = end, end + content.write(packed)
            packed = struct.pack(number, at)
        kept[tag] = struct.pack(f"{small}HH{word}", tag, 16 if word == "Q" else 4, len(values)) + packed
    # The chain goes on without the thumbnails; what lies between them and is kept is linked by itself.
    chain = [each for each in file.pages if each.offset not in gone]
    place = [each.offset for each in chain].index(page.offset)
    following = [*(each.offset for each in chain[1:]), 0]
    end = content.seek(end + end % 2)
    content.write(struct.pack(tiff.tagnoformat, len(kept)) + b"".join(kept[tag] for tag in sorted(kept)))
    content.write(struct.pack(number, following[place]))
    before, behind = chain[place - 1] if place else None, zip(chain[place + 1 :], following[place + 1 :], strict=True)
    for each, target in ((before, end), *behind):
        content.seek(_pointer(file, each, data))
        content.write(struct.pack(number, target))


def _pointer(file: Any, page: Any | None, data: bytes) -> int:
    """Where the offset of the directory behind `page` stands, or of the first one."""
    tiff = file.tiff
    if page is None:
        return tiff.offsetsize if tiff.version == 42 else 8
    return page.offset + tiff.tagnosize + tiff.tagsize * struct.unpack_from(tiff.tagnoformat, data, page.offset)[0]


def _role(page: Any) -> int:
    """Bits of NewSubfileType; 0 for a page."""
    return page.tags.valueof(_SUBFILE, 0) & (_REDUCED | _MASK)


def _below(page: Any) -> list[Any]:
    """The directories that a page points at."""
    return list(page.pages or ())
