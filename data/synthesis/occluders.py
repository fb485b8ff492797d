"""Cut-outs of hands and heads: finding them, telling training sources from held-out ones, standing them upright.

A source is an RGBA picture, or an ordinary picture with `NAME_mask.png` beside it (255 = the occluder). Once loaded it
stands on its root: the side where wrist or shoulders left the source's frame is the bottom edge of its array.
"""

import csv
import hashlib
import re
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.random import Generator

from data.images import IMAGE_SUFFIXES, BadImageError, open_picture, pictures_below, read_rgb, read_rgba
from data.masks import read_mask

CUTOUTS, SPLIT_FILE = Path(__file__).parent / "cutouts", "split.csv"  # Some of our own
KINDS, SUBSETS = ("hand", "head"), ("train", "heldout")
ALPHA_MIDDLE = 127
# A folder called "handwriting" holds pages, "surface" no faces.
_KIND_PATTERNS = {
    "hand": re.compile(r"hand(?!w|b|o|l)|finger", re.IGNORECASE),
    "head": re.compile(r"head(?!er|ing|l)|person|(?<![a-z])face", re.IGNORECASE),
}
CACHE_BYTES = 256 * 2**20


class Occluder(NamedTuple):
    """A cut-out that can be pasted on a page."""

    rgba: np.ndarray  # uint8 height x width x 4, cropped; round it, the background of the source if any
    kind: str  # "hand" or "head"
    source: str  # where it comes from, for manifests and messages
    cut_top: bool = False  # the side opposite the root was cut off by the frame of the source


class OccluderEntry(NamedTuple):
    """A source on the disk, not yet decoded; `mask` is `NAME_mask.png` beside it, or None for an RGBA picture."""

    path: Path
    mask: Path | None
    kind: str


def split_sources(sources: Sequence[Path | OccluderEntry]) -> tuple[list, list]:
    """Splits sources into (training, held-out), always the same way, whatever else is in the list.

    The nearest `split.csv` beside or above a file that names it decides (columns file,split: train or heldout; files
    relative to it), else a hash of the file's name, which holds out 15 %. ValueError for a split.csv that is not one.
    """
    table_of, parts = cache(_read_split), {subset: [] for subset in SUBSETS}
    for source in sources:
        path = (source.path if isinstance(source, OccluderEntry) else source).resolve()
        named = (table_of(folder).get(path) for folder in path.parents)
        number = int.from_bytes(hashlib.sha256(path.name.encode("utf-8", "surrogateescape")).digest()[:8], "big")
        by_hash = "heldout" if number / 2**64 < 0.15 else "train"
        parts[next(filter(None, named), by_hash)].append(source)
    return tuple(parts.values())


def _read_split(folder: Path) -> dict[Path, str]:
    path = folder / SPLIT_FILE
    if not path.is_file():
        return {}
    with open(path, newline="", encoding="utf-8") as file:
        table = {(folder / (row.get("file") or "")).resolve(): row.get("split") for row in csv.DictReader(file)}
    if not set(table.values()) <= set(SUBSETS):
        raise ValueError(f"{path}: expected the columns file,split, and {' or '.join(SUBSETS)} in the latter")
    return table


def kind_of(path: Path) -> str:
    """"hand" or "head", from the folder nearest to the file that says so, else from the file's own name."""
    for part in (*reversed(path.parent.parts), path.stem):
        found = [kind for kind, pattern in _KIND_PATTERNS.items() if pattern.search(part)]
        if len(found) == 1:
            return found[0]
    names = "'hand' or 'finger', or 'head', 'person' or 'face'"
    raise ValueError(f"{path}: cannot tell what this cut-out shows; put it into a folder whose name contains {names}")


def find_occluders(folders: Sequence[str | Path]) -> list[OccluderEntry]:
    """All sources below `folders`, sorted, without pictures that have neither alpha nor mask.

    FileNotFoundError: a folder is missing, or none holds an occluder. ValueError: nothing says what a source shows.
    """
    found = [OccluderEntry(path, mask, kind_of(path.absolute())) for path, mask in _pictures_and_masks(folders)
             if mask or _has_alpha(path)]
    if folders and not found:
        places = ", ".join(map(str, folders))
        raise FileNotFoundError(f"no occluder in {places}: expected RGBA pictures, or pictures with NAME_mask.png")
    return found


def find_pages(folders: Sequence[str | Path]) -> list[Path]:
    """All pictures below `folders`, sorted, without masks and what they belong to; FileNotFoundError where none is."""
    pages = [path for path, mask in _pictures_and_masks(folders) if mask is None]
    if folders and not pages:
        raise FileNotFoundError(f"no page in {', '.join(map(str, folders))}: expected {' '.join(IMAGE_SUFFIXES)}")
    return pages


def _pictures_and_masks(folders: Sequence[str | Path]) -> Iterator[tuple[Path, Path | None]]:
    """Pictures with `NAME_mask.png` or None; NAME_something.png beside a picture NAME is none of its own."""
    for folder in map(Path, folders):
        if not folder.is_dir():
            raise FileNotFoundError(f"{folder}: expected a folder with pictures, and there is none")
        pictures = [folder / path for path in pictures_below(folder)]
        names = {path.with_suffix("") for path in pictures}
        for path in pictures:
            shorter = (path.with_name(path.stem[: cut.start()]) for cut in re.finditer("(?<=.)_", path.stem))
            if path.suffix.lower() != ".png" or names.isdisjoint(shorter):
                mask = path.with_name(f"{path.stem}_mask.png")
                yield path, mask if mask.is_file() else None


def _has_alpha(path: Path) -> bool:
    if path.suffix.lower() not in (".png", ".webp", ".tif", ".tiff"):
        return False
    with open_picture(path) as image:
        return image.has_transparency_data


def load_occluder(entry: OccluderEntry, long_side: int = 0) -> Occluder:
    """Decodes a source, stands it on its root and crops it; `long_side` is the longest that it may be, 0 for any.
    BadImageError: a broken file, a mask of another shape, or an empty cut-out."""
    rgb, alpha = (read_rgb(entry.path), read_mask(entry.mask) * np.uint8(255)) if entry.mask else read_rgba(entry.path)
    if alpha is None:
        raise BadImageError(f"{entry.path}: has no alpha channel and no {entry.path.stem}_mask.png beside it")
    if alpha.shape != rgb.shape[:2]:
        raise BadImageError(f"{entry.mask}: {alpha.shape[::-1]} pixels, but its picture has {rgb.shape[1::-1]}")
    if np.count_nonzero(alpha > ALPHA_MIDDLE) < 64:
        raise BadImageError(f"{entry.mask or entry.path}: the mask is empty, so there is nothing to cut out")
    rgba = np.dstack([rgb, alpha])
    if entry.kind == "hand":
        rgba = np.rot90(rgba, np.argmax([_contact(np.rot90(alpha, turns)) for turns in range(4)]))
        # An arm that also left its frame at a side is cut just above that place: a straight cut must not show.
        solid = rgba[..., 3] > ALPHA_MIDDLE
        rows, touching = np.flatnonzero(solid.any(1)), np.flatnonzero(solid[:, 0] | solid[:, -1])
        if len(touching) and touching[0] > rows[0] + 0.45 * (rows[-1] - rows[0]):
            rgba = rgba[: touching[0]]
    cut_top = _contact(rgba[::-1, :, 3]) > 0.2 * np.count_nonzero((rgba[..., 3] > ALPHA_MIDDLE).any(0))
    rgba = _crop_to_content(_rooted_parts(_crop_to_content(rgba)))
    if 0 < long_side < max(rgba.shape[:2]):
        scale = long_side / max(rgba.shape[:2])
        rgba = cv2.resize(rgba, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return Occluder(np.ascontiguousarray(rgba), entry.kind, str(entry.path), bool(cut_top))


def _contact(alpha: np.ndarray) -> int:
    """How many columns have content within 1 % of the height from the lower edge."""
    return np.count_nonzero((alpha[-max(1, len(alpha) // 100) :] > ALPHA_MIDDLE).any(0))


def _crop_to_content(rgba: np.ndarray) -> np.ndarray:
    left, top, width, height = cv2.boundingRect((rgba[..., 3] > ALPHA_MIDDLE).astype(np.uint8))
    return rgba[top : top + height, left : left + width]


def _rooted_parts(rgba: np.ndarray) -> np.ndarray:
    """Keeps the largest part and others that stand on the root; whatever else is there would float on the page."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats((rgba[..., 3] > 0).astype(np.uint8), connectivity=8)
    areas, ends = stats[:, cv2.CC_STAT_AREA], stats[:, cv2.CC_STAT_TOP] + stats[:, cv2.CC_STAT_HEIGHT]
    areas[0] = 0
    kept = (areas >= 0.03 * areas.max()) & (ends >= 0.98 * len(rgba)) | (np.arange(len(areas)) == areas.argmax())
    return np.dstack([rgba[..., :3], rgba[..., 3] * kept[labels]])


class OccluderLibrary:
    """Occluders on demand: call it as `library(rng, kind)`. Those that were used lately are kept decoded.

    Heads cut off flat by their source's frame are passed over if there are others; `long_side` as in `load_occluder`.
    """

    def __init__(self, entries: Sequence[OccluderEntry], long_side: int = 0) -> None:
        self.entries = {kind: [entry for entry in entries if entry.kind == kind] for kind in KINDS}
        self.long_side = long_side
        self._cache: dict[OccluderEntry, Occluder] = {}

    def __call__(self, rng: Generator, kind: str) -> Occluder:
        """Draws an occluder of `kind`; of the other kind where the library has none of it."""
        entries = self.entries[kind] or self.entries[KINDS[1 - KINDS.index(kind)]]
        for _ in range(8):
            entry = entries[int(rng.integers(len(entries)))]
            # Moved to the end: the first one was used longest ago.
            occluder = self._cache[entry] = self._cache.pop(entry, None) or load_occluder(entry, self.long_side)
            if not (occluder.kind == "head" and occluder.cut_top):
                break
        while len(self._cache) > 1 and sum(each.rgba.nbytes for each in self._cache.values()) > CACHE_BYTES:
            del self._cache[next(iter(self._cache))]
        return occluder
