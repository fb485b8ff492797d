"""The photos that are timed: drawn pages with a drawn hand or head, or a folder's."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np

from data.drawing.fonts import bundled_fonts
from data.drawing.occluders import draw_hand, draw_head
from data.drawing.pages import draw_page
from data.images import encode_image
from data.synthesis.occluders import Occluder
from data.synthesis.paste import CONTEST, paste
from utils.files import write_bytes

# What most of the contest's photos measure.
WIDTH, HEIGHT = 2811, 3770
_PAGES = ("article", "report", "form", "exam", "magazine")
_QUALITY = 92


def draw_pictures(folder: Path, count: int, width: int = WIDTH, height: int = HEIGHT) -> list[Path]:
    """Writes `count` JPEG photos, three of four with a hand on them and one with a head; the same ones each time."""
    paths = []
    for index in range(count):
        path = folder / f"drawn_{index:03d}.jpg"
        write_bytes(path, encode_image(_draw(index, width, height), ".jpg", quality=_QUALITY))
        paths.append(path)
    return paths


def _draw(seed: int, width: int, height: int) -> np.ndarray:
    """RGB uint8 [height, width, 3]."""
    rng = np.random.default_rng(seed)
    page = draw_page(rng, width, height, bundled_fonts(), _PAGES[seed % len(_PAGES)])
    kind, draw = ("head", draw_head) if seed % 4 == 3 else ("hand", draw_hand)
    occluder = Occluder(rgba=draw(rng, max(width, height) // 2), kind=kind, source="drawn")
    return paste(page, [occluder], rng, CONTEST, "page", count=1, kind=kind)[0]


def take_pictures(source: Path, folder: Path, count: int) -> list[Path]:
    """Copies the first `count` JPEG photos of `source`, by name, into `folder`.

    Raises:
        FileNotFoundError: there are none.
    """
    found = sorted(path for path in source.iterdir() if path.suffix.lower() in (".jpg", ".jpeg"))[:count]
    if not found:
        raise FileNotFoundError(f"{source}: no *.jpg to time; name another folder with --pictures, or leave it out")
    return [Path(shutil.copy(path, folder / path.name)) for path in found]
