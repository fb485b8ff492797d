"""The question that engines are asked: it notices a changed weight anywhere, and travels as text."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from configs.schema import PredictConfig
from inference.engines.base import BackendError, Proof, difference, proof_size
from tests.inference.small import SETTINGS, eager, small_weights


@pytest.fixture(scope="module")
def proof() -> Proof:
    return Proof.of(eager(small_weights()), *proof_size(SETTINGS))


def test_the_tile_is_odd_and_higher_than_the_window_as_far_as_that_is_cheap():
    assert proof_size(PredictConfig()) == (401, 41)
    assert proof_size(PredictConfig(tlc_ratio=0))[0] % 2 == 1
    assert proof_size(PredictConfig(tlc_ratio=100))[0] < 1100


def test_the_same_network_passes_and_the_text_says_the_same(proof):
    again = Proof.from_text(proof.to_text())
    assert (again.height, again.width) == (41, 41)
    assert np.array_equal(again.samples, proof.samples)
    again.check(eager(small_weights()))


def test_a_change_in_any_weight_or_in_the_windows_is_noticed(proof):
    weights = small_weights()
    rng = np.random.default_rng(0)
    for name, array in weights.params.items():
        changed = {**weights.params, name: array + rng.normal(0, 4, array.shape).astype(np.float32)}
        with pytest.raises(BackendError, match="wrong numbers"):
            proof.check(eager(replace(weights, params=changed)))
    with pytest.raises(BackendError, match="wrong numbers"):
        proof.check(eager(weights, replace(SETTINGS, tlc_ratio=1.0)))
    with pytest.raises(BackendError, match="wrong numbers"):
        proof.check(eager(small_weights(gate=False)))


def test_values_that_are_none_never_pass():
    expected = np.zeros((2, 2), np.float32)
    assert difference(np.full((2, 2), np.nan, np.float32), expected) == np.inf
    assert difference(expected, np.full((2, 2), np.nan, np.float32)) == np.inf


@pytest.mark.parametrize("text", ["", "3 4 5", "3 4 1 1 1 ???", "3 4 4 9 9 AAAA"])
def test_other_text_is_a_value_error(text):
    with pytest.raises(ValueError):  # noqa: PT011 - whatever the reason
        Proof.from_text(text)
