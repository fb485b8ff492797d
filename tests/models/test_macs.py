"""Multiply-adds: the published figures, and a count of what really passes through every convolution."""

from __future__ import annotations

import paddle
import pytest

from models.nafnet import Convolution, multiply_adds
from models.presets import build
from models.tlc import convert_to_global, convert_to_local


@pytest.mark.parametrize(
    ("preset", "billions"), [("w32_middle10", 8.6), ("w32_encoder10", 8.6), ("w16_middle10", 2.2)]
)
def test_the_known_figures_of_256_by_256(preset, billions):
    assert multiply_adds(build(preset), 256, 256) / 1e9 == pytest.approx(billions, abs=0.03)


@pytest.mark.parametrize("ratio", [0, 1.5])
@pytest.mark.parametrize("gate", [False, True])
def test_every_convolution_counts_as_often_as_it_runs(ratio, gate):
    network = build("tiny", gate=gate, width=4)
    if ratio:
        convert_to_local(network, 16, ratio)
    seen = []

    def count(layer, _, output):
        taps = layer.weight.shape[1] * layer.weight.shape[2] * layer.weight.shape[3]
        seen.append(int(paddle.numel(output)) * taps)

    for layer in network.sublayers():
        if isinstance(layer, Convolution):
            layer.register_forward_post_hook(count)
    network(paddle.rand([1, 3, 37, 50]))
    assert multiply_adds(network, 37, 50) == sum(seen)


def test_channel_attention_is_computed_per_pixel_only_with_local_means():
    network = build("tiny")
    plain = multiply_adds(network, 64, 64)
    assert multiply_adds(convert_to_local(network, 16, 1.5), 64, 64) > plain
    assert multiply_adds(convert_to_local(network, 64, 1.5), 64, 64) == plain
    assert multiply_adds(convert_to_global(network), 64, 64) == plain
