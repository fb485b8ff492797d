"""NAFNet, the network of "Simple Baselines for Image Restoration" (Chen et al., ECCV 2022, section 4), and its gate.

Attribute names are those of the authors' PyTorch code (github.com/megvii-research/NAFNet, MIT licence), so that their
weights load. The gate, a fourth output that says where the restored picture counts, and the mask as a fourth input are
this project's. In eager mode on a CPU, convolutions and norms go around two slow spots of Paddle's kernels: a training
step is 2.2 times faster.
"""

import math
import warnings
from collections.abc import Iterator, Sequence

import paddle
import paddle.nn.functional as F
from paddle import nn

# Paddle 3.2 tells everybody who splits a tensor, once, that PyTorch's split takes other arguments.
warnings.filterwarnings("ignore", message=r"\s*Non compatible API.*torch\.split", category=Warning)


def on_cpu(x: paddle.Tensor) -> bool:
    """Whether `x` lies on a CPU and not on a GPU, which other ways of computing are faster on."""
    return x.place.is_cpu_place()


def _per_channel(parameter: paddle.Tensor) -> paddle.Tensor:
    """C values as [C, 1, 1]: [1, C, 1, 1] takes longer to add in eager mode than a 1x1 convolution."""
    return parameter.reshape([-1, 1, 1])


class Convolution(nn.Conv2D):
    """Square 2-D convolution, [N, in, H, W] -> [N, out, H', W'], that starts as PyTorch's does, uniform in
    +-1/sqrt(fan_in); Paddle's own default is about 2.5 times larger, with a zero bias.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, *, bias: bool = True, **places: int) -> None:
        bound = 1 / math.sqrt(inputs // places.get("groups", 1) * kernel * kernel)
        start = paddle.ParamAttr(initializer=nn.initializer.Uniform(-bound, bound))
        super().__init__(inputs, outputs, kernel, weight_attr=start, bias_attr=bias and start, **places)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        bias_apart = self.bias is not None and on_cpu(x)
        bias = None if bias_apart else self.bias
        result = F.conv2d(x, self.weight, bias, self._stride, self._padding, groups=self._groups)
        return result + _per_channel(self.bias) if bias_apart else result


class LayerNorm2d(nn.Layer):
    """Normalises each pixel of [N, C, H, W] over its channels (biased variance), then scales and shifts those."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.epsilon = 1e-6
        self.weight = self.create_parameter([channels], default_initializer=nn.initializer.Constant(1.0))
        self.bias = self.create_parameter([channels], default_initializer=nn.initializer.Constant(0.0))

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        if not on_cpu(x):
            channels_last = x.transpose([0, 2, 3, 1])
            normed = F.layer_norm(channels_last, channels_last.shape[-1:], self.weight, self.bias, self.epsilon)
            return normed.transpose([0, 3, 1, 2])
        # Matrix products instead of two transposes.
        samples, channels, height, width = x.shape
        pixels = x.reshape([samples, channels, height * width])
        # Subtracting the mean over channels is a product with I - 1/C; broadcasting it back would be the slow part.
        deviation = paddle.matmul(paddle.eye(channels, dtype=x.dtype) - 1 / channels, pixels)
        average = paddle.full([samples, 1, channels], 1 / channels, dtype=x.dtype)
        scale = paddle.rsqrt(paddle.bmm(average, deviation * deviation) + self.epsilon)
        normed = deviation * paddle.matmul(self.weight.reshape([channels, 1]), scale)
        return normed.reshape([samples, channels, height, width]) + _per_channel(self.bias)


def _simple_gate(x: paddle.Tensor) -> paddle.Tensor:
    """[N, 2C, H, W] -> [N, C, H, W]: one half of the channels times the other, NAFNet's only non-linearity."""
    first, second = paddle.chunk(x, 2, axis=1)
    return first * second


class NAFBlock(nn.Layer):
    """The paper's block (figure 3e), [N, C, H, W] -> [N, C, H, W]; a new one is the identity (beta = gamma = 0)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        zero = nn.initializer.Constant(0.0)
        self.norm1 = LayerNorm2d(channels)
        self.conv1 = Convolution(channels, 2 * channels, 1)
        self.conv2 = Convolution(2 * channels, 2 * channels, 3, padding=1, groups=2 * channels)
        # "Simplified channel attention": the mean over the picture, which `models.tlc` replaces, and a convolution.
        self.sca = nn.Sequential(nn.AdaptiveAvgPool2D(1), Convolution(channels, channels, 1))
        self.conv3 = Convolution(channels, channels, 1)
        self.norm2 = LayerNorm2d(channels)
        self.conv4 = Convolution(channels, 2 * channels, 1)
        self.conv5 = Convolution(channels, channels, 1)
        self.beta = self.create_parameter([1, channels, 1, 1], default_initializer=zero)
        self.gamma = self.create_parameter([1, channels, 1, 1], default_initializer=zero)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        spatial = _simple_gate(self.conv2(self.conv1(self.norm1(x))))
        spatial = self.conv3(spatial * self.sca(spatial))
        x = x + spatial * _per_channel(self.beta)
        channel = self.conv5(_simple_gate(self.conv4(self.norm2(x))))
        return x + channel * _per_channel(self.gamma)


class NAFNet(nn.Layer):
    """A U-Net of NAFBlocks with added skips; predicts what to add to the picture.

    Args:
        width: channels at full resolution; they double with every level.
        encoder_blocks, decoder_blocks: blocks per level on the way down and up again; equally many levels.
        middle_blocks: blocks at the deepest level.
        gate: one more output channel, the occlusion mask before the sigmoid.
        mask_input: one more input channel, the mask of what is to be painted (1) beside what stays (0).

    `tlc_windows` is what `models.tlc.convert_to_local` has set.
    """

    def __init__(
        self, width: int = 32, encoder_blocks: Sequence[int] = (1, 1, 1, 1), middle_blocks: int = 10,
        decoder_blocks: Sequence[int] = (1, 1, 1, 1), gate: bool = False, mask_input: bool = False,
    ) -> None:  # fmt: skip
        super().__init__()
        self.gate, self.mask_input, self.tlc_windows = gate, mask_input, None
        self.multiple = 2 ** len(encoder_blocks)  # of which sides are padded to one
        self.intro = Convolution(4 if mask_input else 3, width, 3, padding=1)
        self.ending = Convolution(width, 4 if gate else 3, 3, padding=1)
        self.encoders, self.downs = nn.LayerList(), nn.LayerList()
        self.decoders, self.ups = nn.LayerList(), nn.LayerList()
        channels = width
        for count in encoder_blocks:
            self.encoders.append(_blocks(channels, count))
            self.downs.append(Convolution(channels, 2 * channels, 2, stride=2))
            channels *= 2
        self.middle_blks = _blocks(channels, middle_blocks)
        for count in decoder_blocks:
            # Twice the channels for a quarter of them per pixel: PixelShuffle(2) makes 2C into C/2 at double size.
            self.ups.append(nn.Sequential(Convolution(channels, 2 * channels, 1, bias=False), nn.PixelShuffle(2)))
            channels //= 2
            self.decoders.append(_blocks(channels, count))

    def blocks(self) -> Iterator[tuple[int, NAFBlock]]:
        """Every block with its level: 0 at full resolution, one more with each down-sampling."""
        for level, blocks in (*enumerate([*self.encoders, self.middle_blks]), *enumerate(reversed(self.decoders))):
            yield from ((level, block) for block in blocks)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor | tuple[paddle.Tensor, paddle.Tensor]:
        """Restores [N, 3, H, W], RGB in [0, 1], any H and W from 1 up (padded with zeros, as the authors do).

        Gives [N, 3, H, W], not clipped; with the gate (that, mask_logit [N, 1, H, W]), and it is meant to count inside
        the mask only: `apply_gate`. With `mask_input` x is [N, 4, H, W], and nothing changes where the last is 0.
        """
        height, width = x.shape[-2:]
        padding = [0, 0, 0, 0, 0, -height % self.multiple, 0, -width % self.multiple]
        padded = F.pad(x, padding) if any(padding) else x

        features = self.intro(padded)
        skips = []
        for encoder, down in zip(self.encoders, self.downs, strict=True):
            features = encoder(features)
            skips.append(features)
            features = down(features)
        features = self.middle_blks(features)
        for up, decoder, skip in zip(self.ups, self.decoders, reversed(skips), strict=True):
            features = decoder(up(features) + skip)
        output = self.ending(features)

        residual, colours = output[:, :3], padded
        if self.mask_input:
            residual, colours = residual * padded[:, 3:], padded[:, :3]
        restored = (residual + colours)[:, :, :height, :width]
        return (restored, output[:, 3:, :height, :width]) if self.gate else restored


def _blocks(channels: int, count: int) -> nn.Sequential:
    return nn.Sequential(*[NAFBlock(channels) for _ in range(count)])


def apply_gate(x: paddle.Tensor, restored: paddle.Tensor, mask_logit: paddle.Tensor) -> paddle.Tensor:
    """Blends the restored picture into the input `x`, both [N, 3, H, W], by the sigmoid of the mask [N, 1, H, W]."""
    return x + F.sigmoid(mask_logit) * (restored - x)


def joined(output: paddle.Tensor | tuple[paddle.Tensor, paddle.Tensor]) -> paddle.Tensor:
    """What a network returned as one tensor: of a NAFNet with a gate, the mask's probability is the fourth channel."""
    return paddle.concat([output[0], F.sigmoid(output[1])], axis=1) if isinstance(output, tuple) else output
