"""Patches with detail, or under an occluder, are listed; numbers, histogram and what is left out are told."""

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

import generate_meta_info
from data.contest import PATCH_FOLDERS, PatchPaths, read_list
from data.images import read_rgb, write_image
from data.masks import write_mask
from generate_meta_info import gradient_measure
from tests.conftest import contents
from tests.test_data_preparation import left_out

SIZE = 64
BLANK, PRINT = np.full((SIZE, SIZE, 3), 230, np.uint8), np.full((SIZE, SIZE, 3), 100, np.uint8)
PRINT[:, (np.arange(SIZE) // 4) % 2 == 1] += np.uint8(80)


def add_patch(out, set_name, name, clean, covered):
    """Writes a trio whose first `covered` columns are occluded by a detailed texture; its paths."""
    texture = np.random.default_rng(covered).integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)
    mask = np.zeros((SIZE, SIZE), np.uint8)
    mask[:, :covered] = 1
    trio = PatchPaths(*(out / set_name / part / f"{name}.png" for part in PATCH_FOLDERS))
    write_image(trio.clean, clean)
    write_image(trio.occluded, np.where(mask[..., None] == 1, texture, clean))
    write_mask(trio.mask, mask)
    return trio


@pytest.fixture
def out(tmp_path):
    """Three patches to train (print, blank paper, blank paper under a hand), one to validate."""
    add_patch(tmp_path, "train", "print", PRINT, covered=1)
    add_patch(tmp_path, "train", "blank", BLANK, covered=1)
    add_patch(tmp_path, "train", "blank_under_hand", BLANK, covered=32)
    add_patch(tmp_path, "val", "page", PRINT, covered=8)
    return tmp_path


def run(*arguments):
    return generate_meta_info.main([str(argument) for argument in ("--workers", 1, *arguments)])


def listed(path):
    return [entry.clean.stem for entry in read_list(path)]


def test_blank_patches_are_left_out_unless_an_occluder_covers_them(out, capsys):
    assert run(out) == 0
    assert (listed(out / "train.txt"), listed(out / "val.txt")) == (["blank_under_hand", "print"], ["page"])
    assert "\ntrain/gt/print.png train/occluded/print.png train/mask/print.png" in (out / "train.txt").read_text()
    assert "train: 3 patches, 1 above the threshold of 10 and 2 not above it; 1 of these" in capsys.readouterr().out
    histogram = read_rgb(out / "gradient_histogram.png")
    for colour in ((0x48, 0x78, 0xA8), (0xE0, 0xA0, 0x30), (0xB0, 0xB0, 0xB0)):
        assert (histogram == colour).all(axis=2).sum() > 100


def test_a_patch_at_the_share_is_kept_and_one_at_the_threshold_is_not_and_share_0_is_the_authors_rule(out, capsys):
    Image.fromarray(BLANK).save(out / "train/gt/.123-abc.tmp.png")  # half-written, and no patch
    for share, kept in ((0, []), (0.5, ["blank_under_hand"]), (0.51, [])):
        assert run(out, "--keep-occluded", share) == 0
        assert listed(out / "train.txt") == [*kept, "print"]
    measure = gradient_measure(PRINT)
    assert run(out, "--keep-occluded", 0, "--threshold", np.nextafter(measure, 0)) == 0
    assert listed(out / "train.txt") == ["print"]
    assert run(out, "--keep-occluded", 0, "--threshold", measure) == 1
    assert "lower --threshold" in capsys.readouterr().err


@pytest.mark.parametrize("shape", [(301, 517), (1, 1), (1, 9), (2, 3)])
def test_the_gradient_is_sobels_on_the_grey_picture(shape):
    rgb = np.random.default_rng(3).integers(0, 256, (*shape, 3), dtype=np.uint8)
    grey = np.asarray(Image.fromarray(rgb).convert("L"), float)
    across, down = (ndimage.sobel(grey, axis, mode="mirror") for axis in (1, 0))
    assert gradient_measure(rgb) == pytest.approx(np.mean(np.hypot(across, down)), rel=0.01, abs=1e-9)


def test_the_full_set_has_files_of_its_own_and_two_processes_list_the_same_as_one(out):
    add_patch(out, "all", "print", PRINT, covered=1)
    run(out)
    before = contents(out)
    assert run(out, "--all") == 0
    assert listed(out / "all.txt") == ["print"]
    new = {str(path) for path in contents(out).keys() - before.keys()}
    assert new == {"all.txt", "gradient_histogram_all.png"}
    assert run(out, "--workers", 2) == 0
    assert contents(out).items() >= before.items()


def test_a_set_that_has_become_empty_loses_its_list(out, capsys):
    run(out)
    for name, code in ("val", 0), ("train", 2):
        for path in (out / name).glob("*/*.png"):
            path.unlink()
        assert run(out) == code
        assert not (out / f"{name}.txt").exists()
    printed = capsys.readouterr()
    assert "val: no patches, so the list of an earlier run is removed" in printed.out
    assert "make them with data_preparation.py first" in printed.err


def test_broken_and_incomplete_patches_are_named_and_left_out(out, capsys):
    cut = out / "train/occluded/print.png"
    cut.write_bytes(cut.read_bytes()[:-30])
    (out / "train/mask/blank_under_hand.png").unlink()
    add_patch(out, "train", "more_print", PRINT, covered=1)
    assert run(out) == 1
    names = ("mask/blank_under_hand.png", "occluded/print.png")
    assert all(name in line for name, line in zip(names, left_out(capsys.readouterr().err), strict=True))
    assert listed(out / "train.txt") == ["more_print"]
