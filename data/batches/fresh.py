"""Fresh occlusions while training: a clean patch gets a hand or a head that no stored pair shows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from data.synthesis.occluders import CUTOUTS, OccluderLibrary, find_occluders, split_sources
from data.synthesis.paste import STYLES, Chooser, PasteStyle, paste
from data.synthesis.printed import PictureChooser, WholePictures, print_on

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
        placement: "patch", or "page" where clean pictures are whole (`data.synthesis.paste.paste`).
    """

    def __init__(
        self,
        choose: Chooser,
        style: PasteStyle,
        probability: float,
        pictures: PictureChooser | None = None,
        printed_photos: float = 0.0,
        placement: str = "patch",
    ) -> None:
        self.choose, self.style, self.probability = choose, style, probability
        self.pictures, self.printed_photos, self.placement = pictures, printed_photos, placement

    @classmethod
    def from_config(cls, config: PasteConfig, largest_patch: int, placement: str = "patch") -> FreshOcclusion | None:
        """What the config asks for, or None where it asks for nothing; held-out occluders are left out.

        `largest_patch` is a side in pixels. `FileNotFoundError` where a folder is missing or has none for training.
        """
        if config.probability == 0:
            return None
        long_side = round(largest_patch * _OCCLUDER_SIDE_PER_PATCH)
        train, _ = split_sources(find_occluders(config.occluders or (CUTOUTS,)))
        if not train:
            folders = ", ".join(config.occluders)
            raise FileNotFoundError(f"data.paste.occluders: every occluder in {folders} is held out")
        choose, pictures = OccluderLibrary(train, long_side), WholePictures(train)
        return cls(choose, STYLES[config.style], config.probability, pictures, config.printed_photos, placement)

    def __call__(
        self, clean: np.ndarray, occluded: np.ndarray, mask: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Takes and returns (clean, occluded, mask): RGB uint8 [h, w, 3] twice, and uint8 [h, w] with 1 = occluder."""
        if rng.random() >= self.probability:
            return clean, occluded, mask
        clean = np.ascontiguousarray(clean)
        if self.pictures is not None and rng.random() < self.printed_photos:
            clean = print_on(clean, self.pictures, rng, placement=self.placement)
        occluded, mask = paste(clean, self.choose, rng, self.style, placement=self.placement)
        return clean, occluded, mask
