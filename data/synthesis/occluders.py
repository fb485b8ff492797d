"""Cut-outs of hands and heads: finding them, telling training sources from held-out ones, standing them upright.

A source is an RGBA picture, or an ordinary picture with `NAME_mask.png` beside it (255 = the occluder). Whatever the
source looks like, a loaded occluder stands on its root: the side where the wrist or the shoulders left the source's own
frame is the bottom edge of its array. `CUTOUTS` holds some of our own for whoever has none.
"""

from __future__ import annotations

import csv
import hashlib
import re
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np

from data.images import IMAGE_SUFFIXES, BadImageError, open_picture, pictures_below, read_rgb, read_rgba
from data.masks import read_mask

CUTOUTS = Path(__file__).parent / "cutouts"
KINDS = ("hand", "head")
SUBSETS = ("train", "heldout")
SPLIT_FILE = "split.csv"
HELD_OUT = 0.15
ALPHA_MIDDLE = 127
# A folder called "handwriting" holds pages, "surface" no faces.
_KIND_PATTERNS = (
    ("hand", re.compile(r"hand(?!w|b|o|l)|finger", re.IGNORECASE)),
    ("head", re.compile(r"head(?!er|ing|l)|person|(?<![a-z])face", re.IGNORECASE)),
)
# The part of the height next to the root that no placement shows: wrists of cut-outs are ragged.
_ROOT_RESERVES = {"hand": 0.06, "head": 0.02}

Source = TypeVar("Source")


@dataclass(frozen=True)
class Occluder:
    """A cut-out that can be pasted on a page.

    Attributes:
        rgba: uint8 height x width x 4, cropped to its content, the root (wrist, shoulders) at the bottom edge. The
            colours outside the alpha are the cut-out's own background where the source had one.
        kind: "hand" or "head".
        source: where it comes from, for manifests and messages.
        root_reserve: fraction of the height, from the bottom, that has to stay outside the picture.
        cut_top: the side opposite the root was cut off by the frame of the source.
    """

    rgba: np.ndarray
    kind: str
    source: str
    root_reserve: float = 0.0
    cut_top: bool = False


@dataclass(frozen=True)
class OccluderEntry:
    """A source on the disk, not yet decoded; `mask` is `NAME_mask.png` beside it, or None for an RGBA picture."""

    path: Path
    mask: Path | None
    kind: str


def split_sources(
    sources: Sequence[Source], path_of: Callable[[Source], Path] = Path
) -> tuple[list[Source], list[Source]]:
    """Splits sources into (training, held-out), always the same way, whatever else is in the list.

    The nearest `split.csv` beside or above a file that names it decides (columns file,split: train or heldout; files
    relative to it), else a hash of the file's name, which holds out 15 %.

    Raises:
        ValueError: a split.csv that is not one.
    """
    tables: dict[Path, dict[Path, str]] = {}
    parts: dict[str, list[Source]] = {subset: [] for subset in SUBSETS}
    for source in sources:
        path = Path(path_of(source)).resolve()
        subset = None
        for place in (folder / SPLIT_FILE for folder in path.parents):
            if place not in tables:
                tables[place] = _read_split(place) if place.is_file() else {}
            subset = tables[place].get(path)
            if subset:
                break
        parts[subset or _subset_by_hash(path.name)].append(source)
    return parts["train"], parts["heldout"]


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


def _subset_by_hash(name: str) -> str:
    number = int.from_bytes(hashlib.sha256(name.encode("utf-8")).digest()[:8], "big")
    return "heldout" if number / 2**64 < HELD_OUT else "train"


def kind_of(path: Path) -> str:
    """"hand" or "head", from the folder nearest to the file that says so, else from the file's own name.

    Raises:
        ValueError: nothing in the path says what the cut-out shows.
    """
    for part in (*reversed(path.parent.parts), path.stem):
        found = [kind for kind, pattern in _KIND_PATTERNS if pattern.search(part)]
        if len(found) == 1:
            return found[0]
    raise ValueError(
        f"{path}: cannot tell what this cut-out shows; put it into a folder whose name contains "
        "'hand' or 'finger', or 'head', 'person' or 'face'"
    )


def _pictures(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: expected a folder with pictures, and there is none")
    return [folder / path for path in pictures_below(folder)]


def _companions(pictures: Iterable[Path]) -> set[Path]:
    """Pictures called NAME_something beside a picture called NAME: masks and the like, not pictures of their own."""
    pictures = list(pictures)
    names = {(path.parent, path.stem) for path in pictures}
    companions = set()
    for path in pictures:
        cuts = (match.start() for match in re.finditer("_", path.stem))
        if path.suffix.lower() == ".png" and any((path.parent, path.stem[:cut]) in names for cut in cuts):
            companions.add(path)
    return companions


def _mask_beside(path: Path) -> Path | None:
    mask = path.with_name(f"{path.stem}_mask.png")
    return mask if mask.is_file() else None


def find_occluders(folders: Sequence[str | Path]) -> list[OccluderEntry]:
    """All sources of occluders below `folders`, sorted; pictures with neither alpha nor mask are none and left out.

    Raises:
        FileNotFoundError: a folder is missing, or no folder holds an occluder.
        ValueError: a source whose path does not say what it shows.
    """
    entries = []
    for folder in folders:
        pictures = _pictures(Path(folder))
        companions = _companions(pictures)
        for path in pictures:
            mask = _mask_beside(path)
            if path not in companions and (mask is not None or _has_alpha(path)):
                entries.append(OccluderEntry(path, mask, kind_of(path.absolute())))
    if folders and not entries:
        raise FileNotFoundError(
            f"no occluder in {', '.join(map(str, folders))}: expected RGBA pictures, or pictures with NAME_mask.png"
        )
    return entries


def _has_alpha(path: Path) -> bool:
    if path.suffix.lower() not in (".png", ".webp", ".tif", ".tiff"):
        return False
    with open_picture(path) as image:
        return "A" in image.getbands() or "transparency" in image.info


def find_pages(folders: Sequence[str | Path]) -> list[Path]:
    """All pictures below `folders`, sorted, without masks and without pictures that have a mask beside them.

    Raises:
        FileNotFoundError: a folder is missing, or no folder holds a picture.
    """
    pages = []
    for folder in folders:
        pictures = _pictures(Path(folder))
        companions = _companions(pictures)
        pages += [path for path in pictures if path not in companions and _mask_beside(path) is None]
    if folders and not pages:
        raise FileNotFoundError(f"no page in {', '.join(map(str, folders))}: expected {' '.join(IMAGE_SUFFIXES)}")
    return pages


def load_occluder(entry: OccluderEntry, long_side: int = 0) -> Occluder:
    """Decodes a source, stands it on its root and crops it to its content.

    Args:
        long_side: shrink so that the longer side has at most this many pixels; 0 keeps the size.

    Raises:
        BadImageError: a broken file, a mask of another shape, or an empty cut-out.
    """
    if entry.mask is None:
        rgb, alpha = read_rgba(entry.path)
        if alpha is None:
            raise BadImageError(f"{entry.path}: has no alpha channel and no {entry.path.stem}_mask.png beside it")
    else:
        rgb, alpha = read_rgb(entry.path), read_mask(entry.mask) * np.uint8(255)
        if alpha.shape != rgb.shape[:2]:
            raise BadImageError(f"{entry.mask}: {alpha.shape[::-1]} pixels, but its picture has {rgb.shape[1::-1]}")
    if np.count_nonzero(alpha > ALPHA_MIDDLE) < 64:
        raise BadImageError(f"{entry.mask or entry.path}: the mask is empty, so there is nothing to cut out")
    rgba = np.dstack([rgb, alpha])
    if entry.kind == "hand":
        rgba = _without_side_cut(np.rot90(rgba, _turns_to_root(rgba[..., 3])))
    cut_top = _contact(rgba[..., 3], "top") > 0.2 * np.count_nonzero((rgba[..., 3] > ALPHA_MIDDLE).any(0))
    rgba = _crop_to_content(_rooted_parts(_crop_to_content(rgba)))
    scale = long_side / max(rgba.shape[:2]) if long_side else 1
    if scale < 1:
        rgba = cv2.resize(rgba, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    reserve = _ROOT_RESERVES[entry.kind]
    return Occluder(np.ascontiguousarray(rgba), entry.kind, str(entry.path), reserve, bool(cut_top))


def _rooted_parts(rgba: np.ndarray) -> np.ndarray:
    """Keeps the largest part and others that stand on the root; whatever else is there would float on the page."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats((rgba[..., 3] > 0).astype(np.uint8), connectivity=8)
    if count <= 2:
        return rgba
    areas, ends = stats[:, cv2.CC_STAT_AREA].copy(), stats[:, cv2.CC_STAT_TOP] + stats[:, cv2.CC_STAT_HEIGHT]
    areas[0] = 0
    kept = (areas >= 0.03 * areas.max()) & (ends >= 0.98 * rgba.shape[0])
    kept[int(np.argmax(areas))] = True
    alpha = np.where(kept[labels], rgba[..., 3], 0).astype(np.uint8)
    return np.dstack([rgba[..., :3], alpha])


def _contact(alpha: np.ndarray, side: str) -> int:
    """How many pixels of the content lie within 1 % of the picture's side, counted along that side."""
    solid = alpha > ALPHA_MIDDLE
    rows, columns = (max(1, length // 100) for length in solid.shape)
    bands = {
        "bottom": solid[-rows:].any(0),
        "left": solid[:, :columns].any(1),
        "top": solid[:rows].any(0),
        "right": solid[:, -columns:].any(1),
    }
    return int(np.count_nonzero(bands[side]))


def _turns_to_root(alpha: np.ndarray) -> int:
    """Quarter turns (np.rot90) that bring the side which the content touches most to the bottom."""
    # A left side becomes the bottom after one turn counter-clockwise.
    contacts = [_contact(alpha, side) for side in ("bottom", "left", "top", "right")]
    return int(np.argmax(contacts))


def _without_side_cut(rgba: np.ndarray) -> np.ndarray:
    """Cuts an arm that also left its frame at a side just above that place: a straight cut must not show."""
    solid = rgba[..., 3] > ALPHA_MIDDLE
    rows = np.flatnonzero(solid.any(1))
    touching = np.flatnonzero(solid[:, 0] | solid[:, -1])
    if len(touching) and touching[0] > rows[0] + 0.45 * (rows[-1] - rows[0]):
        return rgba[: touching[0]]
    return rgba


def _crop_to_content(rgba: np.ndarray) -> np.ndarray:
    solid = rgba[..., 3] > ALPHA_MIDDLE
    rows, columns = np.flatnonzero(solid.any(1)), np.flatnonzero(solid.any(0))
    return rgba[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


class OccluderLibrary:
    """Occluders on demand: call it as `library(rng, kind)`.

    Decoded occluders are kept as long as they fit into `cache_bytes`. Heads whose top was cut off by the frame of
    their source are passed over while there are others, since a flat top would stand free on the page.
    """

    def __init__(self, entries: Sequence[OccluderEntry], long_side: int = 0, cache_bytes: int = 256 * 2**20) -> None:
        self.entries = {kind: [entry for entry in entries if entry.kind == kind] for kind in KINDS}
        self.long_side = long_side
        self.cache_bytes = cache_bytes
        self._cache: OrderedDict[OccluderEntry, Occluder] = OrderedDict()
        self._held = 0

    def load(self, entry: OccluderEntry) -> Occluder:
        """The decoded occluder of `entry`, from memory where it was used lately."""
        if entry in self._cache:
            self._cache.move_to_end(entry)
            return self._cache[entry]
        occluder = load_occluder(entry, self.long_side)
        self._cache[entry] = occluder
        self._held += occluder.rgba.nbytes
        while self._held > self.cache_bytes and len(self._cache) > 1:
            self._held -= self._cache.popitem(last=False)[1].rgba.nbytes
        return occluder

    def __call__(self, rng: np.random.Generator, kind: str) -> Occluder:
        """Draws an occluder of `kind`; of the other kind where the library has none of it."""
        entries = self.entries[kind] or self.entries[KINDS[1 - KINDS.index(kind)]]
        if not entries:
            raise ValueError("the library holds no occluder; look at the folders and the split that it was made from")
        for _ in range(8):
            occluder = self.load(entries[int(rng.integers(len(entries)))])
            if not (occluder.kind == "head" and occluder.cut_top):
                break
        return occluder
