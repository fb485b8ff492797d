"""Restorer: exact outside the mask, working sizes, inputs, settings; gated and ungated networks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from configs.schema import PredictConfig
from data.drawing.occluders import draw_hand
from inference import Restorer
from inference.restorer import default_weights
from models.weights import Weights, arrays_of, load_weights, save_weights
from tests.inference.painted import page
from tests.inference.stand_ins import StandIn, brighten, paint_red_over
from tests.models.networks import build


def painted(**settings: object) -> Restorer:
    """A restorer that paints over what is red."""
    return Restorer.from_backend(StandIn(paint_red_over), PredictConfig(**settings))


@pytest.mark.parametrize("long_side", [0, 400, 211, 100])
def test_only_the_covered_part_changes_and_everything_else_is_bit_identical(long_side):
    image = page()
    before = image.copy()
    result = painted(long_side=long_side, overlap=16)(image)
    assert np.array_equal(image, before)
    assert result.image.dtype == result.mask.dtype == np.uint8
    assert result.image.shape == image.shape
    assert result.occluders == 1
    assert np.array_equal(result.image[result.mask == 0], image[result.mask == 0])
    assert result.mask[200:300, 150:260].all()
    factor = 420 / long_side if long_side else 1
    reach = int(np.ceil(6 * factor)) + 1
    assert not result.mask[: 200 - reach].any()
    assert not result.mask[:, : 150 - reach].any()
    assert np.abs(result.image[205:, 155:255].astype(int) - 128).max() <= 12
    # What was found is the rectangle itself, without the rim that the paste takes along.
    height, width = result.located.shape
    assert max(height, width) == (long_side or 420)
    assert result.located.sum() == pytest.approx(100 * 110 * (height / 300) * (width / 420), rel=0.05)


def test_a_clean_page_comes_back_as_it_is():
    image = page(box=None)
    result = painted(long_side=150)(image)
    assert np.array_equal(result.image, image)
    assert not result.mask.any()
    assert result.occluders == 0


def test_a_red_picture_printed_on_the_page_stays():
    image = page(box=(100, 150, 180, 260))
    result = Restorer.from_backend(StandIn(paint_in_doubt), PredictConfig(long_side=0))(image)
    assert np.array_equal(result.image, image)


def paint_in_doubt(tile: np.ndarray) -> np.ndarray:
    """As certain of a printed picture as a real network is: not wholly."""
    output = paint_red_over(tile)
    output[:, 3] *= 0.9
    return output


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 64), (33, 2), (2, 3), (77, 51)])
def test_any_size_works(height, width):
    for long_side in (0, 16):
        settings = PredictConfig(long_side=long_side)
        covered = np.full((height, width, 3), (230, 20, 20), np.uint8)
        result = Restorer.from_backend(StandIn(paint_red_over), settings)(covered)
        assert np.abs(result.image - 127.5).max() <= 0.5
        assert result.mask.all()
        light = Restorer.from_backend(StandIn(brighten, gated=False), settings)(page(height, width, None))
        assert light.image.shape == (height, width, 3)


@pytest.mark.parametrize(
    ("scale", "downscale", "long_side", "expected"),
    [
        ("auto", 1, 210, (150, 210)),
        ("auto", 1, 0, (300, 420)),
        ("auto", 1, 9999, (300, 420)),
        ("auto", 2, 0, (150, 210)),
        ("auto", 2, 9999, (150, 210)),
        ("auto", 2, 140, (100, 140)),
        ("auto", 3, 210, (100, 140)),
        (0.5, 1, 9999, (150, 210)),
        (1, 2, 9, (300, 420)),
    ],
)
def test_the_working_size_follows_scale_downscale_and_long_side_and_never_enlarges(
    scale, downscale, long_side, expected
):
    backend = StandIn(paint_red_over)
    settings = PredictConfig(rows=1, columns=1, overlap=0, downscale=downscale, long_side=long_side)
    restorer = Restorer.from_backend(backend, settings, scale, mode="full")
    assert restorer.working_size(300, 420) == expected
    restorer(page())
    assert backend.tiles == [(1, 3, *expected)]


@pytest.mark.parametrize("scale", [0, -1, 1.5, "half", float("nan")])
def test_an_impossible_scale_is_refused(scale):
    with pytest.raises(ValueError, match="scale"):
        Restorer.from_backend(StandIn(paint_red_over), PredictConfig(), scale)


def test_without_a_gate_the_whole_picture_changes_and_keeps_its_detail_at_half_size():
    image = page(box=None)
    full = Restorer.from_backend(StandIn(brighten, gated=False), PredictConfig(long_side=0), mode="tiles")(image)
    half = Restorer.from_backend(StandIn(brighten, gated=False), PredictConfig(long_side=0), 0.5, mode="tiles")(image)
    assert np.abs(full.image.astype(float) - image - 25.5).max() <= 0.5
    assert np.abs(half.image.astype(float) - image - 25.5).max() <= 1
    assert full.mask.all()
    assert full.occluders == 0


def test_arrays_pictures_and_paths_give_the_same(tmp_path):
    image = page()
    path = tmp_path / "photo.png"
    Image.fromarray(image).save(path)
    restorer = painted(long_side=0)
    results = [restorer(image), restorer(path), restorer(str(path)), restorer(Image.fromarray(image))]
    assert all(np.array_equal(result.image, results[0].image) for result in results)
    assert set(results[0].seconds) == {"locate", "restore", "compose"}
    assert set(results[1].seconds) == {"read", "locate", "restore", "compose"}


def tiny_weights(gate: bool = True, **predict: object) -> Weights:
    """A tiny random network and the settings that it brings along."""
    network = build("tiny", gate=gate)
    return Weights(params=arrays_of(network), model=network.config, predict={"long_side": 64, **predict})


def test_weights_bring_their_settings_and_arguments_replace_them(tmp_path):
    weights = tiny_weights(rows=1, columns=3, overlap=8, tlc_ratio=0.25)
    save_weights(tmp_path / "w.pdparams", weights)
    restorer = Restorer(tmp_path / "w.pdparams", device="cpu", backend="paddle")
    assert (restorer.settings.rows, restorer.settings.columns, restorer.settings.overlap) == (1, 3, 8)
    assert "64x64" in restorer.tlc
    changed = Restorer(weights, device="cpu", backend="paddle", mode="tiles", rows=2, overlap=0, tlc_ratio=0)
    assert (changed.settings.rows, changed.settings.columns, changed.settings.overlap) == (2, 3, 0)
    assert "off" in changed.tlc
    assert weights.predict["rows"] == 1


def test_tlc_is_at_work_when_the_picture_is_larger_than_its_window():
    image = page(64, 64, (30, 10, 64, 40))
    weights = tiny_weights(rows=1, columns=1, overlap=0)
    for name in weights.params:
        # A fresh block is the identity; only then do its means count.
        if name.endswith(("beta", "gamma")):
            weights.params[name] = weights.params[name] + 1
    small = image.astype(np.float32).transpose(2, 0, 1)[None] / 255
    ratios = (0, 100, 0.05)
    outputs = [Restorer(weights, "cpu", backend="paddle", tlc_ratio=ratio)._backend(small) for ratio in ratios]
    assert np.allclose(outputs[0], outputs[1], atol=1e-6)
    assert np.abs(outputs[0] - outputs[2]).max() > 1e-5


def psnr_inside(result: np.ndarray, clean: np.ndarray, covered: np.ndarray) -> float:
    error = (result.astype(float) - clean)[covered > 0]
    return float(10 * np.log10(255**2 / max((error**2).mean(), 1e-9)))


def test_the_text_that_a_perfect_network_knows_survives_unless_the_weights_ask_for_the_page():
    clean = np.full((300, 420, 3), 225, np.uint8)
    for top in range(10, 290, 12):
        clean[top : top + 5, 20:400:4] = 40
    covered = np.zeros((300, 420), np.uint8)
    covered[180:, 150:260] = 1
    photo = np.where(covered[..., None] > 0, np.uint8(120), clean)
    # A perfect network: it knows the page and what covers it.
    truth = np.dstack([clean / 255, covered]).astype(np.float32).transpose(2, 0, 1)[None]
    found = {}
    for settings in (PredictConfig(), PredictConfig(fill="page")):
        restorer = Restorer.from_backend(StandIn(lambda tile: truth), settings, mode="full")
        found[settings.fill] = psnr_inside(restorer(photo).image, clean, covered)
    assert found["network"] > 45
    assert found["page"] < 25


def test_the_shipped_weights_fill_plain_paper_better_from_the_page_than_by_themselves():
    weights = load_weights(default_weights())
    assert weights.predict["fill"] == "page"
    clean = np.full((420, 320, 3), 228, np.uint8)
    hand = draw_hand(np.random.default_rng(5), 200)
    covered = np.zeros((420, 320), np.uint8)
    photo = clean.copy()
    place = (slice(420 - hand.shape[0], None), slice(100, 100 + hand.shape[1]))
    opaque = hand[..., 3:] > 127
    covered[place] = opaque[..., 0]
    photo[place] = np.where(opaque, hand[..., :3], photo[place])
    own = replace(weights, predict={**weights.predict, "fill": "network"})
    ghost, paper = (Restorer(entry, "cpu", backend="paddle")(photo) for entry in (own, weights))
    assert ghost.occluders == paper.occluders == 1
    found = [psnr_inside(result.image, clean, covered & result.mask) for result in (ghost, paper)]
    assert found[1] > found[0] + 3, found


def test_the_shipped_weights_say_how_they_want_to_be_used():
    restorer = Restorer(device="cpu", backend="paddle")
    assert restorer.gated
    assert restorer.settings.long_side > 0
    assert "384x384" in restorer.tlc or restorer.settings.tlc_ratio != 1.5
