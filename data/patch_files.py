"""The patch files of a set, SET/{gt,occluded,mask}/NAME_1of2.png: their names, which are whole, how sets share them."""

from __future__ import annotations

import os
import re
import shutil
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from data.contest import Group
from data.lists import PATCH_FOLDERS
from utils.atomic import atomic_path


def name_groups(groups: Iterable[Group]) -> dict[Path, str]:
    """Gives every occluded picture a name that no other has, also where folders hold equal names.

    Names follow from all groups in the order of the annotations, not from what exists or how they are divided: every
    run finds the same ones, and so does one with --all.
    """
    names: dict[Path, str] = {}
    taken: set[str] = set()
    for group in groups:
        words = "_".join(word for word in (group.folder, group.kind, group.occluded.stem) if word)
        # A blank in a name would make the lines of a list ambiguous.
        base = name = re.sub(r"\s", "_", words)
        number = 1
        # Also ~2 may be the end of another picture's own name. Some file systems take A and a for one.
        while name.lower() in taken:
            number += 1
            name = f"{base}~{number}"
        taken.add(name.lower())
        names[group.occluded] = name
    return names


def names_by_part(folder: Path) -> list[set[str]]:
    """The names of a set's patch files, one set of names for each of `PATCH_FOLDERS`; half-written ones are hidden."""
    return [{path.name for path in (folder / part).glob("*.png") if path.name[0] != "."} for part in PATCH_FOLDERS]


def patches_of(folder: Path) -> list[Path]:
    """Every whole patch file of a set."""
    parts = zip(PATCH_FOLDERS, names_by_part(folder), strict=True)
    return [folder / part / name for part, names in parts for name in names]


def finished(folder: Path) -> dict[str, int]:
    """Pictures whose patches are all there: name -> number of patches. A patch's name ends in _1of2."""
    matches = [re.fullmatch(r"(.+)_\d+of(\d+)\.png", name) for name in set.intersection(*names_by_part(folder))]
    found = Counter((match[1], int(match[2])) for match in matches if match)
    return {name: total for (name, total), count in found.items() if count == total}


def share_patches(name: str, count: int, source: Path, target: Path) -> None:
    """Makes the patches of a finished picture part of another set, as the same files; as copies across file systems.

    Args:
        name: of the picture.
        count: number of its patches.
        source, target: folders of the sets.
    """
    for part in PATCH_FOLDERS:
        for number in range(1, count + 1):
            file = Path(part, f"{name}_{number}of{count}.png")
            path = target / file
            path.parent.mkdir(parents=True, exist_ok=True)
            # A link appears whole or not at all, but never in the place of a file.
            path.unlink(missing_ok=True)
            try:
                os.link(source / file, path)
            except OSError:
                with atomic_path(path) as temporary:
                    shutil.copyfile(source / file, temporary)
