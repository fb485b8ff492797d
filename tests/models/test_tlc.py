"""TLC: windows, local means against brute force, and where the converted network takes them."""

import numpy as np
import paddle
import pytest

from models.nafnet import LocalMean, convert_to_local, local_windows, windows_in_words
from models.weights import arrays_of
from tests.models.networks import SMALL, random_network, random_picture


@pytest.mark.parametrize(
    ("arguments", "windows"),
    [
        ((256, 1.5, 5), [384, 192, 96, 48, 24]),
        ((256, 2.5, 5), [640, 320, 160, 80, 40]),
        # 100 is padded to 112, whose maps are 112, 56, 28, 14, 7.
        ((100, 1.5, 5), [168, 84, 42, 21, 10]),
        ((16, 0.5, 5), [8, 4, 2, 1, 1]),
    ],
)
def test_windows_follow_training_size_and_ratio(arguments, windows):
    assert local_windows(*arguments) == windows


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
    assert "off" in windows_in_words(network.tlc_windows)
    assert convert_to_local(network, 8, 1.5) is network
    assert np.abs(network(large).numpy() - before).max() > 1e-4
    # A picture of the training size fits into every window.
    np.testing.assert_allclose(convert_to_local(network, 16, 1.0)(small).numpy(), small_before, atol=1e-6)
    assert "20x20, 10x10, 5x5" in windows_in_words(convert_to_local(network, 8, 2.5).tlc_windows)
    np.testing.assert_equal(arrays_of(network), parameters)
