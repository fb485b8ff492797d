"""The bundled sample photographs: they are what the module draws, and they can be drawn again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from data.images import read_rgb
from metrics.score import psnr
from test_code.make_samples import LARGEST_FILE, SAMPLES, Sample, draw_sample, jpeg_within, make_samples

BUNDLED = Path(__file__).parents[2] / "test_code" / "samples"
EACH = pytest.mark.parametrize("sample", SAMPLES, ids=[sample.name for sample in SAMPLES])


def test_hands_and_heads_portrait_and_landscape() -> None:
    assert len(SAMPLES) == 4
    assert {sample.occluder for sample in SAMPLES} == {"hand", "head"}
    assert {sample.width > sample.height for sample in SAMPLES} == {True, False}
    assert {path.stem for path in (BUNDLED / "photos").glob("*.jpg")} == {sample.name for sample in SAMPLES}


@EACH
def test_a_photo_differs_from_its_clean_page_only_where_something_covers_it(sample: Sample) -> None:
    """The covered part is a blob of a few per cent; the rest differs by JPEG alone."""
    files = [BUNDLED / "photos" / f"{sample.name}.jpg", BUNDLED / "gt" / f"{sample.name}.jpg"]
    assert all(path.stat().st_size <= LARGEST_FILE for path in files)
    photo, clean = (read_rgb(path) for path in files)
    assert photo.shape == clean.shape == (sample.height, sample.width, 3)
    _, _, mask = draw_sample(sample)
    assert 0.005 < mask.mean() < 0.09
    assert psnr(photo, clean, 1 - mask) > 36
    assert psnr(photo, clean, mask) < 20


@EACH
def test_the_bundled_page_is_the_one_that_is_drawn(sample: Sample) -> None:
    """When this fails, drawing has changed: run `python -m test_code.make_samples` and look at the photos."""
    page, covered, _ = draw_sample(sample)
    assert psnr(read_rgb(BUNDLED / "gt" / f"{sample.name}.jpg"), page) > 33
    assert psnr(read_rgb(BUNDLED / "photos" / f"{sample.name}.jpg"), covered) > 33


def test_the_same_bytes_come_out_twice(tmp_path: Path) -> None:
    small = [Sample("small", 200, 260, "form", "hand", "natural", 3)]
    for run in ("first", "second"):
        make_samples(tmp_path / run, small)
    for name in ("photos/small.jpg", "gt/small.jpg"):
        first, second = ((tmp_path / run / name).read_bytes() for run in ("first", "second"))
        assert first == second
        assert first[:2] == b"\xff\xd8"


def test_a_file_that_cannot_be_small_enough_is_an_error() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 48, 3), dtype=np.uint8)
    with pytest.raises(ValueError, match=r"48 x 64 takes .* bytes at quality 75"):
        jpeg_within(noise, 100)
