from __future__ import annotations

import numpy as np
import paddle
import pytest

from models.nafnet import NAFNet
from models.tlc import convert_to_local, describe, local_mean, local_windows
from models.weights import arrays_of
from tests.models import reference
from tests.models.networks import SMALL, random_network, random_picture


@pytest.mark.parametrize(
    ("arguments", "windows"),
    [
        ((256, 1.5, 5), [384, 192, 96, 48, 24]),
        ((256, 2.5, 5), [640, 320, 160, 80, 40]),
        ((256, 1.5, 1), [384]),
        # 100 is padded to 112, whose maps are 112, 56, 28, 14, 7.
        ((100, 1.5, 5), [168, 84, 42, 21, 10]),
        ((16, 0.5, 5), [8, 4, 2, 1, 1]),
    ],
)
def test_windows_follow_training_size_and_ratio(arguments: tuple[int, float, int], windows: list[int]) -> None:
    assert local_windows(*arguments) == windows


@pytest.mark.parametrize(("height", "width"), [(7, 9), (12, 5), (5, 31), (30, 4), (1, 13), (16, 16)])
@pytest.mark.parametrize("window", [1, 2, 5, 8, 12])
def test_local_mean_equals_brute_force(height: int, width: int, window: int) -> None:
    x = np.random.default_rng(height * width + window).normal(0, 1, (2, 3, height, width)).astype(np.float32)
    means = np.broadcast_to(local_mean(paddle.to_tensor(x), window).numpy(), x.shape)
    np.testing.assert_allclose(means, reference.local_mean(x.astype(np.float64), window), atol=1e-5)


def test_window_over_the_whole_map_is_the_global_mean() -> None:
    x = paddle.to_tensor(random_picture(6, 9))
    assert local_mean(x, 9).shape == [1, 3, 1, 1]
    assert local_mean(x, 8).shape == [1, 3, 6, 9]  # in one direction only: not global


def test_large_map_far_from_zero_keeps_float32s_precision() -> None:
    """A plain integral image is off by about 4e-3 here."""
    x = np.random.default_rng(0).normal(50, 1, (1, 1, 600, 700)).astype(np.float32)
    means = local_mean(paddle.to_tensor(x), 128).numpy()
    exact = x.astype(np.float64)
    # Pixel (300, 400): the window begins 63 above and to the left of it.
    for row, column in [(300, 400), (63, 63), (500, 600)]:
        window = exact[0, 0, row - 63 : row + 65, column - 63 : column + 65]
        assert abs(means[0, 0, row, column] - window.mean()) < 2e-5
    assert abs(means[0, 0, 0, 0] - exact[0, 0, :128, :128].mean()) < 2e-5
    assert abs(means[0, 0, -1, -1] - exact[0, 0, -128:, -128:].mean()) < 2e-5


def test_half_precision_is_summed_in_float32() -> None:
    """Half precision ends at 65504; every window of this map sums to 80,000."""
    values = np.full((1, 1, 200, 30), 400, np.float16)
    values[0, 0, ::2] = 0
    for window in (20, 200):
        means = local_mean(paddle.to_tensor(values), window)
        assert means.dtype == paddle.float16
        np.testing.assert_allclose(means.numpy().astype(np.float32), 200, rtol=1e-3)


@pytest.mark.parametrize(("height", "width"), [(20, 20), (13, 30), (41, 9)])
@pytest.mark.parametrize("gate", [False, True])
def test_converted_network_equals_the_reference(height: int, width: int, gate: bool) -> None:
    network = convert_to_local(random_network(**SMALL, gate=gate), train_size=8, ratio=1.5)
    assert network.tlc_windows == [12, 6, 3]
    x = random_picture(height, width)
    output = network(paddle.to_tensor(x))
    output = paddle.concat(output, axis=1) if gate else output
    expected = reference.nafnet(x, arrays_of(network), [1, 2], 2, [2, 1], windows=[12, 6, 3])
    scale = max(1.0, float(np.abs(expected).max()))
    np.testing.assert_allclose(output.numpy(), expected, atol=1e-5 * scale)
    elsewhere = reference.nafnet(x, arrays_of(network), [1, 2], 2, [2, 1])
    assert np.abs(elsewhere - expected).max() > 1e-3  # the windows matter


def test_conversion_is_idempotent_and_changes_no_parameter() -> None:
    network = random_network(**SMALL)
    x = paddle.to_tensor(random_picture(30, 30))
    before, parameters = network(x).numpy(), arrays_of(network)
    assert network.tlc_windows is None
    assert convert_to_local(network, 8, 1.5) is network
    local = network(x).numpy()
    assert np.abs(local - before).max() > 1e-4
    np.testing.assert_array_equal(convert_to_local(network, 8, 1.5)(x).numpy(), local)
    assert convert_to_local(network, 8, 2.5).tlc_windows == [20, 10, 5]
    after = arrays_of(network)
    assert after.keys() == parameters.keys()
    assert all(np.array_equal(after[name], parameters[name]) for name in parameters)


def test_converted_network_gives_the_global_result_on_small_pictures() -> None:
    """A picture of the training size fits into every window."""
    network = random_network(**SMALL)
    x = paddle.to_tensor(random_picture(16, 16))
    before = network(x).numpy()
    np.testing.assert_allclose(convert_to_local(network, 16, 1.0)(x).numpy(), before, atol=1e-6)


def test_description_names_the_windows() -> None:
    network = NAFNet(**SMALL)
    assert "off" in describe(network.tlc_windows)
    assert "384x384, 192x192, 96x96" in describe(convert_to_local(network, 256, 1.5).tlc_windows)
