from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import paddle
import pytest

from models import nafnet
from models import nafnet as layers
from models.nafnet import NAFBlock, NAFNet
from models.presets import PRESETS, build, resolve
from models.weights import arrays_of
from tests.models import reference
from tests.models.networks import random_network, random_picture

# Uneven numbers of blocks, so that a swapped level or a reversed list shows.
SMALL = {"width": 4, "encoder_blocks": [1, 2], "middle_blocks": 2, "decoder_blocks": [2, 1]}


def reference_of(network: NAFNet, x: np.ndarray) -> np.ndarray:
    return reference.nafnet(
        x, arrays_of(network), network.encoder_blocks, network.middle_blocks, network.decoder_blocks
    )


@pytest.mark.parametrize(("height", "width"), [(16, 24), (13, 21), (1, 1), (3, 50), (33, 2)])
@pytest.mark.parametrize("fast", [True, False], ids=["cpu path", "plain path"])
def test_equals_the_numpy_reference(height: int, width: int, fast: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not fast:
        monkeypatch.setattr(layers, "eager_on_cpu", lambda x: False)
    network = random_network(**SMALL, gate=True)
    x = random_picture(height, width, samples=2)
    restored, mask_logit = network(paddle.to_tensor(x))
    expected = reference_of(network, x)
    assert restored.shape == [2, 3, height, width]
    assert mask_logit.shape == [2, 1, height, width]
    scale = max(1.0, float(np.abs(expected).max()))
    assert np.abs(expected[:, :3] - x).max() > 0.01  # the network does something
    np.testing.assert_allclose(restored.numpy(), expected[:, :3], atol=1e-5 * scale)
    np.testing.assert_allclose(mask_logit.numpy(), expected[:, 3:], atol=1e-5 * scale)


def test_without_gate_returns_one_tensor_equal_to_the_reference() -> None:
    network = random_network(**SMALL)
    x = random_picture(18, 15)
    restored = network(paddle.to_tensor(x))
    np.testing.assert_allclose(restored.numpy(), reference_of(network, x), atol=1e-5)


def test_both_paths_give_equal_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    network = random_network(**SMALL)
    x = paddle.to_tensor(random_picture(12, 20))

    def gradients() -> dict[str, np.ndarray]:
        network.clear_gradients()
        (network(x) ** 2).mean().backward()
        return {name: parameter.grad.numpy().copy() for name, parameter in network.named_parameters()}

    fast = gradients()
    monkeypatch.setattr(layers, "eager_on_cpu", lambda x: False)
    plain = gradients()
    for name, values in plain.items():
        np.testing.assert_allclose(fast[name], values, atol=1e-5 * max(1.0, float(np.abs(values).max())), err_msg=name)


@pytest.mark.parametrize("gate", [False, True])
def test_every_parameter_receives_a_gradient(gate: bool) -> None:
    network = random_network(**SMALL, gate=gate)
    output = network(paddle.to_tensor(random_picture(16, 16)))
    total = output[0].sum() + output[1].sum() if gate else output.sum()
    total.backward()
    silent = [
        name
        for name, parameter in network.named_parameters()
        if parameter.grad is None or not float(np.abs(parameter.grad.numpy()).max()) > 0
    ]
    assert silent == []


def test_fresh_block_is_the_identity_and_learns_from_the_first_step() -> None:
    paddle.seed(0)
    block = NAFBlock(6)
    x = paddle.to_tensor(np.random.default_rng(0).normal(size=(2, 6, 5, 7)).astype(np.float32))
    output = block(x)
    np.testing.assert_array_equal(output.numpy(), x.numpy())
    (output * x).sum().backward()
    assert float(block.beta.grad.abs().max()) > 0
    assert float(block.gamma.grad.abs().max()) > 0


def test_norm_takes_each_pixel_by_itself() -> None:
    norm = layers.LayerNorm2d(5)
    x = np.random.default_rng(1).normal(3, 2, (2, 5, 4, 3)).astype(np.float32)
    changed = x.copy()
    changed[0, :, 2, 1] += np.arange(5)
    difference = norm(paddle.to_tensor(changed)).numpy() - norm(paddle.to_tensor(x)).numpy()
    assert np.abs(difference[0, :, 2, 1]).max() > 0.1
    difference[0, :, 2, 1] = 0
    assert np.abs(difference).max() == 0
    flat = norm(paddle.full([1, 5, 2, 2], 0.7)).numpy()
    np.testing.assert_allclose(flat, 0, atol=1e-3)


def test_convolutions_start_as_pytorch_starts_them() -> None:
    """PyTorch: weights and biases uniform in +-1/sqrt(fan_in), so the standard deviation is that over sqrt(3)."""
    paddle.seed(0)
    for arguments, fan_in in [((64, 64, 3), 576), ((64, 128, 1), 64), ((128, 128, 3, 1, 1, 128), 9)]:
        convolution = layers.Convolution(*arguments)
        bound = fan_in**-0.5
        for values in (convolution.weight.numpy(), convolution.bias.numpy()):
            assert np.abs(values).max() <= bound
            assert np.abs(values).max() > 0.9 * bound
        assert abs(convolution.weight.numpy().std() / (bound / 3**0.5) - 1) < 0.1
        assert abs(convolution.weight.numpy().mean()) < 0.1 * bound


def test_seed_fixes_the_start() -> None:
    first, again, other = (arrays_of(build_seeded(seed)) for seed in (5, 5, 6))
    for name, values in first.items():
        np.testing.assert_array_equal(values, again[name])
    assert np.abs(first["intro.weight"] - other["intro.weight"]).max() > 0


def build_seeded(seed: int) -> NAFNet:
    paddle.seed(seed)
    return build("tiny")


@pytest.mark.parametrize(
    ("preset", "parameters"),
    # Counted in a PyTorch network of the official architecture.
    [("w32_middle10", 21_164_643), ("w32_encoder10", 8_702_307), ("w16_middle10", 5_342_003)],
)
def test_presets_have_the_write_ups_sizes(preset: str, parameters: int) -> None:
    assert parameter_count(build(preset)) == parameters
    # The gate adds one 3x3 output channel: width x 9 weights and a bias.
    assert parameter_count(build(preset, gate=True)) == parameters + PRESETS[preset]["width"] * 9 + 1


def parameter_count(network: NAFNet) -> int:
    return sum(int(np.prod(parameter.shape)) for parameter in network.parameters())


def test_names_are_the_official_ones() -> None:
    names = set(arrays_of(NAFNet(width=4, encoder_blocks=[1], middle_blocks=1, decoder_blocks=[1])))
    inside = {
        *(f"conv{number}.{kind}" for number in range(1, 6) for kind in ("weight", "bias")),
        *(f"norm{number}.{kind}" for number in (1, 2) for kind in ("weight", "bias")),
        *("sca.1.weight", "sca.1.bias", "beta", "gamma"),
    }
    blocks = {f"{place}.{name}" for place in ("encoders.0.0", "middle_blks.0", "decoders.0.0") for name in inside}
    ends = {f"{place}.{kind}" for place in ("intro", "ending", "downs.0") for kind in ("weight", "bias")}
    assert names == blocks | ends | {"ups.0.0.weight"}


def test_config_builds_the_same_network_again() -> None:
    network = NAFNet(**SMALL, gate=True)
    assert network.config == {**SMALL, "gate": True}
    twin = NAFNet(**network.config)
    assert {name: values.shape for name, values in arrays_of(twin).items()} == {
        name: values.shape for name, values in arrays_of(network).items()
    }


def test_overrides_change_a_preset_and_none_keeps_it() -> None:
    assert resolve("tiny", width=12, middle_blocks=None, gate=True) == {**PRESETS["tiny"], "width": 12, "gate": True}
    assert PRESETS["tiny"]["width"] == 8
    assert build("tiny", width=4).config["width"] == 4


def test_impossible_networks_are_refused() -> None:
    with pytest.raises(ValueError, match="decoder_blocks"):
        NAFNet(encoder_blocks=[1, 1], decoder_blocks=[1])
    with pytest.raises(ValueError, match="width 0"):
        NAFNet(width=0)
    with pytest.raises(ValueError, match="negative"):
        NAFNet(encoder_blocks=[1, -1], decoder_blocks=[1, 1])
    with pytest.raises(ValueError, match=r"'w64'.*w32_middle10"):
        build("w64")


def test_simple_gate_multiplies_the_halves() -> None:
    x = np.arange(8, dtype=np.float32).reshape(1, 4, 1, 2)
    np.testing.assert_array_equal(nafnet.simple_gate(paddle.to_tensor(x)).numpy(), x[:, :2] * x[:, 2:])


def test_presets_can_be_read_without_paddle() -> None:
    code = "import sys, models.presets as presets; presets.resolve('tiny'); sys.exit('paddle' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2], check=False).returncode == 0
