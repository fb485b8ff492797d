"""Makes the held-out sets and proves that they are the ones that figures are reported on.

    python -m data.heldout MATERIAL SETS                 # makes SETS/contest, SETS/natural, ... and compares every file
    python -m data.heldout MATERIAL SETS --only clean    # one of them

MATERIAL holds documents/, hands/, heads/ and split.csv. A set that is there already is compared, not made again. The
exit code is 1 when a file differs from the record, and the first such file is named.

`recipes.yml` says how each set is made; `sources.sha256` holds the checksums of every file that goes in, and
`NAME.sha256` those of every file that comes out, as `sha256sum --check` reads them.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Iterable, Sequence
from importlib import metadata
from pathlib import Path

import yaml

from data.synthesis.occluders import SPLIT_FILE
from data.synthesis.sets import MANIFEST, SetOptions, find_sources, make_set
from utils.child import WorkerKilledError
from utils.command import AT_ONCE, DONE, SOME_FAILED, command
from utils.files import write_text
from utils.machine import available_cores

RECORDS = Path(__file__).parent
# What decides the bytes beside the recipe.
_PACKAGES = ("numpy", "opencv-python-headless", "pillow")


def read_recipes(material: Path, records: Path = RECORDS) -> dict[str, SetOptions]:
    """The options of every set of `records`/recipes.yml, folders below `material`; `ValueError` for no such recipes."""
    recipes, options = yaml.safe_load((records / "recipes.yml").read_text("utf-8")), {}
    for name, values in recipes["sets"].items():
        values = {**recipes["common"], **values}
        folders = {key: tuple(str(material / path) for path in values.pop(key)) for key in ("pages", "occluders")}
        try:
            options[name] = SetOptions(**folders, **values)
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


def read_sums(path: Path) -> dict[str, str]:
    """File name -> checksum, from a file as `sha256sum` writes it."""
    lines = [line for line in path.read_text("utf-8").splitlines() if line and not line.startswith("#")]
    return {name: digest for digest, _, name in (line.partition("  ") for line in lines)}


def proved(name: str, root: Path, files: set[str], options: argparse.Namespace) -> bool:
    """Compares `files` below `root` with RECORDS/NAME.sha256, and tells their number, or the first that differs.

    With `options.record` their checksums are written down before.
    """
    path, sums = options.records / f"{name}.sha256", {file: _checksum(root / file) for file in sorted(files)}
    if options.record:
        versions = ", ".join(f"{package} {metadata.version(package)}" for package in _PACKAGES)
        lines = [f"# made with {versions}", *(f"{digest}  {file}" for file, digest in sums.items())]
        write_text(path, "\n".join([*lines, ""]))
    recorded = read_sums(path)
    for file in sorted({*sums, *recorded}):
        fault = f"differs from the record ({sums.get(file, '')[:12]}, not {recorded.get(file, '')[:12]})"
        if file not in sums:
            fault = "is missing"
        elif file not in recorded:
            fault = "is not in the record, and should not be there"
        elif sums[file] == recorded[file]:
            continue
        made_with = "the record's first line names the versions that it was made with"
        print(f"{name}: {root / file}: {fault}; {made_with}", file=sys.stderr)
        return False
    print(f"{name}: {len(files)} files, all as recorded", flush=True)
    return True


@command(ValueError, WorkerKilledError, stopped="stopped: delete the set that is not whole and run again")
def main(arguments: Sequence[str] | None = None) -> int:
    """Makes the sets where needed and compares them; sources that differ end it, a set that does lets the others go on.
    """
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser("python -m data.heldout", description=__doc__, formatter_class=form)
    parser.add_argument("material", type=Path, metavar="MATERIAL", help="folder of the sources")
    parser.add_argument("sets", type=Path, metavar="SETS", help="folder of the sets, each in a folder of its own")
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="only this set; repeatable")
    parser.add_argument("--record", action="store_true", help="write new checksums down instead of comparing")
    parser.add_argument("--records", type=Path, default=RECORDS, help="folder of recipes and checksums (default: ours)")
    parser.add_argument("--workers", type=AT_ONCE, default=available_cores(), help="processes (default: all cores)")
    options = parser.parse_args(arguments)
    recipes = read_recipes(options.material, options.records)
    for name in set(options.only) - set(recipes):
        parser.error(f"--only {name}: expected one of {', '.join(recipes)}")
    if not proved("sources", options.material, source_files(options.material, recipes.values()), options):
        return SOME_FAILED
    code = DONE
    for name in options.only or recipes:
        folder = options.sets / name
        if not (folder / MANIFEST).is_file():
            make_set(recipes[name], folder, options.workers, progress=True)
        if not proved(name, folder, files_of_set(folder), options):
            code = SOME_FAILED
    return code


if __name__ == "__main__":
    sys.exit(main())
