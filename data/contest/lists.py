"""Lists of pictures, `clean occluded mask` a line, and the contest's folders, whose annotations are such lists.

Patches (`train.txt`) and whole pages (`val_pages.txt`) are listed alike, with paths relative to the list's own folder.
The contest has `train_data_1` .. `train_data_5`, each with `annotation.txt`, `gt/`, `hand/` and `head/`. Many
occlusions share one clean page, so anything that divides the set must divide it by page.

A list is UTF-8 (a file name that is no text keeps its bytes); a line that begins with # is a comment.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from data.images import IMAGE_SUFFIXES
from utils.files import quoted, write_text

# Where the patches of a set lie, in the order of `PatchPaths`: SET/gt/NAME.png, SET/occluded/NAME.png, ...
PATCH_FOLDERS = ("gt", "occluded", "mask")
ANNOTATION = "annotation.txt"
_FOLDER = re.compile(r"train_data_\w+")
_PICTURE = rf"(.+?(?:{'|'.join(map(re.escape, IMAGE_SUFFIXES))}))"
# No system opens a longer path.
_LONGEST = 4096
_BOM = "\ufeff"
_THREE_TABBED = re.compile(r" *([^\t]+?) *\t *([^\t]+?) *\t *([^\t]+)")
_THREE = re.compile(r"(\S+) (\S+) (\S+)")
_THREE_PICTURES = re.compile(f"{_PICTURE} {_PICTURE} {_PICTURE}", re.IGNORECASE)


class PatchPaths(NamedTuple):
    """The three files of one training patch, or of one whole page."""

    clean: Path
    occluded: Path
    mask: Path


class ListError(ValueError):
    """A list file, or a line of one, that cannot be used; the message names file and line."""


def read_list(path: str | os.PathLike[str]) -> list[PatchPaths]:
    """Reads a list, and opens no file it names; `ListError` for no list, no line, or one that is not three paths."""
    path = Path(path)
    lines = [split_line(line, path, number) for number, line in numbered_lines(path)]
    entries = [PatchPaths(*(path.parent / part for part in parts)) for parts in lines]
    if not entries:
        raise ListError(f"{path}: the list is empty, expected lines of `clean occluded mask`")
    return entries


def write_list(path: str | os.PathLike[str], entries: Iterable[PatchPaths]) -> None:
    """Writes a list file atomically; paths become relative to its folder, so that the folder can be moved."""
    folder = os.path.abspath(Path(path).parent)
    parts = [tuple(Path(os.path.relpath(part, folder)).as_posix() for part in entry) for entry in entries]
    # Not to be taken for a comment, or for a byte order mark.
    lines = [f"{'./' * one[0].startswith(('#', _BOM))}{' '.join(one)}" for one in parts]
    for line, one in zip(lines, parts, strict=True):
        if "\n" in line or "\r" in line or _split(line.strip("\t ").removeprefix("./")) != one:
            raise ListError(f"{path}: blanks, tabs or line breaks in a file name keep it from being listed: "
                            f"{quoted(line)}; rename the file")
    write_text(path, "".join(f"{line}\n" for line in lines))


def numbered_lines(path: Path) -> list[tuple[int, str]]:
    """The lines but blank ones and comments, each with its number from 1; `ListError` for no such file, or no text."""
    try:
        # "utf-8-sig" drops the mark that Windows editors put at the beginning.
        text = path.read_bytes().decode("utf-8-sig", "surrogateescape")
    except OSError as error:
        raise ListError(f"{path}: cannot be opened ({error.strerror}); data_preparation.py and "
                        "generate_meta_info.py write the lists") from error
    if "\0" in text:
        raise ListError(f"{path}: cannot be read as a list: holds zero bytes, expected text in UTF-8")
    # Not str.splitlines(), which would also break lines at characters that file names may hold.
    lines = [(number, line.strip("\r\t ")) for number, line in enumerate(text.split("\n"), start=1)]
    return [(number, line) for number, line in lines if line and line[0] != "#"]


def split_line(line: str, path: Path, number: int) -> tuple[str, ...]:
    """Takes `clean occluded mask` apart at tabs or single spaces, also where names hold spaces; else `ListError`."""
    parts = _split(line)
    if parts is None or len(line) > _LONGEST:
        expected = "three picture files `clean occluded mask` split by one space or tab"
        raise ListError(f"{path}, line {number}: expected {expected}, got {quoted(line)}")
    return parts


def _split(line: str) -> tuple[str, ...] | None:
    found = _THREE_TABBED.fullmatch(line) or _THREE.fullmatch(line) or _THREE_PICTURES.fullmatch(line)
    return found and found.groups()


class Group(NamedTuple):
    """One line of an annotation: a clean page, one occlusion of it, and the mask of what was pasted."""

    folder: str  # Name of the folder with the annotation, such as "train_data_1".
    clean: Path
    occluded: Path
    mask: Path
    occluded_name: str  # As the annotation has it, such as "hand/x_0_000.jpg".
    kind: str  # First part of that, such as "hand" or "head".
    page: str  # Occlusions of one page share its name, in whatever folder they are.


def _contest_folders(root: str | os.PathLike[str]) -> list[Path]:
    """The folders with annotations, `train_data_1`, `train_data_2`, ... in the order of their numbers.

    `root` is the folder of all `train_data_*`, one such folder, or an `annotation.txt` itself; none in another one.
    """
    root = Path(root)
    if root.is_file() and root.name == ANNOTATION:
        return [root.parent]
    folders = [path for path in root.glob("train_data_*") if path.is_dir() and _FOLDER.fullmatch(path.name)]
    own = [root] if (root / ANNOTATION).is_file() else []
    return sorted(folders, key=lambda path: [(len(part), part) for part in path.name.split("_")]) or own


def is_contest(root: str | os.PathLike[str]) -> bool:
    """Whether `read_contest` would find an annotation at `root`; other folders may hold pictures of any kind."""
    return any((folder / ANNOTATION).is_file() for folder in _contest_folders(root))


def read_contest(root: str | os.PathLike[str], problems: list[str] | None = None) -> list[Group]:
    """Reads every annotation under `root`: the folder of all `train_data_*`, one of them, or an `annotation.txt`.

    What is wrong with an annotation or a line (missing, empty, bad, listed twice) is appended to `problems`, and the
    rest is read; without them, or where nothing at all could be read, it is a `ListError`.
    """
    found, folders = [], _contest_folders(root)
    if not folders:
        raise ListError(f"{root}: no contest data here; expected folders train_data_1, ..., or one with {ANNOTATION}")
    groups = [group for folder in folders for group in _read_folder(folder, found)]
    if problems is not None:
        problems += found
    if found and (problems is None or not groups):
        raise ListError(found[0] + (f"; and {len(found) - 1} more problems" if len(found) > 1 else ""))
    return groups


def _read_folder(folder: Path, problems: list[str]) -> Iterator[Group]:
    annotation, name = folder / ANNOTATION, folder.resolve().name
    line_of: dict[str, int] = {}
    try:
        lines = numbered_lines(annotation)
        if not lines:
            raise ListError(f"{annotation}: no line in it, expected `gt occluded mask`")
    except ListError as error:
        problems.append(str(error))
        return
    for number, line in lines:
        try:
            clean, occluded, mask = split_line(line, annotation, number)
            if line_of.setdefault(occluded, number) != number:
                raise ListError(f"{annotation}, line {number}: {occluded} stands on line {line_of[occluded]} already")
        except ListError as error:
            problems.append(str(error))
            continue
        kind, page = PurePosixPath(occluded).parts[0] if "/" in occluded else "", PurePosixPath(clean).stem
        yield Group(name, folder / clean, folder / occluded, folder / mask, occluded, kind, page)


def split_by_page(groups: list[Group], held_out: float = 0.1) -> tuple[list[Group], list[Group]]:
    """Divides into (training, validation): the last `held_out` of the pages, with all their occlusions, validate.

    Pages count in the order in which they first appear. Any `held_out` above 0 (and below 1) holds out at least one
    page and leaves at least one for training; `ListError` where there is only one.
    """
    pages = list(dict.fromkeys(group.page for group in groups))
    if held_out == 0:
        return groups, []
    if len(pages) < 2:
        raise ListError(f"{len(pages)} page cannot be divided into training and validation; use all of it (--all)")
    count = min(max(round(len(pages) * held_out), 1), len(pages) - 1)
    validation = set(pages[-count:])
    return tuple([group for group in groups if (group.page in validation) == held] for held in (False, True))
