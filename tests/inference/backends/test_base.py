"""What all engines share: refused tiles, one error for "out of memory", a few compiled sizes."""

from __future__ import annotations

import numpy as np
import pytest

from inference.engines.base import RecentlyUsed, check_tile, memory_errors
from tests.inference.small import eager, small_weights, tile


@pytest.mark.parametrize(
    "wrong",
    [tile(4, 4)[0], tile(4, 4)[:, :2], tile(4, 4).astype(float), tile(4, 4)[:, :, :0], np.repeat(tile(4, 4), 2, 0)],
)
def test_other_tiles_are_refused(wrong):
    with pytest.raises(ValueError, match="expected a tile of float32"):
        check_tile(wrong)
    with pytest.raises(ValueError, match="expected a tile of float32"):
        eager(small_weights())(wrong)


@pytest.mark.parametrize(
    "words",
    [
        "ResourceExhaustedError: \n\nOut of memory error on GPU 0. Cannot allocate 2.0GB memory on GPU 0",
        "(ResourceExhausted) Fail to alloc memory of 99 size, error code is 12.",
        "[ONNXRuntimeError] : 6 : Failed to allocate memory for requested buffer of size 99",
        "Exception from src/inference: std::bad_alloc",
    ],
)
def test_every_engines_words_for_out_of_memory_become_a_memory_error_with_the_size(words):
    with pytest.raises(MemoryError, match=r"someengine.*5 x 7"), memory_errors("someengine", tile(5, 7)):
        raise RuntimeError(words)


def test_other_errors_stay_what_they_are():
    with pytest.raises(RuntimeError, match="no kernel image"), memory_errors("someengine", tile(5, 7)):
        raise RuntimeError("no kernel image is available")


def test_what_was_used_longest_ago_goes_first():
    made = []
    kept = RecentlyUsed(lambda key: made.append(key) or key * 10, limit=2)
    assert [kept[key] for key in (1, 2, 1, 3, 1, 2)] == [10, 20, 10, 30, 10, 20]
    assert made == [1, 2, 3, 2]
    assert len(kept) == 2
    assert 3 not in kept
    assert 1 in kept


def test_a_key_that_cannot_be_made_leaves_nothing_behind():
    kept = RecentlyUsed(lambda key: 1 // key, limit=2)
    with pytest.raises(ZeroDivisionError):
        kept[0]
    assert len(kept) == 0
