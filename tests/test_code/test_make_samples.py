"""The bundled sample photographs: real ones, and real pages with what the command pastes on them."""

from __future__ import annotations

import shutil

import numpy as np

from data.images import read_rgb
from metrics.score import psnr
from test_code.make_samples import PASTED, SAMPLES, main, paste_sample

REAL = ("book_both_pages", "book_left_hand", "magazine_hand")


def test_every_sample_is_there_small_and_its_origin_is_stated():
    photos = sorted(path.stem for path in (SAMPLES / "photos").iterdir())
    assert photos == sorted([*REAL, *PASTED])
    assert sorted(path.stem for path in (SAMPLES / "gt").iterdir()) == sorted(PASTED)
    sources = (SAMPLES / "SOURCES.md").read_text()
    assert all(name in sources for name in photos)
    assert sum(path.stat().st_size for path in SAMPLES.rglob("*.jpg")) < 3_000_000


def test_a_photo_differs_from_its_page_only_where_something_covers_it_and_is_made_again_the_same(tmp_path):
    """When the last line fails, pasting has changed: run `python -m test_code.make_samples` and look."""
    shutil.copytree(SAMPLES, tmp_path / "samples")
    main(["--samples", str(tmp_path / "samples")])
    for name in PASTED:
        photo, clean = (read_rgb(SAMPLES / part / f"{name}.jpg") for part in ("photos", "gt"))
        _, mask = paste_sample(SAMPLES / "gt" / f"{name}.jpg")
        assert 0.005 < mask.mean() < 0.09
        assert psnr(photo, clean, 1 - mask) > 36
        assert psnr(photo, clean, mask) < 20
        # The chroma of a decoder may differ in a level; the same machine gives the same bytes.
        again = read_rgb(tmp_path / "samples" / "photos" / f"{name}.jpg")
        assert np.abs(again.astype(int) - photo).mean() < 0.5
