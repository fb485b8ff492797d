"""Where an occluder comes into a photo: which border, how far, how large, how tilted.

Pure geometry. Whatever is placed comes from outside the frame: the occluder's root (wrist, shoulders) always lies
beyond the border through which it enters, as it does when somebody holds a page.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from data.synthesis.occluders import ALPHA_MIDDLE, Occluder

BORDERS = ("bottom", "left", "top", "right")
# Clockwise turn (in pixel coordinates) that points an occluder's tip from the border into the picture.
_INWARD_DEGREES = {"bottom": 0.0, "left": 90.0, "top": 180.0, "right": 270.0}
# Shapes are measured on a copy of the alpha of at most this many pixels a side.
_MEASURING_SIDE = 96
# A patch is this fraction of the longer side of its photo: 192 to 1024 pixels of a halved photo are 0.1 to 0.54.
_PATCH_FRACTIONS = (0.1, 0.6)
_PATCH_COVERAGE = (0.02, 0.7)


@dataclass(frozen=True)
class EntryRange:
    """How one kind of occluder enters; lengths are fractions of the photo's longer side.

    Attributes:
        borders: probability of entering from the bottom, left, top and right border.
        area: fraction of the photo's area that it covers.
        width: width of a whole head or hand across the direction of entry.
        finger: width of one finger, for cut-outs that are fingers without a palm.
        depth: how much of the cut-out's own height may show.
        tilt: largest angle in degrees between the entry and the border's normal.
        along: where on the border its visible part is centred, 0..1.
    """

    borders: tuple[float, float, float, float]
    area: tuple[float, float]
    width: tuple[float, float]
    depth: tuple[float, float]
    tilt: float
    along: tuple[float, float]
    finger: tuple[float, float] = (0.04, 0.069)


@dataclass(frozen=True)
class Placement:
    """An occluder's place in a photo.

    Attributes:
        matrix: 2 x 3, from pixel coordinates (x, y) of the occluder to those of the photo.
        scale: photo pixels per occluder pixel.
        border: the border through which it enters.
        size: (height, width) of the photo.
    """

    matrix: np.ndarray
    scale: float
    border: str
    size: tuple[int, int]

    def in_window(self, left: int, top: int, height: int, width: int) -> Placement:
        """The same place seen in the window of the photo that begins at (left, top)."""
        matrix = self.matrix.copy()
        matrix[:, 2] -= (left, top)
        return replace(self, matrix=matrix, size=(height, width))


def shape_points(occluder: Occluder) -> tuple[np.ndarray, float]:
    """Points (N x 2, x and y) spread evenly over the occluder's content, and the area each stands for."""
    alpha = occluder.rgba[..., 3]
    step = max(1.0, max(alpha.shape) / _MEASURING_SIDE)
    size = (max(1, round(alpha.shape[1] / step)), max(1, round(alpha.shape[0] / step)))
    small = cv2.resize(alpha, size, interpolation=cv2.INTER_AREA)
    cell_width, cell_height = alpha.shape[1] / size[0], alpha.shape[0] / size[1]
    rows, columns = np.nonzero(small > ALPHA_MIDDLE)
    points = np.stack([(columns + 0.5) * cell_width, (rows + 0.5) * cell_height], 1)
    return points.astype(np.float64), cell_width * cell_height


def place(
    occluder: Occluder, size: tuple[int, int], entry: EntryRange, rng: np.random.Generator, depth_pixels: float = 0.0
) -> Placement:
    """Draws a place for `occluder` in a photo of `size` (height, width).

    Size and depth are chosen so that the covered area falls into `entry.area` where the shape allows it.

    Args:
        depth_pixels: when positive, only the outermost tip comes this far into the photo.
    """
    height, width = size
    long_side = max(size)
    points, cell = shape_points(occluder)
    border = BORDERS[int(rng.choice(4, p=np.asarray(entry.borders) / sum(entry.borders)))]
    tilt, mirrored = rng.uniform(-entry.tilt, entry.tilt), rng.random() < 0.5
    area = rng.uniform(*entry.area) * height * width
    part, along = rng.uniform(*entry.depth), rng.uniform(*entry.along)

    # Local coordinates: origin in the middle of the root, second axis pointing out of the tip.
    local = _to_local(points, occluder, mirrored, tilt)
    order = np.argsort(local[:, 1])[::-1]
    reach = local[order, 1]
    limit = reach[0] - _root_height(occluder, mirrored, tilt)
    shown = max(1, int(np.count_nonzero(reach > reach[0] - part * limit)))
    scale = np.sqrt(area / (shown * cell))
    finger = _finger_width(occluder.rgba[..., 3]) if occluder.kind == "hand" else None
    widths, measured = (entry.finger, finger) if finger else (entry.width, np.ptp(local[:, 0]))
    lowest, highest = (fraction * long_side / max(1.0, measured) for fraction in widths)
    scale = float(np.clip(scale, lowest, highest))
    if depth_pixels > 0:
        depth = min(depth_pixels / scale, limit)
    else:
        count = min(len(reach) - 1, int(area / (cell * scale * scale)))
        depth = float(np.clip(reach[0] - reach[count], entry.depth[0] * limit, entry.depth[1] * limit))

    visible = local[local[:, 1] >= reach[0] - max(depth, 1e-6)]
    middle = float(visible[:, 0].mean())
    matrix = _entry_matrix(occluder, mirrored, tilt)
    matrix[:, 2] += (-middle, reach[0] - depth)
    matrix *= scale
    return Placement(_to_border(matrix, border, along, size), scale, border, (height, width))


def place_in_patch(
    occluder: Occluder, size: tuple[int, int], entry: EntryRange, rng: np.random.Generator
) -> tuple[Placement, tuple[int, int]]:
    """Places an occluder in an imagined photo, and a patch of `size` over a random part of it.

    Returns:
        The place as seen from the patch, and the (height, width) of the imagined photo.
    """
    fraction = float(np.exp(rng.uniform(*np.log(_PATCH_FRACTIONS))))
    long_side = max(size) / fraction
    short_side = max(long_side * rng.uniform(0.68, 0.8), *size)
    photo = (round(long_side), round(short_side)) if rng.random() < 0.6 else (round(short_side), round(long_side))
    where = place(occluder, photo, entry, rng)
    points, _ = shape_points(occluder)
    points = points @ where.matrix[:, :2].T + where.matrix[:, 2]
    points = points[np.all((points >= 0) & (points < photo[::-1]), 1)]
    if not len(points):
        return where.in_window(0, 0, *size), photo
    for _ in range(6):
        # Any point of the occluder may lie at any point of the patch, if the photo has that patch.
        corner = points[int(rng.integers(len(points)))] - rng.uniform(0.02, 0.98, 2) * size[::-1]
        left, top = np.clip(np.round(corner), 0, np.array(photo[::-1]) - size[::-1]).astype(int)
        seen = np.all((points >= (left, top)) & (points < (left + size[1], top + size[0])), 1)
        # Points carry equal areas, so their share tells how much of the patch is covered.
        cell = shape_points(occluder)[1] * where.scale**2
        coverage = np.count_nonzero(seen) * cell / (size[0] * size[1])
        if _PATCH_COVERAGE[0] <= coverage <= _PATCH_COVERAGE[1]:
            break
    return where.in_window(int(left), int(top), *size), photo


def _finger_width(alpha: np.ndarray) -> float | None:
    """Width of one finger of a cut-out that has no palm: one or more even bars, standing apart at the root."""
    height, width = alpha.shape
    rows = [_runs(alpha[int(part * (height - 1))]) for part in (0.97, 0.8, 0.65, 0.5, 0.35, 0.25)]
    if any(len(runs) == 0 for runs in rows):
        return None
    root = rows[0]
    if len(root) > 1 and root.max() < 1.6 * root.min():
        return float(np.median(root))
    even = all(len(runs) == 1 and runs[0] > 0.65 * width for runs in rows)
    return float(root[0]) if even and height > 1.5 * width and root[0] > 0.75 * width else None


def _runs(row: np.ndarray) -> np.ndarray:
    """Lengths of the stretches of content in a row of an alpha channel, without specks."""
    solid = np.concatenate([[False], row > ALPHA_MIDDLE, [False]])
    ends = np.flatnonzero(solid[1:] != solid[:-1])
    lengths = ends[1::2] - ends[::2]
    return lengths[lengths > 0.03 * len(row)]


def _turn(degrees: float) -> np.ndarray:
    angle = np.deg2rad(degrees)
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


def _entry_matrix(occluder: Occluder, mirrored: bool, tilt: float) -> np.ndarray:
    """2 x 3: occluder pixels to coordinates whose origin is the middle of the root and whose y points down."""
    height, width = occluder.rgba.shape[:2]
    flip = np.diag([-1.0 if mirrored else 1.0, 1.0])
    linear = _turn(tilt) @ flip
    return np.hstack([linear, linear @ np.array([[-width / 2], [-float(height)]])])


def _to_local(points: np.ndarray, occluder: Occluder, mirrored: bool, tilt: float) -> np.ndarray:
    matrix = _entry_matrix(occluder, mirrored, tilt)
    moved = points @ matrix[:, :2].T + matrix[:, 2]
    return moved * (1.0, -1.0)


def _root_height(occluder: Occluder, mirrored: bool, tilt: float) -> float:
    """How far the highest corner of the content at the root rises after the tilt: this line stays outside."""
    height, width = occluder.rgba.shape[:2]
    hidden = max(1.0, occluder.root_reserve * height)
    band = occluder.rgba[int(height - hidden) :, :, 3] > ALPHA_MIDDLE
    columns = np.flatnonzero(band.any(0))
    left, right = (float(columns[0]), float(columns[-1] + 1)) if len(columns) else (0.0, float(width))
    corners = np.array([[left, height - hidden], [right, height - hidden]])
    return float(_to_local(corners, occluder, mirrored, tilt)[:, 1].max())


def _to_border(matrix: np.ndarray, border: str, along: float, size: tuple[int, int]) -> np.ndarray:
    """Moves an entry (origin on the border line, y pointing out of the photo) to its border of the photo."""
    height, width = size
    anchors = {
        "bottom": (along * width, height),
        "left": (0.0, along * height),
        "top": (along * width, 0.0),
        "right": (width, along * height),
    }
    moved = _turn(_INWARD_DEGREES[border]) @ matrix
    moved[:, 2] += anchors[border]
    return moved
