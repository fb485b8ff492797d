from __future__ import annotations

import numpy as np
import paddle
import pytest

from models.nafnet import NAFNet
from models.weights import Weights, arrays_of, load_arrays, load_weights, network_of, save_weights
from tests.models.networks import random_network, random_picture

TINY = {"width": 4, "encoder_blocks": [1], "middle_blocks": 1, "decoder_blocks": [1]}


def test_arrays_are_copies() -> None:
    network = random_network(**TINY)
    arrays = arrays_of(network)
    arrays["intro.weight"][:] = 0
    assert np.abs(network.intro.weight.numpy()).max() > 0


def test_a_file_of_weights_builds_the_same_network(tmp_path: object) -> None:
    network = random_network(**TINY, gate=True)
    path = f"{tmp_path}/weights.pdparams"
    save_weights(path, Weights(params=arrays_of(network), model=network.config))
    again = network_of(load_weights(path))
    assert again.config == network.config
    assert not again.training
    x = paddle.to_tensor(random_picture(7, 10))
    for output, expected in zip(again(x), network(x), strict=True):
        np.testing.assert_array_equal(output.numpy(), expected.numpy())


def test_half_precision_arrays_load_as_float32() -> None:
    source = random_network(**TINY)
    arrays = {name: values.astype(np.float16) for name, values in arrays_of(source).items()}
    target = NAFNet(**TINY)
    load_arrays(target, arrays)
    loaded = arrays_of(target)
    assert loaded["intro.weight"].dtype == np.float32
    np.testing.assert_array_equal(loaded["intro.weight"], arrays["intro.weight"].astype(np.float32))


def test_every_fault_is_listed_and_nothing_is_loaded() -> None:
    network = random_network(**TINY)
    before = arrays_of(network)
    arrays = {name: values + 1 for name, values in before.items()}
    del arrays["middle_blks.0.beta"]
    arrays["head.weight"] = np.zeros((2, 3), np.float32)
    arrays["intro.bias"] = np.zeros(5, np.float32)
    arrays["ending.bias"] = np.zeros(3, np.int64)
    with pytest.raises(ValueError, match="4 faults") as error:
        load_arrays(network, arrays)
    for words in (
        "missing middle_blks.0.beta [1, 8, 1, 1]",
        "unexpected head.weight [2, 3]",
        "misshaped intro.bias: expected [4], found [5]",
        "not floating point ending.bias: int64",
    ):
        assert words in str(error.value)
    after = arrays_of(network)
    assert all(np.array_equal(after[name], before[name]) for name in before)


def test_a_description_of_another_network_is_refused() -> None:
    params = arrays_of(random_network(**TINY))
    with pytest.raises(ValueError, match="cannot build"):
        network_of(Weights(params=params, model={**TINY, "transformer": True}))
    with pytest.raises(ValueError, match="misshaped ending"):
        network_of(Weights(params=params, model={**TINY, "gate": True}))
