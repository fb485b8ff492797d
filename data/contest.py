"""Lists of pictures, the contest's folders, whose annotations are such lists, and how patches were cut.

A list has a line `clean occluded mask` for each patch (`train.txt`) or whole page (`val_pages.txt`), its paths relative
to the list's own folder. It is UTF-8 (a file name that is no text keeps its bytes); # in front makes a line a comment.
The contest has `train_data_1` .. `train_data_5`, each with `annotation.txt`, `gt/`, `hand/` and `head/`. Many
occlusions share one clean page, so anything that divides the set must divide it by page.
"""

import json
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from configs.schema import ConfigError, DataConfig
from data.images import IMAGE_SUFFIXES, BadImageError, upright_size
from utils.files import quoted, write_text

# Where the patches of a set lie, in the order of `PatchPaths`: SET/gt/NAME.png, SET/occluded/NAME.png, ...
PATCH_FOLDERS = ("gt", "occluded", "mask")
ANNOTATION, RECORD_NAME = "annotation.txt", "preparation.json"
# One folder may hold the full-data set beside training and validation; the sets of each entry of its record.
ALL_DATA, DIVIDED_DATA = "all", "train and val"
SETS = {ALL_DATA: ("all",), DIVIDED_DATA: ("train", "val")}
_LONGEST = 4096  # No system opens a longer path
_PICTURE = rf"(.+?(?:{'|'.join(map(re.escape, IMAGE_SUFFIXES))}))"
_THREE = (re.compile(r" *([^\t]+?) *\t *([^\t]+?) *\t *([^\t]+)"), re.compile(r"(\S+) (\S+) (\S+)"),
          re.compile(f"{_PICTURE} {_PICTURE} {_PICTURE}", re.IGNORECASE))  # fmt: skip


class ListError(ValueError):
    """A list file, or a line of one, that cannot be used; the message names file and line."""


class PatchPaths(NamedTuple):
    """The three files of one training patch, or of one whole page."""

    clean: Path
    occluded: Path
    mask: Path


class Group(NamedTuple):
    """One line of an annotation: a clean page, one occlusion of it, and the mask of what was pasted."""

    clean: Path
    occluded: Path
    mask: Path
    name: str  # The annotation's folder and the occluded picture in it, such as "train_data_1/hand/x_0_000.jpg".

    @property
    def page(self) -> str:
        """Occlusions of one page share its name, in whatever folder they are."""
        return self.clean.stem


def read_list(path: str | os.PathLike[str]) -> list[PatchPaths]:
    """Reads a list, and opens no file it names; `ListError` for no list, no line, or one that is not three paths."""
    path, problems = Path(path), []
    entries = [PatchPaths(*(path.parent / part for part in parts)) for _, parts in _read_lines(path, problems)]
    if problems:
        raise ListError(problems[0])
    return entries


def validation_pages(list_file: str | os.PathLike[str], limit: int = 0) -> list[PatchPaths]:
    """The pages of a list file, or `limit` of them (0: all) spread evenly over it.

    Neighbouring lines are often the same page under other hands, so the first few lines would be a narrow choice.
    What is wrong with a page is found now, by the headers of its files, and not after hours of training.
    ListError: no such list, or nothing in it; BadImageError: a file is missing, no picture, or not of the others' size.
    """
    pages = read_list(list_file)
    if 0 < limit < len(pages):
        pages = [pages[index * len(pages) // limit] for index in range(limit)]
    for page in pages:
        width, height = upright_size(page.occluded)
        for path in page:
            size = upright_size(path)
            if size != (width, height):
                raise BadImageError(f"{path}: {size[0]}x{size[1]} pixels, but {page.occluded} has {width}x{height}; "
                                    "all three of a page have to be of one size. Correct the file or take its line "
                                    "out of data.val_pages")  # fmt: skip
    return pages


def write_list(path: str | os.PathLike[str], entries: Iterable[tuple[Path, ...]]) -> None:
    """Writes a list file atomically; paths become relative to its folder, so that the folder can be moved."""
    folder, lines = os.path.abspath(Path(path).parent), []
    for entry in entries:
        parts = tuple(Path(os.path.relpath(part, folder)).as_posix() for part in entry)
        line = " ".join(parts)
        if "\n" in line or "\r" in line or _split(line.strip("\t ")) != parts:
            raise ListError(f"{path}: blanks, tabs or line breaks in a file name keep it from being listed: "
                            f"{quoted(line)}; rename the file")
        # Not to be taken for a comment, or for a byte order mark.
        lines.append(f"./{line}\n" if line.startswith(("#", "\ufeff")) else f"{line}\n")
    write_text(path, "".join(lines))


def _read_lines(path: Path, problems: list[str]) -> Iterator[tuple[int, tuple[str, ...]]]:
    """The number and the three parts of each line; what is wrong with the file or a line is added to `problems`."""
    try:
        # "utf-8-sig" drops the mark that Windows editors put at the beginning.
        text = path.read_bytes().decode("utf-8-sig", "surrogateescape")
    except OSError as error:
        problems.append(f"{path}: cannot be opened ({error.strerror}); data_preparation.py and "
                        "generate_meta_info.py write the lists")  # fmt: skip
        return
    # Not str.splitlines(), which would also break lines at characters that file names may hold.
    stripped = ((number, line.strip("\r\t ")) for number, line in enumerate(text.split("\n"), start=1))
    lines = [(number, line) for number, line in stripped if line and line[0] != "#"]
    if "\0" in text or not lines:
        fault = "cannot be read as a list: holds zero bytes, expected text in UTF-8"
        problems.append(f"{path}: {fault if lines else 'no line in it; expected lines of `clean occluded mask`'}")
        return
    for number, line in lines:
        parts = _split(line)
        if parts is None or len(line) > _LONGEST:
            expected = "three picture files `clean occluded mask` split by one space or tab"
            problems.append(f"{path}, line {number}: expected {expected}, got {quoted(line)}")
        else:
            yield number, parts


def _split(line: str) -> tuple[str, ...] | None:
    """Apart at tabs or single spaces, also where names hold spaces."""
    return next((found.groups() for found in (form.fullmatch(line) for form in _THREE) if found), None)


def _contest_folders(root: str | os.PathLike[str]) -> list[Path]:
    """`train_data_1`, `train_data_2`, ... in the order of their numbers, or `root` itself; none in another folder."""
    root = Path(root)
    folders = [path for path in root.glob("train_data_*") if path.is_dir() and re.fullmatch(r"\w+", path.name)]
    by_number = sorted(folders, key=lambda path: [(len(part), part) for part in path.name.split("_")])
    return by_number or [root] * (root / ANNOTATION).is_file()


def is_contest(root: str | os.PathLike[str]) -> bool:
    """Whether `read_contest` would find an annotation at `root`; other folders may hold pictures of any kind."""
    return any((folder / ANNOTATION).is_file() for folder in _contest_folders(root))


def read_contest(root: str | os.PathLike[str], problems: list[str] | None = None) -> list[Group]:
    """Reads every annotation under `root`: the folder of all `train_data_*`, or one of them.

    What is wrong with an annotation or a line (missing, empty, bad, listed twice) is appended to `problems`, and the
    rest is read; without them, or where nothing at all could be read, it is a `ListError`.
    """
    groups, found, folders = [], [], _contest_folders(root)
    if not folders:
        raise ListError(f"{root}: no contest data here; expected folders train_data_1, ..., or one with {ANNOTATION}")
    for folder in folders:
        annotation, line_of = folder / ANNOTATION, {}
        for number, parts in _read_lines(annotation, found):
            if (first := line_of.setdefault(parts[1], number)) == number:
                groups.append(Group(*(folder / part for part in parts), f"{folder.resolve().name}/{parts[1]}"))
            else:
                found.append(f"{annotation}, line {number}: {parts[1]} stands on line {first} already")
    if problems is not None:
        problems += found
    if found and (problems is None or not groups):
        raise ListError(found[0] + (f"; and {len(found) - 1} more problems" if len(found) > 1 else ""))
    return groups


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


def names_by_part(folder: Path) -> list[set[str]]:
    """The names of a set's patch files, one set of names for each of `PATCH_FOLDERS`; half-written ones are hidden."""
    return [{path.name for path in (folder / part).glob("[!.]*.png")} for part in PATCH_FOLDERS]


def read_record(folder: Path) -> dict[str, dict[str, Any]]:
    """How patches were cut, for each entry of `SETS`; {} without a file, `ConfigError` for another one of that name."""
    path = folder / RECORD_NAME
    if not path.is_file():
        return {}
    try:
        record = json.loads(path.read_text("utf-8", "surrogateescape"))
        for entry in record.values():
            int(entry["size"]), int(entry["downscale"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(f"{path} is not the record of data_preparation.py ({error!r}); delete it and use --overwrite"
                          ) from error
    return record


def check_preparation(data: DataConfig) -> None:
    """`ConfigError` where `crop` or `downscale` differs from the record beside the list of patches, if there is one."""
    train_list = Path(data.train_list)
    entry = read_record(train_list.parent).get(ALL_DATA if train_list.stem == ALL_DATA else DIVIDED_DATA, {})
    for key, recorded in (("crop", "size"), ("downscale", "downscale")):
        said = getattr(data, key)
        if said != entry.get(recorded, said):
            raise ConfigError(f"data.{key}: {said}, but the patches of {train_list} were cut with {entry[recorded]} "
                              f"({train_list.with_name(RECORD_NAME)})")
