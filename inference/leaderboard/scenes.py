"""The pictures that methods are compared on."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from data.contest.lists import Group, read_contest
from data.images import read_rgb
from data.masks import read_mask


@dataclass(frozen=True)
class Scene:
    """One photo of a set; its pictures are decoded when they are first asked for, and then kept.

    Attributes:
        set: name of the set.
        name: the photo's, unique in its set.
        group: its files.
    """

    set: str
    name: str
    group: Group

    @cached_property
    def picture(self) -> np.ndarray:
        """RGB uint8 [H, W, 3], what a user would have."""
        return read_rgb(self.group.occluded)

    @cached_property
    def truth(self) -> np.ndarray:
        """RGB uint8 [H, W, 3], the page without occluders."""
        return read_rgb(self.group.clean)

    @cached_property
    def mask(self) -> np.ndarray:
        """uint8 [H, W], 1 = occluder."""
        return read_mask(self.group.mask)

    @cached_property
    def digest(self) -> str:
        """Checksum of the three files, so that what was measured on others is not taken for this scene's."""
        files = (self.group.clean, self.group.occluded, self.group.mask)
        return hashlib.sha256(b"".join(hashlib.sha256(path.read_bytes()).digest() for path in files)).hexdigest()


def list_scenes(folder: Path, limit: int = 0) -> list[Scene]:
    """The scenes of a set in the contest's layout, named after its folder.

    Args:
        limit: so many, always the same ones, and those of a smaller limit among them; 0 takes all.

    Raises:
        data.contest.lists.ListError: no such set.
    """
    groups = read_contest(folder)
    if 0 < limit < len(groups):
        # Not every second one: sets alternate between photos with and without an occluder.
        chosen = np.random.default_rng(0).permutation(len(groups))[:limit]
        groups = [groups[index] for index in sorted(chosen)]
    return [Scene(folder.name, f"{group.folder}/{group.occluded_name}", group) for group in groups]
