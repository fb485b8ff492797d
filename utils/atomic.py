"""Writing files so that a reader never sees half of one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yields a temporary path beside `path`; renames it into place when the block succeeds.

    The temporary name keeps the suffix (writers choose a format by it), starts with a dot and holds the
    process id, so that parallel writers and folder listings do not meet it. On any error the temporary
    file is removed and `path` stays as it was. Missing parent folders are created.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # A name may be as long as the file system allows, so the temporary one must not grow with it.
    temporary = path.with_name(f".{os.getpid()}-{abs(hash(path.name)):x}.tmp{path.suffix}")
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
