from __future__ import annotations

from pathlib import Path

from inference.folder import Outcome, Tally


def tally(*outcomes: Outcome) -> Tally:
    counted = Tally()
    for outcome in outcomes:
        counted.add(outcome)
    return counted


RESTORED = Outcome(Path("a\nb.jpg"), "restored", {"decode": 0.5, "encode": 0.5}, notes=("it lost its charm",))
UNTOUCHED = Outcome(Path("c.jpg"), "untouched", {"decode": 1.0, "locate": 2.0})


def test_the_summary_counts_and_tells_rate_seconds_the_slowest_and_what_was_lost():
    lines = tally(RESTORED, RESTORED, UNTOUCHED, Outcome(Path("d"), "skipped"), Outcome(Path("e"), "failed")).lines(4.0)
    assert lines == [
        "5 pictures: 2 restored, 1 untouched, 1 skipped, 1 failed",
        "skipped: finished results were kept, also those of other weights or options; --overwrite redoes them",
        "2 of them: it lost its charm",
        "4.0 s, 0.75 pictures per second; from file to file 1.67 s on average, slowest 3.00 s (c.jpg)",
    ]


def test_nothing_is_said_about_what_did_not_happen():
    assert tally(Outcome(Path("e"), "failed", {"decode": 9.0})).lines(1.0) == [
        "1 picture: 0 restored, 0 untouched, 0 skipped, 1 failed"
    ]
    assert tally(RESTORED).lines(1.0)[-1].endswith("slowest 1.00 s (a\\nb.jpg)")


def test_a_line_for_one_picture():
    assert str(RESTORED) == "restored: a\\nb.jpg"
    assert str(Outcome(Path("e.jpg"), "failed", message="bad\nfile")) == "failed: e.jpg: bad\\nfile"
