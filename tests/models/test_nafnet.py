"""NAFNet: its two paths, its start, its gate, its sizes; and TLC: windows, local means, and where they are taken.

That its numbers are those of the official network is proved with PyTorch's, in test_weights.py.
"""

from pathlib import Path

import numpy as np
import paddle
import pytest

from configs.schema import PRESETS
from models import nafnet
from models.nafnet import LocalMean, NAFNet, convert_to_local, joined
from models.weights import arrays_of, load_arrays
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
    block = nafnet.NAFBlock(6)
    x = paddle.to_tensor(np.random.default_rng(0).normal(size=(2, 6, 5, 7)).astype(np.float32))
    output = block(x)
    np.testing.assert_array_equal(output.numpy(), x.numpy())
    (output * x).sum().backward()
    assert min(float(factor.grad.abs().max()) for factor in (block.beta, block.gamma)) > 0


def test_convolutions_start_as_pytorch_starts_them():
    """PyTorch: weights and biases uniform in +-1/sqrt(fan_in), so the standard deviation is that over sqrt(3)."""
    paddle.seed(0)
    for sides, groups, fan_in in [((64, 64, 3), 1, 576), ((64, 128, 1), 1, 64), ((128, 128, 3), 128, 9)]:
        convolution, bound = nafnet.Convolution(*sides, groups=groups), fan_in**-0.5
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


@pytest.mark.parametrize(("arguments", "windows"), [
    ((256, 1.5, 5), [384, 192, 96, 48, 24]),
    ((256, 2.5, 5), [640, 320, 160, 80, 40]),
    # 100 is padded to 112, whose maps are 112, 56, 28, 14, 7.
    ((100, 1.5, 5), [168, 84, 42, 21, 10]),
    ((16, 0.5, 5), [8, 4, 2, 1, 1]),
])  # fmt: skip
def test_windows_follow_training_size_and_ratio(arguments, windows):
    assert nafnet.local_windows(*arguments) == windows


@pytest.mark.parametrize(("height", "width"), [(7, 9), (12, 5), (5, 31), (30, 4), (1, 13), (16, 16)])
@pytest.mark.parametrize("window", [1, 2, 5, 8, 12])
def test_local_mean_equals_brute_force(height, width, window):
    """The mean over the nearest window that lies inside the map."""
    x = np.random.default_rng(height * width + window).normal(0, 1, (2, 3, height, width)).astype(np.float32)
    means = LocalMean(window)(paddle.to_tensor(x)).numpy()
    # In one direction only is not global.
    assert means.shape[2:] == ((1, 1) if window >= max(height, width) else (height, width))
    rows, columns = min(window, height), min(window, width)
    windows = np.lib.stride_tricks.sliding_window_view(x.astype(np.float64), (rows, columns), (2, 3)).mean((4, 5))
    places = ((np.arange(side) - (span - 1) // 2).clip(0, side - span) for side, span in
              ((height, rows), (width, columns)))
    expected = windows[:, :, *np.ix_(*places)]
    np.testing.assert_allclose(np.broadcast_to(means, x.shape), expected, atol=1e-5)


def test_large_map_far_from_zero_keeps_float32s_precision():
    """A plain integral image is off by about 4e-3 here."""
    x = np.random.default_rng(0).normal(50, 1, (1, 1, 600, 700)).astype(np.float32)
    means = LocalMean(128)(paddle.to_tensor(x)).numpy()[0, 0]
    exact = x[0, 0].astype(np.float64)
    # Pixel (300, 400): the window begins 63 above and to the left of it; in the corners it lies inside the map.
    for row, column in [(300, 400), (63, 63), (500, 600), (0, 0), (599, 699)]:
        top, left = min(max(row - 63, 0), 600 - 128), min(max(column - 63, 0), 700 - 128)
        assert abs(means[row, column] - exact[top : top + 128, left : left + 128].mean()) < 2e-5


def test_every_block_of_the_converted_network_takes_its_levels_window(monkeypatch):
    network, seen = convert_to_local(random_network(**SMALL, gate=True), train_size=8, ratio=1.5), []
    whole = LocalMean.forward
    monkeypatch.setattr(LocalMean, "forward", lambda mean, x: seen.append((x.shape[2], mean.window)) or whole(mean, x))
    network(paddle.to_tensor(random_picture(37, 20)))
    assert network.tlc_windows == [12, 6, 3]
    # One and two blocks on the way down, two in the middle, two and one on the way up.
    assert seen == [(40, 12), *[(20, 6)] * 2, *[(10, 3)] * 2, *[(20, 6)] * 2, (40, 12)]


def test_conversion_can_be_repeated_changes_no_parameter_and_nothing_on_small_pictures():
    network = random_network(**SMALL)
    large, small = (paddle.to_tensor(random_picture(side, side)) for side in (30, 16))
    before, small_before, parameters = network(large).numpy(), network(small).numpy(), arrays_of(network)
    assert "off" in nafnet.windows_in_words(network.tlc_windows)
    assert convert_to_local(network, 8, 1.5) is network
    assert np.abs(network(large).numpy() - before).max() > 1e-4
    # A picture of the training size fits into every window.
    np.testing.assert_allclose(convert_to_local(network, 16, 1.0)(small).numpy(), small_before, atol=1e-6)
    assert "20x20, 10x10, 5x5" in nafnet.windows_in_words(convert_to_local(network, 8, 2.5).tlc_windows)
    np.testing.assert_equal(arrays_of(network), parameters)
