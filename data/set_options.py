"""What a set in the contest's layout is made of."""

from __future__ import annotations

from dataclasses import dataclass

from data.compositing import REFERENCE_LONG_SIDE, STYLES
from data.splits import SUBSETS


@dataclass(frozen=True)
class SetOptions:
    """What a set is made of.

    Attributes:
        pages, occluders: folders; empty means drawn ones.
        groups: number of occluded photos, that is, of lines in the annotation files together.
        seed: same seed, same bytes.
        long_side: longer side of the photos in pixels; 0 takes the pages as they are.
        occlusions_per_page: how many occluded photos share one clean page at most.
        style: "contest" or "natural".
        subset: "train", "heldout" or "all" of the sources.
        held_out: fraction of the sources to hold out where no split.csv says it.
        quality: JPEG quality of the clean photos.
        printed_photos: probability that a picture or bold lettering is printed on a clean page.
        printed_people: probability that one to three photographs of people and hands are printed on a clean page.
        desks: probability that a page lies on a desk which shows round some of its sides.
        occluded: share of the photos that show an occluder, spread evenly over the set; the others are their clean
            photo once more, with an empty mask.
    """

    pages: tuple[str, ...] = ()
    occluders: tuple[str, ...] = ()
    groups: int = 100
    seed: int = 0
    long_side: int = REFERENCE_LONG_SIDE
    occlusions_per_page: int = 4
    style: str = "contest"
    subset: str = "train"
    held_out: float = 0.15
    quality: int = 95
    printed_photos: float = 0.0
    printed_people: float = 0.0
    desks: float = 0.0
    occluded: float = 1.0

    def __post_init__(self) -> None:
        checks = {
            "groups": (self.groups >= 1, "at least 1"),
            "seed": (self.seed >= 0, "0 or more"),
            "long_side": (self.long_side == 0 or self.long_side >= 64, "0 or at least 64"),
            "occlusions_per_page": (1 <= self.occlusions_per_page <= 1000, "1 to 1000"),
            "style": (self.style in STYLES, " or ".join(STYLES)),
            "subset": (self.subset in (*SUBSETS, "all"), "train, heldout or all"),
            "held_out": (0 <= self.held_out <= 1, "0 to 1"),
            "quality": (1 <= self.quality <= 100, "1 to 100"),
            "printed_photos": (0 <= self.printed_photos <= 1, "0 to 1"),
            "printed_people": (0 <= self.printed_people <= 1, "0 to 1"),
            "desks": (0 <= self.desks <= 1, "0 to 1"),
            "occluded": (0 <= self.occluded <= 1, "0 to 1"),
        }
        for name, (passed, expected) in checks.items():
            if not passed:
                raise ValueError(f"{name} is {getattr(self, name)!r}, expected {expected}")
        if self.long_side == 0 and not self.pages:
            raise ValueError("long_side is 0, which takes pages as they are, but drawn pages need a size")
