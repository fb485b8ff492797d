"""Finding cut-outs, standing them on their root, splitting them."""

from pathlib import Path

import numpy as np
import pytest

from data.images import BadImageError
from data.synthesis import occluders
from data.synthesis.occluders import OccluderEntry, OccluderLibrary, find_occluders, load_occluder, split_sources
from tests.golden.pictures import SKIN, SLEEVE, hand_rgba, head, save, save_with_mask


def test_the_kind_comes_from_the_nearest_folder_that_says_it():
    for kind, *paths in (("hand", "/data/11khands_RESEARCH/a.png", "/data/Fingers/left/a.png", "/data/x/my_hand.png"),
                         ("head", "/hands/heads/a.png", "/data/persons/a.png", "/surface/handwriting/faces/a.png")):
        assert {occluders.kind_of(Path(path)) for path in paths} == {kind}
    with pytest.raises(ValueError, match=r"surface/handwriting/a\.png.*'hand' or 'finger'"):
        occluders.kind_of(Path("/surface/handwriting/a.png"))


def test_masks_and_other_companions_are_no_pictures_of_their_own(tmp_path):
    save_with_mask(tmp_path / "hands" / "a.jpg", hand_rgba())
    save(tmp_path / "heads" / "b.png", head(260, 220))
    save_with_mask(tmp_path / "heads" / "c.jpg", head(260, 220))
    save(tmp_path / "heads" / "c_hair.png", head(260, 220))
    save(tmp_path / "notes" / "scan_1.jpg", hand_rgba()[..., :3])
    entries = find_occluders([tmp_path])
    assert [(entry.path.name, entry.kind, entry.mask and entry.mask.name) for entry in entries] == [
        ("a.jpg", "hand", "a_mask.png"), ("b.png", "head", None), ("c.jpg", "head", "c_mask.png")]  # fmt: skip
    assert [path.name for path in occluders.find_pages([tmp_path / "notes"])] == ["scan_1.jpg"]
    with pytest.raises(FileNotFoundError, match=r"NAME_mask\.png"):
        find_occluders([tmp_path / "notes"])
    with pytest.raises(FileNotFoundError, match="nowhere"):
        occluders.find_pages([tmp_path / "nowhere"])


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
def test_a_hand_is_turned_onto_the_side_where_its_arm_left_the_frame(tmp_path, turns):
    hand = hand_rgba(sleeve=20)
    framed = np.pad(hand, ((40, 0), (40, 40), (0, 0)))
    save_with_mask(tmp_path / "hands" / "a.png", np.ascontiguousarray(np.rot90(framed, turns)))
    loaded = load_occluder(*find_occluders([tmp_path]))
    assert tuple(loaded.rgba[-5, hand.shape[1] // 2, :3]) == SLEEVE
    np.testing.assert_array_equal(loaded.rgba[..., 3], hand[..., 3])


@pytest.mark.parametrize(("boxes", "shape", "area"), [
    # An arm that also left at a side ends above that cut.
    ((np.s_[50:, 100:200], np.s_[330:, 100:]), (280, 100), 280 * 100),
    # Specks go, and fingers on the same root stay.
    ((np.s_[200:, 50:120], np.s_[250:, 180:240], np.s_[20:60, 140:180]), (200, 190), 200 * 70 + 150 * 60),
])  # fmt: skip
def test_what_would_float_or_show_a_cut_goes(tmp_path, boxes, shape, area):
    framed = np.zeros((400, 300, 4), np.uint8)
    for box in boxes:
        framed[box] = (*SKIN, 255)
    save(tmp_path / "hands" / "a.png", framed)
    alpha = load_occluder(*find_occluders([tmp_path])).rgba[..., 3]
    assert (alpha.shape, np.count_nonzero(alpha)) == (shape, area)


def test_a_mask_that_is_empty_or_of_another_size_names_its_file(tmp_path):
    rgba = hand_rgba()
    path = save(tmp_path / "hands" / "a.png", rgba[..., :3])
    for alpha, told in (rgba[..., 3] * 0, "the mask is empty"), (rgba[:50, :50, 3], r"\(50, 50\) pixels"):
        mask = save(tmp_path / "hands" / "a_mask.png", alpha)
        with pytest.raises(BadImageError, match=rf"a_mask\.png: {told}"):
            load_occluder(OccluderEntry(path, mask, "hand"))


def test_the_library_keeps_to_the_kind_and_passes_over_heads_without_a_top(tmp_path, monkeypatch):
    monkeypatch.setattr(occluders, "CACHE_BYTES", 1)
    save(tmp_path / "heads" / "whole.png", np.pad(head(260, 220), ((40, 0), (40, 40), (0, 0))))
    save(tmp_path / "heads" / "cut.png", head(260, 220)[60:])
    save(tmp_path / "hands" / "h.png", hand_rgba())
    entries = find_occluders([tmp_path])
    library, rng = OccluderLibrary(entries, long_side=120), np.random.default_rng(0)
    drawn = [library(rng, kind) for kind in ("head", "hand") * 20]
    assert {Path(item.source).name for item in drawn[::2]} == {"whole.png"}
    assert {item.kind for item in drawn[1::2]} == {"hand"}
    assert len(library._cache) == 1
    # Of one kind alone, it serves both.
    assert OccluderLibrary(entries[:1])(rng, "head").kind == "hand"


def test_the_nearest_split_file_that_names_a_source_decides_and_else_a_hash_of_its_name(tmp_path):
    files = [tmp_path / f"{index}.jpg" for index in range(2000)]
    train, heldout = map(set, split_sources(files))
    assert (train | heldout, train & heldout) == (set(files), set())
    assert 0.12 < len(heldout) / len(files) < 0.18
    some = files[500:700][::-1]
    assert set(split_sources(some)[1]) == heldout & set(some)
    entries = [OccluderEntry(tmp_path / "cutouts" / "hands" / f"{index}.png", None, "hand") for index in range(3)]
    entries[0].path.parent.mkdir(parents=True)
    nearest = "file,split\nhands/0.png,train\nhands/1.png,heldout\nhands/2.png,train\n"
    (tmp_path / "cutouts" / "split.csv").write_text(nearest)
    (tmp_path / "split.csv").write_text("file,split\ncutouts/hands/0.png,heldout\n0.jpg,heldout\n1.jpg,train\n")
    assert split_sources(entries) == (entries[::2], entries[1:2])
    assert split_sources(files[:2]) == (files[1:2], files[:1])
    for text in ("file,split\na.png,train\nb.png,test\n", "name\na.png\n"):
        (tmp_path / "split.csv").write_text(text)
        with pytest.raises(ValueError, match=r"split\.csv: expected the columns file,split"):
            split_sources([tmp_path / "a.png"])


def test_the_bundled_cut_outs_are_whole_small_and_in_both_subsets():
    """Each stands on its lower edge, where wrist or shoulders leave the picture; each origin is stated."""
    entries = find_occluders([occluders.CUTOUTS])
    assert [sum(entry.kind == kind for entry in entries) for kind in ("hand", "head")] == [28, 13]
    assert sum(path.stat().st_size for path in occluders.CUTOUTS.rglob("*") if path.is_file()) < 3_000_000
    assert all({entry.kind for entry in part} == {"hand", "head"} for part in split_sources(entries))
    for entry in entries:
        rgba = load_occluder(entry).rgba
        lowest, below = (np.flatnonzero(rgba[row, :, 3] > 127) for row in (-1, -rgba.shape[0] // 10))
        assert max(rgba.shape) > 250
        assert 0.2 * rgba.shape[1] < np.ptp(below) + 1
        assert len(lowest) > 20
    sources = (occluders.CUTOUTS / "SOURCES.md").read_text()
    assert all(word in sources for word in ("hand_28.webp", "head_10.webp", "head_13.webp", "CC0", "MIT", "Apache"))
