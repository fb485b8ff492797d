"""What was found, or would be removed, in each photo: a table, and a page to look through, the least certain first."""

from __future__ import annotations

import base64
import html
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from data.images import encode_image
from data.masks import read_mask
from data.photos import read_photo
from inference.book import is_book, restore_book
from inference.folder import FAILED, UNTOUCHED, Outcome, reason
from inference.restorer import Restored
from inference.sheet import eight_bit, shrink
from inference.sources import MASK, Listing, require_regular
from utils.files import printable, write_csv, write_text

FOUND = "found"
_THUMBNAIL, _QUALITY = 560, 78
# What would be removed is shown in this colour, half transparent.
_MARK = np.array([255, 0, 90], np.float32)


def masks_in(folder: Path) -> Callable[[Path], np.ndarray | None]:
    """A function that gives a photo's mask (uint8 [H, W], 1 = covered) by the photo's name below the source, or None.

    A mask is `NAME.jpg.mask.png`, as --save-mask writes it, or `NAME.png`, in the photo's own sub-folder of `folder`.
    """

    def mask_of(name: Path) -> np.ndarray | None:
        for file in (folder / name.with_name(name.name + MASK), folder / name.with_suffix(".png")):
            if file.is_file():
                return read_mask(file)
        return None

    return mask_of


def look(
    restorer: Callable[..., Restored], listing: Listing, told: Callable[[Path], np.ndarray | None] | None,
    report: Report,
) -> Iterator[Outcome]:  # fmt: skip
    """Looks at every picture of `listing` and writes nothing; `restorer` is one that only looks."""
    for name, why in listing.closed.items():
        yield Outcome(name, FAILED, message=why)
    for outcome in map(Outcome, listing.pictures):
        source, start = listing.root / outcome.name, time.perf_counter()
        try:
            require_regular(source)
            if is_book(source):
                book = restore_book(source, restorer)
                outcome.status = FOUND if book.changed else UNTOUCHED
                outcome.message = str(book).replace("restored", "would be restored").removesuffix(", copied")
            else:
                pixels = read_photo(source).pixels
                restored = restorer(pixels, told(outcome.name) if told else None)
                outcome.status = FOUND if restored.mask.any() else UNTOUCHED
                report.see(outcome, pixels, restored)
                share, sure = report.measures[outcome.name]
                found = f"{share:.2%} would be removed, certainty {sure:.2f}"
                outcome.message = found if share else "no occluder found"
        except Exception as error:
            outcome.status, outcome.message = FAILED, reason(error, source)
        outcome.steps["look"] = time.perf_counter() - start
        yield outcome


@dataclass
class Report:
    """Collects what the pictures of a run were like.

    Attributes:
        pages: whether thumbnails are kept for the page.
        measures: by name: (share of the picture that is covered, certainty of the least certain occluder).
    """

    pages: bool = False
    measures: dict[Path, tuple[float, float]] = field(default_factory=dict)
    _thumbnails: dict[Path, tuple[str, str]] = field(default_factory=dict)

    def see(self, outcome: Outcome, pixels: np.ndarray, restored: Restored) -> None:
        """Notes one picture: RGB uint8 or uint16 [H, W, 3], and what was made of it."""
        self.measures[outcome.name] = float(np.count_nonzero(restored.mask) / restored.mask.size), restored.certainty
        if not (self.pages and restored.mask.any()):
            return
        before, after = (eight_bit(shrink(picture, _THUMBNAIL)) for picture in (pixels, restored.image))
        if outcome.status == FOUND:
            share = shrink(np.repeat(restored.mask[..., None], 3, 2) * np.uint8(255), _THUMBNAIL) / np.float32(510)
            after = (after + share * (_MARK - after)).astype(np.uint8)
        self._thumbnails[outcome.name] = tuple(
            base64.b64encode(encode_image(picture, ".jpg", _QUALITY)).decode() for picture in (before, after)
        )

    def write(self, folder: Path, outcomes: list[Outcome], mark: str = "") -> list[Path]:
        """Writes `report.csv`, and with `pages` `report.html`; `mark` goes before the suffix. Returns the files."""
        rows: list[list[object]] = [["name", "status", "share", "certainty", "seconds", "message"]]
        for outcome in outcomes:
            measures = [f"{value:.6f}" for value in self.measures.get(outcome.name, ())] or ["", ""]
            rows.append([outcome.name, outcome.status, *measures, f"{outcome.seconds:.3f}", outcome.message])
        table, page = (folder / f"report{mark}{suffix}" for suffix in (".csv", ".html"))
        write_csv(table, rows)
        if self.pages:
            write_text(page, self._page(outcomes))
        return [table, page] if self.pages else [table]

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
