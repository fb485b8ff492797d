"""A progress bar in a log is drawn seldom, on a terminal as ever."""

from __future__ import annotations

import io

import pytest
from tqdm import tqdm

from utils.machine import bar_intervals


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("kind", "least", "most"), [(io.StringIO, 15, 25), (Terminal, 550, 650)])
def test_ten_minutes_of_one_step_a_second(kind, least, most):
    stream = kind()
    with tqdm(total=600, file=stream, **bar_intervals(stream)) as bar:
        bar.start_t = bar.last_print_t = now = 0
        for now in range(1, 601):
            bar._time = lambda now=now: now
            bar.update()
    assert least <= stream.getvalue().count("/600") <= most
