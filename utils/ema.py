"""Exponential moving average of a network's parameters."""

from __future__ import annotations

import numpy as np
import paddle


class ExponentialMovingAverage:
    """Keeps `average <- average + (1 - d) * (parameter - average)` for every floating entry of a network's state.

    The decay d of iteration t (counted from 0) is `min(decay, (1 + t) / (10 + t))`, as in TensorFlow's
    ExponentialMovingAverage: it forgets the random start quickly and is a function of the iteration alone.

    Args:
        network: its current state is where the average starts.
        decay: limit of d, inside (0, 1).
    """

    def __init__(self, network: paddle.nn.Layer, decay: float) -> None:
        if not 0 < decay < 1:
            raise ValueError(f"the decay of the moving average is {decay}, expected a number between 0 and 1")
        self.decay = decay
        self._live = {
            name: tensor for name, tensor in network.state_dict().items() if paddle.is_floating_point(tensor)
        }
        self._average = {name: tensor.detach().clone() for name, tensor in self._live.items()}

    def decay_at(self, iteration: int) -> float:
        """The decay d used by the update of `iteration` (from 0)."""
        return min(self.decay, (1 + iteration) / (10 + iteration))

    @paddle.no_grad()
    def update(self, iteration: int) -> None:
        """Takes the parameters in as they are after the optimiser's step of `iteration` (from 0)."""
        share = 1 - self.decay_at(iteration)
        for name, average in self._average.items():
            average.lerp_(self._live[name], share)

    def arrays(self) -> dict[str, np.ndarray]:
        """The averages as arrays, by the network's own parameter names."""
        return {name: tensor.numpy() for name, tensor in self._average.items()}

    def load_arrays(self, arrays: dict[str, np.ndarray]) -> None:
        """Takes the averages over from `arrays()` of another run.

        Raises:
            ValueError: names or shapes differ; all of them are listed.
        """
        wrong = sorted(self._average.keys() ^ arrays.keys())
        wrong += [
            f"{name} {list(arrays[name].shape)} instead of {tensor.shape}"
            for name, tensor in self._average.items()
            if name in arrays and list(arrays[name].shape) != list(tensor.shape)
        ]
        if wrong:
            raise ValueError(f"the moving average does not belong to this network: {', '.join(wrong)}")
        for name, tensor in self._average.items():
            tensor.set_value(arrays[name])
