"""What was found, or would be removed, in each photo: a table, and a page to look through, the least certain first."""

import base64
import html
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from string import Template

import numpy as np

from data.images import eight_bit, encode_image
from inference.files import Listing, Record
from inference.folder import FAILED, FOUND, RESTORED, SKIPPED, UNTOUCHED, Outcome
from inference.sheet import fitted, tint
from utils.files import csv_text, printable

_THUMBNAIL, _QUALITY = 560, 78


class Report:
    """Collects what the pictures of a run were like, and writes it beside the results.

    `files` are what it writes: a table, and with `pages` a page to look through; `mark` goes before their suffixes.
    ValueError, OSError: one of them would take the place of a picture's result, or of a file that is not ours."""

    def __init__(self, listing: Listing, results: Path, overwrite: bool, pages: bool, mark: str = "") -> None:
        self.files = [Path(f"report{mark}{suffix}") for suffix in (".csv", ".html")[: 1 + pages]]
        self._record = Record(results, listing=listing, overwrite=overwrite)
        self._pages, self._thumbnails = pages, {}
        listing.refuse_clashes([*map(str, self.files)])
        for file in self.files:
            self._record.refuse(file)

    def see(self, outcome: Outcome, before: np.ndarray, after: np.ndarray, mask: np.ndarray | None = None) -> None:
        """Keeps thumbnails of RGB uint8 or uint16 [H, W, 3]; `mask` (uint8 [H, W], 1 = covered) tints the second."""
        if self._pages:
            before, after = (eight_bit(fitted(picture, _THUMBNAIL)) for picture in (before, after))
            self._thumbnails[outcome.name] = "".join(
                f'<img loading="lazy" alt="{when}" src="data:image/jpeg;base64,'
                f'{base64.b64encode(encode_image(picture, ".jpg", _QUALITY)).decode()}">'
                for when, picture in (("before", before), ("after", after if mask is None else tint(after, mask)))
            )

    def write(self, outcomes: Sequence[Outcome]) -> None:
        """Writes `files`; OSError where it must not."""
        rows: list[list[object]] = [["name", "status", "share", "certainty", "seconds", "message"]]
        for outcome in outcomes:
            measures = [f"{value:.6f}" for value in outcome.measures] or ["", ""]
            rows.append([printable(outcome.name), outcome.status, *measures, f"{outcome.seconds:.3f}", outcome.message])
        for file, text in zip(self.files, (csv_text(rows), self._page(outcomes)), strict=False):
            self._record.write(file, {"source": [], "with": "", "root": ""}, {file: text.encode()})

    def _page(self, outcomes: Sequence[Outcome]) -> str:
        cards, counts = [], Counter(map(_found, outcomes))
        # A photo whose result could not be written was seen, too.
        shown = [outcome for outcome in outcomes if outcome.name in self._thumbnails and outcome.measures]
        for outcome in sorted(shown, key=lambda outcome: outcome.measures[1]):
            name, (share, sure) = html.escape(printable(outcome.name)), outcome.measures
            caption = f"{name} &middot; {share:.2%} covered &middot; certainty {sure:.2f}"
            pictures = self._thumbnails[outcome.name]
            cards.append(f'<figure tabindex="0"><figcaption>{caption}</figcaption>{pictures}</figure>')
        lost = "".join(f"<li>{html.escape(str(outcome))}</li>" for outcome in outcomes if outcome.status == FAILED)
        skipped = f", {counts[SKIPPED]} skipped" if counts[SKIPPED] else ""
        head = f"{counts[FOUND]} pictures with occluders, {counts[UNTOUCHED]} without{skipped}, {counts[FAILED]} failed"
        page = Template(Path(__file__).with_suffix(".html").read_text("utf-8"))
        return page.substitute(head=head, lost=f"<ul>{lost}</ul>" if lost else "", cards="\n".join(cards))


def _found(outcome: Outcome) -> str:
    """FOUND, UNTOUCHED or FAILED, or SKIPPED where no record tells what a skipped picture was."""
    if outcome.status == SKIPPED and outcome.measures:
        return FOUND if outcome.measures[0] else UNTOUCHED
    return FOUND if outcome.status == RESTORED else outcome.status
