"""Tiling: exact with the identity, the authors' cut without overlap, smooth with it."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from inference.tiles import covering_spans, equal_cut, run_cut, tile_spans

SIZES = [(1, 1), (1, 7), (2, 1), (3, 2), (5, 5), (16, 17), (33, 64), (127, 95), (250, 301)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("overlap", [0, 1, 2, 7, 64, 1000])
@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (2, 2), (3, 5), (1, 4)])
def test_identity_gives_the_input_back_bit_for_bit(size, overlap, rows, columns):
    image = np.random.default_rng(sum(size)).random((3, *size), dtype=np.float32)
    result = run_cut(image, lambda tile: tile, equal_cut(*size, rows, columns, overlap))
    assert result.dtype == np.float32
    assert result.tobytes() == image.tobytes()


def test_without_overlap_the_cut_is_the_authors_four_equal_tiles():
    seen = []
    image = np.zeros((3, 101, 75), np.float32)
    run_cut(image, lambda tile: (seen.append(tile.shape), tile)[1], equal_cut(101, 75, 2, 2, 0))
    assert seen == [(1, 3, 51, 38)] * 4
    assert (tile_spans(102, 2, 0), tile_spans(76, 2, 0)) == ([(0, 51), (51, 102)], [(0, 38), (38, 76)])


@pytest.mark.parametrize("length", [1, 2, 3, 10, 97, 1000])
@pytest.mark.parametrize("parts", [1, 2, 3, 8])
@pytest.mark.parametrize("overlap", [0, 1, 16, 200])
def test_spans_cover_everything_with_equal_sizes_and_enough_overlap(length, parts, overlap):
    spans = tile_spans(length, parts, overlap)
    assert spans[0][0] == 0
    assert spans[-1][1] == length
    assert len({stop - start for start, stop in spans}) == 1
    for (_, stop), (start, _) in pairwise(spans):
        assert start <= stop
        if spans[0][1] < length:
            assert stop - start >= overlap


@pytest.mark.parametrize("overlap", [0, 64, 511, 512, 4096])
def test_however_large_the_overlap_tiles_of_a_fixed_size_stay_few_and_cover_everything(overlap):
    spans = covering_spans(100, 1300, 512, overlap)
    assert (spans[0][0], spans[-1][1]) == (100, 1300)
    assert {stop - start for start, stop in spans} == {512}
    assert len(spans) <= 4
    assert all(stop - start >= min(overlap, 256) for (_, stop), (start, _) in pairwise(spans))


def test_the_overlap_turns_a_jump_between_tiles_into_a_ramp():
    """A function that brightens each tile by its order makes the seam visible, as a network's pooling does."""

    def largest_step(overlap: int) -> float:
        count = iter(range(9))
        result = run_cut(np.zeros((1, 8, 200), np.float32), lambda tile: tile + next(count),
                         equal_cut(8, 200, 1, 2, overlap))
        assert result[0, 0, 0] == 0
        assert result[0, 0, -1] == 1
        return float(np.abs(np.diff(result[0, 0])).max())

    assert largest_step(0) == 1
    assert largest_step(49) == pytest.approx(1 / 51, rel=0.05)


def test_more_channels_may_come_out_than_went_in():
    image = np.random.default_rng(2).random((3, 21, 13), dtype=np.float32)
    result = run_cut(image, lambda tile: np.concatenate([tile, tile[:, :1]], 1), equal_cut(21, 13, 2, 2, 6))
    assert result.shape == (4, 21, 13)
    assert np.array_equal(result[3], image[0])


def test_a_function_that_changes_the_size_is_refused():
    with pytest.raises(ValueError, match="height and width must stay"):
        run_cut(np.zeros((3, 8, 8), np.float32), lambda tile: tile[:, :, ::2], equal_cut(8, 8, 2, 2, 0))


@pytest.mark.parametrize("shape", [(8, 8), (1, 3, 8, 8), (3, 0, 8)])
def test_other_shapes_are_refused(shape):
    with pytest.raises(ValueError, match="expected a picture"):
        run_cut(np.zeros(shape, np.float32), lambda tile: tile, equal_cut(8, 8, 2, 2, 0))
