"""NAFNet: its two paths, its start, its gate, its trace for export, its multiply-adds.

That its numbers are those of the official network is proved with PyTorch's, in test_weights.py.
"""

from pathlib import Path

import numpy as np
import paddle
import pytest

from configs.schema import PRESETS
from models import nafnet
from models.nafnet import Convolution, NAFBlock, NAFNet, joined
from models.weights import load_arrays
from tests.models.networks import SMALL, build, drawn_arrays, random_network, random_picture


@pytest.mark.parametrize(("height", "width"), [(13, 21), (1, 1), (3, 50)])
@pytest.mark.parametrize("gate", [True, False], ids=["gated", "plain"])
def test_both_paths_agree_at_sizes_that_are_padded_with_zeros(height, width, gate, monkeypatch):
    network, x = random_network(**SMALL, gate=gate), random_picture(height, width, samples=2)
    padded = np.pad(x, ((0, 0), (0, 0), (0, -height % 4), (0, -width % 4)))
    output = network(paddle.to_tensor(x))
    fast, whole = (joined(given).numpy() for given in (output, network(paddle.to_tensor(padded))))
    monkeypatch.setattr(nafnet, "on_cpu", lambda x: False)
    plain = joined(network(paddle.to_tensor(x))).numpy()
    assert np.abs(fast[:, :3] - x).max() > 0.01  # the network does something
    for expected in (plain, whole[:, :, :height, :width]):
        np.testing.assert_allclose(fast, expected, atol=1e-5 * max(1, np.abs(expected).max()))
    if gate:
        probability = 1 / (1 + np.exp(-output[1].numpy()))
        np.testing.assert_allclose(fast, np.concatenate([output[0], probability], 1), atol=1e-6)


def test_both_paths_give_equal_gradients_and_every_parameter_one(monkeypatch):
    network = random_network(**SMALL, gate=True)
    x = paddle.to_tensor(random_picture(12, 20))

    def gradients() -> dict[str, np.ndarray]:
        network.clear_gradients()
        sum((output**2).mean() for output in network(x)).backward()
        return {name: parameter.grad.numpy().copy() for name, parameter in network.named_parameters()}

    fast = gradients()
    monkeypatch.setattr(nafnet, "on_cpu", lambda x: False)
    for name, values in gradients().items():
        assert np.abs(values).max() > 0, name
        np.testing.assert_allclose(fast[name], values, atol=1e-5 * max(1.0, float(np.abs(values).max())), err_msg=name)


def test_fresh_block_is_the_identity_and_learns_from_the_first_step():
    paddle.seed(0)
    block = NAFBlock(6)
    x = paddle.to_tensor(np.random.default_rng(0).normal(size=(2, 6, 5, 7)).astype(np.float32))
    output = block(x)
    np.testing.assert_array_equal(output.numpy(), x.numpy())
    (output * x).sum().backward()
    assert min(float(factor.grad.abs().max()) for factor in (block.beta, block.gamma)) > 0


def test_convolutions_start_as_pytorch_starts_them():
    """PyTorch: weights and biases uniform in +-1/sqrt(fan_in), so the standard deviation is that over sqrt(3)."""
    paddle.seed(0)
    for sides, groups, fan_in in [((64, 64, 3), 1, 576), ((64, 128, 1), 1, 64), ((128, 128, 3), 128, 9)]:
        convolution, bound = Convolution(*sides, groups=groups), fan_in**-0.5
        for values in (convolution.weight.numpy(), convolution.bias.numpy()):
            assert 0.9 * bound < np.abs(values).max() <= bound
        assert abs(convolution.weight.numpy().std() / (bound / 3**0.5) - 1) < 0.1
        assert abs(convolution.weight.numpy().mean()) < 0.1 * bound


@pytest.mark.parametrize(
    ("preset", "parameters"),
    # Counted in a PyTorch network of the official architecture.
    [("w32_middle10", 21_164_643), ("w32_encoder10", 8_702_307), ("w16_middle10", 5_342_003)],
)
def test_presets_have_the_write_ups_sizes(preset, parameters):
    # The gate adds one 3x3 output channel: width x 9 weights and a bias.
    for gate, more in ((False, 0), (True, PRESETS[preset]["width"] * 9 + 1)):
        assert sum(parameter.size for parameter in build(preset, gate=gate).parameters()) == parameters + more


def test_a_restorer_equals_its_twin_in_pytorch_and_changes_the_mask_only():
    """Recorded from PyTorch 2.13 with these parameters on this picture and mask, every third pixel."""
    network = NAFNet(**SMALL, mask_input=True)
    arrays = drawn_arrays(7, **SMALL, mask_input=True)
    load_arrays(network, {name: values / np.float32(8) for name, values in arrays.items()})
    picture, mask = random_picture(37, 29, seed=5), random_picture(37, 29, seed=6)[:, :1] > 0.5
    with paddle.no_grad():
        painted = network(paddle.to_tensor(np.concatenate([picture, mask.astype(np.float32)], 1))).numpy()
    with np.load(Path(__file__).with_name("data") / "restorer_check.npz") as expected:
        np.testing.assert_allclose(painted[0, :, ::3, ::3], expected["painted"], atol=1e-5)
    stays = np.broadcast_to(~mask, picture.shape)
    np.testing.assert_array_equal(painted[stays], picture[stays])
    assert np.abs(painted - picture)[~stays].mean() > 0.01
