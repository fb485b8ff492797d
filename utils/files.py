"""Writing files so that a reader never sees half of one, and their names as one line of a terminal or a log."""

from __future__ import annotations

import os
import re
import threading
import time
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_TEMPORARY = re.compile(r"\.(\d+)-[0-9a-f]+\.tmp(\..*)?", re.DOTALL)
# Another machine's writer may be at work in a shared folder; writing one file does not pause for so long.
_ABANDONED_SECONDS = 10.0
# Control characters (a line break or an escape sequence in a name), bytes that are no text, line separators.
_UNPRINTABLE = ("Cc", "Cs", "Zl", "Zp")


@contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yields a temporary path beside `path`; renames it into place when the block succeeds.

    The temporary name keeps the suffix (writers choose a format by it), starts with a dot and is that of this process
    and thread, so that parallel writers and folder listings do not meet it. On any error the temporary file is
    removed and `path` stays as it was. Missing parent folders are created.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # A name may be as long as the file system allows, so the temporary one must not grow with it.
    mark = abs(hash((path.name, threading.get_ident())))
    temporary = path.with_name(f".{os.getpid()}-{mark:x}.tmp{path.suffix}")
    try:
        yield temporary
        os.replace(temporary, path)
    except BaseException:
        with suppress(FileNotFoundError):
            temporary.unlink()
        raise


def write_bytes(path: str | os.PathLike[str], content: bytes) -> None:
    """Writes `content` to `path` atomically and flushes it to the disk."""
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Writes `text` as UTF-8 with Unix line ends to `path` atomically."""
    write_bytes(path, text.encode("utf-8"))


def remove_leftovers(folder: str | os.PathLike[str]) -> list[Path]:
    """Removes, in `folder` and below, the temporary files of writers that were killed; returns them.

    To be called before this process writes there itself. What another process of this machine, or an unknown one in
    the last seconds, was writing stays.
    """
    removed = []
    for place, _, names in os.walk(folder):
        for name in names:
            match = _TEMPORARY.fullmatch(name)
            path = Path(place, name)
            if match and not _is_running(int(match[1])) and _seconds_since_written(path) > _ABANDONED_SECONDS:
                path.unlink(missing_ok=True)
                removed.append(path)
    return removed


def _is_running(process: int) -> bool:
    """Whether another process of this number runs; this one's number was an earlier one's."""
    if process == os.getpid():
        return False
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        # It belongs to somebody else.
        pass
    return True


def _seconds_since_written(path: Path) -> float:
    try:
        return time.time() - path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def printable(text: object) -> str:
    r"""`str(text)` on one line: what would break it or cannot be encoded is written as \n, \x1b or \udcff."""
    return "".join(
        character.encode("unicode_escape").decode("ascii")
        if unicodedata.category(character) in _UNPRINTABLE
        else character
        for character in str(text)
    )
