"""What lies in a folder of photos, and whether its results have a place of their own."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path

from data.images import IMAGE_SUFFIXES

# What is written beside a result: its mask and its sheet, with its whole name in front, so that no two can meet.
SIDE_FILES = MASK, SHEET = ".mask.png", ".compare.jpg"
_NOT_FILES = {
    stat.S_IFDIR: "a folder", stat.S_IFIFO: "a named pipe", stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device", stat.S_IFBLK: "a device",
}  # fmt: skip


@dataclass(frozen=True)
class Listing:
    """What lies in a source folder; paths are relative to `root` and sorted.

    `pictures` have the name of a picture, whether they are one or not; `others` have not. `linked` folders are not
    followed: they may lead in a circle. `closed` ones could not be searched, for the reason given.
    """

    root: Path
    pictures: list[Path]
    others: list[Path] = field(default_factory=list)
    linked: list[Path] = field(default_factory=list)
    closed: dict[Path, str] = field(default_factory=dict)


def list_pictures(source: str | os.PathLike[str], results: str | os.PathLike[str], include: str = "*") -> Listing:
    """Finds the pictures of `source`, a folder (searched through all its sub-folders) or one file.

    Of a folder only the files whose name fits the shell pattern `include` count, such as "*.jpg", which takes IMG.JPG
    too. Hidden files and folders, linked folders and the folder `results`, should it lie inside, are left out.

    Raises:
        FileNotFoundError: `source` does not exist.
        ValueError: a result would overwrite a picture that restoring starts from, or `results` lies inside `source` and
            holds pictures of its own.
    """
    source, target = Path(source), Path(results).resolve()
    if not source.exists():
        raise FileNotFoundError(f"{source}: no such file or folder")
    root = source if source.is_dir() else source.parent
    if root.resolve() == target:
        raise ValueError(f"{results}: results would overwrite their own sources; name another folder")
    listing = Listing(root, [])
    names = sorted(_walk(listing, target, include.lower())) if source.is_dir() else [Path(source.name)]
    for name in names:
        (listing.pictures if name.suffix.lower() in IMAGE_SUFFIXES else listing.others).append(name)
    listing.linked.sort()
    _refuse_overwritten(listing, target)
    _refuse_foreign(root, target)
    return listing


def _walk(listing: Listing, results: Path, include: str) -> Iterator[Path]:
    """Files below `listing.root`; folders that are not entered are noted in `listing`."""

    def note_closed(error: OSError) -> None:
        listing.closed[Path(error.filename).relative_to(listing.root)] = f"cannot be searched ({error.strerror})"

    for folder, subfolders, names in os.walk(listing.root, onerror=note_closed):
        here = Path(folder)
        below = here.relative_to(listing.root)
        inside = [name for name in subfolders if name[0] != "."]
        listing.linked.extend(below / name for name in inside if (here / name).is_symlink())
        subfolders[:] = [name for name in inside if (here / name).resolve() != results]
        yield from (below / name for name in names if name[0] != "." and fnmatch(name.lower(), include))


def _refuse_overwritten(listing: Listing, results: Path) -> None:
    """The results' folder may lie above the source's, and then hold a sub-folder of the same name."""
    root = listing.root.resolve()
    if root.is_relative_to(results):
        sources = {root.relative_to(results) / name for name in listing.pictures}
        for name in sources.intersection(listing.pictures):
            raise ValueError(f"{results}: the result of {root / name} would be a source; name another folder")


def _refuse_foreign(root: Path, results: Path) -> None:
    """A folder inside the source may hold results, which have the names of sources, or photos like all the others."""
    if not results.is_relative_to(root.resolve()):
        return
    for folder, _, names in os.walk(results):
        for name in names:
            original = root / Path(folder, name).relative_to(results)
            if original.suffix.lower() not in IMAGE_SUFFIXES or name[0] == ".":
                continue
            if not any(original.with_name(name.removesuffix(side)).exists() for side in ("", *SIDE_FILES)):
                raise ValueError(
                    f"{results}: holds {name}, which is the result of no picture in {root}; photos there would be left "
                    "out, and might be overwritten. Name another folder"
                )


def prepare_results(results: str | os.PathLike[str]) -> None:
    """Creates the folder for results and proves that it can be written to, before hours of work are lost on it.

    Raises:
        OSError: it cannot; the message names the folder.
    """
    results = Path(results)
    try:
        results.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=results):
            pass
    except OSError as error:
        reason = "is a file, expected a folder" if results.is_file() else f"cannot be written to ({error.strerror})"
        raise OSError(f"{results}: {reason}; name another folder for the results") from error


def beside(target: Path, side: str) -> Path:
    """Where the mask (`MASK`) or the sheet (`SHEET`) of a result goes."""
    return target.with_name(target.name + side)


def require_regular(path: Path) -> None:
    """Refuses what would be waited for without end, such as a named pipe, before it is opened.

    Raises:
        OSError: nothing is there, a link leads nowhere or in a circle, or it is not a regular file.
    """
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode):
        raise OSError(f"{path}: is {_NOT_FILES.get(stat.S_IFMT(mode), 'something else')}, expected a regular file")
