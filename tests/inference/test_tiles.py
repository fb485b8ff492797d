"""Tiles: exact with the identity, the authors' cut without overlap, smooth with it; mirrorings; scarce memory."""

from __future__ import annotations

import logging
from itertools import pairwise

import numpy as np
import pytest

from inference import tiles
from inference.tiles import Network, bytes_per_pixel, equal_cut, mean_over_flips, region_cut, run_cut, single_cut
from tests.inference.stand_ins import StandIn, paint_red_over


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (2, 1), (3, 2), (5, 5), (16, 17), (33, 64), (127, 95), (250, 301)])
@pytest.mark.parametrize("overlap", [0, 1, 2, 7, 64, 1000])
@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (2, 2), (3, 5), (1, 4)])
def test_identity_gives_the_input_back_bit_for_bit(size, overlap, rows, columns):
    image = np.random.default_rng(sum(size)).random((3, *size), dtype=np.float32)
    # More channels may come out than went in.
    result = run_cut(image, lambda tile: np.concatenate([tile, tile[:, :1]], 1),
                     equal_cut(*size, rows, columns, overlap))
    assert result.dtype == np.float32
    assert result.tobytes() == np.concatenate([image, image[:1]]).tobytes()


def test_without_overlap_the_cut_is_the_authors_four_equal_tiles():
    cut = equal_cut(101, 75, 2, 2, 0)
    assert (cut.rows, cut.columns) == (((0, 51), (51, 102)), ((0, 38), (38, 76)))


@pytest.mark.parametrize("length", [1, 2, 3, 10, 97, 1000])
@pytest.mark.parametrize("parts", [1, 2, 3, 8])
@pytest.mark.parametrize("overlap", [0, 1, 16, 200])
def test_spans_cover_everything_with_equal_sizes_and_enough_overlap(length, parts, overlap):
    spans = equal_cut(length, 1, parts, 1, overlap).rows
    assert (spans[0][0], spans[-1][1]) == (0, length + (length % 2 if parts > 1 else 0))
    assert len({stop - start for start, stop in spans}) == 1
    assert all(stop - start >= (overlap if spans[0][1] < length else 0) for (_, stop), (start, _) in pairwise(spans))


@pytest.mark.parametrize("overlap", [0, 64, 511, 512, 4096])
def test_however_large_the_overlap_tiles_of_a_fixed_size_stay_few_and_cover_everything(overlap):
    spans = region_cut((100, 1300, 0, 9), 5000, 5000, 512, overlap).rows
    assert (spans[0][0], spans[-1][1]) == (100, 1300)
    assert {stop - start for start, stop in spans} == {512}
    assert len(spans) <= 4
    assert all(stop - start >= min(overlap, 256) for (_, stop), (start, _) in pairwise(spans))


@pytest.mark.parametrize(("overlap", "step"), [(0, 1), (49, 1 / 51)])
def test_the_overlap_turns_a_jump_between_tiles_into_a_ramp(overlap, step):
    """A function that brightens each tile by its order makes the seam visible, as a network's pooling does."""
    count = iter(range(9))
    image = np.zeros((1, 8, 200), np.float32)
    row = run_cut(image, lambda tile: tile + next(count), equal_cut(8, 200, 1, 2, overlap))[0, 0]
    assert (row[0], row[-1]) == (0, 1)
    assert np.abs(np.diff(row)).max() == pytest.approx(step, rel=0.05)


def test_what_depends_on_the_side_is_averaged_over_all_four_mirrorings():
    """A function that adds its own gradient: mirrored, the gradient falls the other way, and the mean is level."""
    down, right = np.meshgrid(np.arange(6), np.arange(9), indexing="ij")
    gradient = (down * 10 + right).astype(np.float32)
    seen = []

    def function(tile: np.ndarray) -> np.ndarray:
        seen.append(tile.copy())
        assert tile.flags.c_contiguous
        return np.concatenate([tile, tile[:, :1]], 1) + gradient

    tile = np.random.default_rng(2).random((1, 3, 6, 9), dtype=np.float32)
    result = mean_over_flips(function)(tile)
    assert result.shape == (1, 4, 6, 9)
    assert np.allclose(result[:, :3] - tile, (5 * 10 + 8) / 2, atol=1e-4)
    for axes, given in zip([(), (3,), (2,), (2, 3)], seen, strict=True):
        assert np.array_equal(given, np.flip(tile, axes))


def picture(kind: type = np.uint8) -> np.ndarray:
    return np.random.default_rng(400).integers(0, np.iinfo(kind).max + 1, (400, 700, 3), kind)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_the_network_sees_values_from_0_to_1_at_full_depth(kind):
    image = picture(kind)
    output = Network(StandIn(lambda tile: tile, gated=False))(image, single_cut(400, 700, 64))
    assert output.shape == (3, 400, 700)
    assert np.abs(output.transpose(1, 2, 0) - image / np.iinfo(kind).max).max() < 1e-7


CUTS = single_cut(400, 700, 64), equal_cut(400, 700, 2, 3, 16), equal_cut(400, 700, 2, 2, 4000)


@pytest.mark.parametrize("cut", CUTS)
def test_tiles_become_smaller_until_they_fit_and_the_result_stays(cut, caplog):
    image = picture()
    expected = Network(StandIn(paint_red_over))(image, cut)
    backend = StandIn(paint_red_over, memory=150 * 200)
    network = Network(backend)
    with caplog.at_level(logging.WARNING):
        assert np.allclose(network(image, cut), expected, atol=1e-6)
        told = caplog.text.count("become")
        assert np.allclose(network(image, cut), expected, atol=1e-6)
    sizes = [height * width for _, _, height, width in backend.tiles]
    assert min(sizes) <= 150 * 200
    assert len({shape for shape in backend.tiles if shape[2] * shape[3] <= 150 * 200}) == 1
    assert "no room" in caplog.text
    assert caplog.text.count("become") == told == 1


def test_the_error_names_picture_limit_and_remedy_and_the_plain_network_is_never_cut():
    backend = StandIn(paint_red_over, memory=50 * 50)
    with pytest.raises(MemoryError, match=r"400x700.*128.*no room.*--scale"):
        Network(backend)(picture(), single_cut(400, 700, 64))
    # The longer side is halved.
    sizes = [shape[2:] for shape in backend.tiles]
    assert sizes == [(448, 704), (448, 352), (224, 352), (224, 176), (112, 176), (112, 88)]
    backend.tiles.clear()
    with pytest.raises(MemoryError, match=r"one piece.*--mode tiles"):
        Network(backend)(picture(), equal_cut(400, 700, 1, 1, 0), may_cut=False)
    assert len(backend.tiles) == 1


def test_on_a_cpu_tiles_that_would_not_fit_are_never_tried(monkeypatch, caplog):
    """The kernel would end the process; there is nothing to catch."""
    monkeypatch.setattr(tiles, "available_bytes", lambda: 100_000_000)
    backend = StandIn(paint_red_over)
    with caplog.at_level(logging.WARNING):
        Network(backend, bytes_per_pixel=1000)(picture(), single_cut(400, 700, 64))
    assert {height * width * 1000 <= tiles.SHARE * 100_000_000 for _, _, height, width in backend.tiles} == {True}
    assert "0.1 GB that are available" in caplog.text
    with pytest.raises(MemoryError, match="one piece"):
        Network(backend, bytes_per_pixel=1000)(picture(), equal_cut(400, 700, 1, 1, 0), may_cut=False)


@pytest.mark.parametrize("device", ["gpu:0", "cpu"])
def test_on_a_gpu_the_machines_memory_does_not_count_and_nowhere_are_the_smallest_tiles_forbidden(device, monkeypatch):
    monkeypatch.setattr(tiles, "available_bytes", lambda: 1000)
    backend = StandIn(paint_red_over)
    backend.device = device
    assert Network(backend, bytes_per_pixel=1000)(picture(), single_cut(400, 700, 64)).shape == (4, 400, 700)
    assert backend.tiles == [(1, 3, 448, 704)] if device == "gpu:0" else max(map(max, backend.tiles)) <= 128


def test_wider_networks_take_more_and_unknown_engines_as_much_as_any():
    assert bytes_per_pixel({"width": 32}, "paddle") == 2 * bytes_per_pixel({"width": 16}, "paddle")
    known = [bytes_per_pixel({"width": 16}, name) for name in ("paddle", "onnxruntime", "openvino")]
    assert bytes_per_pixel({"width": 16}, "something else") == max(known)


def test_errors_other_than_memory_are_not_swallowed():
    def broken(tile: np.ndarray) -> np.ndarray:
        raise RuntimeError("no kernel")

    backend = StandIn(broken)
    with pytest.raises(RuntimeError, match="no kernel"):
        Network(backend)(picture(), single_cut(400, 700, 64))
    assert len(backend.tiles) == 1
