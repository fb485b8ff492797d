"""Printed pictures of a page: charts, photographs, portraits, stamps, codes and handwriting."""

from __future__ import annotations

import cv2
import numpy as np
from PIL import Image

from data.drawing.occluders import draw_head
from data.drawing.sheet import Ink, Sheet
from data.drawing.surfaces import fractal_noise
from data.drawing.wording import title

_CHART_COLOURS = np.array(
    [(70, 114, 180), (221, 132, 82), (85, 168, 104), (196, 78, 82), (129, 114, 178), (147, 120, 96)]
)


def chart(sheet: Sheet, left: float, top: float, width: float, room: float) -> float:
    """Bars, curves or a pie with axes and a caption."""
    rng = sheet.rng
    height = min(width * rng.uniform(0.4, 0.7), room - sheet.size * 3)
    if height < sheet.size * 5:
        return room
    thick = max(1.0, sheet.size * 0.06)
    kind = str(rng.choice(["bars", "curves", "pie"]))
    colours = [tuple(int(value) for value in colour) for colour in rng.permutation(_CHART_COLOURS)]
    if kind == "pie":
        radius, middle = height * 0.45, left + width / 2
        box = [middle - radius, top + height / 2 - radius, middle + radius, top + height / 2 + radius]
        cuts = np.concatenate([[0], np.cumsum(rng.dirichlet(np.full(5, 2.0))) * 360])
        for start, end, colour in zip(cuts[:-1], cuts[1:], colours, strict=False):
            sheet.draw.pieslice(box, float(start), float(end), fill=colour, outline=(255, 255, 255))
    else:
        _axes(sheet, left, top, width, height, thick)
        if kind == "bars":
            _bars(sheet, left, top, width, height, colours)
        else:
            _curves(sheet, left, top, width, height, thick, colours)
    caption = f"Fig. {int(rng.integers(1, 20))}  {title(rng, 3)}"
    size = sheet.size * 0.85
    sheet.text((left + (width - sheet.width_of(caption, size)) / 2, top + height + size * 0.5), caption, size)
    return height + sheet.size * 2.4


def _axes(sheet: Sheet, left: float, top: float, width: float, height: float, thick: float) -> None:
    for step in range(5):
        y = top + height * step / 5
        sheet.rule(left, y, left + width, y, thick * 0.6, (205, 205, 205))
    sheet.rule(left, top, left, top + height, thick)
    sheet.rule(left, top + height, left + width, top + height, thick)


def _bars(sheet: Sheet, left: float, top: float, width: float, height: float, colours: list[Ink]) -> None:
    groups, each = int(sheet.rng.integers(4, 9)), int(sheet.rng.integers(1, 4))
    slot = width / groups
    for group in range(groups):
        for index in range(each):
            share = sheet.rng.uniform(0.15, 0.95)
            x = left + slot * (group + 0.15 + 0.7 * index / each)
            box = [x, top + height * (1 - share), x + slot * 0.66 / each, top + height]
            sheet.draw.rectangle(box, fill=colours[index])


def _curves(
    sheet: Sheet, left: float, top: float, width: float, height: float, thick: float, colours: list[Ink]
) -> None:
    for colour in colours[: int(sheet.rng.integers(1, 4))]:
        steps = np.cumsum(sheet.rng.normal(0, 1, 24))
        shares = 0.1 + 0.8 * (steps - steps.min()) / max(float(np.ptp(steps)), 1e-6)
        points = [(left + width * index / 23, top + height * (1 - share)) for index, share in enumerate(shares)]
        sheet.draw.line(points, fill=colour, width=max(1, round(thick * 2)), joint="curve")


def scene(rng: np.random.Generator, width: int, height: int) -> np.ndarray:
    """A landscape that could be a photograph: sky, hills, water or houses; RGB float32 0..255."""
    low = rng.uniform(0.35, 0.65)
    y = np.linspace(0, 1, height, dtype=np.float32)[:, None]
    sky_top, sky_low = (
        np.float32(rng.choice([(70, 120, 190), (120, 130, 150), (200, 140, 100), (40, 50, 90)])),
        np.float32((225, 225, 220)),
    )
    blend = np.clip(y / low, 0, 1)[..., None]
    picture = np.broadcast_to(sky_top * (1 - blend) + sky_low * blend, (height, width, 3)).copy()
    clouds = np.clip(fractal_noise(rng, height, width, width / 3, 5), 0, 2)[..., None] * 0.3
    picture += (245 - picture) * np.clip(clouds, 0, 1)
    texture = fractal_noise(rng, height, width, width / 12, 6, 0.7)
    for layer in range(int(rng.integers(2, 5))):
        ridge = low + 0.12 * layer + 0.09 * fractal_noise(rng, 1, width, width / (3 + layer), 5)
        colour = np.float32(rng.choice([(60, 90, 55), (95, 100, 70), (70, 75, 85), (130, 105, 70), (40, 60, 45)]))
        area = np.clip((y - ridge) * height / 2, 0, 1)[..., None]
        picture = picture * (1 - area) + colour * (1 + 0.22 * texture[..., None]) * area
    for _ in range(int(rng.integers(0, 7))):
        x, w, top = int(rng.integers(width)), int(width * rng.uniform(0.05, 0.16)), int(height * rng.uniform(0.3, 0.7))
        wall = rng.uniform(60, 220, 3).astype(np.float32)
        picture[top:, x : x + w] = wall * (1 + 0.06 * texture[top:, x : x + w, None])
        step = max(3, w // 5)
        picture[top + step :: step * 2, x + step // 2 : x + w : step] *= 0.55
    return picture


def portrait(rng: np.random.Generator, width: int, height: int) -> np.ndarray:
    """A printed portrait in front of a plain wall, RGB float32 0..255."""
    wall = np.float32(rng.choice([(235, 235, 238), (70, 120, 200), (190, 40, 45), (150, 155, 160), (90, 100, 95)]))
    shade = 1 - 0.12 * np.abs(np.linspace(-1, 1, width, dtype=np.float32))[None, :, None]
    picture = np.broadcast_to(wall * shade, (height, width, 3)).copy()
    head = draw_head(rng, max(32, min(round(max(width, height) * rng.uniform(0.95, 1.2)), 700)))
    scale = rng.uniform(0.86, 1.0) * height / head.shape[0]
    size = (max(2, round(head.shape[1] * scale)), max(2, round(head.shape[0] * scale)))
    head = cv2.resize(head, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    left = (width - size[0]) // 2
    place, taken = np.s_[height - size[1] :, max(left, 0) : left + size[0]], head[:, max(-left, 0) :][:, :width]
    alpha = taken[..., 3:].astype(np.float32) / 255
    part = picture[place][:, : taken.shape[1]]
    picture[place][:, : taken.shape[1]] = part * (1 - alpha) + taken[..., :3] * alpha
    return picture


def as_printed(rng: np.random.Generator, picture: np.ndarray) -> np.ndarray:
    """What print does to a picture: lifted blacks, perhaps grey or one ink, a little grain; RGB uint8."""
    kind = rng.random()
    if kind < 0.35:
        picture = np.repeat((picture @ np.float32((0.299, 0.587, 0.114)))[..., None], 3, axis=2)
    if kind < 0.1:
        picture = picture * np.float32((1.0, 0.92, 0.78))
    picture = 12 + picture * np.float32(rng.uniform(0.78, 0.95))
    grain = rng.standard_normal(picture.shape[:2], np.float32)[..., None] * np.float32(rng.uniform(2, 8))
    return np.clip(picture + grain, 0, 255).astype(np.uint8)


def photograph(sheet: Sheet, left: float, top: float, width: float, room: float) -> float:
    """A printed photograph as wide as the column, with a caption."""
    rng = sheet.rng
    height = min(width * rng.uniform(0.5, 0.85), room - sheet.size * 2)
    if height < sheet.size * 5:
        return room
    size = (round(width), round(height))
    make = portrait if rng.random() < 0.35 else scene
    # Fine detail would be lost in print; a smaller drawing is faster.
    shrink = max(1.0, max(size) / 900)
    picture = as_printed(rng, make(rng, max(8, round(size[0] / shrink)), max(8, round(size[1] / shrink))))
    sheet.image.paste(Image.fromarray(picture).resize(size, Image.Resampling.BICUBIC), (round(left), round(top)))
    if rng.random() < 0.6:
        sheet.text((left, top + height + sheet.size * 0.3), title(rng, 5), sheet.size * 0.8)
    return height + sheet.size * 2


def id_photo(sheet: Sheet, left: float, top: float, width: float, height: float) -> None:
    """A small portrait with a frame, as on forms and identity papers."""
    size = (max(16, round(width)), max(20, round(height)))
    picture = as_printed(sheet.rng, portrait(sheet.rng, *size))
    sheet.image.paste(Image.fromarray(picture), (round(left), round(top)))
    sheet.draw.rectangle(
        [left, top, left + width, top + height], outline=sheet.ink, width=max(1, round(sheet.size * 0.06))
    )


def code_square(sheet: Sheet, left: float, top: float, side: float) -> None:
    """A square code of black modules with three corner marks."""
    modules = 29
    bits = (sheet.rng.random((modules, modules)) < 0.5).astype(np.uint8)
    for row, column in ((0, 0), (0, modules - 7), (modules - 7, 0)):
        # A mark is a black square, a white ring and a black middle, set apart by one white module.
        bits[max(row - 1, 0) : row + 8, max(column - 1, 0) : column + 8] = 0
        for inset, value in ((0, 1), (1, 0), (2, 1)):
            bits[row + inset : row + 7 - inset, column + inset : column + 7 - inset] = value
    picture = Image.fromarray(255 - 235 * bits).convert("RGB")
    sheet.image.paste(picture.resize((round(side), round(side)), Image.Resampling.NEAREST), (round(left), round(top)))


def stamp(sheet: Sheet, middle: tuple[float, float], radius: float) -> None:
    """A round seal with a star, in red or blue ink that lets the text through and is worn in places."""
    rng = sheet.rng
    side = max(24, round(radius * 2))
    cover = np.zeros((side, side), np.float32)
    centre, thick = (side // 2, side // 2), max(1, round(side * rng.uniform(0.02, 0.04)))
    cv2.circle(cover, centre, round(side * 0.46), 1.0, thick, cv2.LINE_AA)
    if rng.random() < 0.5:
        cv2.circle(cover, centre, round(side * 0.4), 1.0, max(1, thick // 2), cv2.LINE_AA)
    angles = np.arange(10) * np.pi / 5 - np.pi / 2
    star = np.stack([np.cos(angles), np.sin(angles)], 1) * np.where(np.arange(10) % 2, 0.055, 0.14)[:, None] * side
    cv2.fillPoly(cover, [np.round(star + side / 2).astype(np.int32)], 1.0, cv2.LINE_AA)
    for angle in np.linspace(-2.4, 2.4, int(rng.integers(9, 16))) - np.pi / 2:
        for _ in range(4):
            ends = (
                rng.normal(0, 0.022, (2, 2)) * side + side / 2 + 0.32 * side * np.array([np.cos(angle), np.sin(angle)])
            )
            first, second = ends.astype(int).tolist()
            cv2.line(cover, first, second, 1.0, max(1, thick // 2), cv2.LINE_AA)
    worn = np.clip(0.75 + 0.3 * fractal_noise(rng, side, side, side / 6, 5), 0.1, 0.9)
    ink = np.float32([(200, 35, 40), (200, 35, 40), (45, 60, 150)][int(rng.integers(3))])
    left, top = round(middle[0] - side / 2), round(middle[1] - side / 2)
    box = (left, top, left + side, top + side)
    below = np.asarray(sheet.image.crop(box), np.float32)
    share = (cover * worn)[..., None]
    mixed = below * (1 - share) + np.minimum(below, ink) * share
    sheet.image.paste(Image.fromarray(mixed.astype(np.uint8)), (left, top))


def handwriting(sheet: Sheet, left: float, top: float, width: float, room: float) -> float:
    """Lines of a cursive hand in pen, on ruled lines or not."""
    rng = sheet.rng
    line_height = sheet.size * rng.uniform(2.0, 2.8)
    count = min(int(rng.integers(2, 9)), int(room / line_height))
    if count < 1:
        return room
    ink: Ink = [(30, 45, 120), (25, 25, 30), (20, 60, 150)][int(rng.integers(3))]
    ruled, slant = rng.random() < 0.4, rng.uniform(0.0, 0.45)
    for index in range(count):
        base = top + (index + 0.75) * line_height
        if ruled:
            sheet.rule(left, base + sheet.size * 0.15, left + width, base + sheet.size * 0.15, 1, (170, 185, 205))
        x = left
        while x < left + width * (0.93 if index < count - 1 else rng.uniform(0.3, 0.9)):
            x = _scribbled_word(
                sheet, x, base + rng.normal(0, sheet.size * 0.05), slant, ink
            ) + sheet.size * rng.uniform(0.4, 0.8)
    return (count + 0.4) * line_height


def _scribbled_word(sheet: Sheet, left: float, base: float, slant: float, ink: Ink) -> float:
    """One joined-up word; returns where it ends."""
    rng, size = sheet.rng, sheet.size * 0.75
    letters = int(rng.integers(2, 9))
    steps = np.linspace(0, 2 * np.pi, 10, endpoint=False)
    points = []
    x = left
    for _ in range(letters):
        high = rng.choice([0.45, 0.5, 0.55, 1.2], p=[0.35, 0.25, 0.2, 0.2])
        wide = rng.uniform(0.3, 0.6)
        loop = rng.uniform(0.1, 0.9)
        across = x + size * wide * (steps / (2 * np.pi) + loop * 0.35 * np.sin(steps))
        up = size * high * (0.5 - 0.5 * np.cos(steps)) * rng.uniform(0.85, 1.1)
        if rng.random() < 0.1:
            up = -up * 0.8
        points += [(float(px + slant * py), float(base - py)) for px, py in zip(across, up, strict=True)]
        x += size * wide
    sheet.draw.line(points, fill=ink, width=max(1, round(sheet.size * 0.09)), joint="curve")
    return x
