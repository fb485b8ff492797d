"""Reading and restoring what an optimiser remembers, by the names that parameters have in their network.

Paddle names its moments after counters ("conv2d_17.w_0_moment1_0") that depend on what the process built before, so a
file of such names loads into the wrong place, or silently nowhere, as soon as a program builds its networks in another
order. Here the key is the structured name: state["encoders.0.0.conv1.weight"]["moment1"].
"""

from __future__ import annotations

import numpy as np
import paddle


def optimizer_arrays(
    optimizer: paddle.optimizer.Optimizer, network: paddle.nn.Layer
) -> dict[str, dict[str, np.ndarray]]:
    """Everything that the optimiser keeps per parameter, as {parameter: {"moment1": array, ...}}.

    Before the first step the optimiser keeps nothing and the inner dictionaries are empty.
    """
    return {
        name: {kind: tensor.numpy() for kind, tensor in kept.items()}
        for name, kept in _state_tensors(optimizer, network).items()
    }


def load_optimizer_arrays(
    optimizer: paddle.optimizer.Optimizer, network: paddle.nn.Layer, arrays: dict[str, dict[str, np.ndarray]]
) -> None:
    """Puts `optimizer_arrays` of another process into an optimiser that has not stepped yet.

    Raises:
        ValueError: a parameter, a kind of state or a shape is missing, unexpected or different; all are listed.
    """
    _create_state(optimizer, network)
    tensors = _state_tensors(optimizer, network)
    wrong = [f"{name} (unknown parameter)" for name in sorted(arrays.keys() - tensors.keys())]
    for name, kept in tensors.items():
        given = arrays.get(name, {})
        for kind in sorted(kept.keys() | given.keys()):
            if kind not in given:
                wrong.append(f"{name}.{kind} (missing)")
            elif kind not in kept:
                wrong.append(f"{name}.{kind} (unexpected)")
            elif list(given[kind].shape) != list(kept[kind].shape):
                wrong.append(f"{name}.{kind} {list(given[kind].shape)} instead of {list(kept[kind].shape)}")
    if wrong:
        raise ValueError(f"the optimiser's state does not belong to this network: {', '.join(wrong)}")
    for name, kept in tensors.items():
        for kind, tensor in kept.items():
            tensor.set_value(arrays[name][kind])


def gradient_norm(parameters: list[paddle.Tensor]) -> paddle.Tensor:
    """The 2-norm of all gradients taken together, a float32 scalar; parameters without a gradient are left out."""
    squares = [parameter.grad.square().sum() for parameter in parameters if parameter.grad is not None]
    if not squares:
        raise ValueError("no parameter has a gradient; call backward() first")
    return paddle.stack(squares).sum().sqrt()


def _state_tensors(
    optimizer: paddle.optimizer.Optimizer, network: paddle.nn.Layer
) -> dict[str, dict[str, paddle.Tensor]]:
    structured = {parameter.name: name for name, parameter in network.named_parameters()}
    kept: dict[str, dict[str, paddle.Tensor]] = {name: {} for name in structured.values()}
    for key, tensor in optimizer.state_dict().items():
        owners = [name for name in structured if key.startswith(f"{name}_")]
        if not owners:
            raise ValueError(f"the optimiser keeps {key}, which belongs to no parameter of this network")
        owner = max(owners, key=len)
        # "conv2d_0.w_0" + "_" + "beta1_pow_acc" + "_" + a counter.
        kept[structured[owner]][key[len(owner) + 1 :].rpartition("_")[0]] = tensor
    return kept


def _create_state(optimizer: paddle.optimizer.Optimizer, network: paddle.nn.Layer) -> None:
    """Makes the optimiser allocate its state, which Paddle does in the first step only.

    The step has zero gradients and a learning rate of zero: it leaves every parameter as it is, bit for bit.
    """
    rate = optimizer.get_lr()
    for parameter in network.parameters():
        if not parameter.stop_gradient:
            parameter.grad = paddle.zeros_like(parameter)
    optimizer.set_lr(0.0)
    optimizer.step()
    optimizer.clear_grad()
    optimizer.set_lr(rate)
