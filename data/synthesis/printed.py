"""Printed photographs, bold lettering and stamps on clean pages: what looks like an occluder and is none.

A network that has only seen text erases every printed face: people and hands have to be on clean pages as well.
"""

from collections.abc import Callable, Sequence

import cv2
import numpy as np
from numpy.random import Generator

from data.images import read_rgb
from data.synthesis.occluders import OccluderEntry, load_occluder
from data.synthesis.paste import Chooser

_GREY_WEIGHTS = np.array([0.299, 0.587, 0.114], np.float32)
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789abdeghkmnrstuy"
_FONTS = (cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_DUPLEX, cv2.FONT_HERSHEY_COMPLEX)
# Longer side of a printed picture as a fraction of the shorter side of the page, or of a patch of one.
_PICTURE_SIZES = {"page": (0.12, 0.75), "patch": (0.35, 2.0)}


class WholePictures:
    """The whole pictures from which occluders were cut, background and all; call it as `pictures(rng)` for RGB uint8.

    They are of heads where there are any: a hand before white paper, printed on white paper, cannot be told from one
    that lies on it. Cut-outs without background, and those of the chooser `hands`, get a plain or graded one.
    """

    def __init__(self, entries: Sequence[OccluderEntry], hands: Chooser | None = None) -> None:
        heads = [entry for entry in entries if entry.kind == "head"]
        self.entries, self.hands = heads or list(entries), hands
        self.hand_probability = 0.3 if 0 < len(heads) < len(entries) else float(not heads)

    def __call__(self, rng: Generator) -> np.ndarray:
        if self.hands and rng.random() < self.hand_probability:
            return _before_a_background(self.hands(rng, "hand").rgba, rng)
        entry = self.entries[int(rng.integers(len(self.entries)))]
        return read_rgb(entry.path) if entry.mask else _before_a_background(load_occluder(entry).rgba, rng)


def _before_a_background(rgba: np.ndarray, rng: Generator) -> np.ndarray:
    margin = int(0.15 * rgba.shape[0])  # The cut-out stands on the lower edge.
    rgba = cv2.copyMakeBorder(rgba, margin, 0, margin, margin, cv2.BORDER_CONSTANT)
    slope = np.linspace(0, 1, rgba.shape[0], dtype=np.float32)[:, None, None]
    first, second = rng.uniform(60, 250, (2, 3)).astype(np.float32)
    alpha = rgba[..., 3:] / np.float32(255)
    background = first * (1 - slope) + second * slope
    return (rgba[..., :3] * alpha + background * (1 - alpha)).astype(np.uint8)


def print_on(page: np.ndarray, choose: Callable[[Generator], np.ndarray], rng: Generator, placement: str = "page",
             pictures_alone: bool = False) -> np.ndarray:  # fmt: skip
    """A page (RGB uint8, height x width x 3) with a picture, big letters or a stamp printed on it, or two of these.

    On a "patch" prints may cross the edges; with `pictures_alone` there are one to three pictures, none as large as it.
    """
    printed = page.copy()
    paper = np.percentile(page.reshape(-1, 3)[::11], 75, axis=0).astype(np.float32)
    for _ in range(int(rng.integers(1, 4)) if pictures_alone else 1 + int(rng.random() < 0.35)):
        what = 0.0 if pictures_alone else rng.random()
        if what < 0.62:
            _print_picture(printed, choose(rng), paper, rng, placement, 0.0 if pictures_alone else 0.08)
        elif what < 0.87:
            _print_letters(printed, rng)
        else:
            _stamp(printed, rng)
    return printed


def _print_picture(page: np.ndarray, picture: np.ndarray, paper: np.ndarray, rng: Generator, where: str,
                   whole_page: float) -> None:  # fmt: skip
    """Prints a picture, or a part of it, in place; with the probability `whole_page` it covers all of the page."""
    height, width = page.shape[:2]
    if rng.random() < 0.5:
        sides = np.array(picture.shape[:2])
        rows, columns = np.maximum(1, (sides * rng.uniform(0.5, 1)).astype(int))
        top, left = int(rng.integers(sides[0] - rows + 1)), int(rng.integers(sides[1] - columns + 1))
        picture = picture[top : top + rows, left : left + columns]
    picture = picture[:, ::-1] if rng.random() < 0.5 else picture
    side = np.exp(rng.uniform(*np.log(_PICTURE_SIZES[where]))) * min(height, width)
    if rng.random() < whole_page:
        side = 1.1 * max(height, width)
    scale = side / max(picture.shape[:2])
    columns, rows = (max(4, round(length * scale)) for length in picture.shape[1::-1])
    picture = cv2.resize(picture, (columns, rows), interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    # In a patch any part of a print may be seen.
    slack = 0.6 if where == "patch" else 0.0
    left, top = (round(rng.uniform(*sorted((-slack * part, whole - part + slack * part))))
                 for whole, part in ((width, columns), (height, rows)))
    box = slice(max(0, top), max(0, top + rows)), slice(max(0, left), max(0, left + columns))
    visible = picture[max(0, -top) :, max(0, -left) :][: page[box].shape[0], : page[box].shape[1]]
    if not visible.size:
        return
    page[box] = _ink(visible, paper, rng)
    if rng.random() < 0.15:  # framed
        ink = rng.integers(0, 120, 3).tolist()
        cv2.rectangle(page, (left, top), (left + columns - 1, top + rows - 1), ink, max(1, round(side / 150)))


def _ink(picture: np.ndarray, paper: np.ndarray, rng: Generator) -> np.ndarray:
    """The picture in printer's ink: paper is its white, black is dark grey, often there are no colours at all."""
    values, look = picture.astype(np.float32), rng.random()
    if look < 0.45:
        values = np.repeat((values @ _GREY_WEIGHTS)[..., None], 3, 2)
    if look < 0.12:
        values = values * np.array([1, 0.93, 0.8], np.float32)
    values = (values - 127) * np.float32(rng.uniform(0.6, 1.15)) + np.float32(127 + rng.uniform(-20, 30))
    if rng.random() < 0.4:
        values += rng.standard_normal((*values.shape[:2], 1), np.float32) * np.float32(rng.uniform(2, 9))
    black = np.float32(rng.uniform(0.04, 0.2))
    return np.clip(paper * (black + (1 - black) * np.clip(values, 0, 255) / 255), 0, 255).astype(np.uint8)


def _print_letters(page: np.ndarray, rng: Generator) -> None:
    height, width = page.shape[:2]
    size = rng.uniform(0.04, 0.35) * min(height, width)
    text = "".join(_LETTERS[index] for index in rng.integers(len(_LETTERS), size=int(rng.integers(1, 8))))
    font = _FONTS[int(rng.integers(3))]
    # Capitals of these fonts are about 22 pixels high at scale 1.
    scale, thickness = size / 22, max(1, round(size * rng.uniform(0.08, 0.28)))
    colour = rng.integers(0, 150, 3) if rng.random() < 0.5 else np.repeat(rng.integers(15, 90), 3)
    corner = (round(rng.uniform(-0.1, 0.7) * width), round(rng.uniform(0.15, 1.05) * height))
    cv2.putText(page, text, corner, font, scale, colour.tolist(), thickness, cv2.LINE_AA)


def _stamp(page: np.ndarray, rng: Generator) -> None:
    """A round or square red seal that lets the print below shine through."""
    height, width = page.shape[:2]
    radius = max(6, round(rng.uniform(0.05, 0.14) * min(height, width)))
    seal, line = np.zeros((2 * radius, 2 * radius), np.uint8), max(1, radius // 12)
    if rng.random() < 0.6:
        cv2.circle(seal, (radius, radius), radius - line, 255, line, cv2.LINE_AA)
        angles = np.deg2rad(np.arange(10) * 36 - 90)
        lengths = np.where(np.arange(10) % 2, 0.17, 0.42) * radius
        star = np.stack([np.cos(angles), np.sin(angles)], 1) * lengths[:, None] + radius
        cv2.fillPoly(seal, [star.astype(np.int32)], 255, cv2.LINE_AA)
    else:
        cv2.rectangle(seal, (line, line), (2 * radius - line, 2 * radius - line), 255, line)
        for column in range(2):
            place = round(radius * (0.3 + 0.8 * column)), round(1.35 * radius)
            cv2.putText(seal, _LETTERS[rng.integers(26)], place, _FONTS[2], radius / 30, 255, 2 * line, cv2.LINE_AA)
    left, top = (int(rng.integers(max(1, length - 2 * radius))) for length in (width, height))
    below = page[top : top + 2 * radius, left : left + 2 * radius]
    strength = seal[: below.shape[0], : below.shape[1], None] / np.float32(255) * np.float32(rng.uniform(0.5, 0.95))
    red = rng.uniform((170, 20, 20), (225, 60, 60)).astype(np.float32) / 255
    below[...] = (below * (1 - strength + strength * red)).astype(np.uint8)
