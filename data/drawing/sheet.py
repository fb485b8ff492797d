"""A sheet that is being printed: its canvas, its fonts and inks, and text in lines."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from data.drawing.fonts import FontSet, load_font
from data.drawing.wording import chinese_text, latin_words

Ink = tuple[int, int, int]
_ACCENTS: tuple[Ink, ...] = (
    (30, 70, 140),
    (150, 30, 35),
    (20, 105, 80),
    (190, 95, 20),
    (80, 50, 120),
    (20, 20, 22),
    (0, 120, 160),
)


@dataclass
class Sheet:
    """What every block of a page draws with.

    Attributes:
        image: RGB canvas, white paper.
        draw: Pillow's pen on that canvas.
        rng: the page's generator.
        regular: font file of the body text.
        bold: font file of headings.
        formula: font file of formulas.
        chinese: font file with Chinese characters, or None for a Latin page.
        size: height of the body text in pixels.
        ink: colour of the text.
        accent: colour of headings, rules and charts.
    """

    image: Image.Image
    draw: ImageDraw.ImageDraw
    rng: np.random.Generator
    regular: str
    bold: str
    formula: str
    chinese: str | None
    size: int
    ink: Ink
    accent: Ink

    def text(
        self, place: tuple[float, float], text: str, size: float, font: str | None = None, ink: Ink | None = None
    ) -> float:
        """Writes one line with its top left corner at `place`; returns its width in pixels."""
        loaded = load_font(font if font is not None else self.regular, round(size))
        self.draw.text((round(place[0]), round(place[1])), text, font=loaded, fill=ink or self.ink)
        return loaded.getlength(text)

    def width_of(self, text: str, size: float, font: str | None = None) -> float:
        """Width of a line in pixels."""
        return load_font(font if font is not None else self.regular, round(size)).getlength(text)

    def rule(self, x0: float, y0: float, x1: float, y1: float, thickness: float, ink: Ink | None = None) -> None:
        """A straight printed line, at least one pixel thick."""
        points = [(round(x0), round(y0)), (round(x1), round(y1))]
        self.draw.line(points, fill=ink or self.ink, width=max(1, round(thickness)))


def blank_sheet(rng: np.random.Generator, width: int, height: int, fonts: FontSet) -> Sheet:
    """An empty sheet with fonts, text size and inks picked for one page."""
    image = Image.new("RGB", (width, height), (255, 255, 255))
    regular, bold = fonts.latin[int(rng.integers(len(fonts.latin)))]
    chinese = fonts.chinese[int(rng.integers(len(fonts.chinese)))] if fonts.chinese and rng.random() < 0.6 else None
    grey = int(rng.integers(10, 60))
    size = max(6, round(min(width, height * 0.8) * rng.uniform(0.0125, 0.02)))
    return Sheet(
        image=image, draw=ImageDraw.Draw(image), rng=rng, regular=regular, bold=bold, formula=fonts.formula,
        chinese=chinese, size=size, ink=(grey, grey, grey), accent=_ACCENTS[int(rng.integers(len(_ACCENTS)))],
    )  # fmt: skip


def _latin_lines(sheet: Sheet, left: float, top: float, width: float, count: int, leading: float, size: float) -> None:
    """Justified lines of Latin words, the last one short."""
    space = sheet.width_of(" ", size) or size * 0.3
    for number in range(count):
        words, used = [], 0.0
        for word in latin_words(sheet.rng, int(width / max(space * 3, 1)) + 2):
            length = sheet.width_of(word, size)
            if used + length + space * len(words) > width:
                break
            words.append((word, length))
            used += length
        last = number == count - 1
        if last:
            keep = max(1, round(len(words) * sheet.rng.uniform(0.3, 0.95)))
            words = words[:keep]
        gap = space if last or len(words) < 2 else (width - used) / (len(words) - 1)
        x = left
        for word, length in words:
            sheet.text((x, top + number * leading), word, size)
            x += length + gap


def _chinese_lines(
    sheet: Sheet, left: float, top: float, width: float, count: int, leading: float, size: float
) -> None:
    """Lines of Chinese characters on a square grid; the first is indented, the last one short."""
    per_line = max(1, int(width / round(size)))
    for number in range(count):
        line = chinese_text(sheet.rng, per_line)
        if number == 0 and per_line > 4:
            line = "\u3000\u3000" + line[2:]
        elif number == count - 1:
            line = line[: max(1, round(per_line * sheet.rng.uniform(0.3, 0.95)))]
        sheet.text((left, top + number * leading), line, size, sheet.chinese)


def text_lines(sheet: Sheet, left: float, top: float, width: float, count: int, scale: float = 1.0) -> float:
    """Running text of `count` lines in the sheet's language; returns the height used."""
    size = max(6, round(sheet.size * scale))
    chinese = sheet.chinese is not None and sheet.rng.random() < 0.85
    leading = size * (1.55 if chinese else 1.3)
    (_chinese_lines if chinese else _latin_lines)(sheet, left, top, width, count, leading, size)
    return count * leading
