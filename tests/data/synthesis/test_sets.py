"""Whole sets: the contest's layout, the split, the seeds, the clean photo, drawn ones, broken sources."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data.contest.lists import read_contest
from data.images import read_rgb
from data.masks import read_mask
from data.synthesis import __main__ as synthesis
from data.synthesis import make
from data.synthesis.__main__ import main
from data.synthesis.make import make_set
from data.synthesis.occluders import CUTOUTS, OccluderEntry, OccluderLibrary
from data.synthesis.printed import PeoplePictures, WholePictures, print_on, print_people
from data.synthesis.sets import FOLDERS, SetOptions, find_sources, plan
from tests.data.synthesis.cutouts import page_rgb, write_sources


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    root = tmp_path_factory.mktemp("sources")
    pages, cutouts = write_sources(root, pages=8, occluders=8)
    held_out = [f"pages/page {index}.jpg" for index in (2, 5, 7)]
    held_out += [f"cutouts/{name}{index}.png" for name in ("hands/h", "heads/p") for index in (0, 3, 6)]
    (root / "split.csv").write_text("\n".join(["file,split", *(f"{name},heldout" for name in held_out), ""]))
    return pages, cutouts


def _options(sources: tuple[Path, Path], **changes: object) -> SetOptions:
    options = SetOptions((str(sources[0]),), (str(sources[1]),), groups=7, seed=3, long_side=300, occlusions_per_page=2)
    return replace(options, **changes)


def _digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_the_layout_is_the_contests(sources: tuple[Path, Path], tmp_path: Path) -> None:
    make_set(_options(sources, groups=13), tmp_path)

    assert sorted(path.name for path in tmp_path.iterdir()) == ["manifest.json", *FOLDERS]
    lines = []
    for folder in FOLDERS:
        assert sorted(path.name for path in (tmp_path / folder).iterdir()) == ["annotation.txt", "gt", "hand", "head"]
        for line in (tmp_path / folder / "annotation.txt").read_text().splitlines():
            clean, occluded, mask = line.split(" ")
            page = re.fullmatch(r"gt/(0_IMG_\d{8}_\d{6}_a)\.jpg", clean).group(1)
            assert re.fullmatch(rf"(hand|head)/{page}_0_\d{{3}}\.jpg", occluded)
            assert mask == occluded.replace(".jpg", ".png")
            lines.append((folder, clean, occluded, mask))
    assert len(lines) == len(set(lines)) == 13
    assert len({line[:2] for line in lines}) == 7
    assert {line[0] for line in lines} == set(FOLDERS)
    # The reader of the preparation sees the same.
    assert len(read_contest(tmp_path)) == 13
    for folder, clean, occluded, mask in lines[:4]:
        first, second = read_rgb(tmp_path / folder / clean), read_rgb(tmp_path / folder / occluded)
        assert max(first.shape) == 300
        with Image.open(tmp_path / folder / mask) as image:
            assert image.mode == "P"
            assert image.getpalette()[:6] == [128, 0, 0, 0, 128, 0]
        covered = read_mask(tmp_path / folder / mask)
        assert covered.shape == first.shape[:2] == second.shape[:2]
        assert 0.005 < covered.mean() < 0.06
        squared = (first.astype(float) - second) ** 2
        # Outside the mask there is nothing but JPEG.
        assert 10 * np.log10(255**2 / squared[covered == 0].mean()) > 45
        assert squared[covered == 1].mean() > 200


def test_the_same_seed_gives_the_same_bytes_whatever_the_workers(sources: tuple[Path, Path], tmp_path: Path) -> None:
    options = _options(sources, style="natural", printed_photos=0.5)
    for name, workers in (("one", 1), ("two", 2)):
        make_set(options, tmp_path / name, workers)
    make_set(replace(options, seed=4), tmp_path / "other")

    assert _digests(tmp_path / "one") == _digests(tmp_path / "two")
    others = {digest for name, digest in _digests(tmp_path / "other").items() if name.endswith("jpg")}
    assert not set(_digests(tmp_path / "one").values()) & others


def test_train_and_heldout_share_no_source(sources: tuple[Path, Path], tmp_path: Path) -> None:
    used = {}
    for subset in ("train", "heldout"):
        make_set(_options(sources, groups=16, subset=subset), tmp_path / subset)
        manifest = json.loads((tmp_path / subset / "manifest.json").read_text())
        used[subset] = {group["page"] for group in manifest["groups"]}
        used[subset] |= {source for group in manifest["groups"] for source in group["occluders"]}
        assert len(manifest["groups"]) == 16
        assert manifest["options"]["subset"] == subset
    assert len(used["train"]) > 4
    assert len(used["heldout"]) > 2
    assert not used["train"] & used["heldout"]
    everything = find_sources(_options(sources, subset="all"))
    parts = [find_sources(_options(sources, subset=subset)) for subset in ("train", "heldout")]
    assert len(everything.pages) == sum(len(part.pages) for part in parts) == 8
    assert len(everything.occluders) == sum(len(part.occluders) for part in parts) == 16


def test_an_empty_subset_is_refused(sources: tuple[Path, Path], tmp_path: Path) -> None:
    shutil.copy(sources[0] / "page 0.jpg", tmp_path / "page.jpg")
    (tmp_path / "split.csv").write_text("file,split\npage.jpg,train\n")
    with pytest.raises(FileNotFoundError, match="none of the 1 pages belongs to the subset 'heldout'"):
        find_sources(_options(sources, pages=(str(tmp_path),), subset="heldout"))


def test_pages_are_used_evenly_and_groups_add_up() -> None:
    for groups in (1, 3, 5, 24, 101):
        jobs = plan(SetOptions(groups=groups, occlusions_per_page=4))
        assert sum(job.occlusions for job in jobs) == groups
        assert len({job.stem for job in jobs}) == len(jobs)
        sizes = [sum(job.folder == folder for job in jobs) for folder in FOLDERS]
        assert max(sizes) - min(sizes) <= 1
        assert max(job.occlusions for job in jobs) <= 4
        assert sum(size > 0 for size in sizes) == min(groups, 5)


def test_every_page_is_taken_before_one_is_taken_again(sources: tuple[Path, Path], tmp_path: Path) -> None:
    make_set(_options(sources, groups=8, occlusions_per_page=1, subset="all", long_side=200), tmp_path)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert len({group["page"] for group in manifest["groups"]}) == 8


def test_long_side_0_copies_the_clean_photo_byte_for_byte(sources: tuple[Path, Path], tmp_path: Path) -> None:
    make_set(_options(sources, groups=2, long_side=0), tmp_path)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    copies = {path.read_bytes() for path in tmp_path.rglob("gt/*.jpg")}
    assert copies == {Path(group["page"]).read_bytes() for group in manifest["groups"]}


def test_broken_sources_are_named_replaced_and_seen_in_the_exit_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pages, cutouts = write_sources(tmp_path / "sources", pages=3, occluders=2)
    whole = (pages / "page 1.jpg").read_bytes()
    (pages / "page 1.jpg").write_bytes(whole[: len(whole) // 2])
    (cutouts / "hands" / "h1_mask.png").write_bytes(b"no picture")
    arguments = [str(tmp_path / "set"), "--pages", str(pages), "--occluders", str(cutouts), "--groups", "6"]
    arguments += ["--seed", "0", "--long-side", "160", "--subset", "all", "--workers", "1"]

    assert main(arguments) == 1

    errors = capsys.readouterr().err
    assert "page 1.jpg: broken or cut short" in errors
    assert errors.count("h1_mask.png: not a picture") == 1
    assert len(read_contest(tmp_path / "set")) == 6


def test_a_full_folder_is_not_touched(
    sources: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.txt").write_text("keep")
    arguments = [str(tmp_path), "--pages", str(sources[0]), "--groups", "1", "--seed", "0", "--long-side", "128"]
    assert main(arguments) == 2
    assert "is not empty" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"groups": 0}, "groups is 0, expected at least 1"),
        ({"style": "film"}, "style is 'film', expected contest or natural"),
        ({"desks": 1.5}, "desks is 1.5, expected 0 to 1"),
        ({"occluded": 1.1}, "occluded is 1.1, expected 0 to 1"),
        ({"printed_people": -0.1}, "printed_people is -0.1, expected 0 to 1"),
        ({"long_side": 0, "pages": ()}, "drawn pages need a size"),
    ],
)
def test_impossible_options_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SetOptions(**changes)


def test_without_sources_pages_are_drawn_and_bundled_cut_outs_pasted(tmp_path: Path) -> None:
    options = SetOptions(groups=3, seed=1, long_side=400, occlusions_per_page=2, printed_photos=1.0)
    used = {}
    for subset in ("train", "heldout"):
        make_set(replace(options, subset=subset), tmp_path / subset)
        groups = json.loads((tmp_path / subset / "manifest.json").read_text())["groups"]
        assert {group["page"] for group in groups} == {"drawn page"}
        used[subset] = {Path(name).relative_to(CUTOUTS) for group in groups for name in group["occluders"]}
        for group in read_contest(tmp_path / subset):
            assert 0.005 < read_mask(group.mask).mean() < 0.06
    assert not used["train"] & used["heldout"]
    assert len({path.read_bytes() for path in tmp_path.rglob("gt/*.jpg")}) == 6


def test_prints_change_a_page_here_and_there(sources: tuple[Path, Path]) -> None:
    page = page_rgb(300, 220)
    choose, shares = WholePictures(find_sources(_options(sources)).occluders), []
    for seed in range(12):
        for placement in ("page", "patch"):
            before = page.copy()
            printed = print_on(page, choose, np.random.default_rng(seed), placement)
            np.testing.assert_array_equal(page, before)
            again = print_on(page, choose, np.random.default_rng(seed), placement)
            np.testing.assert_array_equal(printed, again)
            shares.append(np.any(printed != page, 2).mean())
    assert np.mean(np.array(shares) > 0.005) > 0.8
    assert np.median(shares) < 0.7


def test_printed_hands_give_way_to_printed_heads() -> None:
    hand, head = OccluderEntry(Path("a"), None, "hand"), OccluderEntry(Path("b"), None, "head")
    assert WholePictures([hand, head]).entries == [head]
    assert WholePictures([hand]).entries == [hand]
    with pytest.raises(ValueError, match="at least one picture"):
        WholePictures([])


def test_every_other_photo_is_its_clean_page_where_half_of_them_are_occluded(
    sources: tuple[Path, Path], tmp_path: Path
) -> None:
    make_set(_options(sources, groups=7, occlusions_per_page=3, occluded=0.5), tmp_path)
    areas = {}
    for group in read_contest(tmp_path):
        mask = read_mask(group.mask)
        assert mask.shape == read_rgb(group.clean).shape[:2]
        assert mask.any() == (group.occluded.read_bytes() != group.clean.read_bytes())
        areas[f"{group.folder}/{group.kind}/{group.occluded.name}"] = mask.mean()
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert [areas[group["occluded"]] > 0 for group in manifest["groups"]] == [False, True] * 3 + [False]
    assert [bool(group["occluders"]) for group in manifest["groups"]] == [False, True] * 3 + [False]


def test_people_and_photos_without_occluder_have_random_numbers_of_their_own(
    sources: tuple[Path, Path], tmp_path: Path
) -> None:
    make_set(_options(sources, groups=4, printed_photos=0.5), tmp_path / "all")
    make_set(_options(sources, groups=4, printed_photos=0.5, occluded=0.5), tmp_path / "half")
    make_set(_options(sources, groups=4, printed_photos=0.5, printed_people=1.0), tmp_path / "people")
    everything, half, people = (_digests(tmp_path / name) for name in ("all", "half", "people"))
    pages = [name for name in everything if "/gt/" in name]
    assert pages
    assert all(half[name] == everything[name] for name in pages)
    assert not any(people[name] == everything[name] for name in pages)
    # Same page, same place of the same occluder: only the prints are new.
    for name in everything:
        if name.endswith(".png"):
            assert people[name] == everything[name]


def test_people_are_printed_as_portraits_and_as_hands_before_a_background(sources: tuple[Path, Path]) -> None:
    entries = find_sources(_options(sources, subset="all")).occluders
    library = OccluderLibrary(entries)
    # Whole pictures, as heads with a mask beside them are.
    entries = [replace(entry, mask=entry.mask or entry.path) for entry in entries]
    portraits = {read_rgb(entry.path).tobytes() for entry in entries if entry.kind == "head"}
    rng = np.random.default_rng(0)
    choose = PeoplePictures(entries, library)
    pictures = [choose(rng) for _ in range(60)]
    hands = [picture for picture in pictures if picture.tobytes() not in portraits]
    assert 8 <= len(hands) <= 30
    for picture in hands:
        # No white paper round a printed hand: its upper corners have the background's colour.
        assert np.ptp(picture[0].reshape(-1, 3), 0).max() <= 1
        assert picture[0, 0].min() < 250
    for kind, count in (("head", 0), ("hand", 6)):
        alone = PeoplePictures([entry for entry in entries if entry.kind == kind], library)
        assert sum(alone(rng).tobytes() not in portraits for _ in range(6)) == count

    page = page_rgb(300, 220)
    before = page.copy()
    shares = [np.any(print_people(page, choose, np.random.default_rng(seed)) != page, 2).mean() for seed in range(40)]
    np.testing.assert_array_equal(page, before)
    assert min(shares) > 0.005
    assert max(shares) < 0.9


def test_printed_people_are_not_cut_off_with_the_rest_of_a_strip(sources: tuple[Path, Path], tmp_path: Path) -> None:
    Image.fromarray(page_rgb(3000, 200)).save(tmp_path / "strip.png")
    options = _options(sources, pages=(str(tmp_path),), groups=8, long_side=200, occluded=0.0, subset="all")
    for name, share in (("plain", 0.0), ("people", 1.0)):
        make_set(replace(options, printed_people=share, occlusions_per_page=1), tmp_path / name)
    ranges = {}
    for name in ("plain", "people"):
        pages = [read_rgb(path) for path in sorted((tmp_path / name).rglob("gt/*.jpg"))]
        assert {page.shape[0] for page in pages} == {200}
        # Skin, hair and coloured backgrounds; the page is grey.
        ranges[name] = [np.percentile(np.ptp(page.astype(int), 2), 99.5) for page in pages]
    assert max(ranges["plain"]) < 25
    # Prints without colour do not show here.
    assert np.mean(np.array(ranges["people"]) > 40) > 0.5


def test_the_manifest_comes_last(
    sources: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(make, "write_text", fail)
    with pytest.raises(OSError, match="disk full"):
        make_set(_options(sources, groups=1), tmp_path)
    assert not list(tmp_path.rglob("annotation.txt"))
    assert not (tmp_path / "manifest.json").exists()


def test_ctrl_c_ends_with_a_sentence(tmp_path, monkeypatch, capsys):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(synthesis, "make_set", interrupted)
    assert synthesis.main([str(tmp_path / "set"), "--groups", "2", "--seed", "0"]) == 130
    assert "delete" in capsys.readouterr().err
