"""What a set is made of: its options, the files that they allow, and the plan of all its photos."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from data.synthesis.occluders import CUTOUTS, SUBSETS, OccluderEntry, find_occluders, find_pages, split_sources
from data.synthesis.styles import REFERENCE_LONG_SIDE, STYLES

FOLDERS = tuple(f"train_data_{number}" for number in range(1, 6))
_FIRST_PHOTO = datetime(2022, 7, 5, 8, 30, 0)


@dataclass(frozen=True)
class SetOptions:
    """What a set is made of.

    Attributes:
        pages: folders; none means drawn pages.
        occluders: folders; none means the bundled cut-outs.
        groups: number of occluded photos, that is, of lines in the annotation files together.
        seed: same seed, same bytes.
        long_side: longer side of the photos in pixels; 0 takes the pages as they are.
        occlusions_per_page: how many occluded photos share one clean page at most.
        style: "contest" or "natural".
        subset: "train", "heldout" or "all" of the sources.
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
        }
        for name in ("printed_photos", "printed_people", "desks", "occluded"):
            checks[name] = (0 <= getattr(self, name) <= 1, "0 to 1")
        for name, (passed, expected) in checks.items():
            if not passed:
                raise ValueError(f"{name} is {getattr(self, name)!r}, expected {expected}")
        if self.long_side == 0 and not self.pages:
            raise ValueError("long_side is 0, which takes pages as they are, but drawn pages need a size")


@dataclass(frozen=True)
class Sources:
    """The files of the chosen subset; no pages where they are drawn."""

    pages: tuple[Path, ...]
    occluders: tuple[OccluderEntry, ...]


@dataclass(frozen=True)
class PageJob:
    """One clean page and the occluded photos of it; `first` is the number of the first of these in the whole set."""

    number: int
    folder: str
    stem: str
    occlusions: int
    first: int


def find_sources(options: SetOptions) -> Sources:
    """Lists the files that the options allow.

    Raises:
        FileNotFoundError: a folder is missing or holds nothing, or the subset is empty.
    """
    pages, entries = find_pages(options.pages), find_occluders(options.occluders or (CUTOUTS,))
    if options.subset != "all":
        part = SUBSETS.index(options.subset)
        pages_left = split_sources(pages)[part]
        entries_left = split_sources(entries, lambda entry: entry.path)[part]
        for name, before, after in (("pages", pages, pages_left), ("occluders", entries, entries_left)):
            if before and not after:
                raise FileNotFoundError(
                    f"none of the {len(before)} {name} belongs to the subset {options.subset!r}; "
                    "choose another subset, or write a split.csv"
                )
        pages, entries = pages_left, entries_left
    return Sources(tuple(pages), tuple(entries))


def plan(options: SetOptions) -> list[PageJob]:
    """All jobs: the groups shared out evenly over the pages, the pages over the folders.

    Every folder gets a page as long as there are five groups; with fewer groups there are fewer folders.
    """
    fewest = -(-options.groups // options.occlusions_per_page)
    count = max(fewest, min(options.groups, len(FOLDERS)))
    jobs: list[PageJob] = []
    for number in range(count):
        taken = _FIRST_PHOTO + timedelta(seconds=47 * number)
        jobs.append(
            PageJob(
                number=number,
                folder=FOLDERS[number * len(FOLDERS) // count if count >= len(FOLDERS) else number],
                stem=f"0_IMG_{taken:%Y%m%d_%H%M%S}_a",
                occlusions=options.groups // count + (number < options.groups % count),
                first=sum(job.occlusions for job in jobs),
            )
        )
    return jobs
