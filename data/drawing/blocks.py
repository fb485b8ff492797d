"""Blocks of a printed page: each draws itself into a column and returns the height it used.

Every block takes (sheet, left, top, width, room) in pixels and uses at most about `room` pixels downwards.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

from data.drawing.sheet import Sheet, text_lines
from data.drawing.wording import chinese_text, formula, number, title, word

Block = Callable[[Sheet, float, float, float, float], float]


def heading(sheet: Sheet, left: float, top: float, width: float, room: float, scale: float | None = None) -> float:
    """A heading, perhaps numbered, perhaps over a rule or on a coloured bar."""
    rng = sheet.rng
    size = sheet.size * (scale or rng.uniform(1.25, 2.0))
    if size * 1.8 > room:
        return room
    ink = sheet.accent if rng.random() < 0.5 else sheet.ink
    if sheet.chinese:
        label, font = chinese_text(rng, int(rng.integers(4, 12))).strip("，。；："), sheet.chinese
    else:
        label, font = title(rng, int(rng.integers(2, 6))), sheet.bold
    count = f"{int(rng.integers(1, 9))}.{int(rng.integers(1, 9))}" if rng.random() < 0.4 else ""
    # Many Chinese fonts have no digits, so the count is always in the Latin one.
    indent = size * 0.2 + (sheet.width_of(count, size, sheet.bold) + size * 0.6 if count else 0)
    label = fitted(sheet, label, width - indent, size, font)
    if rng.random() < 0.12:
        sheet.draw.rectangle([left, top, left + width, top + size * 1.5], fill=sheet.accent)
        ink = (255, 255, 255)
    spare = width - indent - sheet.width_of(label, size, font)
    x = left + (spare / 2 if rng.random() < 0.25 else 0)
    sheet.text((x + size * 0.2, top + size * 0.15), count, size, sheet.bold, ink)
    sheet.text((x + indent, top + size * 0.15), label, size, font, ink)
    if rng.random() < 0.2:
        sheet.rule(left, top + size * 1.5, left + width, top + size * 1.5, sheet.size * 0.08, ink)
    return size * 1.75


def fitted(sheet: Sheet, label: str, width: float, size: float, font: str) -> str:
    """The label without the last words (or characters, where it has no spaces) that do not fit into `width`."""
    while len(label) > 1 and sheet.width_of(label, size, font) > width:
        label = label.rsplit(" ", 1)[0].rstrip() if " " in label else label[:-1]
    return label


def paragraph(sheet: Sheet, left: float, top: float, width: float, room: float) -> float:
    """Running text."""
    count = min(int(sheet.rng.integers(3, 13)), int(room / (sheet.size * 1.6)))
    if count < 1:
        return room
    return text_lines(sheet, left, top, width, count) + sheet.size * 0.6


def item_list(sheet: Sheet, left: float, top: float, width: float, room: float) -> float:
    """A list with bullets or numbers, as in exam papers and minutes."""
    rng = sheet.rng
    indent, used = sheet.size * rng.uniform(1.3, 2.2), 0.0
    numbered = rng.random() < 0.6
    for index in range(int(rng.integers(3, 8))):
        count = int(rng.integers(1, 4))
        if used + count * sheet.size * 1.6 > room:
            break
        if numbered:
            sheet.text((left, top + used), f"{index + 1}.", sheet.size)
        else:
            dot, y = sheet.size * 0.22, top + used + sheet.size * 0.55
            sheet.draw.ellipse([left + dot, y - dot, left + 3 * dot, y + dot], fill=sheet.accent)
        used += text_lines(sheet, left + indent, top + used, width - indent, count) + sheet.size * 0.25
    return used + sheet.size * 0.6 if used else room


def equation(sheet: Sheet, left: float, top: float, width: float, room: float) -> float:
    """A displayed formula with its number."""
    size = sheet.size * 1.15
    if size * 2.4 > room:
        return room
    text = formula(sheet.rng)
    while sheet.width_of(text, size, sheet.formula) > width * 0.85 and " " in text:
        text = text.rsplit(" ", 1)[0]
    x = left + (width - sheet.width_of(text, size, sheet.formula)) / 2
    sheet.text((x, top + size * 0.4), text, size, sheet.formula)
    if sheet.rng.random() < 0.5:
        sheet.text((left + width - size * 2, top + size * 0.4), f"({int(sheet.rng.integers(1, 40))})", sheet.size)
    return size * 2.4


def table(sheet: Sheet, left: float, top: float, width: float, room: float) -> float:
    """A table with rules: a full grid, or three horizontal rules as in papers; sometimes a tinted head."""
    rng = sheet.rng
    size = sheet.size * rng.uniform(0.8, 1.0)
    row_height = size * rng.uniform(1.6, 2.6)
    rows = min(int(rng.integers(4, 16)), int((room - sheet.size * 2) / row_height))
    columns = max(2, min(int(rng.integers(3, 8)), int(width / (size * 5))))
    if rows < 3:
        return room
    shares = rng.uniform(0.6, 1.4, columns)
    edges = [left, *(left + width * (shares.cumsum() / shares.sum()))]
    bottom = top + rows * row_height
    grid, thick = rng.random() < 0.65, max(1.0, sheet.size * rng.uniform(0.04, 0.09))
    if rng.random() < 0.4:
        tint = tuple(int(255 - (255 - value) * 0.25) for value in sheet.accent)
        sheet.draw.rectangle([left, top, left + width, top + row_height], fill=tint)
    for row in range(rows):
        y = top + row * row_height + (row_height - size) / 2 - size * 0.1
        for column, (x0, x1) in enumerate(pairwise(edges)):
            if row and rng.random() < 0.08:
                continue
            _cell(sheet, row == 0, column == 0, (x0 + size * 0.3, y), x1 - x0 - size * 0.5, size)
    for row in range(rows + 1):
        if grid or row in (0, 1, rows):
            sheet.rule(left, top + row * row_height, left + width, top + row * row_height, thick)
    for x in edges if grid else ():
        sheet.rule(x, top, x, bottom, thick)
    return rows * row_height + sheet.size


def _cell(sheet: Sheet, head: bool, first: bool, place: tuple[float, float], width: float, size: float) -> None:
    """One cell's text, shortened to its width."""
    font = sheet.bold if head else sheet.regular
    if (head or first) and sheet.chinese:
        text, font = chinese_text(sheet.rng, 4).strip("，。；："), sheet.chinese
    elif head or first:
        text = word(sheet.rng).capitalize()
    else:
        text = number(sheet.rng)
    while text and sheet.width_of(text, size, font) > width:
        text = text[:-1]
    sheet.text(place, text, size, font)


def form_fields(sheet: Sheet, left: float, top: float, width: float, room: float) -> float:
    """Labels with lines or boxes to fill in."""
    rng = sheet.rng
    row_height, used = sheet.size * rng.uniform(2.0, 3.0), 0.0
    boxed = rng.random() < 0.4
    for _ in range(int(rng.integers(3, 8))):
        if used + row_height > room:
            break
        x = left
        for _ in range(int(rng.integers(1, 3))):
            label = chinese_text(rng, 4) + "：" if sheet.chinese else title(rng, 1) + ":"
            x += sheet.text((x, top + used), label, sheet.size, sheet.chinese or sheet.regular) + sheet.size * 0.5
            end = min(x + width * rng.uniform(0.2, 0.45), left + width)
            if end - x < sheet.size:
                break
            y = top + used + sheet.size * 1.25
            if boxed:
                sheet.draw.rectangle(
                    [x, y - sheet.size * 1.5, end, y], outline=sheet.ink, width=max(1, round(sheet.size * 0.05))
                )
            else:
                sheet.rule(x, y, end, y, sheet.size * 0.06)
            if rng.random() < 0.6:
                sheet.text((x + sheet.size * 0.4, top + used), number(rng), sheet.size)
            x = end + sheet.size
        used += row_height
    return used + sheet.size * 0.4 if used else room


def big_title(sheet: Sheet, left: float, top: float, width: float, room: float) -> float:
    """Large bold lettering, as on covers and posters."""
    rng = sheet.rng
    used = 0.0
    for _ in range(int(rng.integers(1, 3))):
        if sheet.chinese and rng.random() < 0.7:
            label, font = chinese_text(rng, int(rng.integers(3, 8))).strip("，。；："), sheet.chinese
        else:
            label, font = title(rng, int(rng.integers(1, 4))), sheet.bold
        size = min(
            width / max(sheet.width_of(label, 100, font) / 100, 1e-3), sheet.size * rng.uniform(4, 7), room - used
        )
        if size < sheet.size * 1.5:
            break
        sheet.text((left, top + used), label, size * 0.95, font, sheet.accent)
        used += size * 1.3
    return used + sheet.size if used else room
