from __future__ import annotations

from collections import Counter

import pytest

from configs.schema import Stage
from data.batches.sampling import SampleKey, StageBatchSampler, samples_at

STAGES = (Stage(iterations=6, batch=4, patch=64), Stage(iterations=5, batch=2, patch=128))


def batches(**options: int) -> list[list[SampleKey]]:
    return list(StageBatchSampler(STAGES, 10, seed=3, **options))


def test_batch_and_patch_follow_the_stage() -> None:
    assert [(len(keys), {key.patch for key in keys}) for keys in batches()] == [(4, {64})] * 6 + [(2, {128})] * 5


def test_every_epoch_shows_each_patch_once_in_another_order() -> None:
    entries = [key.entry for keys in batches() for key in keys]
    epochs = [entries[first : first + 10] for first in (0, 10, 20)]
    assert all(Counter(epoch) == Counter(range(10)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 3


@pytest.mark.parametrize("start", [0, 1, 5, 6, 7, 10, 11])
def test_starting_late_gives_the_same_batches(start: int) -> None:
    assert batches(start=start) == batches()[start:]
    assert len(StageBatchSampler(STAGES, 10, seed=3, start=start)) == 11 - start


def test_processes_share_what_one_process_would_see() -> None:
    doubled = tuple(Stage(iterations=s.iterations, batch=2 * s.batch, patch=s.patch) for s in STAGES)
    alone = list(StageBatchSampler(doubled, 10, seed=3))
    first, second = batches(rank=0, world=2), batches(rank=1, world=2)
    assert [a + b for a, b in zip(first, second, strict=True)] == alone
    assert all(len(keys) == STAGES[0].batch for keys in first[:6])


def test_randomness_depends_on_seed_iteration_and_index_only() -> None:
    key = SampleKey(entry=5, patch=64, seed=3, iteration=7, index=1)
    numbers = key.generator().random(4).tolist()
    assert key._replace(entry=6, patch=128).generator().random(4).tolist() == numbers
    for change in ({"seed": 4}, {"iteration": 8}, {"index": 0}, {"iteration": 1, "index": 7}):
        assert key._replace(**change).generator().random(4).tolist() != numbers


def test_refusals() -> None:
    with pytest.raises(ValueError, match="the list of patches is empty"):
        samples_at(0, STAGES, 0, seed=0)
    with pytest.raises(ValueError, match="iteration 11 is outside"):
        samples_at(11, STAGES, 10, seed=0)
