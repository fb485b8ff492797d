"""Validation of weights as users will run them: whole pages, the real predictor, the contest's measures."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

import numpy as np

from data.contest.lists import PatchPaths, read_list
from data.images import BadImageError, open_picture, read_rgb, upright_size
from data.masks import read_mask
from inference.restorer import Restorer
from metrics.score import counted, evaluate
from models.weights import Weights
from utils.training.processes import Processes

MEASURES = ("score", "psnr", "ms_ssim", "psnr_inside", "psnr_outside")


def validation_pages(list_file: str | os.PathLike[str] | None, limit: int = 0) -> list[PatchPaths]:
    """The pages to validate on: all of a list file, or `limit` of them spread evenly over it.

    Neighbouring lines are often the same page under other hands, so the first few lines would be a narrow choice.

    Args:
        list_file: lines of `clean occluded mask`; None means that nothing is held out.
        limit: 0 takes all.

    Raises:
        ListError: the list cannot be read or is empty.
        FileNotFoundError: a page of the choice is missing; better now than after hours of training.
        BadImageError: a file of a page is no picture, or not of the same size as the page's other two.
    """
    if list_file is None:
        return []
    pages = read_list(list_file)
    if 0 < limit < len(pages):
        pages = [pages[index * len(pages) // limit] for index in range(limit)]
    for page in pages:
        for path in page:
            if not path.is_file():
                raise FileNotFoundError(f"{path}: listed in {os.fspath(list_file)} and not there")
        _check_sizes(page)
    return pages


def _check_sizes(page: PatchPaths) -> None:
    """Refuses a page whose photos and mask differ in size, which their headers tell."""
    width, height = upright_size(page.occluded)
    with open_picture(page.mask) as mask:
        others = {page.clean: upright_size(page.clean), page.mask: mask.size}
    for path, size in others.items():
        if size != (width, height):
            raise BadImageError(
                f"{path}: {size[0]}x{size[1]} pixels, but {page.occluded} has {width}x{height}; the clean photo, the "
                "occluded one and the mask of a page have to be of one size. Correct the file or take its line out of "
                "data.val_pages"
            )


def validate(
    weights: Weights,
    pages: Sequence[PatchPaths],
    device: str,
    processes: Processes,
    interrupted: Callable[[], bool] = lambda: False,
) -> dict[str, float | None] | None:
    """Restores pages with `weights` and averages the measures; every process does its share and gets the answer.

    Args:
        device: as `Restorer` takes it.
        interrupted: asked before every page; True ends the validation.

    Returns:
        The mean of each of `MEASURES` over the pages that have it (None when none has), with a PSNR counted as at most
        100 dB; None in place of the dictionary when a process was interrupted.
    """
    # The eager network: these weights live for one validation, and exporting them would only fill the cache.
    restorer = Restorer(weights, device, backend="paddle")
    sums, counts, unfinished = np.zeros(len(MEASURES)), np.zeros(len(MEASURES)), 0
    for page in pages[processes.rank :: processes.world]:
        if interrupted():
            unfinished = 1
            break
        measures = _measure(restorer, page)
        for place, name in enumerate(MEASURES):
            value = measures[name]
            if value is not None:
                sums[place] += counted(name, value)
                counts[place] += 1
    *both, unfinished = processes.total([*sums, *counts, unfinished])
    if unfinished:
        return None
    sums, counts = both[: len(MEASURES)], both[len(MEASURES) :]
    return {name: sums[place] / counts[place] if counts[place] else None for place, name in enumerate(MEASURES)}


def _measure(restorer: Restorer, page: PatchPaths) -> dict[str, float | None]:
    result = restorer(read_rgb(page.occluded)).image
    try:
        return evaluate(result, read_rgb(page.clean), read_mask(page.mask))
    except ValueError as error:
        raise ValueError(f"{page.occluded}: cannot be compared with {page.clean} ({error})") from error
