"""What a phone's camera makes of a page: its light and size, and the desk that shows round some of the page's sides.

A network that has only seen paper up to the picture's border takes a strip of table for an occluder.
"""

import cv2
import numpy as np
from numpy.random import Generator

# Widest strip of desk, and how far a side without desk reaches over the picture's border, as fractions of the picture.
_STRIP = (0.015, 0.13)
_OVERHANG = 0.004
_WOODS = ((196, 156, 110), (170, 120, 76), (128, 84, 52), (92, 58, 38), (214, 186, 148))
_CLOTHS = ((236, 232, 222), (70, 96, 140), (150, 44, 48), (60, 100, 76), (186, 172, 146), (96, 100, 112))
# (x, y) of the corners of the unit square, clockwise from the left upper one.
_CORNERS = np.array([(0, 0), (1, 0), (1, 1), (0, 1)], np.float32)
# Left, top, right, bottom: the corners at their ends, the coordinate across them, where their border is.
_SIDES = (([0, 3], 0, 0), ([0, 1], 1, 0), ([1, 2], 0, 1), ([2, 3], 1, 1))


def cut_strip(page: np.ndarray, rng: Generator) -> np.ndarray:
    """A part of a strip with a photo's proportions; other pages as they are."""
    # Receipts are longer, phone photos are not.
    length, longest = max(page.shape[:2]), 1.5 * min(page.shape[:2])
    if length <= longest:
        return page
    start = int(rng.integers(length - round(longest) + 1))
    part = slice(start, start + round(longest))
    return page[part] if page.shape[0] == length else page[:, part]


def photograph(page: np.ndarray, rng: Generator, long_side: int) -> np.ndarray:
    """A photo of a page (RGB uint8, height x width x 3) whose longer side is `long_side`: the sheet fills the frame,
    light falls off a little, and strips are cut to a photo's proportions."""
    page = cut_strip(page, rng)
    scale = long_side / max(page.shape[:2])
    size = [max(1, round(length * scale)) for length in page.shape[1::-1]]
    photo = cv2.resize(page, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    # What is a photo already has its paper tone and its light; what was rendered is pure white.
    rendered = np.percentile(page.reshape(-1, 3)[::97], 80, axis=0).min() >= 238
    tone = rng.uniform(0.8, 0.97) * np.exp(rng.uniform(-0.02, 0.02, 3)) if rendered else np.ones(3)
    # A slope, a vignette and a large soft patch.
    rows, columns = np.mgrid[-1:1:32j, -1:1:32j].astype(np.float32)
    slope, vignette = rng.uniform(-0.07, 0.07, 2), rng.uniform(0, 0.08)
    centre, depth = rng.uniform(-1, 1, 2), rng.uniform(-0.06, 0.06)
    patch = np.exp(-((rows - centre[0]) ** 2 + (columns - centre[1]) ** 2) / 0.5)
    field = slope[0] * rows + slope[1] * columns - vignette * (rows**2 + columns**2) / 2 + depth * patch
    field = 1 + (1.0 if rendered else 0.3) * (field - field.max() * 0.5)
    light = cv2.resize(field.astype(np.float32), size, interpolation=cv2.INTER_CUBIC)
    # Black print is never black in a photo.
    veil, noise = np.float32(rng.uniform(8, 35) if rendered else 0), np.float32(rng.uniform(0.3, 0.9))
    # In strips: whole photos in float32 would take ten times their size.
    for top in range(0, len(photo), 256):
        rows = slice(top, top + 256)
        values = (veil + photo[rows] * (1 - veil / 255)) * tone.astype(np.float32) * light[rows, :, None]
        values += rng.standard_normal((*values.shape[:2], 1), np.float32) * noise
        photo[rows] = np.clip(values + np.float32(0.5), 0, 255).astype(np.uint8)
    return photo


def lay_on_desk(page: np.ndarray, rng: Generator) -> np.ndarray:
    """A picture, as large as `page` (RGB uint8, height x width x 3), of it on a desk, slightly turned and tilted; that
    shows round one to four of its sides, and over the other borders the page reaches as little as it can."""
    size = page.shape[:2]
    matrix = _place(size, rng)
    surface = (_wood, _dark, _grey, _cloth)[int(rng.integers(4))]
    desk = cv2.convertScaleAbs(np.clip(surface(size, rng) * _shadow(size, matrix, rng)[..., None], 0, 255))
    # Half a pixel of paper fades out at the edge, as on every photo.
    edge = cv2.warpPerspective(np.full(size, 255, np.uint8), matrix, size[::-1])[..., None].astype(np.uint16)
    laid = cv2.warpPerspective(page, matrix, size[::-1], borderMode=cv2.BORDER_REPLICATE)
    return ((laid * edge + desk * (255 - edge) + 127) // 255).astype(np.uint8)


def _place(size: tuple[int, int], rng: Generator) -> np.ndarray:
    """The 3 x 3 homography from the page's pixels to the picture's, as float64."""
    scale, shows = np.array(size[::-1], np.float32), np.zeros(4, bool)
    shows[rng.permutation(4)[: int(rng.integers(1, 5))]] = True
    # Where there is no desk, the page ends at the border.
    left, top, right, bottom = np.where(shows, np.exp(rng.uniform(*np.log(_STRIP), 4)), 0)
    corners = _CORNERS * (1 - left - right, 1 - top - bottom) + (left, top)
    # No camera looks straight down.
    corners += rng.uniform(-0.012, 0.012, (4, 2))
    angle = np.deg2rad(np.clip(rng.normal(0, 0.4), -1, 1) * 2.5)
    turn = np.array([(np.cos(angle), np.sin(angle)), (-np.sin(angle), np.cos(angle))])
    centre = corners.mean(0) * scale
    corners = ((corners * scale - centre) @ turn + centre) / scale
    # Each side moves as a whole until its nearer corner is inside, or its farther one outside.
    for (ends, axis, border), shown in zip(_SIDES, shows, strict=True):
        sign = -1 if border else 1
        inside = sign * (corners[ends, axis] - border)
        shift = max(0, 0.4 * _STRIP[0] - inside.min()) if shown else min(0, -_OVERHANG - inside.max())
        corners[ends, axis] += sign * shift
    return cv2.getPerspectiveTransform(_CORNERS * scale, (corners * scale).astype(np.float32))


def _shadow(size: tuple[int, int], matrix: np.ndarray, rng: Generator) -> np.ndarray:
    """float32 height x width, what is left of the light beside the page; made small, since it is soft."""
    height, width = size
    small = [max(1, round(length * min(1.0, 256 / max(size)))) for length in (width, height)]
    offset = rng.uniform(-0.012, 0.012, 2) * max(size)
    depth, blur = rng.uniform(0.25, 0.6), rng.uniform(0.006, 0.02) * max(small)
    moved = np.array([(1, 0, offset[0]), (0, 1, offset[1]), (0, 0, 1)])
    moved = np.diag([small[0] / width, small[1] / height, 1]) @ moved @ matrix
    shade = cv2.GaussianBlur(cv2.warpPerspective(np.ones(size, np.float32), moved, small), (0, 0), max(0.6, blur))
    return cv2.resize(1 - np.float32(depth) * shade, (width, height), interpolation=cv2.INTER_LINEAR)


def _smooth_noise(size: tuple[int, int], cells: tuple[int, int], rng: Generator) -> np.ndarray:
    """float32 height x width of noise with about `cells` hills from top to bottom and from left to right."""
    coarse = rng.standard_normal([max(2, count) for count in cells], np.float32)
    return cv2.resize(coarse, size[::-1], interpolation=cv2.INTER_CUBIC)


def _lit(tone: np.ndarray, relief: np.ndarray, rng: Generator) -> np.ndarray:
    """A surface of one colour: its relief as a factor, a slope of light, fine noise; float32 height x width x 3."""
    height, width = relief.shape
    down, across = rng.uniform(-0.12, 0.12, 2)
    relief = relief * (1 + np.linspace(-down, down, height, dtype=np.float32)[:, None])
    relief *= 1 + np.linspace(-across, across, width, dtype=np.float32)
    relief += rng.standard_normal(relief.shape, np.float32) * np.float32(0.012)
    return relief[..., None] * tone.astype(np.float32)


def _wood(size: tuple[int, int], rng: Generator) -> np.ndarray:
    """Boards with grain along one direction."""
    along_rows = rng.random() < 0.5
    height, width = size if along_rows else size[::-1]
    bend = _smooth_noise((height, width), (3, 4), rng) * np.float32(rng.uniform(2, 7))
    rings = rng.uniform(20, 60) * np.linspace(0, 1, height, dtype=np.float32)[:, None]
    relief = 1 + np.float32(rng.uniform(0.02, 0.07)) * np.sin(rings * 2 + bend)
    relief += np.float32(rng.uniform(0.02, 0.06)) * _smooth_noise((height, width), (height // 3, width // 60), rng)
    boards = int(rng.integers(1, 6))
    for board in range(boards):
        first, last = round(board * height / boards), round((board + 1) * height / boards)
        relief[first:last] *= np.float32(rng.uniform(0.9, 1.08))
        if board:
            relief[first : first + max(1, height // 400)] *= np.float32(0.6)
    tone = np.array(_WOODS[int(rng.integers(len(_WOODS)))]) * rng.uniform(0.8, 1.1)
    return _lit(tone, relief if along_rows else relief.T, rng)


def _dark(size: tuple[int, int], rng: Generator) -> np.ndarray:
    """A table top, or a floor, that is nearly black."""
    tone = rng.uniform(16, 62) * np.exp(rng.uniform(-0.08, 0.08, 3))
    return _lit(tone, 1 + np.float32(0.06) * _smooth_noise(size, (6, 6), rng), rng)


def _grey(size: tuple[int, int], rng: Generator) -> np.ndarray:
    """A laminated or stone table top, from grey to nearly the white of paper, with specks."""
    tone = rng.uniform(95, 190) * np.exp(rng.uniform(-0.04, 0.04, 3))
    relief = 1 + np.float32(0.03) * _smooth_noise(size, (5, 5), rng)
    specks = _smooth_noise(size, (size[0] // 4, size[1] // 4), rng)
    return _lit(tone, relief + np.float32(rng.uniform(0, 0.07)) * np.clip(specks, -2, 2), rng)


def _cloth(size: tuple[int, int], rng: Generator) -> np.ndarray:
    """A woven cloth with soft folds, plain or checked."""
    pitch = max(3.0, rng.uniform(0.0018, 0.005) * max(size))
    rows, columns = (np.sin(np.arange(length, dtype=np.float32) * np.float32(2 * np.pi / pitch)) for length in size)
    relief = 1 + np.float32(rng.uniform(0.03, 0.08)) * rows[:, None] * columns
    relief += np.float32(rng.uniform(0.03, 0.1)) * _smooth_noise(size, (4, 4), rng)
    if rng.random() < 0.4:
        check, depth = rng.uniform(0.03, 0.09) * max(size), np.float32(rng.uniform(0.1, 0.4))
        rows, columns = (1 - depth * (np.arange(length) % check < check / 2) for length in size)
        relief = relief * rows[:, None] * columns
    return _lit(np.array(_CLOTHS[int(rng.integers(len(_CLOTHS)))]) * rng.uniform(0.8, 1.08), relief, rng)
