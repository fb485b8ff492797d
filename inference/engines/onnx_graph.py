"""NAFNet as an ONNX file, written node by node: any size, the gate, TLC; the numbers are those of the eager network.

No exporter is asked, because those for Paddle get constants wrong without a word. What can be multiplied out beforehand
is, which is exact but for rounding: LayerNorm's weight and bias, beta and gamma go into the 1x1 convolutions beside
them. The simple gate's two factors are computed apart from each other, each by half of the convolution: cutting a map
of channels in two costs both engines more than the convolution.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from configs.schema import PredictConfig
from inference.engines.base import INPUT, OUTPUT
from models.tlc import convert_to_local
from models.weights import Weights, arrays_of, network_of

# What onnxruntime and OpenVINO of the pinned versions both take, and what ONNX has had since early 2023.
OPSET = 18
IR_VERSION = 8
EPSILON = np.float32(1e-6)


class GraphWriter:
    """Collects nodes and constants of any network; every method gives the name of what it has written.

    Equal constants are stored once, and nothing is stored that no node reads.
    """

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._constants: dict[tuple, onnx.TensorProto] = {}

    def constant(self, values: np.ndarray | np.generic | Sequence[int], name: str | None = None) -> str:
        """NumPy's values as they are, a list of whole numbers as int64.

        Args:
            name: for people who look at the file; the first name that an array was given counts.
        """
        array = np.asarray(values, getattr(values, "dtype", np.int64), order="C")
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._constants:
            self._constants[key] = numpy_helper.from_array(array, name or f"constant_{len(self._constants)}")
        return self._constants[key].name

    def node(self, operator: str, *inputs: str, **attributes: object) -> str:
        """A node with one output."""
        return self.nodes(operator, 1, *inputs, **attributes)[0]

    def nodes(self, operator: str, outputs: int, *inputs: str, **attributes: object) -> list[str]:
        """A node with several outputs."""
        name = f"{operator}_{len(self._nodes)}"
        results = [name] if outputs == 1 else [f"{name}_{index}" for index in range(outputs)]
        self._nodes.append(helper.make_node(operator, inputs, results, name=name, **attributes))
        return results

    def convolve(self, x: str, name: str, weight: np.ndarray, bias: np.ndarray | None, **attributes: object) -> str:
        inputs = [x, self.constant(weight.astype(np.float32), f"{name}.weight")]
        if bias is not None:
            inputs.append(self.constant(bias.astype(np.float32), f"{name}.bias"))
        return self.node("Conv", *inputs, kernel_shape=weight.shape[2:], **attributes)

    def pad_to_multiple(self, x: str, size: str, multiple: int) -> str:
        """Zeros at the right and the bottom."""
        missing = self.node("Mod", self.node("Neg", size), self.constant([multiple]))
        return self.node("Pad", x, self.node("Concat", self.constant([0] * 6), missing, axis=0))

    def model(self, name: str, result: str, channels: int, height: int | None, width: int | None) -> bytes:
        """The file of the whole graph, which is called `name` and gives the value `result`.

        Input and output are float32 [1, 3, h, w] and [1, channels, h, w]; a side that is None may be any.
        """
        sides = [height or "height", width or "width"]
        graph = helper.make_graph(
            [*self._nodes, helper.make_node("Identity", [result], [OUTPUT], name=OUTPUT)],
            name,
            [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, [1, 3, *sides])],
            [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, [1, channels, *sides])],
            list(self._constants.values()),
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
        onnx.checker.check_model(model)
        return model.SerializeToString()


def build_onnx(
    weights: Weights, settings: PredictConfig, height: int | None = None, width: int | None = None
) -> bytes:
    """NAFNet as an ONNX file whose output is that of `inference.engines.base.Engine`.

    Args:
        settings: `tlc_ratio` and `tlc_train_size` count.
        height, width: fix these sides of the input; None takes any from 1 up.

    Raises:
        ValueError: the weights describe no network of this project, or do not fit it.
    """
    network = network_of(weights)
    if settings.tlc_ratio > 0:
        convert_to_local(network, settings.tlc_train_size, settings.tlc_ratio)
    levels = len(network.encoder_blocks)
    windows = network.tlc_windows or [None] * (levels + 1)
    graph = _NafnetWriter({name: array.astype(np.float32) for name, array in arrays_of(network).items()})

    size = graph.node("Shape", INPUT, start=2, end=4)
    padded = graph.pad_to_multiple(INPUT, size, network.multiple)
    features = graph.convolution(padded, "intro", padding=1)
    skips = []
    for level, count in enumerate(network.encoder_blocks):
        for index in range(count):
            features = graph.block(features, f"encoders.{level}.{index}", windows[level])
        skips.append(features)
        features = graph.convolution(features, f"downs.{level}", stride=2)
    for index in range(network.middle_blocks):
        features = graph.block(features, f"middle_blks.{index}", windows[levels])
    for step, count in enumerate(network.decoder_blocks):
        doubled = graph.node("DepthToSpace", graph.convolution(features, f"ups.{step}.0"), blocksize=2, mode="CRD")
        features = graph.node("Add", doubled, skips.pop())
        for index in range(count):
            features = graph.block(features, f"decoders.{step}.{index}", windows[levels - 1 - step])
    output = graph.convolution(features, "ending", padding=1)
    restored = graph.head(output, padded, network.gate)
    cut = graph.node("Slice", restored, graph.constant([0, 0]), size, graph.constant([2, 3]))
    return graph.model("nafnet", cut, 4 if network.gate else 3, height, width)


class _NafnetWriter(GraphWriter):
    """NAFNet's parts.

    Args:
        parameters: all of the network's, float32, by name.
    """

    def __init__(self, parameters: Mapping[str, np.ndarray]) -> None:
        super().__init__()
        self._parameters = parameters

    def convolution(self, x: str, name: str, padding: int = 0, stride: int = 1) -> str:
        """The convolution `name`, with its own weight and, where it has one, bias."""
        weight, bias = self._parameters[f"{name}.weight"], self._parameters.get(f"{name}.bias")
        return self.convolve(x, name, weight, bias, pads=[padding] * 4, strides=[stride] * 2)

    def block(self, x: str, name: str, window: int | None) -> str:
        """`models.nafnet.NAFBlock`."""
        halves = self._normed_halves(x, f"{name}.norm1", f"{name}.conv1")
        gated = self.node("Mul", *self._depthwise_halves(halves, f"{name}.conv2"))
        attended = self._attention(gated, f"{name}.sca.1", window)
        x = self.node("Add", x, self._scaled_convolution(attended, f"{name}.conv3", f"{name}.beta"))
        gated = self.node("Mul", *self._normed_halves(x, f"{name}.norm2", f"{name}.conv4"))
        return self.node("Add", x, self._scaled_convolution(gated, f"{name}.conv5", f"{name}.gamma"))

    def head(self, output: str, padded: str, gate: bool) -> str:
        """Input + residual, and the mask's probability behind it."""
        if not gate:
            return self.node("Add", output, padded)
        residual, logit = self.nodes("Split", 2, output, self.constant([3, 1]), axis=1)
        return self.node("Concat", self.node("Add", residual, padded), self.node("Sigmoid", logit), axis=1)

    def _normed_halves(self, x: str, norm: str, name: str) -> list[str]:
        """LayerNorm over channels and a 1x1 convolution, as the two halves of its channels.

        The convolution takes over the norm's scale and shift.
        """
        channels = self.constant([1])
        deviation = self.node("Sub", x, self.node("ReduceMean", x, channels))
        variance = self.node("ReduceMean", self.node("Mul", deviation, deviation), channels)
        normed = self.node("Div", deviation, self.node("Sqrt", self.node("Add", variance, self.constant(EPSILON))))
        weight = self._parameters[f"{name}.weight"].astype(np.float64)
        scale, shift = self._parameters[f"{norm}.weight"], self._parameters[f"{norm}.bias"]
        bias = self._parameters[f"{name}.bias"] + weight[:, :, 0, 0] @ shift
        return [
            self.convolve(normed, f"{name}.{half}", half_weight, half_bias)
            for half, half_weight, half_bias in _halves(weight * scale[:, None, None], bias)
        ]

    def _depthwise_halves(self, halves: list[str], name: str) -> list[str]:
        """The 3x3 depthwise convolution `name`, which sees each channel by itself."""
        parameters = _halves(self._parameters[f"{name}.weight"], self._parameters[f"{name}.bias"])
        return [
            self.convolve(x, f"{name}.{half}", weight, bias, pads=[1] * 4, group=len(weight))
            for x, (half, weight, bias) in zip(halves, parameters, strict=True)
        ]

    def _scaled_convolution(self, x: str, name: str, scale: str) -> str:
        """A 1x1 convolution whose outputs are multiplied by beta or gamma."""
        factors = self._parameters[scale].reshape(-1, 1, 1, 1)
        weight, bias = self._parameters[f"{name}.weight"], self._parameters[f"{name}.bias"]
        return self.convolve(x, name, weight * factors, bias * factors.reshape(-1))

    def _attention(self, x: str, name: str, window: int | None) -> str:
        """The map times the 1x1 convolution `name` of its global mean, or of its local means (`models.tlc`)."""
        if window is None:
            return self.node("Mul", x, self.convolution(self.node("GlobalAveragePool", x), name))
        size = self.node("Shape", x, start=2, end=4)
        side = self.constant([window])
        # Where the map is smaller, its side is the window; zeros do not change sums.
        zeros = self.node("Sub", self.node("Max", size, side), size)
        filled = self.node("Pad", x, self.node("Concat", self.constant([0] * 6), zeros, axis=0))
        channels = len(self._parameters[f"{name}.weight"])
        step = min(divisor for divisor in range(1, window + 1) if window % divisor == 0 and divisor**2 >= window)
        sums = self._window_sums(self._window_sums(filled, window, step, channels, 2), window, step, channels, 3)
        area = self.node("ReduceProd", self.node("Min", size, side), keepdims=0)
        share = self.node("Div", self.node("Cast", area, to=TensorProto.FLOAT), self.constant(np.float32(step**2)))
        means = self.node("Div", sums, share)
        scales = self.convolution(means, name)
        missing = self.node("Sub", size, self.node("Shape", scales, start=2, end=4))
        before = self.node("Div", missing, self.constant([2]))
        none = self.constant([0, 0])
        borders = self.node("Concat", none, before, none, self.node("Sub", missing, before), axis=0)
        return self.node("Mul", x, self.node("Pad", scales, borders, mode="edge"))

    def _window_sums(self, x: str, window: int, step: int, channels: int, axis: int) -> str:
        """Sums of `window` neighbours along one axis, divided by `step`, which divides `window`.

        First sums of every `step`-th value, then means of `step` values next to each other. Running sums would be
        fewer additions, but both engines take longer for them, and they lose digits in bf16. The second part is a pool
        because OpenVINO never ends compiling some wide depthwise convolutions for bf16.
        """
        taps = window // step
        along = (lambda length: [length, 1]) if axis == 2 else (lambda length: [1, length])
        if taps > 1:
            # Ones, which every precision holds.
            weight = np.ones([channels, 1, *along(taps)])
            name = f"every_{step}_of_{window}_along_{axis}"
            x = self.convolve(x, name, weight, None, dilations=along(step), group=channels)
        return self.node("AveragePool", x, kernel_shape=along(step))


def _halves(weight: np.ndarray, bias: np.ndarray) -> list[tuple[str, np.ndarray, np.ndarray]]:
    """A convolution's output channels cut in two: (name, weight, bias) of each half."""
    return list(zip(("first", "second"), np.split(weight, 2), np.split(bias, 2), strict=True))
