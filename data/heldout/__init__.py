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

from data.synthesis.occluders import SPLIT_FILE
from data.synthesis.sets import MANIFEST, SetOptions, find_sources
from utils.files import write_text

RECORDS = Path(__file__).parent
SOURCES = "sources"
# What decides the bytes beside the recipe.
_PACKAGES = ("numpy", "opencv-python-headless", "pillow")


class DifferenceError(ValueError):
    """Files are not the recorded ones; the message names the first of them."""


def read_recipes(material: Path, records: Path = RECORDS) -> dict[str, SetOptions]:
    """The options of every set of `records`/recipes.yml, folders below `material`; `ValueError` for no such recipes."""
    recipes, options = yaml.safe_load((records / "recipes.yml").read_text("utf-8")), {}
    for name, values in recipes["sets"].items():
        values = {**recipes["common"], **values}
        folders = {key: tuple(str(material / path) for path in values.pop(key)) for key in ("pages", "occluders")}
        try:
            options[name] = replace(SetOptions(**folders), **values)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{records / 'recipes.yml'}: {name}: {error}") from error
    return options


def source_files(material: Path, recipes: Iterable[SetOptions]) -> set[str]:
    """Every file that decides what the sets show, relative to the material."""
    paths = {material / SPLIT_FILE}
    for sources in map(find_sources, recipes):
        paths.update(sources.pages, *((entry.path, entry.mask) for entry in sources.occluders))
    return {path.relative_to(material).as_posix() for path in paths if path is not None and path.is_file()}


def files_of_set(folder: Path) -> set[str]:
    """All files of a set but the manifest, which names the place of the sources, and hidden ones."""
    files = {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()}
    return {file.as_posix() for file in files if file.as_posix() != MANIFEST and not file.name.startswith(".")}


def _checksum(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def record(name: str, root: Path, files: Iterable[str], records: Path) -> None:
    """Writes the checksums of `files` below `root` to `records`/NAME.sha256."""
    versions = ", ".join(f"{package} {metadata.version(package)}" for package in _PACKAGES)
    lines = [f"{_checksum(root / file)}  {file}" for file in sorted(files)]
    write_text(records / f"{name}.sha256", "\n".join([f"# made with {versions}", *lines, ""]))


def read_sums(path: Path) -> Mapping[str, str]:
    """File name -> checksum, from a file as `sha256sum` writes it."""
    lines = [line for line in path.read_text("utf-8").splitlines() if line and not line.startswith("#")]
    return {name: digest for digest, _, name in (line.partition("  ") for line in lines)}


def compare(name: str, root: Path, files: Iterable[str], records: Path) -> int:
    """Compares `files` below `root` with `records`/NAME.sha256; returns their number.

    Raises:
        DifferenceError: about the first file, by name, that is missing, another one, or not in the record.
        FileNotFoundError: nothing was recorded yet.
    """
    recorded, found = read_sums(records / f"{name}.sha256"), set(files)
    for file in sorted(found | set(recorded)):
        if file not in found:
            raise DifferenceError(f"{root / file}: is missing")
        if file not in recorded:
            raise DifferenceError(f"{root / file}: is not in the record, and should not be there")
        digest = _checksum(root / file)
        if digest != recorded[file]:
            raise DifferenceError(f"{root / file}: differs from the record ({digest[:12]}, not {recorded[file][:12]})")
    return len(recorded)
