"""NAFNet, the network of "Simple Baselines for Image Restoration" (Chen et al., ECCV 2022, section 4).

Attribute names are those of the authors' PyTorch code (github.com/megvii-research/NAFNet, MIT licence), so that
their weights load without a table of names: `models.convert`.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import paddle
import paddle.nn.functional as F
from paddle import nn

from models.layers import Convolution, LayerNorm2d, per_channel

# Paddle 3.2 tells everybody who splits a tensor, once, that PyTorch's split takes other arguments.
warnings.filterwarnings("ignore", message=r"\s*Non compatible API.*torch\.split", category=Warning)


def simple_gate(x: paddle.Tensor) -> paddle.Tensor:
    """[N, 2C, H, W] -> [N, C, H, W]: one half of the channels times the other, NAFNet's only non-linearity."""
    first, second = paddle.chunk(x, 2, axis=1)
    return first * second


class NAFBlock(nn.Layer):
    """The paper's block (figure 3e), [N, C, H, W] -> [N, C, H, W]; a new one is the identity (beta = gamma = 0).

    Args:
        channels: C.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        zero = nn.initializer.Constant(0.0)
        self.norm1 = LayerNorm2d(channels)
        self.conv1 = Convolution(channels, 2 * channels, 1)
        self.conv2 = Convolution(2 * channels, 2 * channels, 3, padding=1, groups=2 * channels)
        # "Simplified channel attention": the mean over the picture, which `models.tlc` replaces, and a 1x1 convolution.
        self.sca = nn.Sequential(nn.AdaptiveAvgPool2D(1), Convolution(channels, channels, 1))
        self.conv3 = Convolution(channels, channels, 1)
        self.norm2 = LayerNorm2d(channels)
        self.conv4 = Convolution(channels, 2 * channels, 1)
        self.conv5 = Convolution(channels, channels, 1)
        self.beta = self.create_parameter([1, channels, 1, 1], default_initializer=zero)
        self.gamma = self.create_parameter([1, channels, 1, 1], default_initializer=zero)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        spatial = simple_gate(self.conv2(self.conv1(self.norm1(x))))
        spatial = self.conv3(spatial * self.sca(spatial))
        x = x + spatial * per_channel(self.beta)
        channel = self.conv5(simple_gate(self.conv4(self.norm2(x))))
        return x + channel * per_channel(self.gamma)


class NAFNet(nn.Layer):
    """A U-Net of NAFBlocks with added skips; predicts what to add to the picture.

    Args:
        width: channels at full resolution; they double with every level.
        encoder_blocks: blocks per level on the way down, finest level first; its length is the number of levels.
        middle_blocks: blocks at the deepest level.
        decoder_blocks: blocks per level on the way up, deepest level first; as many levels as the encoder.
        gate: one more output channel, the occlusion mask before the sigmoid; see `models.gate`.

    Attributes:
        multiple: sides are padded to a multiple of this, 2**levels.
        tlc_windows: the windows that `models.tlc.convert_to_local` has set, finest level first; None = global means.

    Raises:
        ValueError: the arguments describe no network.
    """

    def __init__(
        self,
        width: int = 32,
        encoder_blocks: Sequence[int] = (1, 1, 1, 1),
        middle_blocks: int = 10,
        decoder_blocks: Sequence[int] = (1, 1, 1, 1),
        gate: bool = False,
    ) -> None:
        super().__init__()
        if width < 1 or middle_blocks < 0 or min([*encoder_blocks, *decoder_blocks], default=0) < 0:
            raise ValueError(
                f"width {width} must be at least 1, and no number of blocks negative: "
                f"encoder {list(encoder_blocks)}, middle {middle_blocks}, decoder {list(decoder_blocks)}"
            )
        if len(encoder_blocks) != len(decoder_blocks):
            raise ValueError(
                f"{len(encoder_blocks)} levels of encoder_blocks {list(encoder_blocks)} but {len(decoder_blocks)} of "
                f"decoder_blocks {list(decoder_blocks)}; give both the same length"
            )
        self.width, self.middle_blocks, self.gate = width, middle_blocks, gate
        self.encoder_blocks, self.decoder_blocks = list(encoder_blocks), list(decoder_blocks)
        self.multiple = 2 ** len(encoder_blocks)
        self.tlc_windows: list[int] | None = None

        self.intro = Convolution(3, width, 3, padding=1)
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

    @property
    def config(self) -> dict[str, Any]:
        """The arguments that build this network again, as plain values."""
        return {
            "width": self.width,
            "encoder_blocks": list(self.encoder_blocks),
            "middle_blocks": self.middle_blocks,
            "decoder_blocks": list(self.decoder_blocks),
            "gate": self.gate,
        }

    def forward(self, x: paddle.Tensor) -> paddle.Tensor | tuple[paddle.Tensor, paddle.Tensor]:
        """Restores a batch of pictures.

        Args:
            x: [N, 3, H, W], RGB in [0, 1], any H and W from 1 up. Sides are padded with zeros at the right and the
                bottom, as the authors do, and the result is cut back.

        Returns:
            restored [N, 3, H, W], not clipped; with the gate (restored, mask_logit [N, 1, H, W]), where `restored` is
            meant to count inside the mask only: `models.gate.apply_gate`.
        """
        height, width = x.shape[-2:]
        padding = [0, 0, 0, 0, 0, -height % self.multiple, 0, -width % self.multiple]
        padded = F.pad(x, padding) if any(padding) else x

        features = self.intro(padded)
        skips = []
        # Paddle's tracer knows zip without `strict` only; the constructor has made all of these equally long.
        for encoder, down in zip(self.encoders, self.downs):  # noqa: B905
            features = encoder(features)
            skips.append(features)
            features = down(features)
        features = self.middle_blks(features)
        for up, decoder, skip in zip(self.ups, self.decoders, reversed(skips)):  # noqa: B905
            features = decoder(up(features) + skip)
        output = self.ending(features)

        restored = (output[:, :3] + padded)[:, :, :height, :width]
        return (restored, output[:, 3:, :height, :width]) if self.gate else restored


def _blocks(channels: int, count: int) -> nn.Sequential:
    return nn.Sequential(*[NAFBlock(channels) for _ in range(count)])
