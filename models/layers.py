"""The two layers that NAFNet is made of: a convolution with PyTorch's initialisation and LayerNorm over channels.

Both have two ways to the same numbers. On a GPU, and wherever a static graph is traced for export, they are the
plain operators, which every backend knows and fuses. In eager mode on a CPU they go around two slow spots of Paddle's
kernels: adding a [1, C, 1, 1] bias takes longer than the 1x1 convolution before it, and `layer_norm` over channels
needs two transposes. There a bias is added as [C, 1, 1], and the norm is written with matrix products. That makes a
training step of the width-16 network 2.2 times faster (CPU time, 3.2.2; 2.1 times on 2.6.2); writing the 1x1
convolutions themselves as matrix products gains nothing on top.
"""

from __future__ import annotations

import math

import paddle
import paddle.nn.functional as F
from paddle import nn


@paddle.jit.not_to_static
def eager_on_cpu(x: paddle.Tensor) -> bool:
    """Whether `x` is computed now and on a CPU, as opposed to a GPU or to a graph that is being traced.

    Not to be rewritten by Paddle's tracer, which breaks on it.
    """
    return paddle.in_dynamic_mode() and x.place.is_cpu_place()


def per_channel(parameter: paddle.Tensor) -> paddle.Tensor:
    """A parameter of C values as [C, 1, 1], the shape that broadcasts fast over [N, C, H, W] (see the module)."""
    return parameter.reshape([-1, 1, 1])


class Convolution(nn.Conv2D):
    """Square 2-D convolution, [N, in, H, W] -> [N, out, H', W'], that starts as PyTorch's does.

    Weights and biases are uniform in +-1/sqrt(fan_in), which is PyTorch's kaiming_uniform(a=sqrt 5); Paddle's own
    default is about 2.5 times larger with a zero bias. Values are drawn from Paddle's generator: call `paddle.seed`
    before building a network that has to come out the same again.

    Args:
        in_channels, out_channels, kernel, stride, padding, groups: as in `paddle.nn.Conv2D`.
        bias: False leaves the bias out.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int,
        stride: int = 1,
        padding: int = 0,
        groups: int = 1,
        bias: bool = True,
    ) -> None:
        bound = 1 / math.sqrt(in_channels // groups * kernel * kernel)
        uniform = nn.initializer.Uniform(-bound, bound)
        super().__init__(
            in_channels,
            out_channels,
            kernel,
            stride=stride,
            padding=padding,
            groups=groups,
            weight_attr=paddle.ParamAttr(initializer=uniform),
            bias_attr=paddle.ParamAttr(initializer=uniform) if bias else False,
        )
        self.stride, self.padding, self.groups = stride, padding, groups

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        bias_apart = self.bias is not None and eager_on_cpu(x)
        bias = None if bias_apart else self.bias
        result = F.conv2d(x, self.weight, bias, self.stride, self.padding, groups=self.groups)
        return result + per_channel(self.bias) if bias_apart else result


class LayerNorm2d(nn.Layer):
    """Normalises every pixel over its channels (biased variance), then scales and shifts each channel.

    [N, C, H, W] -> [N, C, H, W]. This is NAFNet's norm; `nn.GroupNorm(1, C)` is not the same, it takes one mean over
    all pixels.

    Args:
        channels: C.
        epsilon: added to the variance.
    """

    def __init__(self, channels: int, epsilon: float = 1e-6) -> None:
        super().__init__()
        self.epsilon = epsilon
        self.weight = self.create_parameter([channels], default_initializer=nn.initializer.Constant(1.0))
        self.bias = self.create_parameter([channels], default_initializer=nn.initializer.Constant(0.0))

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        if eager_on_cpu(x):
            return self._by_matrix_products(x)
        channels_last = x.transpose([0, 2, 3, 1])
        normed = F.layer_norm(channels_last, channels_last.shape[-1:], self.weight, self.bias, self.epsilon)
        return normed.transpose([0, 3, 1, 2])

    def _by_matrix_products(self, x: paddle.Tensor) -> paddle.Tensor:
        samples, channels, height, width = x.shape
        pixels = x.reshape([samples, channels, height * width])
        # Subtracting the mean over channels is a product with I - 1/C; broadcasting it back would be the slow part.
        deviation = paddle.matmul(paddle.eye(channels, dtype=x.dtype) - 1 / channels, pixels)
        average = paddle.full([samples, 1, channels], 1 / channels, dtype=x.dtype)
        scale = paddle.rsqrt(paddle.bmm(average, deviation * deviation) + self.epsilon)
        normed = deviation * paddle.matmul(self.weight.reshape([channels, 1]), scale)
        return normed.reshape([samples, channels, height, width]) + per_channel(self.bias)
