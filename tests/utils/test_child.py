"""A child process: JSON there and back, and its last words when it fails."""

from __future__ import annotations

import os
import sys

import pytest

from utils.child import ChildError, ask, run_child


def test_a_function_answers_in_another_process_wherever_this_one_was_started(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert ask("utils.files:printable", "é\n") == "é\\n"
    pid, variable = ask("tests.utils.test_child:about", ["FROM_THE_TEST"], FROM_THE_TEST="ü")
    assert pid != os.getpid()
    assert variable == "ü"


def about(order: list[str]) -> list:
    sys.stdout.write("what a library prints is no answer")
    return [os.getpid(), os.environ[order[0]]]


def test_an_exception_is_told_by_its_last_line():
    with pytest.raises(ChildError, match=r"^ended with code 1: KeyError: 'NOBODY_SET_THIS'$"):
        ask("tests.utils.test_child:about", ["NOBODY_SET_THIS"])


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("kill -SEGV $$", "ended by SIGSEGV"),
        ("echo first; echo 'the reason' >&2; exit 3", "ended with code 3: the reason"),
        ("exit 3", "ended with code 3"),
        ("exec sleep 60", "not finished after 0.5 s"),
    ],
)
def test_a_process_that_dies_is_no_end_of_this_one(script, said, tmp_path):
    with pytest.raises(ChildError) as told:
        run_child(["/bin/sh", "-c", script], tmp_path, {**os.environ}, 0.5)
    assert str(told.value) == said
    assert told.value.words == ("first\nthe reason\n" if "reason" in script else "")


def test_a_process_that_ends_well_is_measured(tmp_path):
    ended = run_child([sys.executable, "-c", "block = bytearray(200_000_000); print('ok')"], tmp_path, {**os.environ})
    assert ended.words == "ok\n"
    assert 0.2 < ended.memory_gb < 2
    assert 0 < ended.seconds < 60
