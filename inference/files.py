"""Which files of a run are photos, which are results (and no masks), and which others are never written over.

`RESULTS/.uncover.jsonl` has a line of JSON before the files of a photo are written, which says what they will be, and
the same line as done afterwards. So a run that is killed at any moment knows its own files, and a file that no line
speaks of is somebody else's. Lines are appended whole, by several runs at once too; a torn one counts as none.
"""

import hashlib
import json
import os
import stat
import tempfile
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from fnmatch import fnmatch
from functools import cache, partial
from pathlib import Path, PurePath
from typing import Any

import numpy as np

from data.images import SUFFIXES, kind_of_file
from data.photos import is_whole
from utils.files import naming, write_bytes

# What is written beside a result: its mask and its sheet, with its whole name in front, so that no two can meet.
SIDE_FILES = MASK, SHEET = ".mask.png", ".compare.jpg"
_LONGEST_NAME = 255  # bytes, on every usual file system
RECORD, OWN_RECORD = ".uncover.jsonl", ".uncover/{}.jsonl"  # The second of one photo, from a cluster


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


def list_pictures(
    source: str | os.PathLike[str], results: str | os.PathLike[str], include: str = "*", masks: str | None = None
) -> Listing:
    """Finds the pictures of `source`, a folder (searched through all its sub-folders) or one file.

    Of a folder only the files whose name fits the shell pattern `include` count, such as "*.jpg", which takes IMG.JPG
    too. Left out are hidden files and folders, linked folders, and `results` and `masks` should they lie inside.
    FileNotFoundError: no `source`; ValueError: a result would overwrite it, or `results` inside holds other pictures.
    """
    source, target = Path(source), Path(results).resolve()
    if not source.exists():
        raise FileNotFoundError(f"{source}: no such file or folder")
    root = source if source.is_dir() else source.parent
    if root.resolve() == target:
        raise ValueError(f"{results}: results would overwrite their own sources; name another folder")
    listing = Listing(root, [])
    apart = {target, Path(masks or target).resolve()}
    for name in sorted(_walk(listing, apart, include)) if source.is_dir() else [Path(source.name)]:
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
    return name.suffix.lower() in SUFFIXES or kind() != ""


def is_wanted(name: PurePath, include: str) -> bool:
    """Whether nothing on the way to a file is hidden, and its name fits the pattern."""
    return not any(part[0] == "." for part in name.parts) and fnmatch(name.name.lower(), include.lower())


def _walk(listing: Listing, apart: set[Path], include: str) -> Iterator[Path]:
    """Files below `listing.root`; folders that are not entered are noted in `listing`."""

    def note_closed(error: OSError) -> None:
        listing.closed[Path(error.filename).relative_to(listing.root)] = f"cannot be searched ({error.strerror})"

    os.scandir(listing.root).close()  # Where it cannot be searched itself, there is nothing to do.
    for folder, subfolders, names in os.walk(listing.root, onerror=note_closed):
        here = Path(folder)
        below = here.relative_to(listing.root)
        subfolders[:] = [name for name in subfolders if name[0] != "." and (here / name).resolve() not in apart]
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
        mark = f"~{digest(os.fsencode(target.name))[:8]}{side}"
        name = os.fsencode(target.name)[: _LONGEST_NAME - len(mark)].decode(errors="ignore") + mark
    return target.with_name(name)


class Record:
    """What is known of the files in `results`; `made_with` stands for the weights and settings of this run.

    Photos of `listing` and files are named by their paths relative to the source and to `results`. May be used by
    several threads. With `overwrite` nothing is finished, and every file is this program's own."""

    def __init__(self, results: str | os.PathLike[str], made_with: str = "", listing: Listing | None = None,
                 overwrite: bool = False) -> None:  # fmt: skip
        self._results, self._made_with, self._overwrite = Path(results), made_with, overwrite
        self._originals, self._root = None, ""
        if listing is not None:
            self._originals = Originals(listing, results)
            self._root = digest(os.fsencode(listing.place or os.path.realpath(listing.root)))
        # The last line of each photo, and the last that said what would be written.
        self._done: dict[str, dict[str, Any]] = {}
        self._begun: dict[str, dict[str, Any]] = {}
        # Files that a run has written: name -> (bytes, time of change).
        self._ours: dict[str, tuple[int, int]] = {}
        # Files that a run was about to write: name -> (bytes, digest).
        self._intended: dict[str, set[tuple[int, str]]] = defaultdict(set)
        self._position, self._lock = 0, threading.Lock()

    def refuse(self, file: Path) -> None:
        """OSError for a file that must not be written: an original, a pipe, or somebody else's."""
        if self._size(file) is not None and not self._overwrite and not self.is_ours(file):
            raise OSError(f"{self._results / file}: there is a file that this program did not make, or a version of it "
                          "that kept no record; move it away or give --overwrite")

    def origin(self, source: os.stat_result, mask: np.ndarray | None = None, use: Any = "") -> dict[str, Any]:
        """What a result comes from: the source, weights and settings, the `mask` that a person has made, its `use`."""
        by_hand = "" if mask is None else f" {digest(np.ascontiguousarray(mask).tobytes())} {use}"
        return {"source": [source.st_size, source.st_mtime_ns], "with": self._made_with + by_hand, "root": self._root}

    def write(self, photo: Path, origin: dict[str, Any], contents: dict[Path, bytes], covered: bool = False,
              measures: Sequence[float] = ()) -> None:  # fmt: skip
        """Writes the files of a photo, the last of which says that all are there, and what is known of it."""
        for file in contents:
            # Somebody may have put a file there meanwhile, or made a link of its folder.
            self.refuse(file)
        files = {file.as_posix(): (len(content), digest(content)) for file, content in contents.items()}
        line = {"photo": photo.as_posix(), **origin, "covered": covered, "measures": list(measures), "files": files}
        self._append(line | {"done": False})
        for file, content in contents.items():
            self._put(file, content)
        self._append(line | {"done": True, "times": {file.as_posix(): self._time(file) for file in contents}})

    def measures(self, photo: Path) -> tuple[float, ...]:
        """Those of a finished photo; none of a book, nor of one that was restored before they were recorded."""
        return tuple(self._done.get(photo.as_posix(), {"measures": ()})["measures"])

    def why_again(self, photo: Path, origin: dict[str, Any], files: Iterable[Path]) -> str | None:
        """None: `files` are finished; else why not, in words for the user, or "" where that goes without saying.

        Finished are those as recorded for this `origin`, without a sheet of nothing; OSError: one must not be written.
        """
        for file in files:
            self.refuse(file)
        self._read()
        line = self._done.get(photo.as_posix())
        if line is None or self._overwrite:
            return ""
        if line["source"] != origin["source"]:
            if line["root"] not in ("", origin["root"]):
                raise OSError(f"{self._results / photo}: is the result of another photo of this name, in another "
                              "folder; name another folder for the results, or give --overwrite")
            return "the photo has changed since it was restored: done again"
        if line["with"] != origin["with"]:
            return "its result was made with other weights or options, or another mask: done again"
        missing = False
        for file in files:
            expected, size = line["files"].get(file.as_posix()), self._size(file)
            if file == beside(photo, SHEET) and not expected and not line["covered"]:
                continue
            if expected and size is not None and not self._is_one(file, {expected}):
                return "its result had become empty, or damaged: done again"
            missing |= not expected or size is None
        return "" if missing else None

    def is_ours(self, file: Path) -> bool:
        """Whether the file there is this program's, as its name or a killed run tells, or empty: nobody's loss."""
        self._read()
        size, known = self._size(file), self._intended.get(file.as_posix(), set())
        return file.as_posix() in self._ours or size == 0 or self._is_one(file, known)

    def is_changed(self, file: Path) -> bool:
        """Whether a person has changed a file of ours: it is a whole picture, and not as any run has written it."""
        if self._overwrite or not (size := self._size(file)) or not self.is_ours(file):
            return False
        known = self._intended[file.as_posix()]
        return not self._is_one(file, known) and is_whole(self._content(file), size in dict(known))

    def _is_one(self, file: Path, known: set[tuple[int, str]]) -> bool:
        """Whether a file has a size and digest of those `known`; it is read where its time is not as it was left."""
        if (size := self._size(file)) not in dict(known):
            return False
        left = self._ours.get(file.as_posix())
        return (size, self._time(file)) == left or (size, digest(self._content(file))) in known

    def is_result(self, path: Path) -> bool:
        """Whether it is what a photo became, or becomes, here or on a cluster."""
        self._read()
        name = path.relative_to(self._results).as_posix()
        return name in self._begun or (self._results / OWN_RECORD.format(digest(os.fsencode(name)))).exists()

    def remove(self, file: Path) -> None:
        """Removes a file that is this program's own."""
        if self.is_ours(file):
            (self._results / file).unlink(missing_ok=True)

    def _size(self, file: Path) -> int | None:
        """Bytes of the file that is there, None without one; 1 of a link without content, which may be somebody's.
        OSError: an original, a pipe, or another thing that nothing can be written over.
        """
        path = self._results / file
        if self._originals is not None:
            self._originals.refuse(path)
        if not os.path.lexists(path):
            return None
        return (require_regular(path).st_size if path.exists() else 0) or int(path.is_symlink())

    def _time(self, file: Path) -> int:
        """When a file that is there was changed, in nanoseconds."""
        return (self._results / file).stat().st_mtime_ns

    def _content(self, file: Path) -> bytes:
        return (self._results / file).read_bytes()

    def _put(self, file: Path, content: bytes) -> None:
        write_bytes(self._results / file, content)

    def _append(self, line: dict[str, Any]) -> None:
        path, content = self._results / RECORD, f"\n{json.dumps(line)}\n".encode()
        self._results.mkdir(parents=True, exist_ok=True)
        number = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o666)
        with naming(path), open(number, "ab", buffering=0) as file:
            # After part of it, as on a full disk, the rest gives the error; the line is torn then.
            while content:
                content = content[file.write(content) :]
            os.fsync(number)

    def _read(self) -> None:
        """Takes in the lines that are new, those of another run too."""
        path = self._results / RECORD
        with self._lock:
            if not path.exists() or not stat.S_ISREG(path.stat().st_mode) or path.stat().st_size <= self._position:
                return
            with open(path, "rb") as file:
                file.seek(self._position)
                content = file.read()
            whole = content.rfind(b"\n") + 1
            self._position += whole
            for text in content[:whole].splitlines():
                with suppress(ValueError, TypeError, KeyError, AttributeError):
                    line = {"root": "", "measures": [], "times": {}} | json.loads(text)
                    files = {name: (int(size), str(digest)) for name, (size, digest) in line["files"].items()}
                    keys = ("photo", "source", "with", "root", "covered", "measures")
                    times = {name: int(time) for name, time in line["times"].items()}
                    self._take({key: line[key] for key in keys} | {"files": files}, line["done"], times)

    def _take(self, line: dict[str, Any], done: bool, times: dict[str, int]) -> None:
        """Where two runs with different settings wrote at once, nobody knows whose file came last."""
        photo, files = line["photo"], line["files"]
        self._done.pop(photo, None)
        if done:
            if self._begun.get(photo) == line:
                self._done[photo] = line
            self._ours.update((name, (size, times.get(name, 0))) for name, (size, _) in files.items())
            return
        self._begun[photo] = line
        for name, known in files.items():
            self._intended[name].add(known)


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:32]


def require_regular(path: Path) -> os.stat_result:
    """Refuses with an `OSError`, before it is opened, what would be waited for without end, such as a named pipe."""
    there = path.stat()
    if not stat.S_ISREG(there.st_mode):
        raise OSError(f"{path}: is a folder, pipe, socket or device, expected a regular file")
    return there


class Originals:
    """The photos of a listing and their folders, by device and inode: links and mounts give them other paths."""

    def __init__(self, listing: Listing, results: str | os.PathLike[str]) -> None:
        self._results = Path(os.path.realpath(results))
        self._files = {_identity(listing.root / name) for name in listing.pictures} - {None}
        below = {folder for name in (*listing.pictures, *listing.others) for folder in name.parents} | {Path()}
        self._folders = {_identity(listing.root / folder) for folder in below} - {None}

    def refuse(self, path: Path) -> None:
        """`OSError` where writing `path` would replace a photo, or put a file among them."""
        if _identity(path) in self._files:
            raise OSError(f"{path}: is an original photo, by a link or another mount; take another folder for results")
        for folder in Path(os.path.realpath(path)).parents:
            here = _identity(folder)
            if here in self._folders:
                raise OSError(f"{path}: lies in a folder of the originals, by a link or another mount; take another "
                              "folder for results")
            if folder == self._results or (here is not None and here == _identity(self._results)):
                return


def _identity(path: str | os.PathLike[str]) -> tuple[int, int] | None:
    try:
        there = os.stat(path)
    except OSError:
        return None  # What is not there, or cannot be looked at, is nobody's original.
    return there.st_dev, there.st_ino
