"""NAFNet, the network of "Simple Baselines for Image Restoration" (Chen et al., ECCV 2022, section 4), its gate, TLC.

Attribute names are those of the authors' PyTorch code (github.com/megvii-research/NAFNet, MIT licence), so that their
weights load. The gate, a fourth output that says where the restored picture counts, and the mask as a fourth input are
this project's. In eager mode on a CPU, convolutions and norms go around two slow spots of Paddle's kernels: a training
step is 2.2 times faster.

The channel attention averages over all it sees, on a photo something else than on a training patch. For prediction
only, the Test-time Local Converter takes the mean of a training-sized window around each pixel (Chu et al., "Improving
Image Restoration by Revisiting Global Information Aggregation", ECCV 2022, section 3.3; github.com/megvii-research/TLC,
MIT licence).
"""

import math
import warnings
from collections.abc import Sequence

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

    def __init__(self, channels: int, epsilon: float = 1e-6) -> None:
        super().__init__()
        self.epsilon = epsilon
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
        # "Simplified channel attention": the mean over the picture, which TLC replaces, and a convolution.
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

    `tlc_windows` is what `convert_to_local` has set.
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


def local_windows(train_size: int, ratio: float, levels: int) -> list[int]:
    """The window of each of `levels` resolutions, in that level's own pixels, finest first and at least 1; `ratio` is
    its side in units of `train_size`, that of the training patches in pixels (the paper: 1.5).
    """
    window = int(train_size * ratio)
    # A patch is padded to a multiple of the deepest level's step, so its maps are that size halved level by level.
    padded = train_size + -train_size % 2 ** (levels - 1)
    return [max(1, (padded >> level) * window // train_size) for level in range(levels)]


class LocalMean(nn.Layer):
    """In place of a global average pool: means of the channels of [N, C, H, W] over the window around each pixel.

    Near a border the nearest whole window counts; an even window reaches one pixel further to the right and down.
    Where a window covers the map both ways, the global mean [N, C, 1, 1] comes back. Computed in float32.
    """

    def __init__(self, window: int) -> None:
        super().__init__()
        self.window = window

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        height, width = x.shape[-2:]
        window_height, window_width = min(self.window, height), min(self.window, width)
        values = x.astype("float32")
        centre = F.adaptive_avg_pool2d(values, 1)
        if (window_height, window_width) == (height, width):
            return centre.astype(x.dtype)
        # Running sums of values around zero stay small, so that float32 holds them: without this the error is 4e-3.
        sums = _sliding_sums(_sliding_sums(values - centre, window_height, axis=2), window_width, axis=3)
        means = sums / (window_height * window_width) + centre
        missing_height, missing_width = height - means.shape[2], width - means.shape[3]
        borders = [missing_width // 2, (missing_width + 1) // 2, missing_height // 2, (missing_height + 1) // 2]
        return F.pad(means, borders, mode="replicate").astype(x.dtype)


def _sliding_sums(x: paddle.Tensor, length: int, axis: int) -> paddle.Tensor:
    """Sums of `length` neighbours along one axis, from one running sum: the integral image, axis by axis."""
    count = x.shape[axis] - length + 1
    running = F.pad(paddle.cumsum(x, axis=axis), [0, 0, 1, 0] if axis == 2 else [1, 0, 0, 0])
    # Split copies; a slice is a view, and computing with views costs Paddle several times what the copy does.
    starts, _ = paddle.split(running, [count, length], axis=axis)
    _, ends = paddle.split(running, [length, count], axis=axis)
    return ends - starts


def convert_to_local(network: NAFNet, train_size: int, ratio: float) -> NAFNet:
    """Replaces every global mean by a local one, in place; once more changes the windows. Returns `network`."""
    network.tlc_windows = local_windows(train_size, ratio, len(network.encoders) + 1)
    # 0 is full resolution, one more with each down-sampling.
    levels = [*enumerate([*network.encoders, network.middle_blks]), *enumerate(reversed(network.decoders))]
    for level, blocks in levels:
        for block in blocks:
            block.sca[0] = LocalMean(network.tlc_windows[level])
    return network


def windows_in_words(windows: Sequence[int] | None) -> str:
    """`network.tlc_windows` for people."""
    if windows is None:
        return "TLC off: channel attention averages over the whole tile"
    return f"TLC windows, finest level first: {', '.join(f'{window}x{window}' for window in windows)}"
