"""The bytes of restored files of every kind, for as long as the same libraries write them.

What has to outlive those, tests/data/photos holds.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from tests.data.photos import files, jpegs, test_png
from tests.data.photos.files import exif_of, file_of, noise, page, restore, saved
from tests.golden.recorded_values import sha


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
