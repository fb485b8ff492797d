"""Fresh occlusions while training: a clean patch gets a hand or a head that no stored pair shows.

A bounded stock of drawn hands and heads: drawing one for every training sample would cost more than the training.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from data.synthesis.occluders import KINDS, DrawnOccluders, Occluder, OccluderLibrary, find_occluders, split_sources
from data.synthesis.paste import STYLES, Chooser, PasteStyle, paste
from data.synthesis.printed import DrawnPictures, PictureChooser, WholePictures, print_on

if TYPE_CHECKING:
    from configs.schema import PasteConfig

# An occluder on a patch is about as large as the patch; more pixels than this would only be shrunk away.
_OCCLUDER_SIDE_PER_PATCH = 1.5


class FreshOcclusion:
    """Replaces the stored occlusion of some samples by one pasted on their clean patch.

    Args:
        choose: draws an occluder, (rng, kind) -> Occluder.
        style: how occluders look.
        probability: share of the samples that are pasted on.
        pictures: draws a picture to print on clean patches, rng -> RGB uint8; None prints nothing.
        printed_photos: share of the pasted samples that are printed on.
    """

    def __init__(
        self,
        choose: Chooser,
        style: PasteStyle,
        probability: float,
        pictures: PictureChooser | None = None,
        printed_photos: float = 0.0,
    ) -> None:
        self.choose, self.style, self.probability = choose, style, probability
        self.pictures, self.printed_photos = pictures, printed_photos

    @classmethod
    def from_config(cls, config: PasteConfig, largest_patch: int, seed: int) -> FreshOcclusion | None:
        """What the config asks for, or None where it asks for nothing; held-out occluders are left out.

        Args:
            largest_patch: side of the largest patches of the run, in pixels.
            seed: of the run; decides which occluders are drawn where the config names no folders of them.

        Raises:
            FileNotFoundError: a folder of occluders is missing, or has none for training.
        """
        if config.probability == 0:
            return None
        long_side = round(largest_patch * _OCCLUDER_SIDE_PER_PATCH)
        if not config.occluders:
            choose: Chooser = DrawnPool(seed, long_side)
            pictures: PictureChooser = DrawnPictures(choose)
        else:
            train, _ = split_sources(find_occluders(config.occluders), path_of=lambda entry: entry.path)
            if not train:
                folders = ", ".join(config.occluders)
                raise FileNotFoundError(f"data.paste.occluders: every occluder in {folders} is held out")
            choose, pictures = OccluderLibrary(train, long_side), WholePictures(train)
        return cls(choose, STYLES[config.style], config.probability, pictures, config.printed_photos)

    def __call__(
        self, clean: np.ndarray, occluded: np.ndarray, mask: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Takes and returns (clean, occluded, mask): RGB uint8 [h, w, 3] twice, and uint8 [h, w] with 1 = occluder."""
        if rng.random() >= self.probability:
            return clean, occluded, mask
        clean = np.ascontiguousarray(clean)
        if self.pictures is not None and rng.random() < self.printed_photos:
            clean = print_on(clean, self.pictures, rng, placement="patch")
        occluded, mask = paste(clean, self.choose, rng, self.style, placement="patch")
        return clean, occluded, mask


# Where memory allows, as many as a small folder of real cut-outs holds; pasting varies each of them endlessly.
_MOST_PER_KIND = 64
_FEWEST_PER_KIND = 8
_POOL_BYTES = 256 * 2**20
# Keeps the drawings apart from every other use of the run's seed.
_POOL_STREAM = 20220705


class DrawnPool:
    """Drawn occluders that come again and again; call it as `pool(rng, kind)`.

    The pool is fixed by `seed` and `long_side`: each member has a generator of its own, and a call takes nothing but
    the member's number from `rng`. Whichever process asks, and in whatever order, the same `rng` therefore gets the
    same occluder. A member is drawn when it is first asked for, and kept as long as the process lives.

    Args:
        seed: of the run.
        long_side: longer side of a drawing in pixels, at least 32.

    Attributes:
        per_kind: how many hands, and how many heads: 64, or as many of this size as 256 MiB hold, but at least 8.
    """

    kinds = KINDS

    def __init__(self, seed: int, long_side: int) -> None:
        self.seed = seed
        self.drawn = DrawnOccluders(long_side)
        fitting = _POOL_BYTES // (len(KINDS) * 4 * long_side**2)
        self.per_kind = min(max(fitting, _FEWEST_PER_KIND), _MOST_PER_KIND)
        self._members: dict[tuple[str, int], Occluder] = {}

    def __call__(self, rng: np.random.Generator, kind: str) -> Occluder:
        """One of the pool's occluders of `kind`; its pixels are shared and read-only."""
        place = kind, int(rng.integers(self.per_kind))
        if place not in self._members:
            stream = np.random.SeedSequence(self.seed, spawn_key=(_POOL_STREAM, KINDS.index(kind), place[1]))
            member = self.drawn(np.random.default_rng(stream), kind)
            member.rgba.flags.writeable = False
            self._members[place] = member
        return self._members[place]
