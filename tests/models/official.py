"""The names and shapes of an official NAFNet, listed from the paper's code by hand, and random values for them.

NumPy only: `make_torch_file.py` runs it where PyTorch is and Paddle is not.
"""

from __future__ import annotations

import numpy as np


def block_shapes(channels: int) -> dict[str, tuple[int, ...]]:
    double = 2 * channels
    return {
        "beta": (1, channels, 1, 1),
        "gamma": (1, channels, 1, 1),
        **{f"norm{number}.{kind}": (channels,) for number in (1, 2) for kind in ("weight", "bias")},
        **{"conv1.weight": (double, channels, 1, 1), "conv1.bias": (double,)},
        **{"conv2.weight": (double, 1, 3, 3), "conv2.bias": (double,)},
        **{"conv3.weight": (channels, channels, 1, 1), "conv3.bias": (channels,)},
        **{"sca.1.weight": (channels, channels, 1, 1), "sca.1.bias": (channels,)},
        **{"conv4.weight": (double, channels, 1, 1), "conv4.bias": (double,)},
        **{"conv5.weight": (channels, channels, 1, 1), "conv5.bias": (channels,)},
    }


def official_shapes(
    width: int, encoder: list[int], middle: int, decoder: list[int], outputs: int = 3
) -> dict[str, tuple[int, ...]]:
    """Parameter name -> shape."""
    shapes: dict[str, tuple[int, ...]] = {"intro.weight": (width, 3, 3, 3), "intro.bias": (width,)}
    shapes.update({"ending.weight": (outputs, width, 3, 3), "ending.bias": (outputs,)})
    blocks: list[tuple[str, int]] = []
    channels = width
    for level, count in enumerate(encoder):
        blocks += [(f"encoders.{level}.{index}", channels) for index in range(count)]
        shapes[f"downs.{level}.weight"] = (2 * channels, channels, 2, 2)
        shapes[f"downs.{level}.bias"] = (2 * channels,)
        channels *= 2
    blocks += [(f"middle_blks.{index}", channels) for index in range(middle)]
    for level, count in enumerate(decoder):
        shapes[f"ups.{level}.0.weight"] = (2 * channels, channels, 1, 1)
        channels //= 2
        blocks += [(f"decoders.{level}.{index}", channels) for index in range(count)]
    for name, size in blocks:
        shapes.update({f"{name}.{key}": shape for key, shape in block_shapes(size).items()})
    return shapes


def official_arrays(seed: int, *arguments: object, **options: object) -> dict[str, np.ndarray]:
    """Random float32 parameters, the same for the same seed; multiples of 1/64, which bfloat16 holds exactly."""
    rng = np.random.default_rng(seed)
    shapes = official_shapes(*arguments, **options)
    return {name: (rng.integers(-64, 65, shapes[name]) / 64).astype(np.float32) for name in sorted(shapes)}
