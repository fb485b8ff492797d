"""Which files of a folder are pictures."""

from __future__ import annotations

import os
from pathlib import Path

from data.images import IMAGE_SUFFIXES


def pictures_below(folder: str | os.PathLike[str]) -> list[Path]:
    """Paths, relative to `folder` and sorted, of the picture files in it and in its sub-folders.

    Hidden files and folders are left out: half-written files have hidden names. Linked folders are not followed.
    """
    folder = Path(folder)
    found = (path.relative_to(folder) for path in folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
    return sorted(
        path for path in found if not any(part.startswith(".") for part in path.parts) and (folder / path).is_file()
    )
