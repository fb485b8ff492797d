"""What was found, or would be removed, in each photo: a table, and a page to look through, the least certain first."""

from __future__ import annotations

import base64
import csv
import html
import io
import os
import re
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from data.images import IMAGE_SUFFIXES, eight_bit, encode_image
from data.masks import read_mask
from inference.folder import FAILED, FOUND, RESTORED, SKIPPED, UNTOUCHED, Outcome
from inference.record import Record
from inference.restorer import Restored
from inference.sheet import shrink, tint
from inference.sources import MASK, SHEET, beside
from utils.files import csv_text, printable

_THUMBNAIL, _QUALITY = 560, 78
# A picture on the page: its line, which `_page` writes, with the name in it.
_CARD = re.compile(r"^<figure .*?<figcaption>(.*?) &middot; .*$", re.MULTILINE)


def _mask_files(name: Path) -> tuple[Path, Path]:
    return beside(name, MASK), name.with_suffix(".png")


def mask_in(folder: Path, name: Path) -> np.ndarray | None:
    """The mask (uint8 [H, W], 1 = covered) of a photo, by the photo's name below the source, or None.

    It is `NAME.jpg.mask.png`, as --save-mask writes it, or `NAME.png`, in the photo's own sub-folder of `folder`.
    """
    for file in _mask_files(name):
        if os.path.isfile(folder / file):  # Path.is_file raises an error at a name that is too long.
            return read_mask(folder / file)
    return None


def masks_of_none(folder: Path, names: Iterable[Path]) -> list[Path]:
    """The pictures below `folder` that are no mask of the photos `names`, nor results with their masks and sheets."""
    known = set()
    for name in names:
        known.update(_mask_files(name))
        if os.path.isfile(folder / beside(name, MASK)):
            known.update((name, beside(name, SHEET)))
    files = (Path(place, file).relative_to(folder) for place, _, files in os.walk(folder) for file in files)
    return sorted(file for file in files if file.suffix.lower() in IMAGE_SUFFIXES and file not in known)


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

    def write(self, record: Record, results: Path, outcomes: list[Outcome]) -> None:
        """Writes `files` into `results`, the folder of `record`; OSError where it must not.

        What an earlier report there tells of pictures that were skipped now is taken over.
        """
        earlier = self._earlier(results, [outcome.name for outcome in outcomes if outcome.status == SKIPPED])
        rows: list[list[object]] = [["name", "status", "share", "certainty", "seconds", "message"]]
        for outcome in outcomes:
            measures = [f"{value:.6f}" for value in self.measures.get(outcome.name, ())] or ["", ""]
            rows.append([printable(outcome.name), outcome.status, *measures, f"{outcome.seconds:.3f}", outcome.message])
        for file, text in zip(self.files, (csv_text(rows), self._page(outcomes, earlier)), strict=False):
            record.write(file, {"source": [], "with": "", "root": ""}, False, {file: text.encode()})

    def _earlier(self, results: Path, names: list[Path]) -> dict[Path, str]:
        """Takes the measures of `names` from the report that is there, and returns their cards; of what was restored
        after it was written, nothing.
        """
        table, page = (results / Path(f"report{self.mark}{suffix}") for suffix in (".csv", ".html"))
        if not names or not table.is_file():
            return {}
        rows = {row.get("name"): row for row in csv.DictReader(io.StringIO(table.read_text("utf-8", "replace")))}
        text = page.read_text("utf-8", "replace") if page.is_file() else ""
        cards, kept = {html.unescape(card[1]): card[0] for card in _CARD.finditer(text)}, {}
        for name in names:
            told = printable(name)
            # Somebody may have saved the table with a spreadsheet, which writes numbers in its own way.
            with suppress(KeyError, TypeError, ValueError):
                if (results / name).stat().st_mtime_ns <= table.stat().st_mtime_ns:
                    self.measures[name] = float(rows[told]["share"]), float(rows[told]["certainty"])
                    kept[name] = cards[told]
        return kept

    def _page(self, outcomes: list[Outcome], earlier: dict[Path, str]) -> str:
        shown = [outcome for outcome in outcomes if outcome.name in self._thumbnails or outcome.name in earlier]
        shown.sort(key=lambda outcome: self.measures[outcome.name][1])
        failed = [outcome for outcome in outcomes if outcome.status == FAILED]
        cards = []
        for outcome in shown:
            if outcome.name in earlier:
                cards.append(earlier[outcome.name])
                continue
            share, sure = self.measures[outcome.name]
            pictures = "".join(
                f'<img loading="lazy" alt="{when}" src="data:image/jpeg;base64,{data}">'
                for when, data in zip(("before", "after"), self._thumbnails[outcome.name], strict=True)
            )
            name = html.escape(printable(outcome.name))
            caption = f"{name} &middot; {share:.2%} covered &middot; certainty {sure:.2f}"
            cards.append(f'<figure tabindex="0"><figcaption>{caption}</figcaption>{pictures}</figure>')
        lost = "".join(f"<li>{html.escape(str(outcome))}</li>" for outcome in failed)
        counts = Counter(self._found(outcome) for outcome in outcomes)
        skipped = f", {counts[SKIPPED]} skipped" if counts[SKIPPED] else ""
        head = f"{counts[FOUND]} pictures with occluders, {counts[UNTOUCHED]} without{skipped}, {counts[FAILED]} failed"
        return _PAGE.format(head=head, lost=f"<ul>{lost}</ul>" if lost else "", cards="\n".join(cards))

    def _found(self, outcome: Outcome) -> str:
        """FOUND, UNTOUCHED or FAILED, or SKIPPED where no report tells what a skipped picture was."""
        if outcome.status == SKIPPED and outcome.name in self.measures:
            return FOUND if self.measures[outcome.name][0] else UNTOUCHED
        return FOUND if outcome.status == RESTORED else outcome.status


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
