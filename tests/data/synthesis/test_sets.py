"""Whole sets: the contest's layout, the split, the seeds, the clean photo, prints and desks on it, broken sources."""

import json
import re
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
from PIL import Image

from data.contest import read_contest
from data.images import read_rgb
from data.masks import read_mask
from data.synthesis import __main__ as synthesis
from data.synthesis.__main__ import FOLDERS, SetOptions, find_sources, make_set
from data.synthesis.occluders import CUTOUTS
from tests.golden.pictures import flat, save, text_page, write_sources


@pytest.fixture(scope="module")
def options(tmp_path_factory):
    root = tmp_path_factory.mktemp("sources")
    pages, cutouts = write_sources(root, pages=8, occluders=8)
    held_out = [f"pages/page {index}.jpg" for index in (2, 5, 7)]
    held_out += [f"cutouts/{name}{index}.png" for name in ("hands/h", "heads/p") for index in (0, 3, 6)]
    (root / "split.csv").write_text("\n".join(["file,split", *(f"{name},heldout" for name in held_out), ""]))
    return SetOptions((str(pages),), (str(cutouts),), groups=7, seed=3, long_side=300, occlusions_per_page=2)


def made(folder, options, **changes):
    """Makes a set; returns what its manifest tells of the photos."""
    make_set(replace(options, **changes), folder)
    return json.loads((folder / "manifest.json").read_text())["groups"]


def test_the_layout_is_the_contests(options, tmp_path):
    """File names, annotations and manifest are recorded in tests/golden."""
    made(tmp_path, options, groups=13, desks=0.5)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["manifest.json", *FOLDERS]
    groups = read_contest(tmp_path)
    assert (len(groups), len({group.clean for group in groups})) == (13, 7)
    for group in groups[:4]:
        clean, occluded, mask = read_rgb(group.clean), read_rgb(group.occluded), read_mask(group.mask)
        with Image.open(group.mask) as image:
            assert (image.mode, image.getpalette()[:6]) == ("P", [128, 0, 0, 0, 128, 0])
        assert max(clean.shape) == 300
        assert mask.shape == clean.shape[:2] == occluded.shape[:2]
        assert 0.005 < mask.mean() < 0.06
        squared = (clean.astype(float) - occluded) ** 2
        # Outside the mask there is nothing but JPEG: a desk is part of the truth.
        assert 10 * np.log10(255**2 / squared[mask == 0].mean()) > 45
        assert squared[mask == 1].mean() > 200


def test_train_and_heldout_share_no_source_and_every_page_is_taken_before_one_again(options, tmp_path):
    used = {}
    for subset, pages in (("train", 5), ("heldout", 3)):
        groups = made(tmp_path / subset, options, groups=pages, occlusions_per_page=1, subset=subset)
        used[subset] = {group["page"] for group in groups}
        assert len(used[subset]) == pages
        used[subset] |= {source for group in groups for source in group["occluders"]}
    assert not used["train"] & used["heldout"]
    save(tmp_path / "alone" / "page.jpg", text_page(400, 300, 0))
    (tmp_path / "alone/split.csv").write_text("file,split\npage.jpg,train\n")
    with pytest.raises(FileNotFoundError, match="none of the 1 pages belongs to the subset 'heldout'"):
        find_sources(replace(options, pages=(str(tmp_path / "alone"),), subset="heldout"))


def test_broken_sources_are_named_replaced_and_seen_in_the_exit_code(tmp_path, capsys):
    pages, cutouts = write_sources(tmp_path / "sources", pages=3, occluders=2)
    whole = (pages / "page 1.jpg").read_bytes()
    (pages / "page 1.jpg").write_bytes(whole[: len(whole) // 2])
    (cutouts / "hands" / "h1_mask.png").write_bytes(b"no picture")
    arguments = [str(tmp_path / "set"), "--pages", str(pages), "--occluders", str(cutouts), "--groups", "6"]
    arguments += ["--seed", "0", "--long-side", "160", "--subset", "all", "--workers", "1"]
    assert synthesis.main(arguments) == 1
    errors = capsys.readouterr().err
    assert re.search("page 1.jpg: .*cut short", errors)
    assert errors.count("h1_mask.png: not a picture") == 1
    assert len(read_contest(tmp_path / "set")) == 6
    # What was made is not made again over itself.
    before = {path: path.read_bytes() for path in (tmp_path / "set").rglob("*.*")}
    assert synthesis.main(arguments) == 2
    assert "is not empty" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in (tmp_path / "set").rglob("*.*")} == before


@pytest.mark.parametrize(("option", "expected"), [("groups=0", "groups: 0 is too small, expected at least 1"),
                                                  ("desks=1.5", "desks: 1.5 is too large, expected at most 1"),
                                                  ("occluded=nan", "occluded: expected a finite number")])  # fmt: skip
def test_impossible_options_are_refused(tmp_path, capsys, option, expected):
    assert synthesis.main([str(tmp_path / "set"), f"--{option}"]) == 2
    assert expected in capsys.readouterr().err
    assert not (tmp_path / "set").exists()


def test_without_sources_pages_are_drawn_and_bundled_cut_outs_pasted(tmp_path):
    groups = made(tmp_path, SetOptions(groups=3, seed=1, long_side=400, occlusions_per_page=2, printed_photos=1.0))
    assert {group["page"] for group in groups} == {"drawn page"}
    assert all(Path(name).is_relative_to(CUTOUTS) for group in groups for name in group["occluders"])
    assert all(0.005 < group["covered"] < 0.06 for group in groups)
    assert len({path.read_bytes() for path in tmp_path.rglob("gt/*.jpg")}) == 3


def test_every_other_photo_is_its_clean_page_where_half_are_occluded(options, tmp_path):
    told = made(tmp_path, options, occlusions_per_page=3, occluded=0.5)
    for number, (group, tale) in enumerate(zip(read_contest(tmp_path), told, strict=True)):
        changed = group.occluded.read_bytes() != group.clean.read_bytes()
        assert read_mask(group.mask).any() == changed == (tale["covered"] > 0) == bool(tale["occluders"]) == number % 2


def test_printed_people_are_not_cut_off_with_the_rest_of_a_strip(options, tmp_path):
    save(tmp_path / "pages" / "strip.png", flat(3000, 200))
    options = replace(options, pages=(str(tmp_path / "pages"),), groups=8, occluded=0.0, long_side=200, subset="all")
    made(tmp_path / "set", options, printed_people=1.0, occlusions_per_page=1)
    pages = [read_rgb(path) for path in sorted((tmp_path / "set").rglob("gt/*.jpg"))]
    assert {page.shape[0] for page in pages} == {200}
    # Skin, hair and coloured backgrounds; the page is grey, and prints without colour do not show here.
    assert np.mean([np.percentile(np.ptp(page.astype(int), 2), 99.5) > 40 for page in pages]) > 0.5


@pytest.mark.parametrize(("ended", "code", "told"), [(OSError("disk full"), 2, "error: disk full"),
                                                     (KeyboardInterrupt, 130, "delete it")])  # fmt: skip
def test_a_set_that_is_not_whole_has_no_manifest(options, tmp_path, monkeypatch, capsys, ended, code, told):
    monkeypatch.setattr(synthesis, "write_text", Mock(side_effect=ended))
    arguments = ["--pages", options.pages[0], "--groups", "1", "--long-side", "100", "--workers", "1"]
    assert synthesis.main([str(tmp_path / "set"), *arguments]) == code
    assert told in capsys.readouterr().err
    assert not [*tmp_path.rglob("annotation.txt"), *tmp_path.rglob("manifest.json")]
    assert [*tmp_path.rglob("gt/*.jpg")]
