"""The held-out sets that figures are reported on: recipes, checksums, and the proof that a copy is the same.

`recipes.yml` says how each set is made; `sources.sha256` holds the checksums of every file that goes in, and
`NAME.sha256` those of every file that comes out, as `sha256sum --check` reads them. `python -m data.heldout` makes the
sets and compares.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import replace
from importlib import metadata
from pathlib import Path

import yaml

from data.synthesis.make import MANIFEST, make_set
from data.synthesis.occluders import SPLIT_FILE
from data.synthesis.sets import SetOptions, find_sources
from utils.files import write_text

RECORDS = Path(__file__).parent
RECIPES = "recipes.yml"
_SUFFIX = ".sha256"
_SOURCES = "sources"
# What decides the bytes beside the recipe.
_PACKAGES = ("numpy", "opencv-python-headless", "pillow")


class DifferenceError(ValueError):
    """Files are not the recorded ones; the message names the first of them."""


class HeldOutSets:
    """The sets of a folder of records.

    Args:
        material: root of the sources; all paths in the records are relative to it.
        records: folder with `recipes.yml` and the checksums.

    Attributes:
        names: of the sets, in the recipes' order.

    Raises:
        ValueError: recipes that are none.
    """

    def __init__(self, material: str | Path, records: Path = RECORDS) -> None:
        self.material, self.records = Path(material), records
        recipes = yaml.safe_load((records / RECIPES).read_text("utf-8"))
        self._options = {}
        for name, values in recipes["sets"].items():
            values = {**recipes["common"], **values}
            folders = {key: tuple(values.pop(key)) for key in ("pages", "occluders")}
            try:
                self._options[name] = SetOptions(**folders, **values)
            except (TypeError, ValueError) as error:
                raise ValueError(f"{records / RECIPES}: {name}: {error}") from error
        self.names = tuple(self._options)

    def options(self, name: str) -> SetOptions:
        """The recipe of a set, with its folders where they are here."""
        recipe = self._options[name]
        folders = {key: tuple(str(self.material / path) for path in getattr(recipe, key))
                   for key in ("pages", "occluders")}
        return replace(recipe, **folders)

    def check_sources(self) -> int:
        """Compares all sources with the record; returns their number.

        Raises:
            DifferenceError: one is missing, another one or not in the record, which would change the choice.
            FileNotFoundError: no material, or nothing in it.
        """
        recorded = read_sums(self.records / f"{_SOURCES}{_SUFFIX}")
        compare(self.material, self._sources(), recorded)
        return len(recorded)

    def check(self, name: str, folder: Path) -> int:
        """Compares the finished set in `folder` with the record; returns the number of its files.

        Raises:
            DifferenceError: a file is missing, another one, or not in the record.
        """
        recorded = read_sums(self.records / f"{name}{_SUFFIX}")
        compare(folder, _files_of_set(folder), recorded)
        return len(recorded)

    def make(self, name: str, folder: Path, workers: int = 1, progress: bool = False, overwrite: bool = False) -> None:
        """Makes a set in `folder`; see `data.synthesis.make_set` for what it raises."""
        make_set(self.options(name), folder, workers, progress, overwrite)

    def record_sources(self) -> None:
        """Writes the checksums of the sources down."""
        self._record(_SOURCES, self.material, self._sources())

    def record(self, name: str, folder: Path) -> None:
        """Writes the checksums of a finished set down."""
        self._record(name, folder, _files_of_set(folder))

    def _record(self, name: str, root: Path, files: Iterable[str]) -> None:
        versions = ", ".join(f"{package} {metadata.version(package)}" for package in _PACKAGES)
        lines = [f"{checksum(root / file)}  {file}" for file in sorted(files)]
        write_text(self.records / f"{name}{_SUFFIX}", "\n".join([f"# made with {versions}", *lines, ""]))

    def _sources(self) -> set[str]:
        """Every file that decides what the sets show, relative to the material."""
        paths = {self.material / SPLIT_FILE}
        for name in self.names:
            sources = find_sources(self.options(name))
            paths.update(sources.pages)
            for entry in sources.occluders:
                paths.update(path for path in (entry.path, entry.mask) if path is not None)
        return {path.relative_to(self.material).as_posix() for path in paths if path.is_file()}


def _files_of_set(folder: Path) -> set[str]:
    """All files of a set but the manifest, which names the place of the sources, and hidden ones."""
    files = {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()}
    return {file.as_posix() for file in files if file.as_posix() != MANIFEST and not file.name.startswith(".")}


def checksum(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_sums(path: Path) -> dict[str, str]:
    """File name -> checksum, from a file as `sha256sum` writes it.

    Raises:
        FileNotFoundError: nothing was recorded yet.
        ValueError: not such a file.
    """
    sums = {}
    for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
        if line and not line.startswith("#"):
            digest, _, name = line.partition("  ")
            if len(digest) != 64 or not name:
                raise ValueError(f"{path}, line {number}: expected `checksum  file`, found {line!r}")
            sums[name] = digest
    return sums


def compare(root: Path, files: Iterable[str], recorded: Mapping[str, str]) -> None:
    """Raises a `DifferenceError` about the first file, by name, that is not the recorded one."""
    found = set(files)
    for name in sorted(found | set(recorded)):
        if name not in found:
            raise DifferenceError(f"{root / name}: is missing")
        if name not in recorded:
            raise DifferenceError(f"{root / name}: is not in the record, and should not be there")
        digest = checksum(root / name)
        if digest != recorded[name]:
            raise DifferenceError(f"{root / name}: differs from the record ({digest[:12]}, not {recorded[name][:12]})")
