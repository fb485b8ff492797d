"""What each mode does and does not do, over many shapes: bits outside the mask, passes, flips, threads, depth."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from configs.schema import PredictConfig
from inference import Restorer
from inference.tiles import equal_cut, run_cut
from tests.inference.painted import page
from tests.inference.stand_ins import StandIn, paint_red_over
from tests.models.networks import plain_weights


def red_page(height: int, width: int, *boxes: tuple[int, int, int, int], kind: type = np.uint8) -> np.ndarray:
    """Noisy paper of any depth with red boxes (top, left, bottom, right) on it."""
    image = page(height, width, None)
    for top, left, bottom, right in boxes:
        image[top:bottom, left:right] = (230, 20, 20)
    return image.astype(kind) * kind(np.iinfo(kind).max // 255)


@pytest.mark.parametrize("mode", ["auto", "tiles", "full"])
@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_over_random_shapes_every_bit_outside_the_mask_stays(mode, kind):
    generator = np.random.default_rng(11)
    sizes = (2 ** generator.uniform(0, 9.5, (12, 2))).astype(int).tolist()
    for height, width in [*sizes, (1, 1), (2, 3), (100, 8000), (3000, 70)]:
        image = red_page(height, width, (height * 2 // 3, width // 3, height, width), kind=kind)
        before = image.copy()
        settings = PredictConfig(
            long_side=int(generator.choice([0, 37, 200, 500])), locate_long_side=int(generator.choice([0, 30, 150])),
            tile=128, overlap=int(generator.choice([0, 16, 64])),
        )
        result = Restorer.from_backend(StandIn(paint_red_over), settings, mode=mode)(image)
        assert (result.image.dtype, result.image.shape) == (kind, image.shape)
        assert np.array_equal(result.image[result.mask == 0], image[result.mask == 0])
        assert np.array_equal(image, before)
        assert set(np.unique(result.mask)) <= {0, 1}
        if 60 < min(height, width) <= max(height, width) < 800:
            assert result.occluders == 1
            assert result.mask[height * 3 // 4 :, width // 2 :].all()
            assert result.mask.mean() < 0.5


def test_where_nothing_is_found_nothing_is_restored_and_a_pass_at_the_same_scale_is_not_repeated():
    backend, image = StandIn(paint_red_over), red_page(600, 1000)
    result = Restorer.from_backend(backend, PredictConfig(locate_long_side=200))(image)
    assert (backend.tiles, result.occluders, result.mask.any()) == ([(1, 3, 128, 256)], 0, False)
    assert np.array_equal(result.image, image)
    assert not np.shares_memory(result.image, image)
    backend.tiles.clear()
    Restorer.from_backend(backend, PredictConfig(long_side=256))(red_page(600, 1000, (500, 300, 600, 500)))
    assert backend.tiles == [(1, 3, 192, 256)]


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
@pytest.mark.parametrize(("mode", "tlc_ratio", "parts"), [("full", 0, 1), ("tiles", None, 2)])
def test_full_is_the_plain_network_and_tiles_are_the_write_ups_four_tiles_and_nothing_else(
    tmp_path, kind, mode, tlc_ratio, parts
):
    image, white = red_page(77, 103, (40, 0, 77, 50), kind=kind), np.float32(np.iinfo(kind).max)
    weights = plain_weights(tmp_path / "tiny.pdparams")
    restorer = Restorer(weights, "cpu", backend="paddle", mode=mode, scale=1, tlc_ratio=tlc_ratio)
    assert ("TLC windows" in restorer.tlc) == (mode == "tiles")
    output = run_cut(image.transpose(2, 0, 1), lambda tile: restorer._backend(tile.astype(np.float32) / white),
                     equal_cut(77, 103, parts, parts, 0))
    expected = (np.clip(output.transpose(1, 2, 0), 0, 1) * white + np.float32(0.5)).astype(kind)
    result = restorer(image)
    assert np.array_equal(result.image, expected)
    assert not np.array_equal(result.image, image)
    assert result.mask.all() if mode == "full" else np.array_equal(result.mask > 0, (result.image != image).any(2))


def test_without_a_gate_the_visible_change_is_the_mask():
    """Dark becomes paper, and everything else a trace lighter."""
    def erase_dark(tile: np.ndarray) -> np.ndarray:
        return np.where(tile.max(1, keepdims=True) < 0.3, np.float32(0.5), tile + np.float32(0.004))

    image = red_page(500, 700)
    image[300:, 200:400] = 20
    result = Restorer.from_backend(StandIn(erase_dark, gated=False), PredictConfig(long_side=350))(image)
    assert np.array_equal(result.image[result.mask == 0], image[result.mask == 0])
    assert (result.occluders, result.mask[300:, 200:400].all(), result.mask[:280].any()) == (0, True, False)
    assert np.abs(result.image[310:, 210:390].astype(int) - 128).max() <= 20


def test_four_threads_and_less_memory_give_the_same_pictures(monkeypatch):
    monkeypatch.setattr("inference.tiles.SMALLEST_TILE", 128)
    sizes = np.random.default_rng(6).integers(200, 500, (8, 2)).tolist()
    pictures = [red_page(height, width, (height // 2, width // 3, height, width // 2)) for height, width in sizes]
    plenty, scarce = (Restorer.from_backend(StandIn(paint_red_over, memory=memory),
                                            PredictConfig(locate_long_side=200, tile=256))
                      for memory in (1e9, 130 * 130))  # fmt: skip
    with ThreadPoolExecutor(4) as pool:
        parallel = list(pool.map(plenty, pictures))
    for picture, expected in zip(pictures, map(plenty, pictures), strict=True):
        others = parallel.pop(0), scarce(picture)
        assert expected.occluders == 1
        assert all(np.array_equal(other.image, expected.image) for other in others)
        assert np.array_equal(others[0].mask, expected.mask)
