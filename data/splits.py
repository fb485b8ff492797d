"""Which source files are for training and which are held out."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TypeVar

SUBSETS = ("train", "heldout")
SPLIT_FILE = "split.csv"

Source = TypeVar("Source")


def split_sources(
    sources: Sequence[Source],
    held_out: float = 0.15,
    split_csv: str | Path | None = None,
    path_of: Callable[[Source], Path] = Path,
) -> tuple[list[Source], list[Source]]:
    """Splits sources into (training, held-out), always the same way, whatever else is in the list.

    A `split.csv` with columns file,split (train or heldout; files relative to it) decides where there is one: the
    given one, else the nearest one beside or above each file. A file that no such list names is held out when the
    hash of its name says so.

    Args:
        sources: paths, or anything from which `path_of` makes a path.
        held_out: the fraction to hold out by hash, 0..1.

    Raises:
        ValueError: `held_out` outside 0..1, or a split.csv that is not one.
    """
    if not 0 <= held_out <= 1:
        raise ValueError(f"held_out is {held_out}, expected a fraction from 0 to 1")
    tables: dict[Path, dict[Path, str]] = {}
    parts: dict[str, list[Source]] = {subset: [] for subset in SUBSETS}
    for source in sources:
        path = Path(path_of(source)).resolve()
        places = [Path(split_csv).resolve()] if split_csv else _places_above(path)
        subset = None
        for place in places:
            if place not in tables:
                tables[place] = _read_split(place) if split_csv or place.is_file() else {}
            subset = tables[place].get(path)
            if subset:
                break
        parts[subset or _subset_by_hash(path.name, held_out)].append(source)
    return parts["train"], parts["heldout"]


def _places_above(path: Path) -> Iterable[Path]:
    return (folder / SPLIT_FILE for folder in path.parents)


def _read_split(path: Path) -> dict[Path, str]:
    table = {}
    with open(path, newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        if not {"file", "split"} <= set(reader.fieldnames or ()):
            raise ValueError(f"{path}: expected the columns file,split, found {','.join(reader.fieldnames or ())}")
        for row in reader:
            if row["split"] not in SUBSETS:
                raise ValueError(
                    f"{path}, line {reader.line_num}: split is {row['split']!r}, expected {' or '.join(SUBSETS)}"
                )
            table[(path.parent / row["file"]).resolve()] = row["split"]
    return table


def _subset_by_hash(name: str, held_out: float) -> str:
    number = int.from_bytes(hashlib.sha256(name.encode("utf-8")).digest()[:8], "big")
    return "heldout" if number / 2**64 < held_out else "train"
