"""Which result belongs to which truth: by names alone, no picture is opened."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from data.contest import ANNOTATION, is_contest, read_contest
from data.images import IMAGE_SUFFIXES
from data.listing import pictures_below
from data.lists import read_list


@dataclass(frozen=True)
class Truth:
    """A clean picture that some result should equal.

    Attributes:
        name: for tables; unique among the truths.
        clean: the picture.
        mask: what was covered, where the source of truths says so.
        result_names: relative names under which its result may lie in the folder of results, the surest first.
    """

    name: str
    clean: Path
    mask: Path | None
    result_names: tuple[str, ...]


class NoTruthsError(ValueError):
    """A path from which no truths can be read; the message says what was expected."""


class NameIndex:
    """The picture files of a folder and its sub-folders, found by relative name; another suffix will do."""

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        self.names = _picture_names(self.folder)
        self._exact = set(self.names)
        self._by_stem: dict[str, list[str]] = {}
        for name in self.names:
            self._by_stem.setdefault(_without_suffix(name), []).append(name)

    def find(self, name: str, taken: Iterable[str] = ()) -> str | None:
        """The name under which `name` exists: itself, or the only one that differs in the suffix alone.

        Args:
            taken: names that belong to somebody else and are not offered as a name with another suffix.

        Raises:
            ValueError: several files differ from `name` in the suffix alone.
        """
        if name in self._exact:
            return name
        similar = [other for other in self._by_stem.get(_without_suffix(name), []) if other not in taken]
        if len(similar) > 1:
            raise ValueError(f"{' and '.join(similar)} could all stand for {name}; leave one of them there")
        return similar[0] if similar else None


def _picture_names(folder: Path) -> list[str]:
    return sorted(path.as_posix() for path in pictures_below(folder))


def _without_suffix(name: str) -> str:
    return PurePosixPath(name).with_suffix("").as_posix()


def read_truths(source: str | os.PathLike[str]) -> list[Truth]:
    """Reads the truths of a folder of pictures, of a contest folder, or of a list file.

    Args:
        source: a folder of clean pictures, whose results have the same relative names; a folder in the contest's
            layout or its `annotation.txt`; or any list file with lines of `clean occluded mask`. In the last three
            each occlusion is a truth, and its result is named like the occluded picture, with or without the folders
            it lay in (`train_data_1/hand/x.jpg`, `hand/x.jpg` or `x.jpg`).

    Raises:
        NoTruthsError: there is nothing of these kinds.
        data.lists.ListError: a list file or an annotation that cannot be read.
    """
    source = Path(source)
    if is_contest(source):
        return _occlusion_truths(
            [(group.clean, group.mask, (group.folder, *_parts(group.occluded_name))) for group in read_contest(source)]
        )
    if source.is_dir():
        names = _picture_names(source)
        if not names:
            raise NoTruthsError(f"{source}: no pictures in it ({', '.join(IMAGE_SUFFIXES)})")
        return [Truth(name, source / name, None, (name,)) for name in names]
    if source.suffix == ".txt" and source.is_file():
        return _occlusion_truths(_list_rows(source))
    raise NoTruthsError(
        f"{source}: expected a folder of clean pictures, a contest folder with {ANNOTATION}, or a list file (.txt)"
    )


def _list_rows(path: Path) -> list[tuple[Path, Path, tuple[str, ...]]]:
    """(clean, mask, the occluded picture's path in parts) of every line."""
    return [
        (entry.clean, entry.mask, _parts(os.path.relpath(entry.occluded, path.parent))) for entry in read_list(path)
    ]


def _parts(name: str) -> tuple[str, ...]:
    return tuple(part for part in Path(os.path.normpath(name)).parts if part != "..")


def _occlusion_truths(rows: list[tuple[Path, Path, tuple[str, ...]]]) -> list[Truth]:
    """One truth per row of `_list_rows`, under every short name of the occluded picture that is its alone."""
    candidates = [["/".join(steps[start:]) for start in range(len(steps))] for _, _, steps in rows]
    # A short name that two occlusions share says nothing; only longer ones tell them apart.
    owners = Counter(name for names in candidates for name in set(names))
    return [
        Truth(names[0], clean, mask, tuple(name for name in names if owners[name] == 1) or (names[0],))
        for (clean, mask, _), names in zip(rows, candidates, strict=True)
    ]


def find_result(truth: Truth, results: NameIndex, taken: Iterable[str] = ()) -> str:
    """The relative name of the result of `truth`.

    Args:
        taken: names that are the surest name of some truth.

    Raises:
        ValueError: there is none, or it is not clear which.
    """
    for name in truth.result_names:
        found = results.find(name, taken)
        if found is not None:
            return found
    raise ValueError(f"no result: expected {' or '.join(truth.result_names)} in {results.folder}")
