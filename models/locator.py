"""The locator: which pixels of a photograph belong to a hand, an arm, a head, whole photographs at a time.

Encoder: EfficientNet-Lite0 (Tan and Le, ICML 2019, in TensorFlow's lite form), with the attribute names of the PyTorch
package `efficientnet-lite-pytorch` (Apache-2.0), so that its ImageNet weights load by name. Decoder: features of
strides 2 to 32 are brought together from the coarsest on, each step one separable convolution; the mean over the whole
picture joins at the coarsest, since what is a hand depends on the whole scene.
"""

import warnings

import paddle
import paddle.nn.functional as F
from paddle import nn

from models.nafnet import Convolution

warnings.filterwarnings("ignore", message="When training, we now always track global mean and variance")
# (blocks, kernel, stride, expansion, channels) of each stage.
STAGES = ((1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80), (3, 5, 1, 6, 112),
          (4, 5, 2, 6, 192), (1, 3, 1, 6, 320))  # fmt: skip
# Numbers of the blocks that hand their features to the decoder, with strides 2, 4, 8, 16 and 32.
TAPS = (0, 2, 4, 10, 15)
TAP_CHANNELS = (16, 24, 40, 112, 320)
EPSILON = 1e-3
# White is 1 here; the published weights were trained on (levels - 127) / 128.
MEAN, SCALE = 127 / 255, 255 / 128


def _convolution(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Conv2D:
    """Without bias, padded as TensorFlow pads: of an odd number the larger part right and below."""
    total = kernel - stride
    sides = [total // 2, total - total // 2]
    return nn.Conv2D(inputs, outputs, kernel, stride, padding=sides * 2, groups=groups, bias_attr=False)


def _norm(channels: int) -> nn.BatchNorm2D:
    return nn.BatchNorm2D(channels, momentum=0.99, epsilon=EPSILON)


class InvertedBottleneck(nn.Layer):
    """MBConv without squeeze-and-excitation: expand, filter each channel, project; plus the input where it fits."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        inner = inputs * expansion
        if expansion != 1:
            self._expand_conv, self._bn0 = _convolution(inputs, inner, 1), _norm(inner)
        self._depthwise_conv, self._bn1 = _convolution(inner, inner, kernel, stride, groups=inner), _norm(inner)
        self._project_conv, self._bn2 = _convolution(inner, outputs, 1), _norm(outputs)
        self.stride, self.expands, self.adds = stride, expansion != 1, stride == 1 and inputs == outputs

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        y = F.relu6(self._bn0(self._expand_conv(x))) if self.expands else x
        y = self._bn2(self._project_conv(F.relu6(self._bn1(self._depthwise_conv(y)))))
        return x + y if self.adds else y


class Encoder(nn.Layer):
    """EfficientNet-Lite0 without its classifier: [N, 3, H, W] in [0, 1] -> features with strides 2, 4, 8, 16, 32."""

    def __init__(self) -> None:
        super().__init__()
        self._conv_stem, self._bn0 = _convolution(3, 32, 3, stride=2), _norm(32)
        self._blocks, inputs = nn.LayerList(), 32
        for count, kernel, stride, expansion, outputs in STAGES:
            for number in range(count):
                self._blocks.append(InvertedBottleneck(inputs, outputs, kernel, 1 if number else stride, expansion))
                inputs = outputs

    def forward(self, x: paddle.Tensor) -> list[paddle.Tensor]:
        y = F.relu6(self._bn0(self._conv_stem((x - MEAN) * SCALE)))
        features = []
        for number, block in enumerate(self._blocks):
            y = block(y)
            if number in TAPS:
                features.append(y)
        return features


class Merge(nn.Layer):
    """One step of the decoder: coarse features, enlarged twice, join finer ones."""

    def __init__(self, coarse: int, fine: int, outputs: int) -> None:
        super().__init__()
        self.reduce, self.lateral = Convolution(coarse, outputs, 1), Convolution(fine, outputs, 1)
        self.depthwise = Convolution(outputs, outputs, 3, padding=1, groups=outputs, bias=False)
        self.norm1 = nn.BatchNorm2D(outputs)
        self.pointwise = Convolution(outputs, outputs, 1, bias=False)
        self.norm2 = nn.BatchNorm2D(outputs)

    def forward(self, coarse: paddle.Tensor, fine: paddle.Tensor) -> paddle.Tensor:
        y = twice(self.reduce(coarse)) + self.lateral(fine)
        return F.relu6(self.norm2(self.pointwise(F.relu6(self.norm1(self.depthwise(y))))))


def twice(x: paddle.Tensor) -> paddle.Tensor:
    """[N, C, H, W] -> [N, C, 2H, 2W], bilinear between the middles of pixels."""
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


class Locator(nn.Layer):
    """[N, 3, H, W] RGB in [0, 1], sides multiples of 32 -> [N, 1, H, W], the logit that a pixel is an occluder's;
    `widths` are the channels of the decoder's steps, from the coarsest on.
    """

    def __init__(self, widths: tuple[int, ...] = (96, 64, 48, 32)) -> None:
        super().__init__()
        self.encoder = Encoder()
        steps = zip([TAP_CHANNELS[-1], *widths[:-1]], TAP_CHANNELS[-2::-1], widths, strict=True)
        self.merges = nn.LayerList([Merge(*channels) for channels in steps])
        self.scene = Convolution(TAP_CHANNELS[-1], widths[0], 1)
        self.head = Convolution(widths[-1], 1, 3, padding=1)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        *finer, coarsest = self.encoder(x)
        y = self.merges[0](coarsest, finer[-1])
        y = y + self.scene(coarsest.mean([2, 3], keepdim=True))
        for merge, features in zip(self.merges[1:], finer[-2::-1], strict=True):
            y = merge(y, features)
        return twice(self.head(y))

    def freeze(self) -> None:
        """The first blocks and all of the encoder's batch statistics, better than a small batch's, stay ImageNet's."""
        for layer in (self.encoder._conv_stem, self.encoder._bn0, *list(self.encoder._blocks)[:3]):
            for parameter in layer.parameters():
                parameter.stop_gradient = True
        for layer in self.encoder.sublayers():
            if isinstance(layer, nn.BatchNorm2D):
                layer.eval()
