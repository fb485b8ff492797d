"""Whole sets: the contest's layout, the split, the seeds, the clean photo, prints and desks on it, broken sources."""

from __future__ import annotations

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
from tests.data.synthesis.cutouts import digests, page_rgb, write_sources
from tests.golden.pictures import save


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory) -> SetOptions:
    root = tmp_path_factory.mktemp("sources")
    pages, cutouts = write_sources(root, pages=8, occluders=8)
    held_out = [f"pages/page {index}.jpg" for index in (2, 5, 7)]
    held_out += [f"cutouts/{name}{index}.png" for name in ("hands/h", "heads/p") for index in (0, 3, 6)]
    (root / "split.csv").write_text("\n".join(["file,split", *(f"{name},heldout" for name in held_out), ""]))
    return SetOptions((str(pages),), (str(cutouts),), groups=7, seed=3, long_side=300, occlusions_per_page=2)


def _groups(folder: Path) -> list[dict]:
    return json.loads((folder / "manifest.json").read_text())["groups"]


def test_the_layout_is_the_contests(options: SetOptions, tmp_path: Path) -> None:
    make_set(replace(options, groups=13, desks=0.5), tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["manifest.json", *FOLDERS]
    lines = []
    for folder in FOLDERS:
        assert sorted(path.name for path in (tmp_path / folder).iterdir()) == ["annotation.txt", "gt", "hand", "head"]
        for line in (tmp_path / folder / "annotation.txt").read_text().splitlines():
            page = re.match(r"gt/(0_IMG_\d{8}_\d{6}_a)\.jpg ", line)[1]
            assert re.fullmatch(rf"gt/{page}\.jpg ((hand|head)/{page}_0_\d{{3}})\.jpg \1\.png", line)
            lines.append((folder, page, line))
    assert len(set(lines)) == 13
    assert len({line[:2] for line in lines}) == 7
    # The reader of the preparation sees the same.
    groups = read_contest(tmp_path)
    assert len(groups) == 13
    for group in groups[:4]:
        clean, occluded, mask = read_rgb(group.clean), read_rgb(group.occluded), read_mask(group.mask)
        assert max(clean.shape) == 300
        with Image.open(group.mask) as image:
            assert (image.mode, image.getpalette()[:6]) == ("P", [128, 0, 0, 0, 128, 0])
        assert mask.shape == clean.shape[:2] == occluded.shape[:2]
        assert 0.005 < mask.mean() < 0.06
        squared = (clean.astype(float) - occluded) ** 2
        # Outside the mask there is nothing but JPEG: a desk is part of the truth.
        assert 10 * np.log10(255**2 / squared[mask == 0].mean()) > 45
        assert squared[mask == 1].mean() > 200


def test_train_and_heldout_share_no_source_and_every_page_is_taken_before_one_again(options, tmp_path):
    used = {}
    for subset, pages in (("train", 5), ("heldout", 3)):
        make_set(replace(options, groups=pages, occlusions_per_page=1, subset=subset), tmp_path / subset)
        groups = _groups(tmp_path / subset)
        used[subset] = {group["page"] for group in groups}
        assert len(used[subset]) == pages
        used[subset] |= {source for group in groups for source in group["occluders"]}
    assert not used["train"] & used["heldout"]
    everything, *parts = (find_sources(replace(options, subset=subset)) for subset in ("all", "train", "heldout"))
    assert len(everything.pages) == sum(len(part.pages) for part in parts) == 8
    assert len(everything.occluders) == sum(len(part.occluders) for part in parts) == 16


def test_an_empty_subset_is_refused(options: SetOptions, tmp_path: Path) -> None:
    save(tmp_path / "page.jpg", page_rgb())
    (tmp_path / "split.csv").write_text("file,split\npage.jpg,train\n")
    with pytest.raises(FileNotFoundError, match="none of the 1 pages belongs to the subset 'heldout'"):
        find_sources(replace(options, pages=(str(tmp_path),), subset="heldout"))


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
    before = digests(tmp_path / "set")
    assert synthesis.main(arguments) == 2
    assert "is not empty" in capsys.readouterr().err
    assert digests(tmp_path / "set") == before


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"groups": 0}, "groups is 0, expected 1 to"),
        ({"style": "film"}, "style is 'film', expected contest or natural"),
        ({"desks": 1.5}, "desks is 1.5, expected 0 to 1"),
        ({"long_side": 63}, "long_side is 63, expected 64 to"),
    ],
)
def test_impossible_options_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SetOptions(**changes)


def test_without_sources_pages_are_drawn_and_bundled_cut_outs_pasted(tmp_path: Path) -> None:
    make_set(SetOptions(groups=3, seed=1, long_side=400, occlusions_per_page=2, printed_photos=1.0), tmp_path)
    groups = _groups(tmp_path)
    assert {group["page"] for group in groups} == {"drawn page"}
    assert all(Path(name).is_relative_to(CUTOUTS) for group in groups for name in group["occluders"])
    assert all(0.005 < group["covered"] < 0.06 for group in groups)
    assert len({path.read_bytes() for path in tmp_path.rglob("gt/*.jpg")}) == 3


def test_every_other_photo_is_its_clean_page_where_half_are_occluded(options: SetOptions, tmp_path: Path) -> None:
    make_set(replace(options, occlusions_per_page=3, occluded=0.5), tmp_path)
    for group in read_contest(tmp_path):
        assert read_mask(group.mask).any() == (group.occluded.read_bytes() != group.clean.read_bytes())
    groups = _groups(tmp_path)
    assert [(group["covered"] > 0, bool(group["occluders"])) for group in groups] == [
        (bool(number % 2),) * 2 for number in range(7)]  # fmt: skip


def test_printed_people_are_not_cut_off_with_the_rest_of_a_strip(options: SetOptions, tmp_path: Path) -> None:
    save(tmp_path / "pages" / "strip.png", page_rgb(3000, 200))
    options = replace(options, pages=(str(tmp_path / "pages"),), groups=8, occluded=0.0, long_side=200, subset="all")
    ranges = {}
    for share in (0.0, 1.0):
        make_set(replace(options, printed_people=share, occlusions_per_page=1), tmp_path / str(share))
        pages = [read_rgb(path) for path in sorted((tmp_path / str(share)).rglob("gt/*.jpg"))]
        assert {page.shape[0] for page in pages} == {200}
        # Skin, hair and coloured backgrounds; the page is grey.
        ranges[share] = np.array([np.percentile(np.ptp(page.astype(int), 2), 99.5) for page in pages])
    assert max(ranges[0.0]) < 25
    # Prints without colour do not show here.
    assert np.mean(ranges[1.0] > 40) > 0.5


@pytest.mark.parametrize(("ended", "code", "told"), [(OSError("disk full"), 2, "error: disk full"),
                                                     (KeyboardInterrupt, 130, "delete it")])  # fmt: skip
def test_a_set_that_is_not_whole_has_no_manifest(options, tmp_path, monkeypatch, capsys, ended, code, told) -> None:
    monkeypatch.setattr(synthesis, "write_text", Mock(side_effect=ended))
    arguments = ["--pages", options.pages[0], "--groups", "1", "--long-side", "100", "--workers", "1"]
    assert synthesis.main([str(tmp_path / "set"), *arguments]) == code
    assert told in capsys.readouterr().err
    assert not [*tmp_path.rglob("annotation.txt"), *tmp_path.rglob("manifest.json")]
    assert [*tmp_path.rglob("gt/*.jpg")]
