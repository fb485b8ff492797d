"""Makes the bundled sample photographs again: drawn pages with drawn hands and heads on them.

    python -m test_code.make_samples [--out test_code/samples]

Writes `OUT/photos/NAME.jpg` (the photograph to restore) and `OUT/gt/NAME.jpg` (the clean page). Everything comes from
seeds and from fonts that matplotlib brings along, so the same versions of the packages write the same bytes.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data.drawing.fonts import bundled_fonts
from data.drawing.occluders import draw_hand, draw_head
from data.drawing.pages import draw_page
from data.images import encode_image
from data.synthesis.occluders import Occluder
from data.synthesis.paste import STYLES, paste, through_jpeg
from utils.files import write_bytes

LARGEST_FILE = 350_000
_QUALITIES = (95, 93, 91, 89, 87, 85, 82, 79, 75)


@dataclass(frozen=True)
class Sample:
    """One sample photograph.

    Attributes:
        name: file name without suffix.
        width: pixels.
        height: pixels.
        page: kind of page, see `data.drawing.pages.KINDS`.
        occluder: "hand" or "head".
        style: how it is pasted, see `data.synthesis.paste.STYLES`.
        seed: decides everything else.
    """

    name: str
    width: int
    height: int
    page: str
    occluder: str
    style: str
    seed: int


SAMPLES = (
    Sample("article_fingers", 1050, 1400, "article", "hand", "contest", 20),
    Sample("report_fingers", 1400, 1050, "report", "hand", "natural", 15),
    Sample("form_head", 1050, 1400, "form", "head", "contest", 20),
    Sample("magazine_head", 1050, 1400, "magazine", "head", "contest", 40),
)


def draw_sample(sample: Sample) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draws a sample as (clean page, the same page covered, mask 1 = occluder), before it is written as JPEG."""
    rng = np.random.default_rng(sample.seed)
    page = draw_page(rng, sample.width, sample.height, bundled_fonts(), sample.page)
    # As in the contest, the occluder is pasted on a photograph that was a JPEG already.
    page = through_jpeg(page, 92)

    def choose(source: np.random.Generator, kind: str) -> Occluder:
        draw = draw_hand if kind == "hand" else draw_head
        return Occluder(rgba=draw(source, max(page.shape[:2]) // 2), kind=kind, source="drawn")

    covered, mask = paste(page, choose, rng, STYLES[sample.style], "page", count=1, kind=sample.occluder)
    return page, covered, mask


def jpeg_within(rgb: np.ndarray, largest: int) -> bytes:
    """The JPEG of the highest quality that takes at most `largest` bytes.

    Raises:
        ValueError: none does.
    """
    for quality in _QUALITIES:
        content = encode_image(rgb, ".jpg", quality=quality)
        if len(content) <= largest:
            return content
    raise ValueError(
        f"a photo of {rgb.shape[1]} x {rgb.shape[0]} takes {len(content)} bytes at quality {_QUALITIES[-1]}"
    )


def make_samples(folder: Path, samples: Sequence[Sample] = SAMPLES) -> None:
    """Writes every sample and its clean page below `folder`."""
    for sample in samples:
        page, covered, _ = draw_sample(sample)
        write_bytes(folder / "photos" / f"{sample.name}.jpg", jpeg_within(covered, LARGEST_FILE))
        write_bytes(folder / "gt" / f"{sample.name}.jpg", jpeg_within(page, LARGEST_FILE))


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Draws the bundled sample photographs again.")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "samples", help="folder to write to")
    make_samples(parser.parse_args(arguments).out)


if __name__ == "__main__":
    main()
