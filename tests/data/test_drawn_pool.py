"""Drawn occluders of a training run: few enough to be affordable, the same for every process."""

from __future__ import annotations

import numpy as np
import pytest

from data.batches.fresh import DrawnPool
from data.synthesis.occluders import DrawnOccluders, Occluder


def _generators(count: int = 200) -> list[np.random.Generator]:
    return [np.random.default_rng(seed) for seed in range(count)]


def test_a_member_is_drawn_once_and_the_pool_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = []

    def draw(self: DrawnOccluders, rng: np.random.Generator, kind: str) -> Occluder:
        drawn.append(kind)
        return Occluder(rng.integers(0, 256, (8, 8, 4), dtype=np.uint8), kind, "noise")

    monkeypatch.setattr(DrawnOccluders, "__call__", draw)
    pool = DrawnPool(0, 64)
    for kind in pool.kinds:
        for rng in _generators(2000):
            assert pool(rng, kind).kind == kind
    assert drawn.count("hand") == drawn.count("head") == pool.per_kind == 64


def test_the_same_generator_gets_the_same_occluder_in_every_order() -> None:
    pool, other = DrawnPool(5, 48), DrawnPool(5, 48)
    forward = [pool(rng, "hand") for rng in _generators(12)]
    backward = [other(rng, "hand") for rng in _generators(12)[::-1]][::-1]
    for one, same in zip(forward, backward, strict=True):
        np.testing.assert_array_equal(one.rgba, same.rgba)
    assert len({occluder.rgba.tobytes() for occluder in forward}) > 6
    rng = np.random.default_rng(0)
    assert not np.array_equal(DrawnPool(6, 48)(rng, "hand").rgba, forward[0].rgba)


def test_large_drawings_are_fewer_and_none_can_be_written_to() -> None:
    assert [DrawnPool(0, side).per_kind for side in (32, 576, 768, 1536, 9000)] == [64, 64, 56, 14, 8]
    with pytest.raises(ValueError, match="read-only"):
        DrawnPool(0, 32)(np.random.default_rng(0), "hand").rgba[0, 0, 0] = 1
