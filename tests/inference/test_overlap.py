"""The pipeline: order, overlap, its two bounds, how it stops, and that it keeps no picture."""

import itertools
import threading
import time
import weakref
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image

from inference.files import list_pictures
from inference.folder import Job, overlap, restore_folder
from inference.restorer import Restored
from tests.inference.stand_ins import page, paint_over

STEP = 0.03


def job(number: int, log: list, pixels: int = 1, seconds: float = 0.0, broken: str = "", slow: str = "") -> Job:
    """A job that says when its parts run: (event, number) go to `log`, which all jobs of one test share."""

    def parts() -> Iterator[int]:
        yield pixels
        for name in ("read", "work", "write"):
            assert (threading.current_thread() is threading.main_thread()) == (name == "work")
            log.append((name, number))
            time.sleep(0.01 if name == slow else seconds)
            if broken == name:
                raise KeyboardInterrupt if name == "work" else SystemError(name)
            log.append((name + " done", number))
            yield 0

    return number, parts()


def most_at_once(log: list, begin: str, end: str, weight=lambda number: 1) -> int:
    """The largest sum of weights of the jobs that are between two events."""
    steps = (weight(number) * ((event == begin) - (event == end)) for event, number in log)
    return max(itertools.accumulate(steps))


@pytest.mark.parametrize("helpers", [1, 3])
def test_every_job_takes_its_parts_comes_out_in_its_order_and_may_end_after_any_part(helpers):
    log = []
    jobs = [(index, itertools.islice(job(index, log, seconds=0.001 * (index % 3))[1], 1 + index % 4))
            for index in range(25)]  # fmt: skip
    assert list(overlap(jobs, helpers)) == list(range(25))
    for index in range(25):
        parts = [f"{name}{done}" for name in ("read", "work", "write")[: index % 4] for done in ("", " done")]
        assert [event for event, owner in log if owner == index] == parts


def test_the_parts_of_neighbours_overlap():
    log = []
    assert len(list(overlap((job(index, log, seconds=STEP) for index in range(4)), 1))) == 4
    assert log.index(("read", 2)) < log.index(("work done", 1))
    assert log.index(("work", 2)) < log.index(("write done", 1))


@pytest.mark.parametrize("helpers", [1, 2])
@pytest.mark.parametrize("slow", ["read", "work", "write"])
def test_few_are_under_way_whichever_part_is_slow(helpers, slow):
    log = []
    for number in overlap((job(index, log, slow=slow) for index in range(12)), helpers):
        assert ("write done", number) in log
    assert most_at_once(log, "read", "write done") <= 2 * helpers + 2
    assert most_at_once(log, "work", "work done") == 1


def test_large_ones_are_not_under_way_together_and_the_largest_goes_alone():
    sizes, log = [1, 1, 6, 6, 1, 20, 20, 1, 1, 3, 3, 3, 3], []
    jobs = (job(index, log, size, 0.002) for index, size in enumerate(sizes))
    assert list(overlap(jobs, 2, pixels=10)) == list(range(len(sizes)))
    assert most_at_once(log, "read", "write done", sizes.__getitem__) == 20
    begun, ended = log.index(("read", 5)), log.index(("write done", 5))
    assert {number for _, number in log[begun:ended]} == {5}


@pytest.mark.parametrize("how", ["ctrl-C", "closed"])
def test_an_end_lets_the_write_that_runs_finish_and_begins_nothing_else(how):
    log, told = [], []
    running = overlap((job(index, log, seconds=STEP, broken="work" * (index == 2)) for index in range(9)), 1)
    if how == "closed":
        assert next(running) == 0
        running.close()
    else:
        with pytest.raises(KeyboardInterrupt):
            told.extend(running)  # What came before the interruption stays in the list.
        assert told == [number for name, number in log if name == "write done"]
    before = list(log)
    assert ("write done", 0) in log
    assert log.count(("write", 1)) == log.count(("write done", 1))
    assert not {("write", 2), ("read", 5)} & set(log)
    time.sleep(3 * STEP)
    assert log == before


@pytest.mark.parametrize("part", ["read", "write"])
def test_an_error_that_a_job_did_not_keep_is_not_lost(part):
    with pytest.raises(SystemError, match=part):
        list(overlap((job(index, [], broken=part if index == 3 else "") for index in range(9)), 1))


def test_memory_stays_flat_over_many_pictures(tmp_path):
    (tmp_path / "in").mkdir()
    for index in range(60):
        Image.fromarray(page(90, 90, (20, 20, 40, 40))).save(tmp_path / "in" / f"{index:02}.jpg")
    held, most = [], []

    def restorer(image: np.ndarray) -> Restored:
        restored = paint_over(image)
        held.extend(map(weakref.ref, (image, restored.image, restored.mask)))
        most.append(sum(one() is not None for one in held))
        return restored

    kept = list(restore_folder(restorer, list_pictures(tmp_path / "in", ""), tmp_path / "out", compare=True))
    assert (len(kept), max(most) < 3 * 12) == (60, True)
