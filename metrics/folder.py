"""Measures a folder of results against its truths."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from data.images import read_rgb
from data.masks import read_mask
from metrics.pairs import NameIndex, Truth, find_result
from metrics.score import evaluate


@dataclass(frozen=True)
class Row:
    """What came out for one truth.

    Attributes:
        name: the truth's name.
        measures: as `metrics.evaluate` gives them; empty when there is a problem.
        problem: why nothing could be measured, in words; empty when all went well.
    """

    name: str
    measures: dict[str, float | None] = field(default_factory=dict)
    problem: str = ""


def measure_folder(
    truths: list[Truth], results: NameIndex, masks: NameIndex | None = None, workers: int = 1
) -> Iterator[Row]:
    """Yields one row per truth, in order; a picture that cannot be measured becomes a row with a problem.

    Args:
        truths: from `metrics.pairs.read_truths`.
        results: the folder of restored pictures.
        masks: a folder of masks named like the truths, for truths that bring none; when given, every truth needs one.
        workers: pictures measured at the same time, in threads (decoding and measuring run outside Python's lock).
    """
    taken = {truth.result_names[0] for truth in truths}

    def measure(truth: Truth) -> Row:
        try:
            return Row(truth.name, _measure(truth, results, masks, taken))
        except (OSError, ValueError) as error:
            return Row(truth.name, problem=str(error))

    with ThreadPoolExecutor(workers) as pool:
        yield from pool.map(measure, truths)


def _measure(truth: Truth, results: NameIndex, masks: NameIndex | None, taken: set[str]) -> dict[str, float | None]:
    result_path = results.folder / find_result(truth, results, taken)
    clean, result = read_rgb(truth.clean), read_rgb(result_path)
    if result.shape != clean.shape:
        raise ValueError(f"another size: {result_path} is {_size(result)}, {truth.clean} is {_size(clean)}")
    mask = None
    mask_path = _mask_path(truth, masks)
    if mask_path is not None:
        mask = read_mask(mask_path)
        if mask.shape != clean.shape[:2]:
            raise ValueError(f"another size: the mask {mask_path} is {_size(mask)}, {truth.clean} is {_size(clean)}")
    return evaluate(result, clean, mask, data_range=255)


def _size(picture: np.ndarray) -> str:
    return f"{picture.shape[1]} x {picture.shape[0]}"


def _mask_path(truth: Truth, masks: NameIndex | None) -> Path | None:
    if truth.mask is not None or masks is None:
        return truth.mask
    found = masks.find(truth.name)
    if found is None:
        raise ValueError(f"no mask: expected {truth.name} (any suffix) in {masks.folder}")
    return masks.folder / found
