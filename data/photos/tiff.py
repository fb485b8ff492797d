"""A user's TIFF: only the strips or tiles below the mask are written anew; tags and other blocks keep their bytes.

tifffile says where everything lies (`file` and `page` are its own), imagecodecs unpacks and packs a block. Kinds whose
blocks are more than packed samples (fax, JPEG, YCbCr) are decoded by Pillow, and written anew as a whole, without
further loss. Format: TIFF 6.0 and Adobe's Technical Note 1 (sub-directories); BigTIFF is the same with wider numbers.
"""

import io
import logging
import math
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice, pairwise, takewhile
from typing import Any

import numpy as np
from PIL import Image

from data.images import BadImageError, check_size, decode_picture, open_picture, to_array, turn_back
from data.photos import colours, thumbnails
from data.photos.colours import Encoded

try:
    import imagecodecs
    import tifffile
except ImportError:  # A machine that is given JPEGs alone, as the contest's is, does without.
    imagecodecs = tifffile = None
# What is wrong with a file is told once, by the error.
logging.getLogger("tifffile").setLevel(logging.CRITICAL)

# TIFF's numbers of what packs bytes: nothing, LZW, deflate (two numbers), PackBits, LZMA and Zstandard.
_PLAIN, _BYTE_CODECS = 1, (1, 5, 8, 32946, 32773, 34925, 50000)
# Tags that say how samples are coded, and where they lie.
_CODING = {
    *(258, 259, 262, 266, 273, 277, 278, 279, 284, 292, 293, 317, *range(322, 329), 338, 339, 347),
    *(*range(512, 522), *range(529, 533)),
}
_ORIENTATION, _PALETTE_COLOURS, _SUB_DIRECTORIES, _DNG_VERSION = 274, 320, 330, 50706
_WITH_THUMBNAILS = {700: thumbnails.in_xmp, 34377: thumbnails.without_jpegs}  # XMP, and Photoshop's resources
_MOST_TAGS = 200_000  # Of all directories together: those of some 10,000 pages
_WHOLE_CODECS = (2, 3, 4, 6, 7)  # The codecs of fax and JPEG
# Photometric values, the last two of what a sensor saw, and how many channels colours take; 1 is grey, 0 is black.
_WHITE_IS_ZERO, _RGB, _PALETTE, _INKS, _SENSOR = 0, 2, 3, 5, (32803, 34892)
_COLOURS = {_WHITE_IS_ZERO: 1, 1: 1, _RGB: 3, _PALETTE: 1, _INKS: 4}


def page_sizes(path: str | os.PathLike[str]) -> list[tuple[int, int]]:
    """(width, height) of every page, from the directories alone, which may lie behind gigabytes of pixels."""
    name = os.fspath(path)
    with _refusing_what_is_broken(name), tifffile.TiffFile(path) as file:
        _check_directories(file, name)
        pages = _pages(file, name)
    for page in pages:
        # A block is decoded whole.
        check_size(max(page.imagewidth, page.tilewidth), max(page.imagelength, page.tilelength), name)
    return [(page.imagewidth, page.imagelength) for page in pages]


def decode(source: bytes, name: str, number: int = 0) -> tuple[np.ndarray, int]:
    """RGB of a page, uint16 where it has 16 bits, and the orientation; floats, signed, 12 and 32 bits are refused."""
    with _refusing_what_is_broken(name):
        file = tifffile.TiffFile(io.BytesIO(source))
        _check_directories(file, name)
        page = _pages(file, name)[number]
        if not _has_plain_blocks(page, name):
            return colours.rgb_of(*_decode_whole(source, name, page)[:2]), _orientation(page)
        offsets, sizes = _places(page, name)
        dtype = np.uint16 if page.bitspersample == 16 else np.uint8
        samples = np.empty((page.imagelength, page.imagewidth, page.samplesperpixel), dtype)
        for index, (at, size) in enumerate(zip(offsets, sizes, strict=True)):
            block, (plane, _, row, column, _), _ = page.decode(source[at : at + size], index)
            target = samples[row:, column:, plane:][: block.shape[1], : block.shape[2], : block.shape[3]]
            target[:] = block[0, : target.shape[0], : target.shape[1]]
        return colours.rgb_of(samples, _coding(page)), _orientation(page)


def encode(source: bytes, name: str, rgb: np.ndarray, mask: np.ndarray, number: int = 0) -> Encoded:
    """`source` with `rgb` (of the decoded type, stored orientation) where `mask` is 1; what was there is wiped.

    Grey takes the fill's mean, a palette its nearest colours, inks no black; alpha stays, thumbnails go.
    """
    content = io.BytesIO(source)
    file = tifffile.TiffFile(content)
    page = _pages(file, name)[number]
    # Some writers store equal blocks once; then all that changes moves to the end, and nothing is wiped.
    spans = sorted(span for each in _directories(file) for span in _blocks(each))
    apart = all(at + size <= following for (at, size), (following, _) in pairwise(spans))
    gone, plain, tags = _thumbnails(file, page), _has_plain_blocks(page, name), {}
    notes = ["thumbnails and overviews of a TIFF's page are dropped"] if gone else []
    for tag in (page.tags[code] for code in _WITH_THUMBNAILS if code in page.tags):
        content.seek(tag.valueoffset)
        content.write(_WITH_THUMBNAILS[tag.code](source[tag.valueoffset : tag.valueoffset + tag.valuebytecount]))
    for at, size in (span for each in (*gone, *([] if plain else [page])) if apart for span in _blocks(each)):
        content.seek(at)
        content.write(bytes(max(0, min(size, len(source) - at))))
    if plain:
        _replace_blocks(content, source, name, page, rgb, mask, apart)
    else:
        tags = _encode_whole(content, source, name, page, rgb, mask)
        notes += [] if tags[259] == [4] else ["a TIFF of JPEG or YCbCr becomes one of deflate, without further loss"]
    if gone or tags:
        _rewrite_directory(content, file, page, gone, tags)
    return Encoded(content.getvalue(), tuple(notes))


def _replace_blocks(
    content: io.BytesIO, source: bytes, name: str, page: Any, rgb: np.ndarray, mask: np.ndarray, apart: bool
) -> None:
    """Writes the blocks of `page` that `mask` touches: in their places as far as they fit and lie `apart`."""
    before, coding = _places(page, name), _coding(page)
    offsets, sizes = map(list, before)
    for index, (at, size) in enumerate(zip(*before, strict=True)):
        _, (plane, _, row, column, _), (_, rows, columns, channels) = page.decode(None, index)
        ys, xs = np.nonzero(mask[row : row + rows, column : column + columns])
        fill = colours.samples_of(rgb[ys + row, xs + column], coding)[:, plane : plane + channels]
        if fill.size == 0:  # Nothing of the mask, or a plane of alpha.
            continue
        samples = page.decode(source[at : at + size], index)[0][0].astype(rgb.dtype)
        samples[ys, xs, : fill.shape[1]] = fill
        packed, room = _packed(samples, page), size if apart else 0
        sizes[index] = len(packed)
        content.seek(at)
        content.write((packed if len(packed) <= room else b"").ljust(room, b"\0"))
        if len(packed) > room:
            offsets[index] = _append(content, packed)
    for tag, old, new in zip((324, 325) if page.is_tiled else (273, 279), before, (offsets, sizes), strict=True):
        if new != old:
            page.tags[tag].overwrite(new, dtype="Q" if page.parent.is_bigtiff else "I")


def _append(content: io.BytesIO, data: bytes) -> int:
    """Writes `data` behind the end, at an even place, and returns that."""
    end = content.seek(0, io.SEEK_END)
    content.write(bytes(end % 2) + data)
    return end + end % 2


@contextmanager
def _refusing_what_is_broken(name: str) -> Iterator[None]:
    if tifffile is None:
        raise BadImageError(f"{name}: a TIFF needs the packages tifffile and imagecodecs")
    try:
        yield
    except (BadImageError, OSError):
        raise
    except Exception as error:  # Both libraries meet broken files with exceptions of every type.
        raise BadImageError(f"{name}: broken or cut short") from error


def _has_plain_blocks(page: Any, name: str) -> bool:
    """Whether blocks are packed samples, or need a decoder of their own; refuses samples that are not restored."""
    if page.sampleformat not in (1, 4):  # Unsigned, or "undefined".
        raise BadImageError(f"{name}: its samples are floating point or signed; save it with 8 or 16 bits per channel")
    bits, allowed = page.bitspersample, (8,) if page.photometric == _INKS else (1, 2, 4, 8, 16)
    if bits not in allowed:
        raise BadImageError(f"{name}: {bits} bits per sample, expected one of {', '.join(map(str, allowed))}")
    plain = page.samplesperpixel >= _COLOURS.get(page.photometric, math.inf) and page.compression in _BYTE_CODECS
    return plain and page.predictor in ((1, 2) if bits >= 8 else (1,))


def _orientation(page: Any) -> int:
    value = page.tags.valueof(_ORIENTATION, 1)
    return value if value in range(1, 9) else 1


def _places(page: Any, name: str) -> tuple[list[int], list[int]]:
    """Offsets and sizes of the strips or tiles in the file; refuses a directory that contradicts itself."""
    offsets, sizes = list(page.dataoffsets), list(page.databytecounts)
    if page.compression == _PLAIN:  # Old writers leave the sizes out, or round them.
        shapes = [page.decode(None, index)[2] for index in range(math.prod(page.chunked))]
        sizes = [rows * -(-columns * channels * page.bitspersample // 8) for _, rows, columns, channels in shapes]
    told = page.compression == _PLAIN or (325 if page.is_tiled else 279) in page.tags
    complete = len(offsets) == len(sizes) == math.prod(page.chunked)
    if not told or not complete or max(map(sum, zip(offsets, sizes, strict=True))) > page.parent.filehandle.size:
        raise BadImageError(f"{name}: broken or cut short (its blocks are incomplete, or lie behind its end)")
    return offsets, sizes


def _coding(page: Any) -> colours.Coding:
    kind = {_RGB: "rgb", _PALETTE: "palette", _INKS: "inks"}.get(page.photometric, "grey")
    palette = _palette(page) if kind == "palette" else None
    return colours.Coding(kind, page.bitspersample, page.photometric == _WHITE_IS_ZERO, palette)


def _palette(page: Any) -> np.ndarray:
    """The colour map as uint8 [M, 3]; its values have 16 bits, or 8 in files of some careless writers."""
    values = np.array(page.tags.valueof(_PALETTE_COLOURS, ()), np.uint16).ravel()
    if page.bitspersample > 8 or len(values) != 3 * 2**page.bitspersample:
        raise ValueError(f"{len(values)} values in the colour map of {page.bitspersample} bits")
    values = values >> 8 if values.max() > 255 else values
    return np.ascontiguousarray(values.reshape(3, -1).T.astype(np.uint8))


def _packed(samples: np.ndarray, page: Any) -> bytes:
    """A block's samples, rows x columns x channels, as its bytes in the file: the opposite of `page.decode`."""
    if page.bitspersample < 8:
        samples = colours.to_bits(samples, page.bitspersample)
    elif page.predictor == 2:
        samples = np.diff(samples, axis=1, prepend=samples.dtype.type(0))
    data = samples.astype(samples.dtype.newbyteorder(page.parent.byteorder), copy=False).tobytes()
    if page.compression != _PLAIN:
        data = tifffile.TIFF.COMPRESSORS[page.compression](data)
    return imagecodecs.bitorder_encode(data) if page.fillorder == 2 else data


def _decode_whole(source: bytes, name: str, page: Any) -> tuple[np.ndarray, colours.Coding, str]:
    """Samples in the stored orientation (1 bit as 0 and 255), what they are, and Pillow's mode."""
    with open_picture(io.BytesIO(source), name) as image:
        if image.mode not in colours.BY_MODE or page.compression not in (*_BYTE_CODECS, *_WHOLE_CODECS):
            kind = f"colours {image.mode}, compression {int(page.compression)}, photometric {int(page.photometric)}"
            raise BadImageError(f"{name}: a TIFF of a kind that is not restored ({kind}); save it as RGB with LZW")
        image.seek(page.index)
        # Pillow turns a TIFF upright while it decodes, and no other kind of file.
        decode_picture(image, name)
        samples = to_array(image, "L" if image.mode == "1" else image.mode)
        return turn_back(samples, _orientation(page)), colours.BY_MODE[image.mode], image.mode


def _encode_whole(
    content: io.BytesIO, source: bytes, name: str, page: Any, rgb: np.ndarray, mask: np.ndarray
) -> dict[int, list[int]]:
    """Appends the whole page to `content` and returns the tags that say how it is coded, and where."""
    samples, coding, mode = _decode_whole(source, name, page)
    colours.cover(samples, coding, mask, rgb)
    image, buffer = Image.fromarray(samples, "L" if mode == "1" else mode), io.BytesIO()
    codec = "group4" if mode == "1" else "tiff_adobe_deflate"
    image.convert(mode, dither=Image.Dither.NONE).save(buffer, "TIFF", compression=codec, big_tiff=False)
    new = tifffile.TiffFile(io.BytesIO(buffer.getvalue())).pages[0]
    offsets = [_append(content, buffer.getvalue()[at : at + size]) for at, size in _blocks(new)]
    return {tag.code: [*np.ravel(tag.value)] for tag in new.tags if tag.code in _CODING} | {273: offsets}


def _check_directories(file: Any, name: str) -> None:
    """Refuses what tifffile follows without end, or leaves out without a word: a chain of directories that leads back
    or out of the file, and more tags than any book has.
    """
    tiff, handle, left, seen, at = file.tiff, file.filehandle, _MOST_TAGS, set(), file.pages.first.offset
    while at and left >= 0:
        if at in seen:
            raise BadImageError(f"{name}: broken (its directories lead in a circle)")
        seen.add(at)
        count = _tags_at(at, handle, tiff)
        left -= count + 1
        handle.seek(count * tiff.tagsize, os.SEEK_CUR)
        (at,) = struct.unpack(tiff.offsetformat, handle.read(tiff.offsetsize))
    if left >= 0 and len(seen) != len(file.pages):
        raise BadImageError(f"{name}: broken or cut short (it has {len(seen)} directories, not all of them whole)")
    below = islice((at for page in file.pages for at in page.subifds or ()), max(left + 1, 0))
    if left < sum(_tags_at(at, handle, tiff) + 1 for at in below):
        raise BadImageError(f"{name}: its directories have over {_MOST_TAGS:,} tags, more than any book's")


def _tags_at(at: int, stream: Any, tiff: Any) -> int:
    """How many tags the directory there has; the stream comes to stand at the first."""
    stream.seek(at)
    return struct.unpack(tiff.tagnoformat, stream.read(tiff.tagnosize))[0]


def _pages(file: Any, name: str) -> list[Any]:
    """Directories that are pictures of their own; BadImageError: a raw photo, which hides behind a thumbnail of it."""
    raw = any(_DNG_VERSION in each.tags or each.photometric in _SENSOR for each in _directories(file))
    below = [each for page in file.pages for each in page.pages or ()]
    if raw or _is_beside(file.pages[0]) or not all(map(_is_beside, below)):
        raise BadImageError(f"{name}: a raw photo of a camera, which is not read; save it as TIFF or JPEG")
    return [page for page in file.pages if not _is_beside(page)]


def _directories(file: Any) -> list[Any]:
    return [each for page in file.pages for each in (page, *(page.pages or ()))]


def _blocks(page: Any) -> Iterator[tuple[int, int]]:
    """Offset and size of every strip or tile, as far as both are told."""
    return zip(page.dataoffsets, page.databytecounts, strict=False)


def _is_beside(page: Any) -> bool:
    """Whether it is a thumbnail or an overview, or a mask, which says what counts and shows nothing."""
    return page.is_reduced or page.is_mask


def _thumbnails(file: Any, page: Any) -> list[Any]:
    """Directories that show `page` smaller: below it, and behind it up to the next page."""
    behind = takewhile(_is_beside, file.pages[page.index + 1 :])
    return [each for each in (*(page.pages or ()), *behind) if each.is_reduced]


def _rewrite_directory(content: io.BytesIO, file: Any, page: Any, gone: list[Any], tags: dict[int, list[int]]) -> None:
    """Writes the directory of `page` anew at the end, without its thumbnails `gone` and what points at them.

    `tags` are whole numbers that take the place of all that says how the page is coded, unless there are none.
    """
    tiff, word, order = file.tiff, file.tiff.offsetformat[-1], file.tiff.byteorder
    # By their offsets: tifffile makes another object of a directory each time.
    offsets = {each.offset for each in gone}
    drop = {*(_CODING if tags else ()), *(_SUB_DIRECTORIES for each in page.pages or () if each.offset in offsets)}
    entries = [content.read(tiff.tagsize) for _ in range(_tags_at(page.offset, content, tiff))]
    kept = {tag: entry for entry in entries if (tag := struct.unpack_from(order + "H", entry)[0]) not in drop}
    for tag, values in tags.items():
        packed = struct.pack(f"{order}{len(values)}{word}", *values)
        if len(packed) > tiff.offsetsize:
            packed = struct.pack(tiff.offsetformat, _append(content, packed))
        kept[tag] = struct.pack(f"{order}HH{word}", tag, 16 if word == "Q" else 4, len(values)) + packed
    directory = struct.pack(tiff.tagnoformat, len(kept)) + b"".join(kept[tag] for tag in sorted(kept))
    new = _append(content, directory + bytes(tiff.offsetsize))
    # The chain goes on without the thumbnails; what lies between them and is kept is linked by itself.
    chain = [new if each.offset == page.offset else each.offset for each in file.pages if each.offset not in offsets]
    ends = [at + tiff.tagnosize + tiff.tagsize * _tags_at(at, content, tiff) for at in chain]
    for place, target in zip((tiff.offsetsize, *ends), (*chain, 0), strict=True):
        content.seek(place)
        content.write(struct.pack(tiff.offsetformat, target))
