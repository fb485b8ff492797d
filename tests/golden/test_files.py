"""What is written: restored files of every kind, synthesised sets, patches and their lists.

The bytes of files hold for as long as the same libraries write them; what outlives those, tests/data/photos holds.
"""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

import data_preparation
import generate_meta_info
from data.synthesis.__main__ import main as synthesis
from tests.data.photos import files, jpegs, test_png
from tests.data.photos.files import exif_of, file_of, noise, page, restore, saved
from tests.golden import pictures
from tests.golden.recorded_values import sha
from tests.test_data_preparation import add_group


def _tiff(kind: type = np.uint8, **options: object) -> Callable[[Path], None]:
    pixels = noise((53, 47, 3), np.iinfo(kind).max + 1, dtype=kind)
    return lambda path: tifffile.imwrite(path, pixels, photometric="rgb", metadata=None, software=False, **options)


KINDS: dict[str, Callable[[Path], object]] = {
    # Inks under the mask come from floats, and one level of one of them may be rounded otherwise elsewhere.
    **{f"JPEG {name}": lambda path, make=make: path.write_bytes(make())
       for name, make in jpegs.KINDS.items() if not name.endswith(("CMYK", "YCCK"))},
    **{name: lambda path, name=name: path.write_bytes(file_of(name, page(), exif=exif_of(6)))
       for name in (*files.KINDS, "lossy WEBP in RGB")},
    "BMP with a palette": lambda path: path.write_bytes(saved("BMP", Image.fromarray(page()).convert("P"))),
    **{f"PNG {colour} {depth}": partial(test_png.write_kind, colour=colour, depth=depth, interlaced=depth == 8)
       for colour, depth in test_png.KINDS},
    "TIFF of tiles": _tiff(tile=(32, 48), compression="zlib", predictor=True, bigtiff=True),
    "TIFF of 16 bits": _tiff(np.uint16, rowsperstrip=17, byteorder=">"),
    "TIFF of 16 bits, deflate": _tiff(np.uint16, compression="zlib", predictor=True),
}  # fmt: skip


@pytest.mark.parametrize("name", KINDS)
def test_a_result_has_the_recorded_bytes(golden, tmp_path, name):
    path = tmp_path / "x"
    KINDS[name](path)
    told = "files written here differ from those of the recording: another version of a library, not the project"
    golden(f"files/source/{name}", {told: sha(path.read_bytes())})
    golden(f"files/bytes/{name}", sha(restore(path)[3].content))


def _pixels(root: Path) -> dict[str, str]:
    names = sorted(path for path in root.rglob("*") if path.suffix in (".jpg", ".png"))
    return {path.relative_to(root).as_posix(): sha(np.asarray(Image.open(path))) for path in names}


@pytest.mark.parametrize("style", ["contest", "natural"])
def test_a_synthesised_set_is_the_recorded_one(golden, tmp_path, style):
    """Bit for bit, as the held-out sets have to be; for any number of workers, tests/data/test_heldout.py."""
    (pages, cutouts), made = pictures.write_sources(tmp_path / "sources", 5, 5), tmp_path / "set"
    options = ["--pages", pages, "--occluders", cutouts, "--groups", 7, "--seed", 4, "--workers", 1]
    options += ["--long-side", 360, "--occlusions-per-page", 2, "--style", style]
    if style == "natural":
        options += ["--printed-photos", 0.5, "--printed-people", 0.5, "--desks", 0.5, "--occluded", 0.8]
    assert synthesis([*map(str, (made, *options))]) == 0
    notes = {path.parent.name: path.read_text("utf-8") for path in sorted(made.rglob("annotation.txt"))}
    groups = json.loads((made / "manifest.json").read_text("utf-8"))["groups"]
    golden(f"synthesis/{style}/annotations", notes)
    golden(f"synthesis/{style}/groups", json.loads(json.dumps(groups).replace(str(tmp_path), "HERE")), relative=1e-6)
    golden(f"synthesis/{style}/pixels", _pixels(made))


def test_preparation_cuts_and_lists_the_recorded_patches(golden, tmp_path):
    root, out = tmp_path / "contest", tmp_path / "out"
    for number in range(5):
        for kind, left in (("hand", 11), ("head", 151)):
            add_group(root, f"train_data_{number + 1}", f"p{number}", 0, (left, 201, 40 + number, 90), kind, number)
    small = ["--size", "64", "--workers", "1"]
    choice = ["--threshold", "234", "--keep-occluded", "0.24", "--workers", "1"]
    for name, more in {"divided": [], "all": ["--all"]}.items():
        assert data_preparation.main([str(root), str(out), *small, *more]) == 0
        assert generate_meta_info.main([str(out), *choice, *more]) == 0
        lists = {path.name: path.read_text("utf-8") for path in sorted(out.glob("*.txt"))}
        golden(f"prepare/{name}/lists", {key: text.replace(str(tmp_path), "HERE") for key, text in lists.items()})
    golden("prepare/patches", _pixels(out))
    halves = ["--size", "48", "--downscale", "2", "--workers", "1"]
    assert data_preparation.main([str(root), str(tmp_path / "halves"), *halves]) == 0
    golden("prepare/halves", _pixels(tmp_path / "halves"))
