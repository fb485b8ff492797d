"""How much a network computes: the multiply-adds of its convolutions."""

from __future__ import annotations

from math import prod

from models.layers import Convolution
from models.nafnet import NAFNet


def multiply_adds(network: NAFNet, height: int, width: int) -> int:
    """Multiply-adds of all convolutions for one picture of `height` x `width`.

    Norms, gates and means are not counted: they are a few operations per value. Channel attention's convolution
    counts once where it sees one mean, and for every pixel where TLC gives each pixel a mean of its own.
    """
    levels = len(network.encoder_blocks)
    sides = [-(-side // network.multiple) * network.multiple for side in (height, width)]
    total = 0
    for name, layer in network.named_sublayers():
        if not isinstance(layer, Convolution):
            continue
        level = _level(name, levels)
        rows, columns = (side >> level for side in sides)
        windows = network.tlc_windows
        if ".sca." in name and (windows is None or windows[level] >= max(rows, columns)):
            rows = columns = 1
        total += rows * columns * prod(layer.weight.shape)
    return total


def _level(name: str, levels: int) -> int:
    """The level on which the convolution `name` puts out its values: 0 is full resolution."""
    part, _, rest = name.partition(".")
    index = int(rest.split(".")[0]) if part in ("encoders", "downs", "ups", "decoders") else 0
    return {
        "intro": 0,
        "ending": 0,
        "encoders": index,
        "downs": index + 1,
        "middle_blks": levels,
        "ups": levels - index,
        "decoders": levels - 1 - index,
    }[part]
