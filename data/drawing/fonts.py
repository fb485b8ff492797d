"""Fonts for drawn pages: the machine's own, the ones that come with matplotlib, at worst Pillow's built-in one."""

from __future__ import annotations

import importlib.util
import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from PIL import ImageFont

_FONT_FOLDERS = (
    "/usr/share/fonts",
    "/usr/local/share/fonts",
    "~/.fonts",
    "~/.local/share/fonts",
    "/System/Library/Fonts",
    "/Library/Fonts",
    "C:/Windows/Fonts",
)
# Beginnings of file names, lower case, of fonts that hold Chinese.
_CHINESE = (
    "notosanscjk", "notoserifcjk", "notosanssc", "notoserifsc", "sourcehansans", "sourcehanserif", "wqy", "simsun",
    "simhei", "simkai", "simfang", "msyh", "uming", "ukai", "pingfang", "stheiti", "songti", "droidsansfallback",
    "arphic", "fandol", "hanamin",
)  # fmt: skip
# Beginnings of file names of ordinary Latin text fonts, regular and bold, in the order of their style group.
_LATIN = (
    ("stixgeneral.ttf", "stixgeneralbol.ttf"),
    ("dejavusans.ttf", "dejavusans-bold.ttf"),
    ("dejavuserif.ttf", "dejavuserif-bold.ttf"),
    ("dejavusansmono.ttf", "dejavusansmono-bold.ttf"),
    ("cmr10.ttf", "cmb10.ttf"),
    ("liberationserif-regular.ttf", "liberationserif-bold.ttf"),
    ("liberationsans-regular.ttf", "liberationsans-bold.ttf"),
    ("times.ttf", "timesbd.ttf"),
    ("arial.ttf", "arialbd.ttf"),
)
_BUILT_IN = ""


@dataclass(frozen=True)
class FontSet:
    """Font files to draw with.

    Attributes:
        latin: pairs (regular, bold); an empty name is Pillow's built-in font.
        chinese: files with Chinese characters, maybe none.
        formula: a font for formulas, slanted where there is one.
    """

    latin: tuple[tuple[str, str], ...]
    chinese: tuple[str, ...]
    formula: str


def _files(folder: Path) -> dict[str, str]:
    """Font files below a folder by lower-case name, in an order that does not depend on the file system."""
    found: dict[str, str] = {}
    for parent, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            if name.lower().endswith((".ttf", ".otf", ".ttc")):
                found.setdefault(name.lower(), os.path.join(parent, name))
    return found


def _matplotlib_files() -> dict[str, str]:
    """matplotlib's fonts, found without importing it (which takes a second)."""
    spec = importlib.util.find_spec("matplotlib")
    if spec is None or spec.origin is None:
        return {}
    return _files(Path(spec.origin).parent / "mpl-data" / "fonts" / "ttf")


def _font_set(files: dict[str, str]) -> FontSet:
    latin = tuple((files[regular], files[bold]) for regular, bold in _LATIN if regular in files and bold in files)
    chinese = tuple(path for name, path in sorted(files.items()) if name.startswith(_CHINESE))
    formula = next(
        (files[name] for name in ("stixgeneralitalic.ttf", "dejavuserif-italic.ttf") if name in files), _BUILT_IN
    )
    return FontSet(latin or ((_BUILT_IN, _BUILT_IN),), chinese, formula)


@lru_cache(maxsize=1)
def bundled_fonts() -> FontSet:
    """Only the fonts that come with matplotlib or Pillow: the same on every machine with the pinned packages."""
    return _font_set(_matplotlib_files())


@lru_cache(maxsize=1)
def find_fonts() -> FontSet:
    """The machine's fonts together with the bundled ones."""
    files = _matplotlib_files()
    for folder in _FONT_FOLDERS:
        for name, path in _files(Path(folder).expanduser()).items():
            files.setdefault(name, path)
    return _font_set(files)


@lru_cache(maxsize=128)
def load_font(path: str, size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """A font of `size` pixels; an empty path is Pillow's built-in font."""
    if path == _BUILT_IN:
        return ImageFont.load_default(max(size, 6))
    # The basic layout needs no library beside Pillow, so a page does not depend on what else is installed.
    return ImageFont.truetype(path, max(size, 6), layout_engine=ImageFont.Layout.BASIC)
