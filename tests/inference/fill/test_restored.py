"""The restorer's fill: taken where a hidden ring says that it is right, and nowhere but in the hole."""

from collections.abc import Callable
from dataclasses import asdict

import numpy as np
import pytest
from PIL import Image

from data.contest import PatchPaths
from inference import Restorer
from inference.fill.patches import fill_patch, hole_of, page_patches, paint, restored_patches
from inference.paste import PasteRules
from models.weights import Weights, arrays_of
from tests.inference.stand_ins import SETTINGS, StandIn
from tests.models.networks import lively_locator, random_network
from train import validate
from utils.training.processes import Processes

PASTE = PasteRules()


def scene() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(truth, the same with a dark blob on it, its mask): paper with blots that no page can carry on."""
    truth, rng = np.full((300, 320, 3), 215, np.uint8), np.random.default_rng(2)
    truth[np.kron(rng.random((38, 40)) < 0.3, np.ones((8, 8), bool))[:300]] = 120
    mask = np.zeros((300, 320), np.uint8)
    mask[100:190, 120:200] = 1
    return truth, np.where(mask[..., None] > 0, np.uint8(30), truth), mask


def test_a_hole_takes_what_explains_its_hidden_ring():
    truth, picture, mask = scene()
    (page,) = page_patches(picture, mask, PASTE)
    hole = hole_of(page.mask, PASTE) > 0

    def knows(tile: np.ndarray) -> np.ndarray:
        painted = np.pad(truth, [(0, 20), (0, 0), (0, 0)]).transpose(2, 0, 1)[None] / np.float32(255)
        return np.where(tile[:, 3:] > 0, painted, tile[:, :3])

    def error(function: Callable[[np.ndarray], np.ndarray]) -> float:
        (patch,) = restored_patches(StandIn(function, gated=False), picture, mask, PASTE, 512, 32)
        np.testing.assert_array_equal(patch.fill[~hole], page.fill[~hole])
        return float(np.abs(patch.fill - truth / np.float32(255))[hole].mean())

    before = float(np.abs(page.fill - truth / np.float32(255))[hole].mean())
    assert error(knows) < 0.1 * before
    # White is worse than the page, and leaves it as it is.
    assert error(lambda tile: 0 * tile[:, :3] + 1) == error(lambda tile: tile[:, :3]) == before > 0.05


def test_a_network_sees_colours_and_mask_and_paints_the_hole_only():
    page, hole = np.random.default_rng(0).random((90, 700, 3), np.float32), np.zeros((90, 700), np.uint8)
    hole[30:70, 20:650] = 1
    network = StandIn(lambda tile: np.repeat(tile[:, 3:], 3, 1) * np.float32(2), gated=False)
    painted = paint(network, page, hole, 128, 16)
    assert {shape[1:] for shape in network.tiles} == {(4, 128, 128)}
    np.testing.assert_array_equal(painted[hole > 0], 2)
    np.testing.assert_array_equal(painted[hole == 0], page[hole == 0])


def restorer_weights(**locator: Weights) -> Weights:
    network = random_network(1, width=4, encoder_blocks=[1, 1], middle_blocks=1, decoder_blocks=[1, 1], mask_input=True)
    predict = {**asdict(SETTINGS), "fill": "network", "tile": 128}
    return Weights(arrays_of(network), predict, **locator)


def test_one_file_finds_and_paints_and_a_restorer_alone_is_told_the_mask(tmp_path):
    _, picture, mask = scene()
    alone = Restorer(restorer_weights(), "cpu", backend="paddle")
    with pytest.raises(ValueError, match="find nothing: give the mask"):
        alone(picture)
    with pytest.raises(ValueError, match="mode tiles shows a network the whole photo"):
        Restorer(restorer_weights(), "cpu", mode="tiles")
    result = alone(picture, mask)
    assert np.array_equal(result.image[result.mask == 0], picture[result.mask == 0])
    both = Restorer(restorer_weights(locator=lively_locator()), "cpu", backend="paddle")
    assert np.array_equal(both(picture, mask).image, result.image)
    assert "a locator looks" in both.describe()
    both(picture)
    paths = PatchPaths(*(tmp_path / f"{name}.png" for name in PatchPaths._fields))
    for path, pixels in zip(paths, (scene()[0], picture, mask * 255), strict=True):
        Image.fromarray(pixels).save(path)
    measures = validate(restorer_weights(), [paths], "cpu", Processes())
    assert measures["psnr_inside"] > 12


def test_a_training_patch_is_filled_as_in_prediction():
    truth, picture, mask = scene()
    (page,) = page_patches(picture, mask, PASTE)
    found, hole = fill_patch(picture, mask, 1024)
    assert np.array_equal(hole, hole_of(page.mask, PASTE))
    assert np.array_equal(found, (page.fill * 255 + 0.5).astype(np.uint8))
    assert fill_patch(picture, mask, 2048)[1].sum() > hole.sum()
    clean, none = fill_patch(truth, np.zeros_like(mask), 1024)
    assert np.array_equal(clean, truth)
    assert not none.any()
