"""Makes the held-out sets and proves that they are the ones that figures are reported on.

    python -m data.heldout MATERIAL SETS                 # makes SETS/contest, SETS/natural, ... and compares every file
    python -m data.heldout MATERIAL SETS --only clean    # one of them

MATERIAL holds documents/, hands/, heads/ and split.csv. A set that is there already is compared, not made again. The
exit code is 1 when a file differs from the record, and the first such file is named.

In the folder of the same name, `recipes.yml` says how each set is made; `sources.sha256` holds the checksums of every
file that goes in, and `NAME.sha256` those of every file that comes out, as `sha256sum --check` reads them.
"""

import hashlib
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import yaml

from configs.schema import ConfigError, parse_dataclass
from data.synthesis.__main__ import MANIFEST, SetOptions, find_sources, make_set
from data.synthesis.occluders import SPLIT_FILE
from utils.child import WorkerKilledError
from utils.command import AT_ONCE, DONE, SOME_FAILED, command, parser_of
from utils.machine import available_cores

RECORDS = Path(__file__).with_suffix("")


def read_recipes(material: Path, records: Path = RECORDS) -> dict[str, SetOptions]:
    """The options of every set of `records`/recipes.yml, folders below `material`; `ValueError` for no such recipes."""
    path, options = records / "recipes.yml", {}
    recipes = yaml.safe_load(path.read_text("utf-8"))
    for name, values in recipes["sets"].items():
        values = {**recipes["common"], **values}
        folders = {key: tuple(str(material / path) for path in values.pop(key)) for key in ("pages", "occluders")}
        try:
            options[name] = replace(parse_dataclass(SetOptions, values), **folders)
        except ConfigError as error:
            raise ValueError(f"{path}: {name}: {error}") from error
    return options


def read_sums(path: Path) -> dict[str, str]:
    """File name -> checksum, from a file as `sha256sum` writes it."""
    lines = [line for line in path.read_text("utf-8").splitlines() if line and not line.startswith("#")]
    return {name: digest for digest, _, name in (line.partition("  ") for line in lines)}


def proved(name: str, root: Path, files: set[Path], records: Path) -> bool:
    """Compares `files`, below `root`, with the record of `name`; tells the first that differs."""
    names = {file.relative_to(root).as_posix(): file for file in files if file.is_file()}
    sums = {file: hashlib.sha256(names[file].read_bytes()).hexdigest() for file in sorted(names)}
    recorded = read_sums(records / f"{name}.sha256")
    first = min((file for file, _ in sums.items() ^ recorded.items()), default=None)
    if first is None:
        print(f"{name}: {len(sums)} files, all as recorded", flush=True)
        return True
    fault = ("is missing" if first not in sums else "is not in the record, and should not be there"
             if first not in recorded else f"differs from the record ({sums[first][:12]}, not {recorded[first][:12]})")
    print(f"{name}: {root / first}: {fault}; the record's first line names the versions that it was made with",
          file=sys.stderr)  # fmt: skip
    return False


@command(ValueError, WorkerKilledError, stopped="stopped: delete the set that is not whole and run again")
def main(arguments: Sequence[str] | None = None) -> int:
    parser = parser_of(__doc__, "python -m data.heldout")
    add = parser.add_argument
    add("material", type=Path, metavar="MATERIAL", help="folder of the sources")
    add("sets", type=Path, metavar="SETS", help="folder of the sets, each in a folder of its own")
    add("--only", action="append", default=[], metavar="NAME", help="only this set; repeatable")
    add("--records", type=Path, default=RECORDS, help="folder of recipes and checksums (default: ours)")
    add("--workers", type=AT_ONCE, default=available_cores(), help="processes (default: all cores)")
    options = parser.parse_args(arguments)
    recipes = read_recipes(options.material, options.records)
    for name in set(options.only) - set(recipes):
        parser.error(f"--only {name}: expected one of {', '.join(recipes)}")
    # Every file that decides what the sets show.
    files = {options.material / SPLIT_FILE}
    for sources in map(find_sources, recipes.values()):
        files.update(sources.pages, *((entry.path, entry.mask or entry.path) for entry in sources.occluders))
    if not proved("sources", options.material, files, options.records):
        return SOME_FAILED
    code = DONE
    for name in options.only or recipes:
        folder = options.sets / name
        if not (folder / MANIFEST).is_file():
            make_set(recipes[name], folder, options.workers)
        # But the manifest, which names the place of the sources.
        if not proved(name, folder, set(folder.rglob("[!.]*")) - {folder / MANIFEST}, options.records):
            code = SOME_FAILED
    return code


if __name__ == "__main__":
    raise SystemExit(main())
