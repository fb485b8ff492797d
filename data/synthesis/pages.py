"""Drawn pages for whoever has none: text, tables, forms, lists, charts and handwriting, printed on white.

The fonts are matplotlib's: a seed gives the same page with the pinned packages. `scenes.photograph` makes it a photo.
"""

import importlib.util
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

Ink = tuple[int, int, int]
_FONTS = (("STIXGeneral", "STIXGeneralBol"), ("DejaVuSans", "DejaVuSans-Bold"), ("DejaVuSerif", "DejaVuSerif-Bold"),
          ("cmr10", "cmb10"))  # regular, bold
_ACCENTS: tuple[Ink, ...] = ((30, 70, 140), (150, 30, 35), (20, 105, 80), (190, 95, 20), (80, 50, 120), (20, 20, 22))
_PENS: tuple[Ink, ...] = ((30, 45, 120), (25, 25, 30), (20, 60, 150))
_PROSE = """
the of and to in for with on at by from this that which are was has been not can may each other more than under
report page table result value number section general system method model paper light colour measure document
paragraph education research service company account process material student public office history science
language project review national annual standard quality development market control analysis information between
however therefore according during within because different important following several possible house water
road garden letter morning evening teacher question answer reason nature culture growth energy data price order
invoice amount payment delivery address contract article chapter figure example practice health
"""
_WORDS = _PROSE.split()


@lru_cache(maxsize=128)
def _font(name: str, size: int) -> ImageFont.FreeTypeFont:
    """A font of matplotlib's, which is found without the second that importing it takes."""
    path = Path(importlib.util.find_spec("matplotlib").origin).with_name("mpl-data") / "fonts" / "ttf" / f"{name}.ttf"
    # The basic layout needs no library beside Pillow, so a page does not depend on what else is installed.
    return ImageFont.truetype(str(path), max(size, 6), layout_engine=ImageFont.Layout.BASIC)


class Sheet:
    """A page in the making, and what every block draws with: fonts, the height of the text in pixels, colours.

    `image` is the page, in RGB, and `rules` shows its straight lines alone, in white on black.
    """

    def __init__(self, rng: np.random.Generator, width: int, height: int) -> None:
        self.rng, self.image = rng, Image.new("RGB", (width, height), "white")
        self.rules = Image.new("L", (width, height))
        self.draw = ImageDraw.Draw(self.image)
        self.fonts = _FONTS[int(rng.integers(len(_FONTS)))]
        self.ink: Ink = (int(rng.integers(10, 60)),) * 3
        self.accent = _ACCENTS[int(rng.integers(len(_ACCENTS)))]
        self.size = max(6, round(min(width, height * 0.8) * rng.uniform(0.0125, 0.02)))

    def text(self, x: float, y: float, text: str, scale: float = 1.0, bold: bool = False, ink: Ink | None = None,
             width: float = np.inf) -> float:  # fmt: skip
        """One line from its upper left corner, without what does not fit into `width`; returns where it ends."""
        font = _font(self.fonts[bold], round(self.size * scale))
        while text and (length := font.getlength(text)) > width:
            text = text[: min(len(text) - 1, int(len(text) * width / length))]
        self.draw.text((round(x), round(y)), text, font=font, fill=ink or self.ink)
        return x + font.getlength(text)

    def rule(self, *ends: float, ink: Ink | None = None) -> None:
        """A straight line, `ends` are x, y of both."""
        spots, width = [round(end) for end in ends], max(1, round(self.size * 0.07))
        self.draw.line(spots, ink or self.ink, width)
        ImageDraw.Draw(self.rules).line(spots, 255, width)

    def curve(self, xs: np.ndarray, ys: np.ndarray, ink: Ink, width: int) -> None:
        self.draw.line(list(zip(xs, ys, strict=True)), ink, max(1, width), joint="curve")

    def words(self, count: int, title: bool = False) -> str:
        picked = " ".join(_WORDS[index] for index in self.rng.integers(len(_WORDS), size=count))
        return picked.title() if title else picked

    def number(self) -> str:
        form = ("{:.0f}", "{:.2f}", "{:,.0f}", "{:.1f}%")[self.rng.integers(4)]
        return form.format(10 ** self.rng.uniform(0, 4))


# A block draws itself at (left, top) into a column of `width` and at most about `room` pixels downwards, and returns
# the height that it used; where there is no room for it, all of the rest.
Block = Callable[[Sheet, float, float, float, float], float]


def _heading(sheet: Sheet, left: float, top: float, width: float, room: float) -> float:
    scale = sheet.rng.uniform(1.3, 2.4)
    height = sheet.size * scale * 1.8
    if height > room:
        return room
    ink = sheet.accent if sheet.rng.random() < 0.5 else sheet.ink
    if sheet.rng.random() < 0.12:
        sheet.draw.rectangle([left, top, left + width, top + height * 0.85], fill=sheet.accent)
        ink = (255, 255, 255)
    label = f"{sheet.rng.integers(1, 9)}  {sheet.words(int(sheet.rng.integers(2, 6)), title=True)}"
    sheet.text(left + sheet.size * 0.2, top + sheet.size * 0.1, label, scale, True, ink, width - sheet.size)
    return height


def _lines(sheet: Sheet, left: float, top: float, width: float, count: int) -> float:
    for line in range(count):
        end = width * (sheet.rng.uniform(0.3, 0.95) if line == count - 1 else 1)
        words = sheet.words(int(width / sheet.size) // 2 + 4).capitalize()
        sheet.text(left, top + line * (sheet.size * 1.35), words, width=end)
    return count * (sheet.size * 1.35)


def _paragraph(sheet: Sheet, left: float, top: float, width: float, room: float) -> float:
    count = min(int(sheet.rng.integers(3, 13)), int(room / (sheet.size * 1.6)))
    return _lines(sheet, left, top, width, count) + sheet.size * 0.6 if count else room


def _item_list(sheet: Sheet, left: float, top: float, width: float, room: float) -> float:
    used, indent = 0.0, sheet.size * 1.8
    for number in range(1, int(sheet.rng.integers(4, 9))):
        count = int(sheet.rng.integers(1, 4))
        if used + count * sheet.size * 1.6 > room:
            break
        sheet.text(left, top + used, f"{number}.")
        used += _lines(sheet, left + indent, top + used, width - indent, count) + sheet.size * 0.3
    return used + sheet.size * 0.6 if used else room


def _table(sheet: Sheet, left: float, top: float, width: float, room: float) -> float:
    rng, row_height = sheet.rng, sheet.size * sheet.rng.uniform(1.6, 2.6)
    rows = min(int(rng.integers(4, 16)), int((room - sheet.size * 2) / row_height))
    columns = max(2, min(int(rng.integers(3, 8)), int(width / (sheet.size * 5))))
    if rows < 3:
        return room
    shares, grid = rng.uniform(0.6, 1.4, columns), rng.random() < 0.65  # or three rules as in papers
    edges = np.append(left, left + width * shares.cumsum() / shares.sum())
    if rng.random() < 0.4:
        tint = tuple(255 - (255 - value) // 4 for value in sheet.accent)
        sheet.draw.rectangle([left, top, left + width, top + row_height], fill=tint)
    for row in range(rows + 1):
        y = top + row * row_height
        if grid or row in (0, 1, rows):
            sheet.rule(left, y, left + width, y)
        for column in range(columns if row < rows else 0):
            text = sheet.words(1, title=True) if row == 0 or column == 0 else sheet.number()
            x, end = edges[column] + sheet.size * 0.3, edges[column + 1] - edges[column] - sheet.size * 0.6
            sheet.text(x, y + (row_height - sheet.size * 1.2) / 2, text, bold=row == 0, width=end)
    for x in edges if grid else ():
        sheet.rule(x, top, x, top + rows * row_height)
    return rows * row_height + sheet.size


def _form_fields(sheet: Sheet, left: float, top: float, width: float, room: float) -> float:
    row_height, used = sheet.size * sheet.rng.uniform(2.0, 3.0), 0.0
    for _ in range(int(sheet.rng.integers(3, 8))):
        if used + row_height > room:
            break
        for x in (left, left + width / 2):
            start = sheet.text(x, top + used, sheet.words(1, title=True) + ":", width=width * 0.2) + sheet.size * 0.5
            sheet.rule(start, top + used + sheet.size * 1.25, x + width * 0.46, top + used + sheet.size * 1.25)
            if sheet.rng.random() < 0.6:
                sheet.text(start + sheet.size * 0.3, top + used, sheet.number())
        used += row_height
    return used + sheet.size * 0.4 if used else room


def _chart(sheet: Sheet, left: float, top: float, width: float, room: float) -> float:
    rng, height = sheet.rng, min(width * sheet.rng.uniform(0.4, 0.7), room - sheet.size * 3)
    if height < sheet.size * 5:
        return room
    for step in range(6):
        y = top + height * step / 5
        sheet.rule(left, y, left + width, y, ink=None if step == 5 else (205, 205, 205))
    bars = rng.random() < 0.5
    for colour in rng.permutation(_ACCENTS)[:1 if bars else int(rng.integers(1, 4))].tolist():
        walk = np.cumsum(rng.normal(0, 1, int(rng.integers(5, 14)) if bars else 24))
        shares = 0.1 + 0.8 * (walk - walk.min()) / max(float(np.ptp(walk)), 1e-6)
        xs, ys = left + width * (np.arange(len(walk)) + 0.2) / len(walk), top + height * (1 - shares)
        for x, y in zip(xs, ys, strict=True) if bars else ():
            sheet.draw.rectangle([x, y, x + width * 0.6 / len(walk), top + height], fill=tuple(colour))
        if not bars:
            sheet.curve(xs, ys, tuple(colour), sheet.size // 8)
    sheet.text(left, top + height + sheet.size * 0.5, f"Fig. {rng.integers(1, 20)}  {sheet.words(4)}", 0.85)
    return height + sheet.size * 2.4


def _handwriting(sheet: Sheet, left: float, top: float, width: float, room: float) -> float:
    rng, line_height = sheet.rng, sheet.size * sheet.rng.uniform(2.0, 2.8)
    count = min(int(rng.integers(3, 10)), int(room / line_height))
    if count < 1:
        return room
    pen, slant, tall = _PENS[int(rng.integers(len(_PENS)))], rng.uniform(0, 0.45), sheet.size * 0.75
    for base in top + (np.arange(count) + 0.75) * line_height:
        sheet.rule(left, base + sheet.size * 0.15, left + width, base + sheet.size * 0.15, ink=(170, 185, 205))
        x = left
        while x < left + width * 0.93:
            letters = int(rng.integers(2, 9))
            turn = np.linspace(0, 2 * np.pi * letters, 10 * letters)
            heights = np.repeat(rng.choice([0.45, 0.55, 1.2], letters, p=[0.45, 0.35, 0.2]), 10)
            up = tall * heights * (0.5 - 0.5 * np.cos(turn))
            across = x + tall * (0.45 * turn / (2 * np.pi) + 0.2 * np.sin(turn)) + slant * up
            sheet.curve(across, base - up, pen, sheet.size // 11)
            x = across.max() + sheet.size * rng.uniform(0.4, 0.8)
    return (count + 0.4) * line_height


# The share of each kind among pages, what it is made of, with weights, and how many columns it may have.
KINDS: dict[str, tuple[float, dict[Block, float], tuple[int, ...]]] = {
    "article": (0.36, {_paragraph: 6, _heading: 2, _table: 1, _chart: 1}, (1, 1, 2, 2)),
    "report": (0.24, {_paragraph: 3, _heading: 2, _table: 3, _chart: 1.5, _item_list: 1}, (1,)),
    "exam": (0.16, {_item_list: 5, _heading: 1, _paragraph: 2, _handwriting: 1}, (1, 2)),
    "form": (0.14, {_form_fields: 4, _table: 3, _heading: 1, _paragraph: 1, _handwriting: 0.6}, (1,)),
    "notes": (0.1, {_handwriting: 6, _heading: 0.5}, (1,)),
    "ledger": (0, {_table: 4, _form_fields: 1, _paragraph: 1}, (1,)),
}


def draw_sheet(rng: np.random.Generator, width: int, height: int, kind: str | None = None) -> Sheet:
    """A printed page of at least 40 pixels a side; its `kind` (of `KINDS`) is drawn if None."""
    sheet = Sheet(rng, width, height)
    kind = kind or list(KINDS)[int(rng.choice(len(KINDS), p=[share for share, *_ in KINDS.values()]))]
    _, weights, columns_of_kind = KINDS[kind]
    blocks, shares = list(weights), np.array(list(weights.values()))
    side, top, bottom = width * rng.uniform(0.05, 0.11), height * 0.06, height * rng.uniform(0.92, 0.96)
    sheet.text(width / 2, bottom + sheet.size * 0.5, str(rng.integers(1, 400)), 0.9)
    top += _heading(sheet, side, top, width - 2 * side, bottom - top)
    columns, gutter = int(rng.choice(columns_of_kind)), sheet.size * 1.6
    column_width = (width - 2 * side - gutter * (columns - 1)) / columns
    for column in range(columns):
        y = top
        while bottom - y > sheet.size * 2:
            block = blocks[int(rng.choice(len(blocks), p=shares / shares.sum()))]
            y += block(sheet, side + column * (column_width + gutter), y, column_width, bottom - y)
    return sheet
