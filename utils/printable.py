"""Names of files as one line of a terminal or a log, whatever bytes they hold."""

from __future__ import annotations

import unicodedata

# Control characters (a line break or an escape sequence in a name), bytes that are no text, line separators.
_UNPRINTABLE = ("Cc", "Cs", "Zl", "Zp")


def printable(text: object) -> str:
    r"""`str(text)` on one line: what would break it or cannot be encoded is written as \n, \x1b or \udcff."""
    return "".join(
        character.encode("unicode_escape").decode("ascii")
        if unicodedata.category(character) in _UNPRINTABLE
        else character
        for character in str(text)
    )
