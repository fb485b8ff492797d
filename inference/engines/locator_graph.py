"""The locator as an ONNX file, written node by node; batch norms are multiplied into the convolutions before them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from inference.engines.base import INPUT
from inference.engines.onnx_graph import GraphWriter
from models.locator import EPSILON, MEAN, SCALE, STAGES, TAPS
from models.weights import LocatorWeights, arrays_of, locator_of

# Of the decoder's norms: Paddle's own default.
_DECODER_EPSILON = 1e-5


def build_locator(weights: LocatorWeights, height: int | None = None, width: int | None = None) -> bytes:
    """Writes the network: float32 [1, 3, h, w], RGB in [0, 1] -> float32 [1, 1, h, w], the logit of an occluder.

    Args:
        height, width: fix these sides; None takes any multiple of 32.

    Raises:
        ValueError: the weights describe no locator of this project, or do not fit it.
    """
    network = locator_of(weights)
    graph = _LocatorWriter({name: array.astype(np.float64) for name, array in arrays_of(network).items()})
    centred = graph.node("Sub", INPUT, graph.constant(np.float32(MEAN)))
    x = graph.node("Mul", centred, graph.constant(np.float32(SCALE)))
    x = graph.relu6(graph.normed(x, "encoder._conv_stem", "encoder._bn0", kernel=3, stride=2))
    features, number, inputs = [], 0, 32
    for count, kernel, stride, expansion, outputs in STAGES:
        for index in range(count):
            first = index == 0
            adds = not first or (stride == 1 and inputs == outputs)
            x = graph.bottleneck(x, f"encoder._blocks.{number}", kernel, stride if first else 1, expansion != 1, adds)
            if number in TAPS:
                features.append(x)
            number, inputs = number + 1, outputs
    *finer, coarsest = features
    y = graph.merge(coarsest, finer.pop(), "merges.0")
    y = graph.node("Add", y, graph.plain(graph.node("GlobalAveragePool", coarsest), "scene"))
    for step in range(1, len(network.merges)):
        y = graph.merge(y, finer.pop(), f"merges.{step}")
    return graph.model("locator", graph.twice(graph.plain(y, "head", padding=1)), 1, height, width)


class _LocatorWriter(GraphWriter):
    """The locator's parts.

    Args:
        parameters: all of the network's, by name.
    """

    def __init__(self, parameters: Mapping[str, np.ndarray]) -> None:
        super().__init__()
        self._parameters = parameters

    def plain(self, x: str, name: str, padding: int = 0) -> str:
        """A convolution as it is."""
        weight, bias = self._parameters[f"{name}.weight"], self._parameters[f"{name}.bias"]
        return self.convolve(x, name, weight, bias, pads=[padding] * 4)

    def normed(self, x: str, name: str, norm: str, kernel: int = 1, stride: int = 1, epsilon: float = EPSILON) -> str:
        """A convolution without bias and the batch norm behind it, padded as `models.locator.SamePadded` pads."""
        weight = self._parameters[f"{name}.weight"]
        gain = self._parameters[f"{norm}.weight"] / np.sqrt(self._parameters[f"{norm}._variance"] + epsilon)
        bias = self._parameters[f"{norm}.bias"] - self._parameters[f"{norm}._mean"] * gain
        before, after = (kernel - stride) // 2, kernel - stride - (kernel - stride) // 2
        shape = {"pads": [before, before, after, after], "strides": [stride] * 2}
        if weight.shape[1] == 1 and len(weight) > 1:
            shape["group"] = len(weight)
        return self.convolve(x, name, weight * gain[:, None, None, None], bias, **shape)

    def relu6(self, x: str) -> str:
        return self.node("Clip", x, self.constant(np.float32(0)), self.constant(np.float32(6)))

    def twice(self, x: str) -> str:
        """Bilinear between the middles of pixels."""
        scales = self.constant(np.array([1, 1, 2, 2], np.float32))
        return self.node("Resize", x, "", scales, mode="linear", coordinate_transformation_mode="half_pixel")

    def bottleneck(self, x: str, name: str, kernel: int, stride: int, expands: bool, adds: bool) -> str:
        """`models.locator.InvertedBottleneck`."""
        y = self.relu6(self.normed(x, f"{name}._expand_conv", f"{name}._bn0")) if expands else x
        y = self.relu6(self.normed(y, f"{name}._depthwise_conv", f"{name}._bn1", kernel, stride))
        y = self.normed(y, f"{name}._project_conv", f"{name}._bn2")
        return self.node("Add", x, y) if adds else y

    def merge(self, coarse: str, fine: str, name: str) -> str:
        """`models.locator.Merge`."""
        y = self.node("Add", self.twice(self.plain(coarse, f"{name}.reduce")), self.plain(fine, f"{name}.lateral"))
        y = self.relu6(self.normed(y, f"{name}.depthwise", f"{name}.norm1", kernel=3, epsilon=_DECODER_EPSILON))
        return self.relu6(self.normed(y, f"{name}.pointwise", f"{name}.norm2", epsilon=_DECODER_EPSILON))
