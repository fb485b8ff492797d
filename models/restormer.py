"""Restormer, the transformer that the write-up weighed against NAFNet, as a plain restorer.

Written after Zamir et al., "Restormer: Efficient Transformer for High-Resolution Image Restoration" (CVPR 2022, arXiv
2111.09881, section 3). Parameters have the names and shapes of the authors' checkpoints, so that these load, but for
the denoisers', whose norms are others; none of their code is here, its licence allows academic use only. Attention runs
between channels: TLC has no place in it.
"""

from collections.abc import Sequence

import paddle
import paddle.nn.functional as F
from paddle import nn

from models.nafnet import Convolution, LayerNorm2d

_EPSILON = 1e-5
# Of attention, at the four levels of every official checkpoint.
HEADS = (1, 2, 4, 8)


def _norm(channels: int) -> nn.Sequential:
    """A norm one level down, where the checkpoints have it."""
    return nn.Sequential(("body", LayerNorm2d(channels, _EPSILON)))


class _Attention(nn.Layer):
    """Section 3.1, "multi-Dconv head transposed attention": [N, C, H, W] -> [N, C, H, W], channels ask channels."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.temperature = self.create_parameter([heads, 1, 1], default_initializer=nn.initializer.Constant(1.0))
        self.qkv = Convolution(channels, 3 * channels, 1, bias=False)
        self.qkv_dwconv = Convolution(3 * channels, 3 * channels, 3, padding=1, groups=3 * channels, bias=False)
        self.project_out = Convolution(channels, channels, 1, bias=False)
        self.heads = heads

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        samples, channels, height, width = x.shape
        rows = self.qkv_dwconv(self.qkv(x)).reshape([samples, 3, self.heads, channels // self.heads, height * width])
        query, key = F.normalize(rows[:, 0], axis=-1), F.normalize(rows[:, 1], axis=-1)
        shares = F.softmax(paddle.matmul(query, key, transpose_y=True) * self.temperature, axis=-1)
        return self.project_out(paddle.matmul(shares, rows[:, 2]).reshape([samples, channels, height, width]))


class _FeedForward(nn.Layer):
    """Section 3.2, "gated-Dconv feed-forward": one half of the hidden channels, through GELU, times the other."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = int(channels * 2.66)
        self.project_in = Convolution(channels, 2 * hidden, 1, bias=False)
        self.dwconv = Convolution(2 * hidden, 2 * hidden, 3, padding=1, groups=2 * hidden, bias=False)
        self.project_out = Convolution(hidden, channels, 1, bias=False)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        gate, values = paddle.chunk(self.dwconv(self.project_in(x)), 2, axis=1)
        return self.project_out(F.gelu(gate) * values)


def _resize(channels: int, outputs: int, move: nn.Layer) -> nn.Sequential:
    """Half the size and twice the channels, or the reverse: a convolution, and pixels move into or from channels."""
    convolution = Convolution(channels, outputs, 3, padding=1, bias=False)
    return nn.Sequential(("body", nn.Sequential(convolution, move)))


class _Block(nn.Layer):
    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.norm1, self.attn = _norm(channels), _Attention(channels, heads)
        self.norm2, self.ffn = _norm(channels), _FeedForward(channels)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        x = x + self.attn(self.norm1(x))
        return x + self.ffn(self.norm2(x))


class Restormer(nn.Layer):
    """Four levels down and up with joined skips, and blocks at full resolution at the end; predicts what to add.

    Args:
        dim: channels of the first level; they double with every level.
        num_blocks: blocks of the four levels, finest first.
        num_refinement_blocks: blocks at the end.
    """

    gate, mask_input, tlc_windows = False, False, None

    def __init__(self, dim: int, num_blocks: Sequence[int], num_refinement_blocks: int) -> None:
        super().__init__()

        def blocks(level: int, count: int, channels: int) -> nn.Sequential:
            return nn.Sequential(*[_Block(channels, HEADS[level]) for _ in range(count)])

        self.patch_embed = nn.Sequential(("proj", Convolution(3, dim, 3, padding=1, bias=False)))
        for level in range(3):
            channels, name = dim << level, f"{level + 1}_{level + 2}"
            setattr(self, f"encoder_level{level + 1}", blocks(level, num_blocks[level], channels))
            setattr(self, f"down{name}", _resize(channels, channels // 2, nn.PixelUnshuffle(2)))
            setattr(self, f"up{name[::-1]}", _resize(2 * channels, 4 * channels, nn.PixelShuffle(2)))
            if level:
                setattr(self, f"reduce_chan_level{level + 1}", Convolution(2 * channels, channels, 1, bias=False))
            # At full resolution the joined channels stay as many as they are.
            setattr(self, f"decoder_level{level + 1}", blocks(level, num_blocks[level], max(channels, 2 * dim)))
        self.latent = blocks(3, num_blocks[3], 8 * dim)
        self.refinement = blocks(0, num_refinement_blocks, 2 * dim)
        self.output = Convolution(2 * dim, 3, 3, padding=1, bias=False)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """Restores [N, 3, H, W], RGB in [0, 1], to the same, not clipped; sides are padded to a multiple of 8."""
        height, width = x.shape[-2:]
        padding = [0, -width % 8, 0, -height % 8]
        padded = F.pad(x, padding, mode="replicate") if any(padding) else x
        first = self.encoder_level1(self.patch_embed(padded))
        second = self.encoder_level2(self.down1_2(first))
        third = self.encoder_level3(self.down2_3(second))
        y = self.up4_3(self.latent(self.down3_4(third)))
        y = self.up3_2(self.decoder_level3(self.reduce_chan_level3(paddle.concat([y, third], axis=1))))
        y = self.up2_1(self.decoder_level2(self.reduce_chan_level2(paddle.concat([y, second], axis=1))))
        features = self.decoder_level1(paddle.concat([y, first], axis=1))
        return (self.output(self.refinement(features)) + padded)[:, :, :height, :width]
