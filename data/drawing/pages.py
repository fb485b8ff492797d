"""Drawn documents: a sheet is laid out, printed and photographed."""

from __future__ import annotations

import numpy as np

from data.drawing import blocks, figures
from data.drawing.fonts import FontSet, find_fonts
from data.drawing.paper import photograph_sheet
from data.drawing.sheet import Sheet, blank_sheet

SMALLEST = 64

# What each kind of page is made of, with weights.
_CONTENTS: dict[str, dict[blocks.Block, float]] = {
    "article": {
        blocks.paragraph: 6, blocks.heading: 2, blocks.equation: 1.5, blocks.table: 1, figures.chart: 1,
        figures.photograph: 0.6,
    },
    "report": {blocks.paragraph: 3, blocks.heading: 2, blocks.table: 3, figures.chart: 1.5, blocks.item_list: 1},
    "exam": {
        blocks.item_list: 5, blocks.heading: 1, blocks.equation: 2, blocks.paragraph: 2, figures.handwriting: 1,
    },
    "form": {
        blocks.form_fields: 4, blocks.table: 3, blocks.heading: 1, blocks.paragraph: 1, figures.handwriting: 0.6,
    },
    "magazine": {blocks.paragraph: 5, blocks.big_title: 1, figures.photograph: 2.5, blocks.heading: 1},
    "poster": {blocks.big_title: 3, figures.photograph: 3, blocks.paragraph: 1.5, blocks.item_list: 1},
    "notes": {figures.handwriting: 6, blocks.heading: 0.5, blocks.equation: 0.5},
}  # fmt: skip
_COLUMNS = {"article": (1, 1, 2, 2), "exam": (1, 2), "magazine": (2, 3)}
_KIND_WEIGHTS = {
    "article": 0.3,
    "report": 0.18,
    "exam": 0.14,
    "form": 0.13,
    "magazine": 0.11,
    "poster": 0.06,
    "notes": 0.08,
}

KINDS = tuple(_KIND_WEIGHTS)


def draw_page(
    rng: np.random.Generator, width: int, height: int, fonts: FontSet | None = None, kind: str | None = None
) -> np.ndarray:
    """Draws a photographed document page.

    Args:
        rng: the only source of chance: the same generator state and fonts give the same page.
        width: pixels, at least 64.
        height: pixels, at least 64.
        fonts: what to write with; by default every font found on this machine, so that the same seed gives another
            page on a machine with other fonts. `fonts.bundled_fonts()` does not depend on the machine.
        kind: one of `KINDS`; None draws it.

    Returns:
        RGB uint8, height x width x 3.
    """
    if min(width, height) < SMALLEST:
        raise ValueError(f"a page of {width} x {height} pixels, expected at least {SMALLEST} each way")
    if kind is not None and kind not in KINDS:
        raise ValueError(f"kind is {kind!r}, expected one of {', '.join(KINDS)}")
    sheet = blank_sheet(rng, width, height, fonts or find_fonts())
    kind = kind or str(rng.choice(list(_KIND_WEIGHTS), p=list(_KIND_WEIGHTS.values())))
    _lay_out(sheet, kind, width, height)
    return photograph_sheet(rng, np.asarray(sheet.image))


def _lay_out(sheet: Sheet, kind: str, width: int, height: int) -> None:
    """Fills the sheet: running head, title, columns of blocks, foot, and what is put on top of them."""
    rng = sheet.rng
    side, above = width * rng.uniform(0.05, 0.11), height * rng.uniform(0.04, 0.08)
    top, bottom = above, height - above
    if rng.random() < 0.5:
        sheet.text((side, top * 0.55), blocks.title(rng, 3), sheet.size * 0.8, ink=(110, 110, 110))
        sheet.rule(side, top * 0.55 + sheet.size * 1.3, width - side, top * 0.55 + sheet.size * 1.3, sheet.size * 0.05)
        top += sheet.size
    if rng.random() < 0.6:
        sheet.text((width / 2, bottom + above * 0.3), str(int(rng.integers(1, 400))), sheet.size * 0.9)
    room = bottom - top
    if kind in ("magazine", "poster") or rng.random() < 0.35:
        top += blocks.big_title(sheet, side, top, width - 2 * side, room * 0.4)
    elif rng.random() < 0.8:
        top += blocks.heading(sheet, side, top, width - 2 * side, room, scale=rng.uniform(1.8, 2.8)) + sheet.size
    if kind == "form" and rng.random() < 0.6:
        wide = width * rng.uniform(0.12, 0.2)
        figures.id_photo(sheet, width - side - wide, top, wide, wide * 1.3)
        blocks.form_fields(sheet, side, top, width - 2 * side - wide * 1.2, wide * 1.3)
        top += wide * 1.3 + sheet.size
    columns = int(rng.choice(_COLUMNS.get(kind, (1,))))
    gutter = sheet.size * 1.6
    column_width = (width - 2 * side - gutter * (columns - 1)) / columns
    for column in range(columns):
        _fill_column(sheet, _CONTENTS[kind], side + column * (column_width + gutter), top, column_width, bottom)
    _put_on_top(sheet, kind, width, height)


def _fill_column(
    sheet: Sheet, weights: dict[blocks.Block, float], left: float, top: float, width: float, bottom: float
) -> None:
    """Draws blocks below each other until the column is full."""
    makers, shares = list(weights), np.array(list(weights.values()))
    previous = None
    while bottom - top > sheet.size * 2:
        maker = makers[int(sheet.rng.choice(len(makers), p=shares / shares.sum()))]
        if maker is previous and maker is not blocks.paragraph and maker is not figures.handwriting:
            continue
        top += maker(sheet, left, top, width, bottom - top)
        previous = maker


def _put_on_top(sheet: Sheet, kind: str, width: int, height: int) -> None:
    """Stamps, square codes and a signature, which do not mind what lies below."""
    rng = sheet.rng
    short = min(width, height)
    if rng.random() < (0.5 if kind in ("form", "report") else 0.15):
        radius = short * rng.uniform(0.06, 0.12)
        stamp_at = (rng.uniform(0.2, 0.85) * width, rng.uniform(0.4, 0.9) * height)
        figures.stamp(sheet, stamp_at, radius)
    if rng.random() < 0.12:
        side = short * rng.uniform(0.07, 0.13)
        figures.code_square(sheet, width - side * 1.5, height * 0.03, side)
    if rng.random() < 0.15:
        wide = width * 0.25
        figures.handwriting(sheet, rng.uniform(0.1, 0.7) * width, rng.uniform(0.1, 0.85) * height, wide, sheet.size * 6)
