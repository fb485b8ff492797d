"""Validation of weights as users will run them: whole pages, the real predictor, the contest's measures."""

import os
from collections.abc import Callable, Sequence

import numpy as np

from data.contest import PatchPaths, read_list
from data.images import BadImageError, read_rgb, upright_size
from data.masks import read_mask
from inference.restorer import Restorer
from metrics import MEASURES, counted, evaluate
from models.weights import Weights
from utils.training.processes import Processes


def validation_pages(list_file: str | os.PathLike[str] | None, limit: int = 0) -> list[PatchPaths]:
    """The pages of a list file, or `limit` of them (0: all) spread evenly over it; none where nothing is held out.

    Neighbouring lines are often the same page under other hands, so the first few lines would be a narrow choice.
    What is wrong with a page is found now, by the headers of its files, and not after hours of training.

    ListError: no such list, or nothing in it; BadImageError: a file of a page is missing, is no picture, or is not of
    the same size as the other two.
    """
    if list_file is None:
        return []
    pages = read_list(list_file)
    if 0 < limit < len(pages):
        pages = [pages[index * len(pages) // limit] for index in range(limit)]
    for page in pages:
        width, height = upright_size(page.occluded)
        for path in page:
            size = upright_size(path)
            if size != (width, height):
                raise BadImageError(f"{path}: {size[0]}x{size[1]} pixels, but {page.occluded} has {width}x{height}; "
                                    "all three of a page have to be of one size. Correct the file or take its line "
                                    "out of data.val_pages")  # fmt: skip
    return pages


def validate(
    weights: Weights, pages: Sequence[PatchPaths], device: str, processes: Processes,
    interrupted: Callable[[], bool] = lambda: False,
) -> dict[str, float | None] | None:  # fmt: skip
    """Restores pages with `weights` and averages the measures; every process does its share and gets the answer. A
    network that takes a mask is told the true one.

    Returns the mean of each of `MEASURES` over the pages that have it (None when none has), with a PSNR counted as at
    most 100 dB, and of a locator `found`, the share of pages on which it finds anything; None in place of all that when
    `interrupted`, asked before every page, said so in any process.
    """
    # The eager network: these weights live for one validation, and exporting them would only fill the cache.
    restorer = Restorer(weights, device, backend="paddle")
    names = (*MEASURES, "found")
    sums, unfinished = np.zeros((len(names), 2)), False
    for page in pages[processes.rank :: processes.world]:
        if unfinished := interrupted():
            break
        mask = read_mask(page.mask)
        restored = restorer(read_rgb(page.occluded), mask if weights.model.get("mask_input") else None)
        measures = evaluate(restored.image, read_rgb(page.clean), mask) | {"found": float(restored.mask.any())}
        for total, name in zip(sums, names, strict=True):
            if measures[name] is not None:
                total += counted(name, measures[name]), 1
    *sums, unfinished = processes.total([*sums.flat, unfinished])
    if unfinished:
        return None
    pairs = zip(names if weights.locator else MEASURES, sums[::2], sums[1::2], strict=False)
    return {name: total / count if count else None for name, total, count in pairs}
