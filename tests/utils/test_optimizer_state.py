"""AdamW's memory by structured names: exact resume whatever the counters, exact norm of all gradients together."""

from __future__ import annotations

import numpy as np
import paddle
import pytest

from utils.training.checkpoint import gradient_norm, load_optimizer_arrays, optimizer_arrays


class TwoHeads(paddle.nn.Layer):
    """Two layers of equal shapes, so that swapped moments would load without a complaint."""

    def __init__(self, reverse: bool = False):
        super().__init__()
        names = ["first", "second"]
        for name in reversed(names) if reverse else names:
            setattr(self, name, paddle.nn.Linear(4, 4))
        self.scale = self.create_parameter([4])

    def forward(self, x):
        return self.second(paddle.tanh(self.first(x)) * self.scale)


def optimizer_of(net: paddle.nn.Layer, clip: float = 0.01) -> paddle.optimizer.Optimizer:
    return paddle.optimizer.AdamW(
        0.01, parameters=net.parameters(), weight_decay=0.1, grad_clip=paddle.nn.ClipGradByGlobalNorm(clip)
    )


def step(net: paddle.nn.Layer, optimizer: paddle.optimizer.Optimizer, iteration: int) -> None:
    data = np.random.default_rng(iteration).normal(size=(8, 4)).astype(np.float32)
    net(paddle.to_tensor(data)).square().mean().backward()
    optimizer.set_lr(0.01 / (1 + iteration))
    optimizer.step()
    optimizer.clear_grad()


def arrays_of(net: paddle.nn.Layer) -> dict[str, np.ndarray]:
    return {name: tensor.numpy() for name, tensor in net.state_dict().items()}


@pytest.mark.parametrize("reverse", [False, True])
def test_resumes_bit_for_bit_in_a_process_with_other_counters(reverse):
    paddle.seed(0)
    net = TwoHeads()
    optimizer = optimizer_of(net)
    for iteration in range(3):
        step(net, optimizer, iteration)
    saved_params, saved_state = arrays_of(net), optimizer_arrays(optimizer, net)
    for iteration in range(3, 6):
        step(net, optimizer, iteration)

    paddle.nn.Linear(4, 4)  # Paddle's counters move on: the names of the new network are others.
    other = TwoHeads(reverse)
    for name, tensor in other.state_dict().items():
        tensor.set_value(saved_params[name])
    resumed = optimizer_of(other)
    load_optimizer_arrays(resumed, other, saved_state)
    assert resumed.get_lr() == 0.01
    for name, array in arrays_of(other).items():
        assert array.tobytes() == saved_params[name].tobytes(), "loading the state moved the parameters"
    for iteration in range(3, 6):
        step(other, resumed, iteration)
    for name, array in arrays_of(net).items():
        # In another order of the parameters, the sum under the clip's norm rounds otherwise: not the same bits.
        np.testing.assert_allclose(arrays_of(other)[name], array, rtol=1e-5 if reverse else 0, atol=1e-7 * reverse)


def test_names_are_the_networks_own_and_beta_powers_are_there():
    net = TwoHeads()
    optimizer = optimizer_of(net)
    assert all(kept == {} for kept in optimizer_arrays(optimizer, net).values())
    step(net, optimizer, 0)
    state = optimizer_arrays(optimizer, net)
    assert state.keys() == {"first.weight", "first.bias", "second.weight", "second.bias", "scale"}
    for kept in state.values():
        assert kept.keys() == {"moment1", "moment2", "beta1_pow_acc", "beta2_pow_acc"}
        np.testing.assert_allclose(kept["beta1_pow_acc"], 0.9**2, rtol=1e-6)
    assert (state["first.weight"]["moment1"] != 0).all()


def test_state_of_another_network_is_refused_with_every_reason():
    net = TwoHeads()
    optimizer = optimizer_of(net)
    step(net, optimizer, 0)
    state = optimizer_arrays(optimizer, net)
    state["third.weight"] = state.pop("scale")
    del state["first.bias"]["moment2"]
    state["second.bias"]["moment1"] = np.zeros(5, np.float32)
    with pytest.raises(ValueError, match=r"third\.weight \(unknown") as refusal:
        load_optimizer_arrays(optimizer_of(net), net, state)
    for reason in ("first.bias.moment2 (missing)", "second.bias.moment1 [5] instead of [4]", "scale.moment1 (missing)"):
        assert reason in str(refusal.value)


def test_norm_is_that_of_all_gradients_together_and_the_clip_obeys_it():
    net = TwoHeads()
    rng = np.random.default_rng(4)
    gradients = {}
    for name, parameter in net.named_parameters():
        gradients[name] = rng.normal(size=parameter.shape).astype(np.float32)
        parameter.grad = paddle.to_tensor(gradients[name])
    expected = np.sqrt(sum(np.square(array.astype(np.float64)).sum() for array in gradients.values()))
    np.testing.assert_allclose(float(gradient_norm(net.parameters())), expected, rtol=1e-6)

    # Plain SGD with rate 1 moves by the clipped gradient: one factor for all tensors, total length 0.01.
    before = arrays_of(net)
    clip = paddle.nn.ClipGradByGlobalNorm(0.01)
    paddle.optimizer.SGD(1.0, parameters=net.parameters(), grad_clip=clip).step()
    moved = {name: before[name].astype(np.float64) - array for name, array in arrays_of(net).items()}
    assert np.sqrt(sum(np.square(array).sum() for array in moved.values())) == pytest.approx(0.01, rel=1e-4)
    for name, array in moved.items():
        np.testing.assert_allclose(array, gradients[name] * 0.01 / expected, atol=3e-7)


def test_norm_without_gradients_is_an_error():
    with pytest.raises(ValueError, match="backward"):
        gradient_norm(TwoHeads().parameters())
