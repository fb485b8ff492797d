"""Memory that does not suffice: tiles become smaller, down to a limit that is named; nothing else changes."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from inference import tiles as memory
from inference.tiles import Network, equal_cut, single_cut
from tests.inference.stand_ins import StandIn, paint_red_over


def picture(height: int = 400, width: int = 700, kind: type = np.uint8) -> np.ndarray:
    return np.random.default_rng(height).integers(0, np.iinfo(kind).max + 1, (height, width, 3), kind)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_the_network_sees_values_from_0_to_1_at_full_depth(kind):
    image = picture(kind=kind)
    output = Network(StandIn(lambda tile: tile, gated=False))(image, single_cut(400, 700, 64))
    assert output.shape == (3, 400, 700)
    assert np.abs(output.transpose(1, 2, 0) - image / np.iinfo(kind).max).max() < 1e-7


@pytest.mark.parametrize("cut", [single_cut(400, 700, 64), equal_cut(400, 700, 2, 3, 16)])
def test_tiles_become_smaller_until_they_fit_and_the_result_stays(cut, caplog):
    image = picture()
    expected = Network(StandIn(paint_red_over))(image, cut)
    backend = StandIn(paint_red_over, memory=150 * 200)
    network = Network(backend)
    with caplog.at_level(logging.WARNING):
        assert np.allclose(network(image, cut), expected, atol=1e-6)
        assert np.allclose(network(image, cut), expected, atol=1e-6)
    sizes = [height * width for _, _, height, width in backend.tiles]
    assert min(sizes) <= 150 * 200
    assert len({shape for shape in backend.tiles if shape[2] * shape[3] <= 150 * 200}) == 1
    assert "no room" in caplog.text
    first = caplog.text.count("become")
    assert 1 <= first <= len(set(sizes)) - 1


def test_the_longer_side_is_halved(caplog):
    backend = StandIn(paint_red_over, memory=400 * 400)
    Network(backend)(picture(), single_cut(400, 700, 64))
    assert backend.tiles[0] == (1, 3, 448, 704)
    assert set(backend.tiles[1:]) == {(1, 3, 448, 352)}


def test_the_error_names_picture_limit_and_remedy():
    backend = StandIn(paint_red_over, memory=50 * 50)
    with pytest.raises(MemoryError, match=r"400x700.*128.*no room.*--scale"):
        Network(backend)(picture(), single_cut(400, 700, 64))
    assert max(backend.tiles[-1][2:]) <= 128


def test_a_large_overlap_does_not_keep_tiles_from_shrinking():
    backend = StandIn(paint_red_over, memory=140 * 140)
    output = Network(backend)(picture(), equal_cut(400, 700, 2, 2, 4000))
    assert output.shape == (4, 400, 700)


def test_the_plain_network_is_never_cut():
    backend = StandIn(paint_red_over, memory=100)
    with pytest.raises(MemoryError, match=r"one piece.*--mode tiles"):
        Network(backend)(picture(), equal_cut(400, 700, 1, 1, 0), may_cut=False)
    assert len(backend.tiles) == 1


def test_on_a_cpu_tiles_that_would_not_fit_are_never_tried(monkeypatch, caplog):
    """The kernel would end the process; there is nothing to catch."""
    monkeypatch.setattr(memory, "available_bytes", lambda: 100_000_000)
    backend = StandIn(paint_red_over)
    with caplog.at_level(logging.WARNING):
        Network(backend, bytes_per_pixel=1000)(picture(), single_cut(400, 700, 64))
    assert {height * width * 1000 <= memory.SHARE * 100_000_000 for _, _, height, width in backend.tiles} == {True}
    assert "0.1 GB that are available" in caplog.text
    with pytest.raises(MemoryError, match="one piece"):
        Network(backend, bytes_per_pixel=1000)(picture(), equal_cut(400, 700, 1, 1, 0), may_cut=False)


def test_on_a_gpu_the_machines_memory_does_not_count(monkeypatch):
    monkeypatch.setattr(memory, "available_bytes", lambda: 1000)
    backend = StandIn(paint_red_over)
    backend.device = "gpu:0"
    Network(backend, bytes_per_pixel=1000)(picture(), single_cut(400, 700, 64))
    assert backend.tiles == [(1, 3, 448, 704)]


def test_an_estimate_does_not_forbid_the_smallest_tiles(monkeypatch):
    monkeypatch.setattr(memory, "available_bytes", lambda: 1000)
    backend = StandIn(paint_red_over)
    assert Network(backend, bytes_per_pixel=1000)(picture(), single_cut(400, 700, 64)).shape == (4, 400, 700)
    assert {max(shape[2:]) for shape in backend.tiles} <= set(range(1, 129))


def test_errors_other_than_memory_are_not_swallowed():
    def broken(tile: np.ndarray) -> np.ndarray:
        raise RuntimeError("no kernel")

    backend = StandIn(broken)
    with pytest.raises(RuntimeError, match="no kernel"):
        Network(backend)(picture(), single_cut(400, 700, 64))
    assert len(backend.tiles) == 1
