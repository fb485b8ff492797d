"""Where an occluder comes into a photo: which border, how far, how large, how tilted. Pure geometry.

Its root (wrist, shoulders) always stays beyond the border through which it enters, as when somebody holds a page.
"""

from dataclasses import dataclass
from typing import NamedTuple, Self

import cv2
import numpy as np
from numpy.random import Generator

from data.synthesis.occluders import ALPHA_MIDDLE, Occluder

# The part of the height next to the root that never shows: wrists of cut-outs are ragged.
_ROOT_RESERVES = {"hand": 0.06, "head": 0.02}


@dataclass(frozen=True)
class EntryRange:
    """How one kind of occluder enters; lengths are fractions of the photo's longer side."""

    borders: tuple[float, float, float, float]  # probabilities of the bottom, left, top and right border
    area: tuple[float, float]  # fraction of the photo's area that it covers
    width: tuple[float, float]  # of a whole head or hand, across the direction of entry
    depth: tuple[float, float]  # how much of the cut-out's own height may show
    tilt: float  # largest angle in degrees between the entry and the border's normal
    along: tuple[float, float]  # where on the border its visible part is centred, 0..1
    finger: tuple[float, float] = (0.04, 0.069)  # width of one finger, for cut-outs that are fingers without a palm


class Place(NamedTuple):
    """An occluder's place in a photo."""

    matrix: np.ndarray  # 2 x 3, from its pixel coordinates (x, y) to the photo's
    scale: float  # photo pixels for one of its own

    def points(self, points: np.ndarray) -> np.ndarray:
        """Where points (N x 2, x and y) of the occluder lie in the photo."""
        return points @ self.matrix[:, :2].T + self.matrix[:, 2]

    def seen_from(self, left: int, top: int) -> Self:
        """The same place in a window of the photo that begins at (left, top)."""
        return Place(self.matrix - [[0, 0, left], [0, 0, top]], self.scale)


def place(occluder: Occluder, size: tuple[int, int], entry: EntryRange, rng: Generator, tip: float = 0.0) -> Place:
    """Draws a place in a photo of `size` (height, width); the covered area is in `entry.area` if the shape allows.
    Where `tip` is positive, only the outermost tip comes so many pixels into the photo."""
    (height, width), alpha = size, occluder.rgba[..., 3]
    border = int(rng.choice(4, p=np.asarray(entry.borders) / sum(entry.borders)))
    tilt, mirrored = rng.uniform(-entry.tilt, entry.tilt), rng.random() < 0.5
    area = rng.uniform(*entry.area) * height * width
    part, along = rng.uniform(*entry.depth), rng.uniform(*entry.along)
    # At its own size, the middle of its root is the origin and y points down.
    rows, columns = alpha.shape
    linear = _turn(tilt) @ np.diag([-1.0 if mirrored else 1.0, 1.0])
    upright = Place(np.hstack([linear, linear @ np.array([[-columns / 2], [-float(rows)]])]), 1.0)
    points, cell = _shape_points(alpha)
    across, down = upright.points(points).T
    up = np.sort(-down)[::-1]
    # The higher corner of its root, after the tilt, stays outside.
    hidden = max(1.0, _ROOT_RESERVES[occluder.kind] * rows)
    root = np.flatnonzero((alpha[int(rows - hidden) :] > ALPHA_MIDDLE).any(0))
    left, right = (root[0], root[-1] + 1) if len(root) else (0, columns)
    limit = up[0] + upright.points(np.array([[left, rows - hidden], [right, rows - hidden]]))[:, 1].min()
    shown = max(1, int(np.count_nonzero(up > up[0] - part * limit)))
    finger = _finger_width(alpha) if occluder.kind == "hand" else None
    widths, measured = (entry.finger, finger) if finger else (entry.width, np.ptp(across))
    lowest, highest = (fraction * max(size) / max(1.0, measured) for fraction in widths)
    scale = float(np.clip(np.sqrt(area / (shown * cell)), lowest, highest))
    count = min(len(up) - 1, int(area / (cell * scale * scale)))
    depth = float(np.clip(up[0] - up[count], entry.depth[0] * limit, entry.depth[1] * limit))
    depth = min(tip / scale, limit) if tip > 0 else depth
    middle = float(across[-down >= up[0] - max(depth, 1e-6)].mean())
    matrix = _turn(90.0 * border) @ (upright.seen_from(middle, depth - up[0]).matrix * scale)
    matrix[:, 2] += ((along * width, height), (0, along * height), (along * width, 0), (width, along * height))[border]
    return Place(matrix, scale)


def place_in_patch(occluder: Occluder, size: tuple[int, int], entry: EntryRange, rng: Generator
                   ) -> tuple[Place, tuple[int, int]]:  # fmt: skip
    """The place in a patch of `size` over a random part of an imagined photo, and that photo's (height, width)."""
    # 192 to 1024 pixels of a halved photo are 0.1 to 0.54 of its longer side.
    long_side = max(size) / float(np.exp(rng.uniform(*np.log((0.1, 0.6)))))
    short_side = max(long_side * rng.uniform(0.68, 0.8), *size)
    photo = (round(long_side), round(short_side)) if rng.random() < 0.6 else (round(short_side), round(long_side))
    where = place(occluder, photo, entry, rng)
    points, cell = _shape_points(occluder.rgba[..., 3])
    points = where.points(points)
    points = points[np.all((points >= 0) & (points < photo[::-1]), 1)]
    if not len(points):
        return where, photo
    for _ in range(6):
        # Any point of the occluder may lie at any point of the patch, if the photo has that patch.
        corner = points[int(rng.integers(len(points)))] - rng.uniform(0.02, 0.98, 2) * size[::-1]
        corner = np.clip(np.round(corner), 0, np.array(photo[::-1]) - size[::-1]).astype(int)
        seen = np.all((points >= corner) & (points < corner + size[::-1]), 1)
        # Points carry equal areas, so their share tells how much of the patch is covered.
        coverage = np.count_nonzero(seen) * (cell * where.scale**2) / (size[0] * size[1])
        if 0.02 <= coverage <= 0.7:
            break
    return where.seen_from(*corner), photo


def _shape_points(alpha: np.ndarray) -> tuple[np.ndarray, float]:
    """Points (N x 2, x and y) spread evenly over the content, and the area that each stands for; 96 or less a side."""
    sides = np.array(alpha.shape[::-1])
    size = [max(1, round(side / max(1.0, max(sides) / 96))) for side in sides]
    cell = sides / size
    small = cv2.resize(alpha, size, interpolation=cv2.INTER_AREA)
    return (np.argwhere(small > ALPHA_MIDDLE)[:, ::-1] + 0.5) * cell, cell[0] * cell[1]


def _finger_width(alpha: np.ndarray) -> float | None:
    """Width of one finger of a cut-out that has no palm: one or more even bars, standing apart at the root."""
    (height, width), rows = alpha.shape, []
    for part in (0.97, 0.8, 0.65, 0.5, 0.35, 0.25):
        ends = np.flatnonzero(np.diff(alpha[int(part * (height - 1))] > ALPHA_MIDDLE, prepend=False, append=False))
        lengths = ends[1::2] - ends[::2]
        rows.append(lengths[lengths > 0.03 * width])
    if not all(map(len, rows)):
        return None
    root = rows[0]
    if len(root) > 1 and root.max() < 1.6 * root.min():
        return float(np.median(root))
    even = all(len(bars) == 1 and bars[0] > 0.65 * width for bars in rows)
    return float(root[0]) if even and height > 1.5 * width and root[0] > 0.75 * width else None


def _turn(degrees: float) -> np.ndarray:
    angle = np.deg2rad(degrees)
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
