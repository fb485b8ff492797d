"""What all engines share: refused tiles, one error for "out of memory", finite numbers, and the proof of them."""

from __future__ import annotations

import json
import logging
from dataclasses import replace

import numpy as np
import paddle
import pytest

from configs.schema import PredictConfig
from inference.engines.base import BackendError, CheckedBackend, Proof, check_tile, memory_errors
from inference.engines.graphs import NafnetGraph
from models.weights import network_of
from tests.inference.small import SETTINGS, EagerNetwork, eager, small_weights, tile


@pytest.mark.parametrize(
    "wrong",
    [tile(4, 4)[0], tile(4, 4)[:, :2], tile(4, 4).astype(float), tile(4, 4)[:, :, :0], np.repeat(tile(4, 4), 2, 0)],
)
def test_other_tiles_are_refused(wrong):
    with pytest.raises(ValueError, match="expected a tile of float32"):
        check_tile(wrong)


@pytest.mark.parametrize(
    "words",
    [
        "ResourceExhaustedError: \n\nOut of memory error on GPU 0. Cannot allocate 2.0GB memory on GPU 0",
        "(ResourceExhausted) Fail to alloc memory of 99 size, error code is 12.",
        "[ONNXRuntimeError] : 6 : Failed to allocate memory for requested buffer of size 99",
        "Exception from src/inference: std::bad_alloc",
    ],
)
def test_every_engines_words_for_out_of_memory_become_a_memory_error_with_the_size(words):
    with pytest.raises(MemoryError, match=r"someengine.*5 x 7"), memory_errors("someengine", tile(5, 7)):
        raise RuntimeError(words)
    with pytest.raises(RuntimeError, match="no kernel image"), memory_errors("someengine", tile(5, 7)):
        raise RuntimeError("no kernel image is available")


def test_a_tile_goes_where_the_network_lies_and_not_to_the_device_that_is_current(monkeypatch):
    network = network_of(small_weights())
    places, to_tensor = [], paddle.to_tensor

    def watched(data, **options):
        places.append(options.get("place"))
        return to_tensor(data, **options)

    monkeypatch.setattr(paddle, "to_tensor", watched)
    EagerNetwork(network, SETTINGS)(tile(8, 8))
    assert [str(place) for place in places] == [str(network.parameters()[0].place)]


class Answering:
    """Answers with the tile and one other value."""

    name, device = "stand-in", "cpu"

    def __init__(self, value: float, precision: str = "fp32") -> None:
        self.value, self.precision, self.calls = value, precision, 0

    def __call__(self, tile: np.ndarray) -> np.ndarray:
        self.calls += 1
        output = tile.copy()
        output[0, 0, 0, 0] = self.value
        return output


def test_finite_values_pass_untouched():
    checked = CheckedBackend(Answering(0.5, "bf16"), True, "none", lambda: pytest.fail("fp32 is not needed"))
    assert (checked.name, checked.device, checked.precision, checked.gated, checked.tlc) == (
        "stand-in", "cpu", "bf16", True, "none"
    )  # fmt: skip
    assert checked(tile(3, 4))[0, 0, 0, 0] == 0.5


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_reduced_precision_is_repeated_in_fp32_which_is_opened_once_with_one_warning(value, caplog):
    exact, opened = Answering(0.25), []
    checked = CheckedBackend(Answering(value, "fp16"), False, "", lambda: opened.append(1) or exact)
    for _ in range(3):
        assert checked(tile(3, 4))[0, 0, 0, 0] == 0.25
    assert (len(opened), exact.calls) == (1, 3)
    (warning,) = (record.getMessage() for record in caplog.records if record.levelno == logging.WARNING)
    assert "fp16" in warning
    assert "3 x 4" in warning


def test_fp32_that_is_not_finite_is_an_error_with_names():
    with pytest.raises(FloatingPointError, match=r"stand-in in fp32 on cpu.*3 x 4"):
        CheckedBackend(Answering(np.nan), False, "")(tile(3, 4))
    with pytest.raises(FloatingPointError, match="in fp32"):
        CheckedBackend(Answering(np.nan, "bf16"), False, "", lambda: Answering(np.nan))(tile(3, 4))


@pytest.fixture(scope="module")
def proof() -> Proof:
    return Proof.of(eager(small_weights()), *NafnetGraph(small_weights(), SETTINGS).proof_size)


def test_the_proofs_tile_is_odd_and_higher_than_the_window_as_far_as_that_is_cheap():
    heights = [
        NafnetGraph(small_weights(), settings).proof_size
        for settings in (PredictConfig(), PredictConfig(tlc_ratio=0), PredictConfig(tlc_ratio=100))
    ]
    assert heights == [(401, 41), (17, 41), (1041, 41)]


def test_the_same_network_passes_and_json_says_the_same(proof):
    again = Proof.from_json(json.loads(json.dumps(proof.to_json())))
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
    for other in (eager(weights, replace(SETTINGS, tlc_ratio=1.0)), eager(small_weights(gate=False))):
        with pytest.raises(BackendError, match="wrong numbers"):
            proof.check(other)


def test_values_that_are_none_never_pass(proof):
    assert proof.difference(Answering(np.nan)) == np.inf
    three = Proof(41, 41, proof.samples[:3])
    assert np.isfinite(three.difference(Answering(0.5)))
    assert three.difference(Answering(np.nan)) == np.inf
    assert Proof(41, 41, np.full_like(three.samples, np.nan)).difference(Answering(0.5)) == np.inf


@pytest.mark.parametrize("change", [{"samples": "???"}, {"shape": [1, 1, 7]}, {"height": None}, {"samples": None}])
def test_other_json_is_an_error(proof, change):
    with pytest.raises((ValueError, TypeError)):
        Proof.from_json({**proof.to_json(), **change})
