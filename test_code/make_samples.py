"""Pastes the bundled cut-outs on the bundled clean pages again: samples/gt/NAME.jpg -> samples/photos/NAME.jpg.

    python -m test_code.make_samples [--samples test_code/samples]

The other photos in samples/photos are real ones, and have no truth. samples/SOURCES.md tells where all come from.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from data.images import read_rgb
from data.photos.jpeg import encode_like
from data.synthesis.occluders import CUTOUTS, OccluderLibrary, find_occluders
from data.synthesis.paste import STYLES, paste

SAMPLES = Path(__file__).parent / "samples"
# Page: kind of occluder, style, seed.
PASTED = {
    "notes_hand": ("hand", "natural", 8), "pens_hand": ("hand", "contest", 5), "form_head": ("head", "contest", 9)
}  # fmt: skip


def paste_sample(clean: Path) -> tuple[np.ndarray, np.ndarray]:
    """A bundled page with its occluder: RGB uint8 and the mask, uint8 height x width, 1 = occluder."""
    kind, style, seed = PASTED[clean.stem]
    look = replace(STYLES[style], jpeg_probability=0.0, second_probability=0.0)
    library = OccluderLibrary(find_occluders([CUTOUTS]))
    return paste(read_rgb(clean), library, np.random.default_rng(seed), look, kind=kind)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=Path, default=SAMPLES, help="folder with gt/ and photos/")
    folder = parser.parse_args(arguments).samples
    for name in PASTED:
        clean = folder / "gt" / f"{name}.jpg"
        photo = encode_like(clean.read_bytes(), clean.name, paste_sample(clean)[0], 92)
        (folder / "photos" / clean.name).write_bytes(photo)


if __name__ == "__main__":
    main()
