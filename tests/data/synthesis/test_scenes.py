"""Photographed pages: their light, and the desk that they lie on."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from data.contest.lists import read_contest
from data.images import read_rgb
from data.masks import read_mask
from data.synthesis.make import make_set
from data.synthesis.scenes import lay_on_desk, photograph
from data.synthesis.sets import SetOptions
from tests.data.synthesis.cutouts import page_rgb, write_sources

PAPER = (10, 250, 20)


def _laid(seed: int, size: tuple[int, int] = (320, 240)) -> np.ndarray:
    return lay_on_desk(np.full((*size, 3), PAPER, np.uint8), np.random.default_rng(seed))


def _paper(picture: np.ndarray) -> np.ndarray:
    return (picture == PAPER).all(2)


def test_the_same_generator_gives_the_same_bytes_and_the_page_stays_untouched() -> None:
    page = np.random.default_rng(0).integers(0, 256, (90, 60, 3), dtype=np.uint8)
    before = page.copy()
    first, again, other = (lay_on_desk(page, np.random.default_rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(page, before)
    assert first.shape == page.shape
    assert first.dtype == np.uint8
    assert not np.array_equal(first, other)


def test_the_desk_shows_round_one_to_four_sides_and_the_page_stays_inside() -> None:
    counts = []
    for seed in range(60):
        paper = _paper(_laid(seed))
        # The last three pixels at each border, and the middle third of them.
        strips = [paper[:, :3].T, paper[:3], paper[:, -3:].T, paper[-3:]]
        desk = [not strip[:, strip.shape[1] // 3 : -(strip.shape[1] // 3)].any() for strip in strips]
        counts.append(sum(desk))
        assert 0.6 < paper.mean() < 0.995
        assert paper[80:-80, 60:-60].all()
        # Whatever side shows desk shows all of it: the page does not run out of the picture there.
        for strip, shown in zip(strips, desk, strict=True):
            if shown:
                assert strip.mean() < 0.25
        # One sheet, in one piece.
        assert ndimage.label(paper)[1] == 1
    assert set(counts) == {1, 2, 3, 4}


def test_little_of_the_page_is_lost_over_the_borders_without_desk() -> None:
    rows, columns = np.mgrid[:320, :240]
    page = np.stack([rows * 255 // 319, columns * 255 // 239, np.full_like(rows, 255)], 2).astype(np.uint8)
    for seed in range(40):
        picture = lay_on_desk(page, np.random.default_rng(seed))
        seen = picture[picture[..., 2] == 255].astype(int)
        for channel in (0, 1):
            assert seen[:, channel].min() < 0.08 * 255
            assert seen[:, channel].max() > 0.92 * 255


def test_desks_differ_and_lie_in_shadow_near_the_page() -> None:
    tones, nearer = [], []
    for seed in range(60):
        picture = _laid(seed, (480, 360))
        away = ndimage.distance_transform_edt(~_paper(picture))
        brightness = picture.mean(2)
        near, far = brightness[(away > 2) & (away < 6)], brightness[away > 20]
        if len(far) > 500:
            tones.append(far.mean())
            nearer.append(near.mean() / far.mean())
    assert len(tones) > 15
    assert min(tones) < 60
    assert max(tones) > 140
    assert np.median(nearer) < 0.92


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("desks")
    pages, cutouts = write_sources(root / "sources", pages=6, occluders=6)
    options = SetOptions((str(pages),), (str(cutouts),), groups=12, seed=5, long_side=320, occlusions_per_page=2)
    make_set(options, root / "without")
    for name, desks, workers in (("with", 1.0, 1), ("again", 1.0, 2), ("some", 0.5, 1)):
        make_set(replace(options, desks=desks), root / name, workers)
    return root


def _digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_sets_with_desks_keep_their_bytes_and_the_other_pages(made: Path) -> None:
    assert _digests(made / "with") == _digests(made / "again")
    without, some, desks = (
        {name: digest for name, digest in _digests(made / folder).items() if "/gt/" in name}
        for folder in ("without", "some", "with")
    )
    assert not set(without.values()) & set(desks.values())
    # Each page is one or the other.
    assert {some[name] == without[name] for name in some} == {True, False}
    assert all(some[name] in (without[name], desks[name]) for name in some)


def test_occluders_come_from_the_border_over_the_desk_and_the_truth_shows_the_desk(made: Path) -> None:
    over_desk = 0
    for group in read_contest(made / "with"):
        clean, occluded, mask = read_rgb(group.clean), read_rgb(group.occluded), read_mask(group.mask)
        labels, count = ndimage.label(mask)
        at_border = set(labels[0]) | set(labels[-1]) | set(labels[:, 0]) | set(labels[:, -1])
        sizes = ndimage.sum(mask, labels, range(1, count + 1))
        assert int(np.argmax(sizes)) + 1 in at_border
        # Outside the mask there is nothing but JPEG: the desk is part of the truth.
        squared = (clean.astype(float) - occluded) ** 2
        assert squared[mask == 0].mean() < 12
        plain = read_rgb(made / "without" / group.clean.relative_to(made / "with"))
        assert np.abs(plain.astype(int) - clean).mean() > 3
        border = np.ones(mask.shape, bool)
        border[4:-4, 4:-4] = False
        changed = np.abs(plain.astype(int) - clean).max(2) > 40
        over_desk += bool((mask.astype(bool) & border & changed).any())
    assert over_desk > 2


def test_a_photo_of_a_page_has_its_size_and_the_light_of_a_photo() -> None:
    white = np.full((400, 300, 3), 255, np.uint8)
    white[100:120, 50:250] = 0
    photo = photograph(white, np.random.default_rng(0), 512)
    assert photo.shape == (512, 384, 3)
    assert 190 < np.median(photo) < 250
    assert photo[140:145, 120:200].max() < 80
    assert np.ptp(photo[300:].mean(2)) > 5
    # What is a photo already keeps its tone.
    grey = page_rgb()
    assert abs(float(np.median(photograph(grey, np.random.default_rng(0), 400))) - np.median(grey)) < 8


def test_long_strips_are_cut_to_a_photos_proportions() -> None:
    rng = np.random.default_rng(0)
    assert photograph(np.full((900, 200, 3), 200, np.uint8), rng, 600).shape == (600, 400, 3)
    assert photograph(np.full((200, 900, 3), 200, np.uint8), rng, 600).shape == (400, 600, 3)
