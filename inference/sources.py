"""What lies in a folder of photos and beside it, and whether its results have a place of their own."""

import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from functools import cache, partial
from pathlib import Path, PurePath

from data.images import IMAGE_SUFFIXES, kind_of_file

# What is written beside a result: its mask and its sheet, with its whole name in front, so that no two can meet.
SIDE_FILES = MASK, SHEET = ".mask.png", ".compare.jpg"
_LONGEST_NAME = 255  # bytes, on every usual file system


@dataclass(frozen=True)
class Listing:
    """What lies in a source folder; paths are relative to `root` and sorted."""

    root: Path
    pictures: list[Path]  # By their names or their content, whether they can be read or not.
    others: list[Path] = field(default_factory=list)
    linked: list[Path] = field(default_factory=list)  # Folders; not followed, as they may lead in a circle.
    closed: dict[Path, str] = field(default_factory=dict)  # Folders that could not be searched, and why.
    place: str = ""  # What tells `root` from other sources' roots: its own path, or an address that stands behind it.

    def refuse_clashes(self, written: Sequence[str]) -> None:
        """ValueError where a picture has the name of what is `written` beside the results, or the end of its name."""
        pictures = set(self.pictures)
        sides = {beside(name, side) for name in pictures for side in written if side in SIDE_FILES}
        for name in sorted(pictures & (sides | set(map(Path, written)))):
            raise ValueError(f"{self.root / name}: what is written beside the results would take the place of its "
                             "result; leave it out with --include, or do without --save-mask, --compare and --report")


def list_pictures(source: str | os.PathLike[str], results: str | os.PathLike[str], include: str = "*") -> Listing:
    """Finds the pictures of `source`, a folder (searched through all its sub-folders) or one file.

    Of a folder only the files whose name fits the shell pattern `include` count, such as "*.jpg", which takes IMG.JPG
    too. Hidden files and folders, linked folders and the folder `results`, should it lie inside, are left out.
    FileNotFoundError: no `source`; ValueError: a result would overwrite it, or `results` inside holds other pictures.
    """
    source, target = Path(source), Path(results).resolve()
    if not source.exists():
        raise FileNotFoundError(f"{source}: no such file or folder")
    root = source if source.is_dir() else source.parent
    if root.resolve() == target:
        raise ValueError(f"{results}: results would overwrite their own sources; name another folder")
    listing = Listing(root, [])
    for name in sorted(_walk(listing, target, include)) if source.is_dir() else [Path(source.name)]:
        (listing.pictures if is_picture(name, partial(kind_of_file, root / name)) else listing.others).append(name)
    listing.linked.sort()
    # The results' folder may lie above the source's, and then hold a sub-folder of the same name.
    for name in {root.resolve() / name for name in listing.pictures} & {target / name for name in listing.pictures}:
        raise ValueError(f"{target}: the result of a picture would be a source, {name}; name another folder")
    if target.is_relative_to(root.resolve()):
        _refuse_foreign(root, target)
    return listing


def is_picture(name: PurePath, kind: Callable[[], str]) -> bool:
    """By its name, or its content's `kind`: also of kinds that are not read, which are failures then, each by name."""
    return name.suffix.lower() in IMAGE_SUFFIXES or kind() != ""


def is_wanted(name: PurePath, include: str) -> bool:
    """Whether nothing on the way to a file is hidden, and its name fits the pattern."""
    return not any(part[0] == "." for part in name.parts) and fnmatch(name.name.lower(), include.lower())


def _walk(listing: Listing, results: Path, include: str) -> Iterator[Path]:
    """Files below `listing.root`; folders that are not entered are noted in `listing`."""

    def note_closed(error: OSError) -> None:
        listing.closed[Path(error.filename).relative_to(listing.root)] = f"cannot be searched ({error.strerror})"

    os.scandir(listing.root).close()  # Where it cannot be searched itself, there is nothing to do.
    for folder, subfolders, names in os.walk(listing.root, onerror=note_closed):
        here = Path(folder)
        below = here.relative_to(listing.root)
        subfolders[:] = [name for name in subfolders if name[0] != "." and (here / name).resolve() != results]
        listing.linked.extend(below / name for name in subfolders if (here / name).is_symlink())
        yield from (below / name for name in names if is_wanted(below / name, include))


def _refuse_foreign(root: Path, results: Path) -> None:
    """A folder inside the source may hold results, which have the names of sources, or photos like all the others."""

    @cache
    def written_for(folder: Path) -> set[Path]:
        others = folder.iterdir() if folder.is_dir() else ()
        return {file for other in others for file in (other, *(beside(other, side) for side in SIDE_FILES))}

    for path in (Path(folder, name) for folder, _, names in os.walk(results) for name in names if name[0] != "."):
        original = root / path.relative_to(results)
        if is_picture(path, partial(kind_of_file, path)) and original not in written_for(original.parent):
            told = f"{results}: holds {path.name}, which is the result of no picture in {root}"
            raise ValueError(f"{told}; photos there would be left out, or overwritten. Name another folder")


def prepare_results(results: str | os.PathLike[str]) -> None:
    """Creates the folder for results and proves that it can be written to, before hours of work are lost on it."""
    try:
        Path(results).mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=results).close()
    except OSError as error:
        why = "is a file, expected a folder" if Path(results).is_file() else f"cannot be written to ({error.strerror})"
        raise OSError(f"{results}: {why}; name another folder for the results") from error


def beside(target: Path, side: str) -> Path:
    """Where the mask (`MASK`) or the sheet (`SHEET`) of a result goes; of a name too long for that, the beginning."""
    name = target.name + side
    if len(os.fsencode(name)) > _LONGEST_NAME:
        mark = f"~{hashlib.sha256(os.fsencode(target.name)).hexdigest()[:8]}{side}"
        name = os.fsencode(target.name)[: _LONGEST_NAME - len(mark)].decode(errors="ignore") + mark
    return target.with_name(name)
