"""Restorer: exact outside the mask in every mode, working sizes, settings; and what may be restored."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from configs.schema import PredictConfig
from inference import Restorer
from inference.restorer import as_pixels
from inference.tiles import equal_cut, run_cut
from models.weights import Weights, arrays_of, load_weights, save_weights
from tests.inference.stand_ins import StandIn, brighten, page, paint_red_over, restorer_over
from tests.models.networks import build, plain_weights


@pytest.mark.parametrize(("scale", "downscale", "long_side", "expected"), [
    ("auto", 1, 210, (150, 210)), ("auto", 1, 0, (300, 420)), ("auto", 1, 9999, (300, 420)),
    ("auto", 2, 9999, (150, 210)), ("auto", 2, 140, (100, 140)), (0.5, 1, 9999, (150, 210)), (1, 2, 9, (300, 420))
])  # fmt: skip
def test_the_working_size_follows_scale_downscale_and_long_side_and_never_enlarges(
    scale, downscale, long_side, expected
):
    backend, settings = StandIn(paint_red_over), PredictConfig(downscale=downscale, long_side=long_side)
    restorer_over(backend, settings, scale, mode="full")(page())
    assert backend.tiles == [(1, 3, *expected)]


def test_without_a_gate_the_whole_picture_changes_and_keeps_its_detail_at_half_size_and_no_mask_is_taken():
    image = page(box=None)
    restorer = restorer_over(StandIn(brighten, gated=False), PredictConfig(), 0.5, mode="tiles")
    result = restorer(image)
    assert np.abs(result.image.astype(float) - image - 25.5).max() <= 1
    assert (result.mask.all(), result.occluders) == (True, 0)
    with pytest.raises(ValueError, match="changes the whole picture, and finds nothing that a mask could be added to"):
        restorer(image, result.mask, "protect")


def test_weights_bring_their_settings_and_arguments_replace_them(tmp_path):
    arrays = arrays_of(build("tiny", gate=True))
    predict = {"long_side": 64, "rows": 1, "columns": 3, "overlap": 8, "tlc_ratio": 0.25}
    save_weights(tmp_path / "w.pdparams", weights := Weights(arrays, predict))
    for file, options, expected, tlc in (
        (tmp_path / "w.pdparams", {}, (1, 3, 8), "64x64"),
        (weights, {"mode": "tiles", "rows": 2, "overlap": 0, "tlc_ratio": 0}, (2, 3, 0), "off"),
    ):
        restorer = Restorer(file, device="cpu", backend="paddle", **options)
        settings = restorer.settings
        assert (settings.rows, settings.columns, settings.overlap) == expected
        assert tlc in restorer.tlc
    assert weights.predict["rows"] == 1


def test_the_fingerprint_is_that_of_weights_and_settings_and_not_of_what_runs_them(tmp_path):
    weights = load_weights(plain_weights(tmp_path / "w.pdparams"))
    other = replace(weights, params=weights.params | {"ending.bias": weights.params["ending.bias"] + 1})
    plain = {"backend": "paddle", "device": "cpu", "mode": "tiles"}
    options = [{}, {"threads": 1}, {"mode": "full"}, {"scale": 0.5}, {"tta": True}, {"overlap": 8}, {"tlc_ratio": 0}]
    found = [Restorer(weights, **plain | more).fingerprint for more in options]
    found.append(Restorer(other, **plain).fingerprint)
    assert found[0] == found[1]
    assert len(set(found)) == len(found) - 1


def test_the_shipped_weights_say_how_they_want_to_be_used():
    """The default finds and the page fills; the modes that restore whole pictures take the file with a NAFNet."""
    found = Restorer(device="cpu", backend="paddle")
    assert (found.gated, found.settings.fill, found.tlc) == (True, "page", "none")
    assert "a locator looks at 512 and 320 px; model.pdparams" in found.describe()
    restorer = Restorer(device="cpu", backend="paddle", mode="tiles")
    assert restorer.describe().endswith("; gated.pdparams")
    assert (restorer.gated, restorer.settings.long_side > 0) == (True, True)


@pytest.mark.parametrize(("options", "words"), [
    ({"mode": "quick"}, "mode is 'quick', expected one of auto, "), ({"columns": 2}, "--tiles.*mode is auto"),
    *(({"scale": scale}, "scale is") for scale in (0, 1.5, "half", float("nan")))])  # fmt: skip
def test_what_cannot_work_is_refused_before_weights_are_read(options, words):
    with pytest.raises(ValueError, match=words):
        Restorer("gone.pdparams", **options)


@pytest.mark.parametrize(("thing", "error", "words"), [
    *((thing, TypeError, rf"{type(thing).__name__} .*path .*Pillow image, np.asarray")
      for thing in (123, None, b"photo.jpg", Image.new("L", (3, 3)))),
    *((np.zeros(shape, kind), ValueError, r"expected .*RGB uint8 or uint16 .*np\.dstack")
      for shape, kind in (((4, 4), "u1"), ((4, 4, 4), "u1"), ((4, 4, 3), "f4"), ((0, 4, 3), "u1")))])  # fmt: skip
def test_anything_else_is_refused_with_what_would_do(thing, error, words):
    with pytest.raises(error, match=words):
        as_pixels(thing)


@pytest.mark.parametrize("mode", ["auto", "tiles", "full"])
@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_over_random_shapes_every_bit_outside_the_mask_stays(mode, kind):
    generator = np.random.default_rng(11)
    sizes = (2 ** generator.uniform(0, 9.5, (12, 2))).astype(int).tolist()
    for height, width in [*sizes, (1, 1), (2, 3), (100, 8000), (3000, 70)]:
        image = page(height, width, (height * 2 // 3, width // 3, height, width), kind)
        before = image.copy()
        settings = PredictConfig(
            long_side=int(generator.choice([0, 37, 200, 500])), locate_long_side=int(generator.choice([0, 30, 150])),
            tile=128, overlap=int(generator.choice([0, 16, 64])), fill=str(generator.choice(["network", "page"])),
        )
        result = restorer_over(StandIn(paint_red_over), settings, mode=mode)(image)
        assert (result.image.dtype, result.image.shape) == (kind, image.shape)
        assert np.array_equal(result.image[result.mask == 0], image[result.mask == 0])
        assert np.array_equal(image, before)
        assert set(np.unique(result.mask)) <= {0, 1}
        if 60 < min(height, width) <= max(height, width) < 800:
            assert result.occluders == 1
            assert result.mask[height * 3 // 4 :, width // 2 :].all()
            assert result.mask.mean() < 0.5


def test_where_nothing_is_found_nothing_is_restored_and_a_pass_at_the_same_scale_is_not_repeated(tmp_path):
    backend, image = StandIn(paint_red_over), page(600, 1000, None)
    Image.fromarray(image).save(path := tmp_path / "clean.png")
    for given, first in ((image, []), (path, ["read"]), (str(path), ["read"])):
        result = restorer_over(backend, PredictConfig(locate_long_side=200))(given)
        assert (backend.tiles.pop(), result.occluders, result.mask.any()) == ((1, 3, 128, 256), 0, False)
        assert [*result.seconds] == [*first, "locate", "restore", "compose"]
        assert np.array_equal(result.image, image)
        assert not np.shares_memory(result.image, image)
    restorer_over(backend, PredictConfig(long_side=256))(page(600, 1000, (500, 300, 600, 500)))
    assert backend.tiles == [(1, 3, 192, 256)]


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
@pytest.mark.parametrize(("mode", "tlc_ratio", "parts"), [("full", 0, 1), ("tiles", None, 2)])
def test_full_is_the_plain_network_and_tiles_are_the_write_ups_four_tiles_and_nothing_else(
    tmp_path, kind, mode, tlc_ratio, parts
):
    image, white = page(77, 103, (40, 0, 77, 50), kind), np.float32(np.iinfo(kind).max)
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
    """Red becomes paper, and everything else a trace lighter."""
    def erase(tile: np.ndarray) -> np.ndarray:
        return np.where(tile[:, 1:2] < 0.3, np.float32(0.5), tile + np.float32(0.004))

    image = page(500, 700, (300, 200, 500, 400))
    result = restorer_over(StandIn(erase, gated=False), PredictConfig(long_side=350))(image)
    assert np.array_equal(result.image[result.mask == 0], image[result.mask == 0])
    assert (result.occluders, result.mask[300:, 200:400].all(), result.mask[:280].any()) == (0, True, False)
    assert np.abs(result.image[310:, 210:390].astype(int) - 128).max() <= 20
