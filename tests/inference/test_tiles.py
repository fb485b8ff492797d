"""A picture goes through a network in tiles, and what comes out is pasted into it.

Tiles: exact with the identity, the authors' cut without overlap, smooth with it; mirrorings; scarce memory. Pasting:
which boxes; exact outside, the fill inside, an even passage between.
"""

from itertools import pairwise

import cv2
import numpy as np
import pytest

from configs.schema import PredictConfig
from inference import tiles
from inference.engines import mean_over_flips
from inference.paste import PasteRules, Patch, add_difference, covered_boxes, paste
from inference.tiles import Cut, Network, equal_cut, region_cut, run_cut, single_cut
from tests.inference.stand_ins import StandIn, paint_red_over, restorer_over
from utils import machine

RULES = PasteRules(widening=2, feather=2)
PICTURE = np.random.default_rng(400).integers(0, 256, (400, 700, 3), np.uint8)
WHOLE = single_cut(400, 700, 64)


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (3, 2), (16, 17), (127, 95)])
@pytest.mark.parametrize("overlap", [0, 1, 64, 1000])
@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (2, 2), (3, 5)])
def test_identity_gives_the_input_back_bit_for_bit(size, overlap, rows, columns):
    image, cut = np.random.default_rng(7).random((3, *size), np.float32), equal_cut(*size, rows, columns, overlap)
    # More channels may come out than went in.
    result = run_cut(image, lambda tile: np.concatenate([tile, tile[:, :1]], 1), cut)
    assert result.dtype == np.float32
    assert result.tobytes() == np.concatenate([image, image[:1]]).tobytes()


def test_without_overlap_the_cut_is_the_authors_four_equal_tiles():
    assert equal_cut(101, 75, 2, 2, 0) == Cut(((0, 51), (51, 102)), ((0, 38), (38, 76)), 0)


@pytest.mark.parametrize("overlap", [0, 64, 511, 512, 4096])
def test_however_large_the_overlap_tiles_of_a_fixed_size_stay_few_and_cover_everything(overlap):
    spans = region_cut((100, 1300, 0, 9), 5000, 5000, 512, overlap).rows
    assert (spans[0][0], spans[-1][1], len(spans) <= 4) == (100, 1300, True)
    assert {stop - start for start, stop in spans} == {512}
    assert all(stop - start >= min(overlap, 256) for (_, stop), (start, _) in pairwise(spans))


@pytest.mark.parametrize(("overlap", "step"), [(0, 1), (49, 1 / 51)])
def test_the_overlap_turns_a_jump_between_tiles_into_a_ramp(overlap, step):
    """A function that brightens each tile by its order makes the seam visible, as a network's pooling does."""
    count, image = iter(range(9)), np.zeros((1, 8, 200), np.float32)
    row = run_cut(image, lambda tile: tile + next(count), equal_cut(8, 200, 1, 2, overlap))[0, 0]
    assert (row[0], row[-1]) == (0, 1)
    assert np.abs(np.diff(row)).max() == pytest.approx(step, rel=0.05)


def test_what_depends_on_the_side_is_averaged_over_all_four_mirrorings():
    """A function that adds its own gradient: mirrored, the gradient falls the other way, and the mean is level."""
    down, right = np.meshgrid(np.arange(6), np.arange(9), indexing="ij")
    gradient, tile = (down * 10 + right).astype(np.float32), np.random.default_rng(2).random((1, 3, 6, 9), np.float32)
    result = mean_over_flips(StandIn(lambda tile: tile + gradient))(tile)
    assert np.allclose(result - tile, (5 * 10 + 8) / 2, atol=1e-4)


@pytest.fixture
def small_tiles(monkeypatch):
    monkeypatch.setattr(tiles, "SMALLEST_TILE", 128)


@pytest.mark.parametrize("cut", [WHOLE, equal_cut(400, 700, 2, 3, 16), equal_cut(400, 700, 2, 2, 4000)])
def test_tiles_become_smaller_until_they_fit_and_the_result_stays(cut, caplog, small_tiles):
    expected = Network(StandIn(paint_red_over))(PICTURE, cut)
    backend = StandIn(paint_red_over, memory=150 * 200)
    network = Network(backend)
    for _ in range(2):
        assert np.allclose(network(PICTURE, cut), expected, atol=1e-6)
        assert caplog.text.count("become") == caplog.text.count("memory ran out") == 1
    assert len({shape for shape in backend.tiles if shape[2] * shape[3] <= 150 * 200}) == 1


def test_the_error_names_picture_limit_and_remedy_and_the_plain_network_is_never_cut(small_tiles):
    backend = StandIn(paint_red_over, memory=50 * 50)
    with pytest.raises(MemoryError, match=r"400x700.*128x128.*memory ran out.*--scale"):
        Network(backend)(PICTURE, WHOLE)
    # The longer side is halved.
    sizes = [shape[2:] for shape in backend.tiles]
    assert sizes == [(448, 704), (448, 352), (224, 352), (224, 176), (128, 176), (128, 128)]
    backend.tiles.clear()
    with pytest.raises(MemoryError, match=r"one piece.*--mode tiles"):
        Network(backend)(PICTURE, equal_cut(400, 700, 1, 1, 0), may_cut=False)
    assert len(backend.tiles) == 1


@pytest.mark.parametrize(
    ("available", "device", "shape"),
    [(1e9, "cpu", (1024, 768)), (300e6, "cpu", (512, 512)), (250e6, "cpu", None), (1000, "gpu:0", (1024, 768))],
)
def test_tiles_too_small_to_find_anything_are_refused_not_tried(available, device, shape, monkeypatch):
    """A width of 8 takes 680 bytes a pixel, and the kernel would end the process: there would be nothing to catch.
    The machine's memory does not count on a GPU.
    """
    monkeypatch.setattr(machine, "available_bytes", lambda: int(available))
    picture, backend = np.zeros((1024, 768, 3), np.uint8), StandIn(paint_red_over, device=device)
    network = Network(backend, width=8)
    if shape is None:
        with pytest.raises(MemoryError, match=f"512x512.*takes about 255 MB, and {available / 1e6:.0f} MB.*Close"):
            network(picture, single_cut(1024, 768, 64))
        with pytest.raises(MemoryError, match="one piece"):
            network(picture, equal_cut(1024, 768, 1, 1, 0), may_cut=False)
        assert backend.tiles == []
    else:
        network(picture, single_cut(1024, 768, 64))
        assert {tile[2:] for tile in backend.tiles} == {shape}


@pytest.mark.parametrize(("available", "device"), [(300e6, "cpu"), (120e6, "cpu"), (1000, "gpu:0")])
def test_a_photo_that_a_locator_has_no_memory_for_fails_and_is_not_called_clean(available, device, monkeypatch):
    monkeypatch.setattr(machine, "available_bytes", lambda: int(available))
    backend, picture = StandIn(lambda tile: tile[:, :1] - 9, device=device), np.zeros((512, 384, 3), np.uint8)
    restorer = restorer_over(None, PredictConfig(fill="page"), locator=backend)
    if available == 120e6:
        with pytest.raises(MemoryError, match=r"look at 512x384 pixels.*120 MB are available\. Close"):
            restorer(picture)
        assert not backend.tiles
    else:
        assert not restorer(picture).mask.any()
        assert backend.tiles


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
@pytest.mark.parametrize("factor", [1, 1.3, 9.3])
def test_values_are_those_of_enlarging_the_whole_picture_at_once(kind, factor):
    """Blocks and regions leave no trace: the same values as enlarging everything with OpenCV, and no seam."""
    generator, white, mask = np.random.default_rng(10800), np.iinfo(kind).max, np.zeros((90, 120), np.uint8)
    mask[45:, 40:60] = 1
    image = generator.integers(0, white + 1, (round(90 * factor), round(120 * factor), 3), kind)
    fill, size = generator.random((90, 120, 3), np.float32), image.shape[1::-1]
    enlarged = np.clip(cv2.resize(fill, size, interpolation=cv2.INTER_CUBIC), 0, 1) * white
    weight = cv2.resize(RULES.weight(mask), size, interpolation=cv2.INTER_LINEAR)[..., None]
    for top, bottom, left, right in ((0, 90, 0, 120), (45 - 7, 90, 40 - 7, 60 + 7)):
        result, changed, place = image.copy(), np.zeros(image.shape[:2], np.uint8), np.s_[top:bottom, left:right]
        paste(result, changed, Patch((top, bottom, left, right), mask[place], fill[place]), mask.shape, RULES)
        assert np.array_equal(changed > 0, weight[..., 0] > 0)
        assert np.array_equal(result[changed == 0], image[changed == 0])
        away = np.abs(result - (image + weight * (enlarged - image)))[round(60 * factor) * (left > 0) :]
        assert away.max() <= (0.51 if kind == np.uint8 else 2)


def test_an_added_difference_keeps_the_pictures_own_detail_and_ends_at_white():
    image = np.random.default_rng(1).integers(50, 200, (700, 531, 3), dtype=np.uint8)
    for share, expected in ((10.2, image + 10), (510, np.full_like(image, 255))):
        result = image.copy()
        add_difference(result, np.full((3, 70, 53), share / 255, np.float32))
        assert np.array_equal(result, expected)


def mask_of(*boxes: tuple[int, int, int, int]) -> np.ndarray:
    mask = np.zeros((900, 1200), np.uint8)
    for top, bottom, left, right in boxes:
        mask[top:bottom, left:right] = 1
    return mask


def test_far_blobs_have_their_own_boxes_near_ones_share_one_and_none_overlap():
    mask = mask_of((0, 100, 0, 50), (800, 900, 1000, 1100), (150, 200, 20, 60))
    assert sorted(covered_boxes(mask, 20)) == [(0, 120, 0, 70), (130, 220, 0, 80), (780, 900, 980, 1120)]
    assert sorted(covered_boxes(mask, 40)) == [(0, 240, 0, 100), (760, 900, 960, 1140)]
    generator = np.random.default_rng(8)
    for _ in range(20):
        mask = mask_of(*((top, top + 30, left, left + 40) for top, left in generator.integers(0, 860, (9, 2))))
        owner = np.zeros(mask.shape, np.uint8)
        for top, bottom, left, right in covered_boxes(mask, 25):
            owner[top:bottom, left:right] += 1
        assert owner.max() <= 1
        assert owner[cv2.dilate(mask, np.ones((51, 51), np.uint8)) > 0].all()
