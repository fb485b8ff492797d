"""What a run needs to go on: files that are whole or noticed, and the average; test_train.py resumes optimisers."""

import numpy as np
import paddle
import pytest

from models.weights import Weights, arrays_of, save_weights
from utils.training.checkpoint import CheckpointError, MovingAverage, load_checkpoint, save_checkpoint


def test_a_whole_file_comes_back_and_one_of_weights_is_none(tmp_path):
    path, state = tmp_path / "x.pdckpt", {"iteration": 5, "params": {}, "config": {"stages": [{"batch": 2}]}}
    save_checkpoint(path, state)
    assert load_checkpoint(path) == state
    save_weights(path, Weights({}))
    with pytest.raises(CheckpointError, match=r"x\.pdckpt.*train\.init"):
        load_checkpoint(path)


@pytest.mark.parametrize(("part", "value", "words"), [
    ("params", {"x": np.float32([1, np.nan])}, "params: x: 1 of its 2 numbers are NaN"),
    ("ema", [], "ema: expected names"),
    ("ema", {"x": np.float32([np.inf])}, "ema: x: 1 of its 1"),
])  # fmt: skip
def test_weights_that_are_not_finite_are_no_start(tmp_path, part, value, words):
    save_checkpoint(tmp_path / "a.pdckpt", {"iteration": 1, "params": {}, "ema": None, part: value})
    with pytest.raises(CheckpointError, match=rf"a\.pdckpt: {words}.*go on from an earlier"):
        load_checkpoint(tmp_path / "a.pdckpt")


def walk(net: paddle.nn.Layer, rng: np.random.Generator) -> None:
    for tensor in net.state_dict().values():
        tensor.set_value(rng.normal(size=tensor.shape).astype(np.float32))


def test_the_average_follows_the_formula_and_goes_on_bit_for_bit():
    rng = np.random.default_rng(0)
    net = paddle.nn.Sequential(paddle.nn.Conv2D(3, 4, 3), paddle.nn.BatchNorm2D(4))
    walk(net, rng)
    average = MovingAverage(net, 0.9)
    expected = {name: array.astype(np.float64) for name, array in arrays_of(net).items()}
    # Long enough to reach the limit, so that both branches of the decay are tested.
    for iteration in range(100):
        if iteration == 50:
            resumed = MovingAverage(net, 0.9)
            resumed.load_arrays(average.arrays())
        walk(net, rng)
        before = arrays_of(net)
        average.update(iteration)
        if iteration >= 50:
            resumed.update(iteration)
        decay = min(0.9, (1 + iteration) / (10 + iteration))
        for name, array in arrays_of(net).items():
            assert array.tobytes() == before[name].tobytes()
            expected[name] = decay * expected[name] + (1 - decay) * array
    arrays = average.arrays()
    assert arrays.keys() == expected.keys()
    for name, array in arrays.items():
        np.testing.assert_allclose(array, expected[name], atol=1e-6)
        assert array.tobytes() == resumed.arrays()[name].tobytes()
    arrays["9.weight"] = arrays.pop("1.weight")
    with pytest.raises(ValueError, match=r"missing 1\.weight \[4\]; unexpected 9\.weight \[4\]"):
        resumed.load_arrays(arrays)
