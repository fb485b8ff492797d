"""The patch files of a set, SET/{gt,occluded,mask}/NAME_1of2.png, and preparation.json, which tells how they were cut.

Names say which patches are whole and how sets share them; data_preparation.py writes the record, configs are compared.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections import Counter
from collections.abc import Iterable
from itertools import count, product
from pathlib import Path
from typing import Any

from configs.parsing import ConfigError
from configs.schema import DataConfig
from data.contest.lists import PATCH_FOLDERS, Group
from utils.files import atomic_path

RECORD_NAME = "preparation.json"
# One folder may hold the full-data set beside training and validation; each has an entry of its own in the record.
ALL_DATA, DIVIDED_DATA = "all", "train and val"


def name_groups(groups: Iterable[Group]) -> dict[Path, str]:
    """Gives every occluded picture a name that no other has, also where folders hold equal names.

    Names follow from all groups in the order of the annotations, not from what exists or how they are divided: every
    run finds the same ones, and so does one with --all.
    """
    names: dict[Path, str] = {}
    taken: set[str] = set()
    for group in groups:
        words = "_".join(word for word in (group.folder, group.kind, group.occluded.stem) if word)
        # A blank in a name would make the lines of a list ambiguous. Also ~2 may be the end of another picture's own.
        base = re.sub(r"\s", "_", words)
        tries = (base if number == 1 else f"{base}~{number}" for number in count(1))
        # Some file systems take A and a for one.
        names[group.occluded] = name = next(each for each in tries if each.lower() not in taken)
        taken.add(name.lower())
    return names


def names_by_part(folder: Path) -> list[set[str]]:
    """The names of a set's patch files, one set of names for each of `PATCH_FOLDERS`; half-written ones are hidden."""
    return [{path.name for path in (folder / part).glob("*.png") if path.name[0] != "."} for part in PATCH_FOLDERS]


def finished(*folders: Path) -> dict[str, tuple[int, Path]]:
    """Pictures whose patches are all there: name -> (number of patches, their set). A patch's name ends in _1of2."""
    done: dict[str, tuple[int, Path]] = {}
    for folder in folders:
        matches = [re.fullmatch(r"(.+)_\d+of(\d+)\.png", name) for name in set.intersection(*names_by_part(folder))]
        found = Counter((match[1], int(match[2])) for match in matches if match)
        done |= {name: (total, folder) for (name, total), number in found.items() if number == total}
    return done


def share_patches(name: str, total: int, source: Path, target: Path) -> None:
    """Makes the `total` patches of the picture `name` of one set part of another, as hard links or else as copies."""
    for part, number in product(PATCH_FOLDERS, range(1, total + 1)):
        file = Path(part, f"{name}_{number}of{total}.png")
        path = target / file
        path.parent.mkdir(parents=True, exist_ok=True)
        # A link appears whole or not at all, but never in the place of a file.
        path.unlink(missing_ok=True)
        try:
            os.link(source / file, path)
        except OSError:
            with atomic_path(path) as temporary:
                shutil.copyfile(source / file, temporary)


def read_record(folder: Path) -> dict[str, dict[str, Any]]:
    """The entries (`ALL_DATA`, `DIVIDED_DATA`), each with "size" and "downscale" at least; {} without a file.

    ConfigError: another file of that name.
    """
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
    """`ConfigError` where `crop` or `downscale` differs from the record beside the list of patches, if there is one.

    A network that is used at another scale than it was trained at fails without a word.
    """
    train_list = Path(data.train_list)
    entry = read_record(train_list.parent).get(ALL_DATA if train_list.stem == ALL_DATA else DIVIDED_DATA, {})
    for key, recorded in (("crop", "size"), ("downscale", "downscale")):
        said = getattr(data, key)
        if said != entry.get(recorded, said):
            raise ConfigError(f"data.{key}: {said}, but the patches of {train_list} were cut with {entry[recorded]} "
                              f"({train_list.with_name(RECORD_NAME)})")
