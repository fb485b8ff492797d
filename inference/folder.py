"""A folder of photos in, the same folder restored out: names, sub-folders and formats stay."""

from __future__ import annotations

import logging
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

import numpy as np

from data.images import IMAGE_SUFFIXES, encode_image, read_photo
from data.masks import write_mask
from inference.restorer import Restored
from utils.atomic import write_bytes

LOG = logging.getLogger(__name__)
RESTORED, UNTOUCHED, SKIPPED, FAILED = "restored", "untouched", "skipped", "failed"


@dataclass(frozen=True)
class Listing:
    """What lies in a source folder.

    Attributes:
        root: the folder that names are relative to.
        pictures: relative paths of the pictures, sorted.
        others: relative paths of the files that are not pictures by their suffix, sorted.
    """

    root: Path
    pictures: list[Path]
    others: list[Path]


@dataclass(frozen=True)
class Outcome:
    """What became of one picture.

    Attributes:
        name: its path relative to the source.
        status: "restored", "untouched" (nothing covers it: the file is a copy), "skipped" (the result was there
            already) or "failed".
        seconds: from file to file.
        message: why it failed; empty otherwise.
    """

    name: Path
    status: str
    seconds: float
    message: str = ""


def list_pictures(source: str | os.PathLike[str], results: str | os.PathLike[str], include: str = "*") -> Listing:
    """Finds the pictures of `source`, a folder (searched through all its sub-folders) or one file.

    Of a folder only the files whose name fits the shell pattern `include` count, such as "*.jpg".
    Hidden files and folders, linked folders and the folder `results`, should it lie inside, are left out.

    Raises:
        FileNotFoundError: `source` does not exist.
        ValueError: `results` is the folder that the pictures come from, and would overwrite them.
    """
    source, results = Path(source), Path(results).resolve()
    if not source.exists():
        raise FileNotFoundError(f"{source}: no such file or folder")
    root = source if source.is_dir() else source.parent
    if root.resolve() == results:
        raise ValueError(f"{results}: results would overwrite their own sources; name another folder")
    files = [Path(source.name)]
    if source.is_dir():
        files = sorted(path for path in _walk(root, results) if fnmatch(path.name, include))
    pictures = [path for path in files if path.suffix.lower() in IMAGE_SUFFIXES]
    return Listing(root, pictures, [path for path in files if path.suffix.lower() not in IMAGE_SUFFIXES])


def prepare_results(results: str | os.PathLike[str]) -> None:
    """Creates the folder for results and proves that it can be written to, before hours of work are lost on it.

    Raises:
        OSError: it cannot; the message names the folder.
    """
    results = Path(results)
    try:
        results.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=results):
            pass
    except OSError as error:
        reason = "is a file, expected a folder" if results.is_file() else f"cannot be written to ({error.strerror})"
        raise OSError(f"{results}: {reason}; name another folder for the results") from error


def _walk(root: Path, results: Path) -> Iterator[Path]:
    for folder, subfolders, names in os.walk(root):
        here = Path(folder)
        subfolders[:] = [name for name in subfolders if name[0] != "." and (here / name).resolve() != results]
        yield from ((here / name).relative_to(root) for name in names if name[0] != ".")


def mask_path(target: Path) -> Path:
    """Where the mask of a result goes: beside it, with its whole name in front, so that no two can meet."""
    return target.with_name(target.name + ".mask.png")


def restore_folder(
    restorer: Callable[[np.ndarray], Restored],
    listing: Listing,
    results: str | os.PathLike[str],
    overwrite: bool = False,
    save_mask: bool = False,
) -> Iterator[Outcome]:
    """Restores every picture of `listing` into `results` and tells of each as soon as it is done.

    A result appears under its name only when it is whole, so one that exists is finished, and is skipped unless
    `overwrite`. A picture that cannot be restored is reported as failed, and the next one follows.
    """
    for name in listing.pictures:
        start = time.perf_counter()
        target = Path(results) / name
        if not overwrite and target.is_file() and (not save_mask or mask_path(target).is_file()):
            yield Outcome(name, SKIPPED, time.perf_counter() - start)
            continue
        try:
            status = _restore_file(restorer, listing.root / name, target, save_mask)
        except Exception as error:  # One bad file must not cost the user the other thousand; the caller reports it.
            message = f"{type(error).__name__}: {error}"
            yield Outcome(name, FAILED, time.perf_counter() - start, message)
        else:
            yield Outcome(name, status, time.perf_counter() - start)


def _restore_file(restorer: Callable[[np.ndarray], Restored], source: Path, target: Path, save_mask: bool) -> str:
    photo = read_photo(source)
    restored = restorer(photo.rgb)
    touched = bool(restored.mask.any())
    if touched and photo.lost:
        LOG.warning("%s: restored, but %s", source, "; ".join(photo.lost))
    # Encoding again would change a picture that nothing was removed from.
    content = encode_image(restored.image, source.suffix, like=photo) if touched else source.read_bytes()
    if save_mask:
        write_mask(mask_path(target), restored.mask)
    # The picture comes last: where it exists, everything about it is finished.
    write_bytes(target, content)
    return RESTORED if touched else UNTOUCHED
