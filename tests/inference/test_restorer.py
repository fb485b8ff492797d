"""Restorer: exact outside the mask, working sizes, settings; and what may be restored, as one kind of array."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from PIL import ExifTags, Image

from configs.schema import PredictConfig
from data.images import BadImageError
from inference import Restorer
from inference.restorer import as_pixels
from models.weights import Weights, arrays_of, save_weights
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
        error = (restorer(photo).image.astype(float) - clean)[covered > 0]
        found[settings.fill] = 10 * np.log10(255**2 / max((error**2).mean(), 1e-9))
    assert found["network"] > 45
    assert found["page"] < 25


def test_the_shipped_weights_say_how_they_want_to_be_used():
    """The default finds and the page fills; the modes that restore whole pictures take the file with a NAFNet."""
    found = Restorer(device="cpu", backend="paddle")
    assert (found.gated, found.settings.fill, found.tlc) == (True, "page", "none")
    assert "a locator looks at 512 and 320 px" in found.describe()
    restorer = Restorer(device="cpu", backend="paddle", mode="tiles")
    assert restorer.gated
    assert restorer.settings.long_side > 0
    assert "384x384" in restorer.tlc or restorer.settings.tlc_ratio != 1.5


RGB = np.random.default_rng(1).integers(0, 256, (5, 7, 3), np.uint8)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_an_array_is_taken_as_it_is(kind):
    array = RGB.astype(kind)
    assert as_pixels(array) is array


def test_a_file_is_turned_upright_and_keeps_its_depth(tmp_path):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    Image.fromarray(RGB).save(tmp_path / "lying.png", exif=exif)
    assert np.array_equal(as_pixels(tmp_path / "lying.png"), np.rot90(RGB, -1))
    assert np.array_equal(as_pixels(str(tmp_path / "lying.png")), np.rot90(RGB, -1))
    deep = np.random.default_rng(2).integers(0, 65536, (5, 7, 3), np.uint16)
    cv2.imwrite(str(tmp_path / "deep.png"), deep[..., ::-1])
    assert as_pixels(tmp_path / "deep.png").dtype == np.uint16
    assert np.array_equal(as_pixels(tmp_path / "deep.png"), deep)


def test_pillow_images_of_every_mode_become_rgb():
    image = Image.fromarray(RGB)
    grey = np.asarray(image.convert("L"))
    assert np.array_equal(as_pixels(image), RGB)
    assert np.array_equal(as_pixels(image.convert("RGBA")), RGB)
    assert np.array_equal(as_pixels(image.convert("L")), np.dstack([grey] * 3))
    assert np.array_equal(as_pixels(image.convert("LA")), np.dstack([grey] * 3))
    assert np.array_equal(as_pixels(image.convert("1")), np.asarray(image.convert("1").convert("RGB")))
    for mode in ("P", "CMYK", "YCbCr", "HSV"):
        converted = image.convert(mode)
        assert np.array_equal(as_pixels(converted), np.asarray(converted.convert("RGB")))


@pytest.mark.parametrize("mode", ["I;16", "I;16B", "I"])
def test_sixteen_bit_grey_keeps_its_depth(mode):
    values = np.random.default_rng(3).integers(0, 65536, (4, 6), np.uint16)
    image = Image.fromarray(values.astype(np.int32)) if mode == "I" else Image.frombytes(
        mode, (6, 4), values.astype(">u2" if mode.endswith("B") else "<u2").tobytes()
    )
    assert image.mode == mode
    pixels = as_pixels(image)
    assert pixels.dtype == np.uint16
    assert np.array_equal(pixels, np.dstack([values] * 3))


@pytest.mark.parametrize("image", [Image.new("F", (3, 3)), Image.fromarray(np.full((3, 3), 70000, np.int32))])
def test_pillow_images_beyond_16_bits_are_refused(image):
    with pytest.raises(ValueError, match="scale it first"):
        as_pixels(image)


@pytest.mark.parametrize("thing", [123, None, 4.5, [[1, 2]], b"photo.jpg"])
def test_anything_else_is_refused_with_what_would_do(thing):
    with pytest.raises(TypeError, match=rf"{type(thing).__name__} .*array.*Pillow.*path"):
        as_pixels(thing)


@pytest.mark.parametrize(
    ("shape", "kind", "advice"),
    [
        ((4, 4), np.uint8, "np.dstack"),
        ((4, 4, 1), np.uint8, "np.dstack"),
        ((4, 4, 4), np.uint8, "alpha"),
        ((4, 4, 3), np.float32, "astype"),
        ((4, 4, 3), np.int32, ""),
        ((0, 4, 3), np.uint8, ""),
    ],
)
def test_other_arrays_are_refused_with_advice(shape, kind, advice):
    with pytest.raises(ValueError, match=rf"expected RGB uint8 or uint16 .*got .*{advice}"):
        as_pixels(np.zeros(shape, kind))


def test_an_image_without_pixels_and_a_broken_file_are_refused(tmp_path):
    with pytest.raises(ValueError, match="expected RGB"):
        as_pixels(Image.new("RGB", (0, 5)))
    (tmp_path / "bad.jpg").write_bytes(b"nothing")
    with pytest.raises(BadImageError, match=r"bad\.jpg"):
        as_pixels(tmp_path / "bad.jpg")
    with pytest.raises((BadImageError, OSError), match=r"gone\.jpg"):
        as_pixels(tmp_path / "gone.jpg")
