"""What was found, or would be removed, in each photo: a table, and a page to look through, the least certain first."""

from __future__ import annotations

import base64
import html
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from data.images import eight_bit, encode_image
from data.masks import read_mask
from inference.folder import FAILED, Outcome
from inference.record import Record
from inference.restorer import Restored
from inference.sheet import shrink, tint
from inference.sources import MASK
from utils.files import csv_text, printable

_THUMBNAIL, _QUALITY = 560, 78


def mask_in(folder: Path, name: Path) -> np.ndarray | None:
    """The mask (uint8 [H, W], 1 = covered) of a photo, by the photo's name below the source, or None.

    It is `NAME.jpg.mask.png`, as --save-mask writes it, or `NAME.png`, in the photo's own sub-folder of `folder`.
    """
    for file in (folder / name.with_name(name.name + MASK), folder / name.with_suffix(".png")):
        if file.is_file():
            return read_mask(file)
    return None


@dataclass
class Report:
    """Collects what the pictures of a run were like.

    Attributes:
        pages: whether thumbnails are kept for the page.
        looks: whether nothing is restored; then the thumbnails show what would be removed.
        mark: what goes before the files' suffixes.
        measures: by name: (share of the picture that is covered, certainty of the least certain occluder).
    """

    pages: bool = False
    looks: bool = False
    mark: str = ""
    measures: dict[Path, tuple[float, float]] = field(default_factory=dict)
    _thumbnails: dict[Path, tuple[str, str]] = field(default_factory=dict)

    @property
    def files(self) -> list[Path]:
        """What `write` is going to write: a table, and with `pages` a page to look through."""
        return [Path(f"report{self.mark}{suffix}") for suffix in (".csv", ".html")[: 1 + self.pages]]

    def see(self, outcome: Outcome, pixels: np.ndarray, restored: Restored) -> None:
        """Notes one picture: RGB uint8 or uint16 [H, W, 3], and what was made of it."""
        self.measures[outcome.name] = float(restored.mask.mean()), restored.certainty
        if not (self.pages and restored.mask.any()):
            return
        before, after = (eight_bit(shrink(picture, _THUMBNAIL)) for picture in (pixels, restored.image))
        after = tint(after, restored.mask) if self.looks else after
        self._thumbnails[outcome.name] = tuple(
            base64.b64encode(encode_image(picture, ".jpg", _QUALITY)).decode() for picture in (before, after)
        )

    def write(self, record: Record, outcomes: list[Outcome]) -> None:
        """Writes `files` beside the results of `record`; OSError where it must not."""
        rows: list[list[object]] = [["name", "status", "share", "certainty", "seconds", "message"]]
        for outcome in outcomes:
            measures = [f"{value:.6f}" for value in self.measures.get(outcome.name, ())] or ["", ""]
            rows.append([outcome.name, outcome.status, *measures, f"{outcome.seconds:.3f}", outcome.message])
        for file, text in zip(self.files, (csv_text(rows), self._page(outcomes)), strict=False):
            record.write(file, {"source": [], "with": "", "root": ""}, False,
                         {file: text.encode("utf-8", "surrogateescape")})  # fmt: skip

    def _page(self, outcomes: list[Outcome]) -> str:
        shown = [outcome for outcome in outcomes if outcome.name in self._thumbnails]
        shown.sort(key=lambda outcome: self.measures[outcome.name][1])
        failed = [outcome for outcome in outcomes if outcome.status == FAILED]
        cards = []
        for outcome in shown:
            share, sure = self.measures[outcome.name]
            pictures = "".join(
                f'<img loading="lazy" alt="{when}" src="data:image/jpeg;base64,{data}">'
                for when, data in zip(("before", "after"), self._thumbnails[outcome.name], strict=True)
            )
            name = html.escape(printable(outcome.name))
            caption = f"{name} &middot; {share:.2%} covered &middot; certainty {sure:.2f}"
            cards.append(f'<figure tabindex="0"><figcaption>{caption}</figcaption>{pictures}</figure>')
        lost = "".join(f"<li>{html.escape(str(outcome))}</li>" for outcome in failed)
        untouched = len(outcomes) - len(shown) - len(failed)
        head = f"{len(shown)} pictures with occluders, {untouched} without, {len(failed)} failed"
        return _PAGE.format(head=head, lost=f"<ul>{lost}</ul>" if lost else "", cards="\n".join(cards))


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{head}</title><style>
body {{ font: 15px system-ui, sans-serif; margin: 1rem auto; max-width: 75rem; padding: 0 1rem; }}
figure {{ margin: 0 0 1.5rem; padding: .6rem; border: 1px solid #bbb; border-radius: 6px; }}
figure:focus {{ outline: 3px solid #0b63ce; }}
figcaption {{ margin-bottom: .4rem; overflow-wrap: anywhere; }}
img {{ width: 49%; margin-right: 1%; vertical-align: top; }}
</style></head><body><h1>{head}</h1>
<p>The least certain first. The keys j and k go to the next and the previous picture.</p>{lost}
{cards}
<script>
document.addEventListener("keydown", (event) => {{
  const step = {{ j: 1, k: -1 }}[event.key];
  const cards = [...document.querySelectorAll("figure")];
  if (!step || !cards.length) return;
  const here = cards.indexOf(document.activeElement);
  const next = cards[Math.min(cards.length - 1, Math.max(0, here + step))];
  next.focus(); next.scrollIntoView({{ block: "start" }});
}});
</script></body></html>
"""
