"""Words for drawn pages: they read like prose from afar and mean nothing."""

from __future__ import annotations

import numpy as np

_PROSE = """
the of and to in for with on at by from this that which are was has been not can may each other more than under
report page table result value number section general system method model paper light colour measure document
paragraph education research service company account process material student public office history science
language project review national annual standard quality development market control analysis information between
however therefore according during within because different important following several possible house water
road garden letter morning evening teacher question answer reason nature culture growth energy data price order
invoice amount payment delivery address contract article chapter figure example practice health
"""
_LATIN_WORDS = _PROSE.split()
_CHINESE_CHARACTERS = (
    "的一是在不了有和人这中大为上个国我以要他时来用们生到作地于出就分对成会可主发年动同工也能下过子说产种面而方后多"
    "定行学法所民得经十三之进着等部度家电力里如水化高自二理起小物现实加量都两体制机当使点从业本去把性好应开它合还"
    "因由其些然前外天政四日那社义事平形相全表间样与关各重新线内数正心反你明看原又么利比或但质气第向道命此变条只没结"
    "解问意建月公无系军很情者最立代想已通并提直题党程展五果料象员革位入常文总次品式活设及管特件长求老头基资边流路级少"
)
_CHINESE_STOPS = "，，，，。。；："
_SYMBOLS = "αβγδεθλμπσφω∑∫∂∞≤≥≈×±→∈"


def word(rng: np.random.Generator) -> str:
    """One Latin word."""
    return str(_LATIN_WORDS[int(rng.integers(len(_LATIN_WORDS)))])


def number(rng: np.random.Generator) -> str:
    """A number as tables show them: whole, decimal, with separators, or a share."""
    kind = int(rng.integers(4))
    if kind == 0:
        return str(int(rng.integers(1, 2000)))
    if kind == 1:
        return f"{rng.uniform(0, 1000):.2f}"
    if kind == 2:
        return f"{int(rng.integers(1000, 9_999_999)):,}"
    return f"{rng.uniform(0, 100):.1f}%"


def latin_words(rng: np.random.Generator, count: int) -> list[str]:
    """`count` words with capitals and stops, as in running text."""
    words = []
    start = True
    for _ in range(count):
        text = number(rng) if rng.random() < 0.04 else word(rng)
        text = text.capitalize() if start else text
        start = rng.random() < 0.08
        words.append(text + ("." if start else "," if rng.random() < 0.06 else ""))
    return words


def chinese_text(rng: np.random.Generator, count: int) -> str:
    """`count` Chinese characters with stops, as in running text."""
    picks = rng.integers(len(_CHINESE_CHARACTERS), size=count)
    characters = [_CHINESE_CHARACTERS[int(pick)] for pick in picks]
    position = int(rng.integers(5, 14))
    while position < count:
        characters[position] = _CHINESE_STOPS[int(rng.integers(len(_CHINESE_STOPS)))]
        position += int(rng.integers(6, 18))
    return "".join(characters)


def title(rng: np.random.Generator, words: int = 4) -> str:
    """A heading of some words."""
    return " ".join(word(rng).capitalize() for _ in range(words))


def formula(rng: np.random.Generator) -> str:
    """Something that looks like an equation."""
    letters = "abcdefghkmnpqrstuvwxyzABCDEFGHKLMNPQRSTXYZ" + _SYMBOLS
    parts = []
    for _ in range(int(rng.integers(4, 9))):
        term = "".join(letters[int(index)] for index in rng.integers(len(letters), size=int(rng.integers(1, 4))))
        parts.append(
            f"({term})" if rng.random() < 0.25 else term + (str(int(rng.integers(2, 10))) if rng.random() < 0.3 else "")
        )
    signs = [" + ", " − ", " / ", " · ", " "]
    left = parts[0]
    right = parts[1] + "".join(signs[int(rng.integers(len(signs)))] + part for part in parts[2:])
    return f"{left} = {right}"
