"""What people write on a command line about prediction, as values."""

from __future__ import annotations

import argparse


def parse_tiles(text: str) -> tuple[int, int]:
    """"2x3" is 2 rows of 3 columns; "4" is four tiles, 2 x 2."""
    rows, _, columns = text.lower().partition("x")
    if not columns and rows.isdigit() and int(rows) > 0:
        side = round(int(rows) ** 0.5)
        if side * side == int(rows):
            return side, side
    elif rows.isdigit() and columns.isdigit() and int(rows) > 0 and int(columns) > 0:
        return int(rows), int(columns)
    raise argparse.ArgumentTypeError(f"{text!r}: expected ROWSxCOLUMNS such as 2x3, or a square number such as 4")


def parse_scale(text: str) -> str | float:
    """"auto", or a number above 0 and up to 1."""
    if text == "auto":
        return text
    try:
        scale = float(text)
    except ValueError:
        scale = 0.0
    if not 0 < scale <= 1:
        raise argparse.ArgumentTypeError(f"{text!r}: expected 'auto' or a number above 0 and up to 1")
    return scale


def parse_count(text: str) -> int:
    """A number of pixels, 0 or more."""
    if not text.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r}: expected a whole number of pixels, 0 or more")
    return int(text)


def parse_threads(text: str) -> int:
    """A number of threads, 1 or more."""
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a whole number of threads, 1 or more")
    return int(text)


def parse_ratio(text: str) -> float:
    """TLC's window in training sizes, 0 or more."""
    try:
        ratio = float(text)
    except ValueError:
        ratio = -1.0
    if not 0 <= ratio < 1e6:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a number such as 1.5, or 0 to turn TLC off")
    return ratio
