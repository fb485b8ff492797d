"""How often a progress bar is drawn: in place on a terminal, seldom where every drawing stays as a line of a log."""

from __future__ import annotations

from typing import TextIO

LOG_INTERVAL = 30.0


def bar_intervals(stream: TextIO) -> dict[str, float]:
    """Keywords for `tqdm(file=stream)`: none on a terminal, otherwise a drawing every `LOG_INTERVAL` seconds."""
    if stream.isatty():
        return {}
    # The largest interval as well: above it (10 s by default), tqdm's own watch draws in between.
    return {"mininterval": LOG_INTERVAL, "maxinterval": LOG_INTERVAL}
