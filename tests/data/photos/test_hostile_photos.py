"""Photos with bytes changed at random are read or refused in one sentence; nothing else happens, and no row is lost.

The suite takes few of them. `UNCOVER_EXAMPLES=1000 python -m pytest tests/data/photos/test_hostile_photos.py` takes so
many of every kind, in a process of its own: its crash is a failure of the test.
"""

import os
import tempfile
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from data.images import BadImageError
from data.photos import count_pages, count_pixels, encode_photo, next_page, read_photo
from tests.conftest import TRIED, python
from tests.data.photos import files, jpegs
from tests.data.photos.files import exif_of, file_of, page, saved, tiff_of

EXAMPLES = int(os.environ.get("UNCOVER_EXAMPLES", "12"))
# A mutant that says it is larger takes seconds, and is read like any other.
LARGEST = 4_000_000


PAGE, EXIF = page((40, 50)), exif_of(6).tobytes()
KINDS = {
    # jpeglib ends the process, by exit or segmentation fault, at what it does not take.
    **{f"JPEG {name}": make for name, make in jpegs.KINDS.items()},
    "PNG with a palette": lambda: saved("PNG", Image.fromarray(PAGE).convert("P")),
    "BMP with a palette": lambda: saved("BMP", Image.fromarray(PAGE).convert("P")),
    "TIFF pages": lambda: tiff_of(*((PAGE, {"rowsperstrip": 16, **options}) for options in (
        {"subifds": 1}, {"subfiletype": 1}, {"compression": "jpeg"}, {"compression": "lzw"}))),
    **{name: partial(file_of, name, PAGE, exif=EXIF) for name, (form, *_) in {**files.KINDS, **files.ANEW}.items()
       if form != "HEIF" or form in Image.OPEN},
}  # fmt: skip
PLACE = st.tuples(st.floats(0, 1), st.booleans())
# Half of them overwrite one byte, which leaves the rest where it was.
CHANGE = st.tuples(PLACE, st.just(1), st.binary(min_size=1, max_size=1)) | st.tuples(
    PLACE, st.integers(0, 3), st.binary(max_size=4)
)


def mutated(source: bytes, changes: list[tuple[tuple[float, bool], int, bytes]], kept: float) -> bytes:
    """Bytes put in, taken out or overwritten, half of the places among the first 300; then the end cut off."""
    content = bytearray(source)
    for (place, early), length, data in changes:
        at = int(place * (min(len(content), 300) if early else len(content)))
        content[at : at + length] = data
    return bytes(content[: max(1, int(kept * len(content)))])


def use(path: Path, exact: bool) -> str:
    """Reads a file and writes all of its pages back: how that ended, or what it was refused with."""
    try:
        count_pages(path)
        if count_pixels(path) > LARGEST:
            return "large"
        photo = read_photo(path, several=True)
        while photo:
            before, mask = photo, np.zeros(photo.pixels.shape[:2], np.uint8)
            mask[:3, :5] = 1
            content = encode_photo(photo, photo.pixels // 2, mask).content
            photo = next_page(photo, content)
    except BadImageError as error:
        return str(error)
    path.write_bytes(content)
    written = read_photo(path, several=True)
    while written.page < before.page:
        written = next_page(written, content)
    assert written.pages == before.pages
    # Of a fax with a wrong code word libtiff leaves rows as they were in memory, other ones each time.
    if exact and before.kind in ("PNG", "TIFF", "BMP"):
        assert np.array_equal(written.pixels[mask == 0], before.pixels[mask == 0])
    return "read"


def try_mutants(kind: str) -> None:
    source, outcomes, exact = KINDS[kind](), [], kind != "fax"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "photo.jpg")

        @settings(TRIED, max_examples=EXAMPLES)
        @given(st.lists(CHANGE, min_size=1, max_size=3), st.sampled_from((1.0,) * 9 + (0.9, 0.5)))
        def try_one(changes, kept):
            path.write_bytes(mutated(source, changes, kept))
            outcomes.append(use(path, exact))
            assert outcomes[-1] in ("read", "large") or outcomes[-1].startswith(f"{path}: ")
            assert len(outcomes[-1]) < 500 + len(str(path))
            assert "\n" not in outcomes[-1]

        path.write_bytes(source)
        assert use(path, exact) == "read"
        try_one()
    assert len(outcomes) >= EXAMPLES


@pytest.mark.parametrize("start", ["JPEG", ""])
def test_no_photo_crashes_or_is_refused_with_anything_but_a_sentence(start):
    """JPEGs, and then all others, in a process of their own that says which kind it has come to."""
    kinds = [kind for kind in KINDS if kind.startswith("JPEG") == bool(start)]
    code = "from tests.data.photos.test_hostile_photos import try_mutants\n"
    code += f"for kind in {kinds}: print(kind, flush=True); try_mutants(kind)"
    assert python("-W", "ignore", "-c", code).stdout.splitlines() == kinds
