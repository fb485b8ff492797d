"""List files: one line per triple of pictures, `clean occluded mask`, paths relative to the list's own folder.

The contest's `annotation.txt` has the same lines, so this is the one place that takes them apart. Patches
(`train.txt`) and whole pages (`val_pages.txt`) are listed alike.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from data.images import IMAGE_SUFFIXES
from utils.atomic import write_text

# Where the patches of a set lie, in the order of `PatchPaths`: SET/gt/NAME.png, SET/occluded/NAME.png, ...
PATCH_FOLDERS = ("gt", "occluded", "mask")


class PatchPaths(NamedTuple):
    """The three files of one training patch, or of one whole page."""

    clean: Path
    occluded: Path
    mask: Path


class ListError(ValueError):
    """A list file, or a line of one, that cannot be used; the message names file and line."""


def read_list(path: str | os.PathLike[str]) -> list[PatchPaths]:
    """Reads a list file; the files it names are not opened.

    Raises:
        ListError: no such file, no line in it, or a line that is not three paths.
    """
    path = Path(path)
    entries = [
        PatchPaths(*(path.parent / part for part in split_line(line, path, number)))
        for number, line in numbered_lines(path)
    ]
    if not entries:
        raise ListError(f"{path}: the list is empty, expected lines of `clean occluded mask`")
    return entries


def write_list(path: str | os.PathLike[str], entries: Iterable[PatchPaths]) -> None:
    """Writes a list file atomically; paths become relative to its folder, so that the folder can be moved.

    Raises:
        ListError: a file name holds a line break, which no line of a list can carry.
    """
    path = Path(path)
    folder = os.path.abspath(path.parent)
    lines = []
    for entry in entries:
        parts = [Path(os.path.relpath(os.path.abspath(part), folder)).as_posix() for part in entry]
        if any("\n" in part or "\r" in part for part in parts):
            raise ListError(f"{path}: a line break in a file name cannot be listed: {parts!r}; rename the file")
        lines.append(" ".join(parts) + "\n")
    write_text(path, "".join(lines))


def numbered_lines(path: str | os.PathLike[str]) -> Iterator[tuple[int, str]]:
    """Yields (line number from 1, line) of the lines that are not blank.

    Raises:
        ListError: no such file, or not UTF-8 text.
    """
    try:
        # "utf-8-sig" drops the mark that Windows editors put at the beginning.
        text = Path(path).read_text("utf-8-sig")
    except OSError as error:
        raise ListError(f"{os.fspath(path)}: cannot be opened ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise ListError(f"{os.fspath(path)}: cannot be read as a list ({error})") from error
    # Not str.splitlines(), which would also break lines at characters that file names may hold.
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            yield number, line.strip("\r\n\t ")


def split_line(line: str, path: str | os.PathLike[str], number: int) -> tuple[str, str, str]:
    """Takes `clean occluded mask` apart at single spaces, also where names hold spaces themselves.

    Of all cuts into three, those count whose three parts end like pictures; if several do, the one whose three
    files exist beside `path`.

    Raises:
        ListError: no cut, or more than one, fits.
    """
    words = line.split(" ")
    if len(words) == 3 and all(words):
        return words[0], words[1], words[2]
    cuts = []
    for first in range(1, len(words) - 1):
        for second in range(first + 1, len(words)):
            parts = tuple(" ".join(part) for part in (words[:first], words[first:second], words[second:]))
            if all(part.lower().endswith(IMAGE_SUFFIXES) for part in parts):
                cuts.append(parts)
    if len(cuts) > 1:
        folder = Path(path).parent
        cuts = [parts for parts in cuts if all((folder / part).is_file() for part in parts)]
    if len(cuts) != 1:
        raise ListError(
            f"{os.fspath(path)}, line {number}: expected three picture files `clean occluded mask` split by one space, "
            f"got {line!r}"
        )
    return cuts[0]
