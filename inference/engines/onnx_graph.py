"""NAFNet and the locator as ONNX files, written node by node; the numbers are those of the eager networks.

No exporter is asked, because those for Paddle get constants wrong without a word. What can be multiplied out beforehand
is, which is exact but for rounding: batch norms, LayerNorm's weight and bias, beta and gamma go into the convolutions
beside them. The simple gate's two factors are computed apart from each other, each by half of the convolution: cutting
a map of channels in two costs both engines more than the convolution.
"""

from collections.abc import Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from inference.engines import INPUT, OUTPUT
from models.locator import EPSILON, MEAN, SCALE, TAPS, InvertedBottleneck, Locator
from models.nafnet import NAFNet
from models.weights import arrays_of

# What onnxruntime and OpenVINO of the pinned versions both take, and what ONNX has had since early 2023.
OPSET = 18
IR_VERSION = 8
# Of the locator's decoder: Paddle's own default.
_DECODER_EPSILON = 1e-5


def build_onnx(network: NAFNet | Locator) -> bytes:
    """A network, with the windows of TLC that it has, as an ONNX file that computes what `engines.Backend` says."""
    return (_LocatorWriter if isinstance(network, Locator) else _NafnetWriter)(network).write(network)


class _GraphWriter:
    """Collects nodes and constants, equal ones once; every method gives the name of what it has written."""

    def __init__(self, network: NAFNet | Locator) -> None:
        self._parameters = arrays_of(network)
        self._nodes: list[onnx.NodeProto] = []
        self._constants: dict[tuple, onnx.TensorProto] = {}

    def constant(self, values: np.ndarray | np.generic | Sequence[int], name: str | None = None) -> str:
        """NumPy's values as they are, a list of whole numbers as int64."""
        array = np.asarray(values, getattr(values, "dtype", np.int64), order="C")
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._constants:
            self._constants[key] = numpy_helper.from_array(array, name or f"constant_{len(self._constants)}")
        return self._constants[key].name

    def node(self, operator: str, *inputs: str, more: Sequence[str] = (), **attributes: object) -> str:
        """A node whose first output is returned; `more` are the names of further ones."""
        name = f"{operator}_{len(self._nodes)}"
        self._nodes.append(helper.make_node(operator, inputs, [name, *more], name=name, **attributes))
        return name

    def convolve(self, x: str, name: str, weight: np.ndarray, bias: np.ndarray | None, **attributes: object) -> str:
        inputs = [x, self.constant(weight.astype(np.float32), f"{name}.weight")]
        if bias is not None:
            inputs.append(self.constant(bias.astype(np.float32), f"{name}.bias"))
        return self.node("Conv", *inputs, kernel_shape=weight.shape[2:], **attributes)

    def convolution(self, x: str, name: str, padding: int = 0, stride: int = 1) -> str:
        return self.convolve(x, name, *self.own(name), pads=[padding] * 4, strides=[stride] * 2)

    def own(self, name: str) -> tuple[np.ndarray, np.ndarray | None]:
        """The weight and, where it has one, bias of a layer."""
        return self._parameters[f"{name}.weight"], self._parameters.get(f"{name}.bias")

    def file(self, name: str, result: str, channels: int, inputs: int = 3) -> bytes:
        """All that was written as the graph `name`, whose output is `result`."""
        ends = ([helper.make_tensor_value_info(end, TensorProto.FLOAT, [1, count, "height", "width"])]
                for end, count in ((INPUT, inputs), (OUTPUT, channels)))  # fmt: skip
        nodes = [*self._nodes, helper.make_node("Identity", [result], [OUTPUT], name=OUTPUT)]
        graph = helper.make_graph(nodes, name, *ends, list(self._constants.values()))
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
        onnx.checker.check_model(model)
        return model.SerializeToString()


class _NafnetWriter(_GraphWriter):
    def write(self, network: NAFNet) -> bytes:
        windows = network.tlc_windows or [None] * (len(network.encoders) + 1)
        sides = self.node("Shape", INPUT, start=2, end=4)
        # Zeros at the right and the bottom.
        missing = self.node("Mod", self.node("Neg", sides), self.constant([network.multiple]))
        padded = self.node("Pad", INPUT, self.node("Concat", self.constant([0] * 6), missing, axis=0))
        x = self.convolution(padded, "intro", padding=1)
        skips = []
        for level, blocks in enumerate(network.encoders):
            for index in range(len(blocks)):
                x = self.block(x, f"encoders.{level}.{index}", windows[level])
            skips.append(x)
            x = self.convolution(x, f"downs.{level}", stride=2)
        for index in range(len(network.middle_blks)):
            x = self.block(x, f"middle_blks.{index}", windows[-1])
        for step, blocks in enumerate(network.decoders):
            doubled = self.node("DepthToSpace", self.convolution(x, f"ups.{step}.0"), blocksize=2, mode="CRD")
            x = self.node("Add", doubled, skips.pop())
            for index in range(len(blocks)):
                x = self.block(x, f"decoders.{step}.{index}", windows[-2 - step])
        output = self.convolution(x, "ending", padding=1)
        if network.gate:
            residual = self.node("Split", output, self.constant([3, 1]), more=["logit"], axis=1)
            restored = self.node("Add", residual, padded)
            output = self.node("Concat", restored, self.node("Sigmoid", "logit"), axis=1)
        elif network.mask_input:
            colours = self.node("Split", padded, self.constant([3, 1]), more=["mask"], axis=1)
            output = self.node("Add", self.node("Mul", output, "mask"), colours)
        else:
            output = self.node("Add", output, padded)
        cut = self.node("Slice", output, self.constant([0, 0]), sides, self.constant([2, 3]))
        return self.file("nafnet", cut, 4 if network.gate else 3, 4 if network.mask_input else 3)

    def block(self, x: str, name: str, window: int | None) -> str:
        """`models.nafnet.NAFBlock`."""
        weight, bias = self.own(f"{name}.conv2")
        halves = self.normed_halves(x, f"{name}.norm1", f"{name}.conv1")
        filtered = self.halves(halves, f"{name}.conv2", weight, bias, pads=[1] * 4, group=len(weight) // 2)
        attended = self.attention(self.node("Mul", *filtered), f"{name}.sca.1", window)
        x = self.node("Add", x, self.scaled_convolution(attended, f"{name}.conv3", f"{name}.beta"))
        gated = self.node("Mul", *self.normed_halves(x, f"{name}.norm2", f"{name}.conv4"))
        return self.node("Add", x, self.scaled_convolution(gated, f"{name}.conv5", f"{name}.gamma"))

    def normed_halves(self, x: str, norm: str, name: str) -> list[str]:
        """LayerNorm, whose scale and shift the 1x1 convolution behind it takes over, and that one's two halves."""
        channels = self.constant([1])
        deviation = self.node("Sub", x, self.node("ReduceMean", x, channels))
        variance = self.node("ReduceMean", self.node("Mul", deviation, deviation), channels)
        root = self.node("Sqrt", self.node("Add", variance, self.constant(np.float32(1e-6))))
        normed = self.node("Div", deviation, root)
        (weight, bias), (scale, shift) = self.own(name), self.own(norm)
        weight = weight.astype(np.float64)
        bias = bias + weight[:, :, 0, 0] @ shift
        return self.halves([normed, normed], name, weight * scale[:, None, None], bias)

    def halves(self, inputs: list[str], name: str, weight: np.ndarray, bias: np.ndarray, **how: object) -> list[str]:
        """A convolution's output channels cut in two, each half of an input of its own."""
        parts = zip(inputs, ("first", "second"), np.split(weight, 2), np.split(bias, 2), strict=True)
        return [self.convolve(x, f"{name}.{half}", own, shift, **how) for x, half, own, shift in parts]

    def scaled_convolution(self, x: str, name: str, scale: str) -> str:
        """A 1x1 convolution whose outputs are multiplied by beta or gamma."""
        factors, (weight, bias) = self._parameters[scale].reshape(-1), self.own(name)
        return self.convolve(x, name, weight * factors[:, None, None, None], bias * factors)

    def attention(self, x: str, name: str, window: int | None) -> str:
        """The map times the 1x1 convolution `name` of its global mean, or of its local means (TLC)."""
        if window is None:
            return self.node("Mul", x, self.convolution(self.node("GlobalAveragePool", x), name))
        sides = self.node("Shape", x, start=2, end=4)
        # Where the map is smaller, its side is the window; zeros do not change sums.
        side = self.constant([window])
        zeros = self.node("Sub", self.node("Max", sides, side), sides)
        filled = self.node("Pad", x, self.node("Concat", self.constant([0] * 6), zeros, axis=0))
        channels = len(self._parameters[f"{name}.weight"])
        step = min(divisor for divisor in range(1, window + 1) if window % divisor == 0 and divisor**2 >= window)
        sums = self.window_sums(self.window_sums(filled, window, step, channels, 2), window, step, channels, 3)
        area = self.node("ReduceProd", self.node("Min", sides, side), keepdims=0)
        share = self.node("Div", self.node("Cast", area, to=TensorProto.FLOAT), self.constant(np.float32(step**2)))
        scales = self.convolution(self.node("Div", sums, share), name)
        missing = self.node("Sub", sides, self.node("Shape", scales, start=2, end=4))
        before = self.node("Div", missing, self.constant([2]))
        none = self.constant([0, 0])
        borders = self.node("Concat", none, before, none, self.node("Sub", missing, before), axis=0)
        return self.node("Mul", x, self.node("Pad", scales, borders, mode="edge"))

    def window_sums(self, x: str, window: int, step: int, channels: int, axis: int) -> str:
        """Sums of `window` neighbours along one axis, divided by `step`, which divides `window`: sums of every
        `step`-th value, then means of `step` next to each other. (Running sums take both engines longer, and lose
        digits in bf16; a pool, since OpenVINO never ends compiling some wide depthwise convolutions for bf16.)
        """
        along = (lambda length: [length, 1]) if axis == 2 else (lambda length: [1, length])
        if window > step:
            # Ones, which every precision holds.
            ones, name = np.ones([channels, 1, *along(window // step)]), f"every_{step}_of_{window}_along_{axis}"
            x = self.convolve(x, name, ones, None, dilations=along(step), group=channels)
        return self.node("AveragePool", x, kernel_shape=along(step))


class _LocatorWriter(_GraphWriter):
    def write(self, network: Locator) -> bytes:
        centred = self.node("Sub", INPUT, self.constant(np.float32(MEAN)))
        x = self.node("Mul", centred, self.constant(np.float32(SCALE)))
        x = self.relu6(self.normed(x, "encoder._conv_stem", "encoder._bn0", stride=2))
        features = []
        for number, block in enumerate(network.encoder._blocks):
            x = self.bottleneck(x, f"encoder._blocks.{number}", block)
            if number in TAPS:
                features.append(x)
        *finer, coarsest = features
        x = self.merge(coarsest, finer.pop(), "merges.0")
        x = self.node("Add", x, self.convolution(self.node("GlobalAveragePool", coarsest), "scene"))
        for step in range(1, len(network.merges)):
            x = self.merge(x, finer.pop(), f"merges.{step}")
        return self.file("locator", self.twice(self.convolution(x, "head", padding=1)), 1)

    def normed(self, x: str, name: str, norm: str, stride: int = 1, epsilon: float = EPSILON) -> str:
        """A convolution without bias and the batch norm behind it, padded as in `models.locator`."""
        parts = (f"{name}.weight", *(f"{norm}.{part}" for part in ("_mean", "_variance", "weight", "bias")))
        weight, mean, variance, factor, bias = (self._parameters[part].astype(np.float64) for part in parts)
        factor = factor / np.sqrt(variance + epsilon)
        total = weight.shape[-1] - stride
        return self.convolve(
            x, name, weight * factor[:, None, None, None], bias - mean * factor, strides=[stride] * 2,
            pads=[total // 2] * 2 + [total - total // 2] * 2, group=len(weight) if weight.shape[1] == 1 else 1,
        )  # fmt: skip

    def bottleneck(self, x: str, name: str, block: InvertedBottleneck) -> str:
        y = self.relu6(self.normed(x, f"{name}._expand_conv", f"{name}._bn0")) if block.expands else x
        y = self.relu6(self.normed(y, f"{name}._depthwise_conv", f"{name}._bn1", block.stride))
        y = self.normed(y, f"{name}._project_conv", f"{name}._bn2")
        return self.node("Add", x, y) if block.adds else y

    def merge(self, coarse: str, fine: str, name: str) -> str:
        """`models.locator.Merge`."""
        coarse, fine = self.convolution(coarse, f"{name}.reduce"), self.convolution(fine, f"{name}.lateral")
        y = self.node("Add", self.twice(coarse), fine)
        y = self.relu6(self.normed(y, f"{name}.depthwise", f"{name}.norm1", epsilon=_DECODER_EPSILON))
        return self.relu6(self.normed(y, f"{name}.pointwise", f"{name}.norm2", epsilon=_DECODER_EPSILON))

    def relu6(self, x: str) -> str:
        return self.node("Clip", x, self.constant(np.float32(0)), self.constant(np.float32(6)))

    def twice(self, x: str) -> str:
        """Bilinear between the middles of pixels."""
        scales = self.constant(np.array([1, 1, 2, 2], np.float32))
        return self.node("Resize", x, "", scales, mode="linear", coordinate_transformation_mode="half_pixel")
