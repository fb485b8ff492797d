"""The directory of a TIFF file, and pictures changed in place with all other tags byte for byte.

Format: TIFF revision 6.0 and its 64-bit variant, BigTIFF.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from data.images import BadImageError

# Classic and big, of either byte order.
SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_SHORT, _LONG, _UNDEFINED, _LONG8 = 3, 4, 7, 16
_LETTERS = {1: "B", _SHORT: "H", _LONG: "I", 13: "I", _LONG8: "Q", 18: "Q"}
_SIZES = {1: 1, 2: 1, _SHORT: 2, _LONG: 4, 5: 8, 6: 1, _UNDEFINED: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
_SIZES |= {_LONG8: 8, 17: 8, 18: 8}
# Widths of a classic and of a big file: header, pointer and count of values, count of entries.
_CLASSIC, _BIG = (8, "I", "H"), (16, "Q", "Q")
_LARGEST_CLASSIC = 2**32 - 1


@dataclass(frozen=True)
class Directory:
    """The first directory of a TIFF.

    Attributes:
        name: the file, for messages.
        order: "<" or ">", the byte order of the whole file.
        big: pointers have 64 bits.
        entries: tag -> its entry as it lies in the file.
        following: where the next directory begins; 0 for none.
        source: the file.
    """

    name: str
    order: str
    big: bool
    entries: dict[int, bytes]
    following: int
    source: bytes | mmap.mmap

    def raw(self, tag: int) -> bytes:
        """The bytes of a tag's values; empty where the tag is missing."""
        if tag not in self.entries:
            return b""
        entry, (_, pointer, _) = self.entries[tag], _BIG if self.big else _CLASSIC
        kind, count = struct.unpack_from(f"{self.order}H{pointer}", entry, 2)
        size = count * _SIZES.get(kind, 0)
        start = struct.calcsize(f"<HH{pointer}")
        if size <= struct.calcsize(pointer):
            return entry[start : start + size]
        at = struct.unpack_from(self.order + pointer, entry, start)[0]
        if at + size > len(self.source):
            raise BadImageError(f"{self.name}: broken or cut short (the values of tag {tag} lie behind its end)")
        return self.source[at : at + size]

    def values(self, tag: int, default: Sequence[int] = ()) -> tuple[int, ...]:
        """A tag's whole numbers, or `default`."""
        if tag not in self.entries:
            return tuple(default)
        kind = struct.unpack_from(self.order + "H", self.entries[tag], 2)[0]
        if kind not in _LETTERS:
            raise BadImageError(f"{self.name}: tag {tag} holds values of type {kind}, expected whole numbers")
        raw = self.raw(tag)
        return struct.unpack(f"{self.order}{len(raw) // _SIZES[kind]}{_LETTERS[kind]}", raw)

    def value(self, tag: int, default: int) -> int:
        """A tag's first whole number, or `default`."""
        return (self.values(tag) or (default,))[0]


def read_directory(source: bytes | mmap.mmap, name: str) -> Directory:
    """Reads where everything of a TIFF's first picture lies.

    Raises:
        BadImageError: cut short or broken.
    """
    order = "<" if source[:2] == b"II" else ">"
    big = source[:4] in SIGNATURES[2:]
    header, pointer, counter = _BIG if big else _CLASSIC
    length = struct.calcsize(f"<HH{pointer}{pointer}")
    try:
        at = struct.unpack_from(order + pointer, source, header // 2)[0]
        count = struct.unpack_from(order + counter, source, at)[0]
        start = at + struct.calcsize(counter)
        # Before anything is read: a broken file may claim any number of entries.
        following = struct.unpack_from(order + pointer, source, start + count * length)[0]
        lines = [source[start + index * length : start + (index + 1) * length] for index in range(count)]
    except (struct.error, OverflowError) as error:
        raise BadImageError(f"{name}: broken or cut short (its directory lies behind its end)") from error
    entries = {struct.unpack_from(order + "H", line)[0]: line for line in lines}
    return Directory(name, order, big, entries, following, source)


def count_pages(directory: Directory) -> int:
    """How many directories follow each other in the file, the first included; a chain that ends nowhere ends there."""
    seen, at = set(), directory.following
    _, pointer, counter = _BIG if directory.big else _CLASSIC
    length = struct.calcsize(f"<HH{pointer}{pointer}")
    while at and at not in seen and at + struct.calcsize(counter) <= len(directory.source):
        seen.add(at)
        count = struct.unpack_from(directory.order + counter, directory.source, at)[0]
        behind = at + struct.calcsize(counter) + count * length
        if behind + struct.calcsize(pointer) > len(directory.source):
            break
        at = struct.unpack_from(directory.order + pointer, directory.source, behind)[0]
    return 1 + len(seen)


class Rewriter:
    """A TIFF file under change: blocks of pixels are freed and placed, then the directory is written anew.

    Tags that are not named in `finish` keep their bytes and whatever they point to.
    """

    def __init__(self, directory: Directory) -> None:
        self.directory = directory
        self.content = bytearray(directory.source)
        self.free: list[tuple[int, int]] = []

    def release(self, blocks: Sequence[tuple[int, int]]) -> None:
        """Gives blocks (offset, size) free and wipes them: what covered the page shall not stay in the file."""
        for at, size in sorted(blocks):
            self.content[at : at + size] = bytes(size)
            if self.free and self.free[-1][1] == at:
                self.free[-1] = (self.free[-1][0], at + size)
            else:
                self.free.append((at, at + size))

    def exchange(self, at: int, size: int, block: bytes) -> int:
        """Writes `block` in the place of one of `size` bytes at `at` (0 to leave that alone); returns its offset."""
        if len(block) > size:
            if size:
                self.release([(at, size)])
            return self.place(block)
        self.content[at : at + size] = block.ljust(size, b"\0")
        return at

    def place(self, block: bytes) -> int:
        """Writes a block where there is room, at the end of the file otherwise; returns its offset."""
        for index, (start, end) in enumerate(self.free):
            if end - start >= len(block):
                self.content[start : start + len(block)] = block
                self.free[index] = (start + len(block) + len(block) % 2, end)
                return start
        self.content += bytes(len(self.content) % 2)
        self.content += block
        return len(self.content) - len(block)

    def finish(self, changes: Mapping[int, Sequence[int] | bytes | None]) -> bytearray:
        """The file with a new directory.

        Args:
            changes: tag -> whole numbers, raw bytes, or None to drop the tag; without any, the
                directory stays too.
        """
        directory = self.directory
        if not changes:
            return self.content
        header, pointer, counter = _BIG if directory.big else _CLASSIC
        entries = {tag: entry for tag, entry in directory.entries.items() if tag not in changes}
        for tag, values in changes.items():
            if values is not None:
                entries[tag] = self._entry(tag, values, pointer)
        lines = b"".join(entries[tag] for tag in sorted(entries))
        count = struct.pack(directory.order + counter, len(entries))
        at = self.place(count + lines + struct.pack(directory.order + pointer, directory.following))
        if len(self.content) > _LARGEST_CLASSIC and not directory.big:
            raise BadImageError(f"{directory.name}: would grow above the 4 GB of a classic TIFF; save it as BigTIFF")
        struct.pack_into(directory.order + pointer, self.content, header // 2, at)
        return self.content

    def _entry(self, tag: int, values: Sequence[int] | bytes, pointer: str) -> bytes:
        order, room = self.directory.order, struct.calcsize(pointer)
        if isinstance(values, bytes):
            kind, data = _UNDEFINED, values
        else:
            highest = max(values, default=0)
            kind = _SHORT if highest < 2**16 else _LONG if highest < 2**32 else _LONG8
            data = struct.pack(f"{order}{len(values)}{_LETTERS[kind]}", *values)
        count = len(data) // _SIZES[kind]
        where = data.ljust(room, b"\0") if len(data) <= room else struct.pack(order + pointer, self.place(data))
        return struct.pack(f"{order}HH{pointer}", tag, kind, count) + where
