"""Restorer: exact outside the mask, working sizes, settings; and what may be restored, as one kind of array."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from PIL import ExifTags, Image

from configs.schema import PredictConfig
from data.images import BadImageError
from inference import Restorer
from inference.restorer import as_pixels
from models.weights import Weights, arrays_of, load_weights, save_weights
from tests.inference.painted import page
from tests.inference.stand_ins import StandIn, brighten, paint_red_over
from tests.models.networks import build, plain_weights

RGB = np.random.default_rng(1).integers(0, 256, (5, 7, 3), np.uint8)


def test_a_mask_that_is_given_is_filled_and_nothing_is_looked_for():
    picture, mask = np.full((120, 160, 3), 200, np.uint8), np.zeros((120, 160), np.uint8)
    picture[40:80, 60:90] = 30
    mask[36:84, 56:94] = 255
    backend = StandIn(lambda tile: np.concatenate([tile, 0 * tile[:, :1]], 1))
    restorer = Restorer.from_backend(backend, PredictConfig(fill="page"))
    result = restorer(picture, mask)
    assert not backend.tiles
    assert result.occluders == 1
    assert np.abs(result.image.astype(int) - 200).max() <= 1
    assert np.array_equal(restorer(picture).image, picture)
    with pytest.raises(ValueError, match=r"a mask of \(9, 9\) for a picture of \(120, 160\)"):
        restorer(picture, mask[:9, :9])


@pytest.mark.parametrize("long_side", [0, 211, 100])
def test_what_was_found_is_the_occluder_and_the_paste_takes_its_rim_along_and_no_more(long_side):
    image, reach = page(), int(np.ceil(6 * (420 / long_side if long_side else 1))) + 1
    result = Restorer.from_backend(StandIn(paint_red_over), PredictConfig(long_side=long_side, overlap=16))(image)
    assert result.mask[200:300, 150:260].all()
    assert not result.mask[: 200 - reach].any()
    assert not result.mask[:, : 150 - reach].any()
    height, width = result.located.shape
    assert max(height, width) == (long_side or 420)
    assert result.located.sum() == pytest.approx(100 * 110 * (height / 300) * (width / 420), rel=0.05)


@pytest.mark.parametrize(
    ("scale", "downscale", "long_side", "expected"),
    [
        ("auto", 1, 210, (150, 210)),
        ("auto", 1, 0, (300, 420)),
        ("auto", 1, 9999, (300, 420)),
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
    backend, settings = StandIn(paint_red_over), PredictConfig(downscale=downscale, long_side=long_side)
    Restorer.from_backend(backend, settings, scale, mode="full")(page())
    assert backend.tiles == [(1, 3, *expected)]


def test_without_a_gate_the_whole_picture_changes_and_keeps_its_detail_at_half_size():
    image, backend = page(box=None), StandIn(brighten, gated=False)
    for scale, bound in ((1, 0.5), (0.5, 1)):
        result = Restorer.from_backend(backend, PredictConfig(), scale, mode="tiles")(image)
        assert np.abs(result.image.astype(float) - image - 25.5).max() <= bound
        assert result.mask.all()
        assert result.occluders == 0


def test_arrays_and_paths_give_the_same(tmp_path):
    Image.fromarray(page()).save(path := tmp_path / "photo.png")
    restorer = Restorer.from_backend(StandIn(paint_red_over), PredictConfig(long_side=0))
    results = [restorer(image) for image in (page(), path, str(path))]
    assert all(np.array_equal(result.image, results[0].image) for result in results)
    assert [*results[0].seconds] == ["locate", "restore", "compose"]
    assert [*results[1].seconds] == ["read", "locate", "restore", "compose"]


def test_weights_bring_their_settings_and_arguments_replace_them(tmp_path):
    network = build("tiny", gate=True)
    predict = {"long_side": 64, "rows": 1, "columns": 3, "overlap": 8, "tlc_ratio": 0.25}
    weights = Weights(arrays_of(network), network.config, predict)
    save_weights(tmp_path / "w.pdparams", weights)
    own = Restorer(tmp_path / "w.pdparams", device="cpu", backend="paddle")
    changed = Restorer(weights, device="cpu", backend="paddle", mode="tiles", rows=2, overlap=0, tlc_ratio=0)
    for restorer, expected, tlc in ((own, (1, 3, 8), "64x64"), (changed, (2, 3, 0), "off")):
        settings = restorer.settings
        assert (settings.rows, settings.columns, settings.overlap) == expected
        assert tlc in restorer.tlc
    assert weights.predict["rows"] == 1


def test_the_fingerprint_is_that_of_weights_and_settings_and_not_of_what_runs_them(tmp_path):
    weights = load_weights(plain_weights(tmp_path / "w.pdparams"))
    params = {name: values + (name == "ending.bias") for name, values in weights.params.items()}
    assert "ending.bias" in params
    plain = {"backend": "paddle", "device": "cpu", "mode": "tiles"}
    options = [{}, {"threads": 1}, {"mode": "full"}, {"scale": 0.5}, {"tta": True}, {"overlap": 8}, {"tlc_ratio": 0}]
    found = [Restorer(weights, **plain | more).fingerprint for more in options]
    found.append(Restorer(replace(weights, params=params), **plain).fingerprint)
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


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"mode": "quick"}, "mode is 'quick', expected one of auto, tiles, full"),
        ({"mode": "auto", "columns": 2}, "--tiles.*mode is auto"),
        *(({"scale": scale}, "scale is") for scale in (0, 1.5, "half", float("nan"))),
    ],
)
def test_what_cannot_work_is_refused_before_weights_are_read(options, words):
    with pytest.raises(ValueError, match=words):
        Restorer("gone.pdparams", **options)


def test_a_file_is_turned_upright_and_keeps_its_depth(tmp_path):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    Image.fromarray(RGB).save(tmp_path / "lying.png", exif=exif)
    assert np.array_equal(as_pixels(str(tmp_path / "lying.png")), np.rot90(RGB, -1))
    deep = np.random.default_rng(2).integers(0, 65536, (5, 7, 3), np.uint16)
    cv2.imwrite(str(tmp_path / "deep.png"), deep[..., ::-1])
    assert as_pixels(tmp_path / "deep.png").dtype == np.uint16
    assert np.array_equal(as_pixels(tmp_path / "deep.png"), deep)
    assert as_pixels(deep) is deep


@pytest.mark.parametrize("thing", [123, None, b"photo.jpg", Image.new("L", (3, 3))])
def test_anything_else_is_refused_with_what_would_do(thing):
    with pytest.raises(TypeError, match=rf"{type(thing).__name__} .*path .*Pillow image, np.asarray"):
        as_pixels(thing)


@pytest.mark.parametrize(
    ("shape", "dtype"), [((4, 4), "u1"), ((4, 4, 1), "u1"), ((4, 4, 4), "u1"), ((4, 4, 3), "f4"), ((0, 4, 3), "u1")]
)
def test_other_arrays_are_refused(shape, dtype):
    with pytest.raises(ValueError, match=r"expected .*RGB uint8 or uint16 .*np\.dstack"):
        as_pixels(np.zeros(shape, dtype))


@pytest.mark.parametrize("name", ["bad", "gone"])
def test_broken_and_missing_files_are_refused_by_name(tmp_path, name):
    (tmp_path / "bad.jpg").write_bytes(b"nothing")
    with pytest.raises((BadImageError, OSError), match=rf"{name}\.jpg"):
        as_pixels(tmp_path / f"{name}.jpg")
