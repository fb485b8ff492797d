"""The moving average against the formula in float64, and its way through arrays."""

from __future__ import annotations

import numpy as np
import paddle
import pytest

from utils.training.checkpoint import ExponentialMovingAverage


def network() -> paddle.nn.Layer:
    return paddle.nn.Sequential(paddle.nn.Conv2D(3, 4, 3), paddle.nn.BatchNorm2D(4))


def walk(net: paddle.nn.Layer, rng: np.random.Generator) -> None:
    for tensor in net.state_dict().values():
        tensor.set_value(rng.normal(size=tensor.shape).astype(np.float32))


def test_follows_the_formula_for_parameters_and_buffers():
    rng = np.random.default_rng(0)
    net = network()
    walk(net, rng)
    average = ExponentialMovingAverage(net, 0.9)
    expected = {name: tensor.numpy().astype(np.float64) for name, tensor in net.state_dict().items()}
    for iteration in range(100):
        walk(net, rng)
        average.update(iteration)
        decay = min(0.9, (1 + iteration) / (10 + iteration))
        for name, tensor in net.state_dict().items():
            expected[name] = decay * expected[name] + (1 - decay) * tensor.numpy()
    arrays = average.arrays()
    assert arrays.keys() == expected.keys()
    for name, array in arrays.items():
        np.testing.assert_allclose(array, expected[name], atol=1e-6)
    # The limit was reached on the way, so both branches of the decay were tested.
    assert average.decay_at(0) == 0.1
    assert average.decay_at(99) == 0.9


def test_goes_on_bit_for_bit_after_a_round_trip():
    rng = np.random.default_rng(1)
    net = network()
    first = ExponentialMovingAverage(net, 0.99)
    walk(net, rng)
    first.update(0)
    second = ExponentialMovingAverage(network(), 0.99)
    second.load_arrays(first.arrays())
    second._live = first._live
    walk(net, rng)
    first.update(1)
    second.update(1)
    for name, array in first.arrays().items():
        assert array.tobytes() == second.arrays()[name].tobytes()


def test_the_network_is_left_alone():
    net = network()
    before = {name: tensor.numpy() for name, tensor in net.state_dict().items()}
    average = ExponentialMovingAverage(net, 0.5)
    average.load_arrays({name: array + 1 for name, array in before.items()})
    average.update(3)
    for name, tensor in net.state_dict().items():
        assert (tensor.numpy() == before[name]).all()


def test_foreign_averages_are_refused_with_every_name():
    average = ExponentialMovingAverage(network(), 0.5)
    arrays = average.arrays()
    arrays["0.bias"] = np.zeros(9, np.float32)
    arrays["9.weight"] = arrays.pop("1.weight")
    with pytest.raises(ValueError, match=r"1\.weight, 9\.weight, 0\.bias \[9\] instead of \[4\]"):
        average.load_arrays(arrays)


@pytest.mark.parametrize("decay", [0.0, 1.0, -0.1])
def test_impossible_decay_is_refused(decay):
    with pytest.raises(ValueError, match="decay"):
        ExponentialMovingAverage(network(), decay)
