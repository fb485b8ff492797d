"""The Test-time Local Converter: means over a training-sized window instead of over the whole picture.

NAFNet's channel attention averages over all it sees, on a photo something else than on a training patch. TLC (Chu et
al., "Improving Image Restoration by Revisiting Global Information Aggregation", ECCV 2022, section 3.3;
github.com/megvii-research/TLC, MIT licence) takes the mean of the window around each pixel, for prediction only.
"""

from collections.abc import Sequence

import paddle
import paddle.nn.functional as F
from paddle import nn

from models.nafnet import NAFNet


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
    size = x.shape[axis]
    running = paddle.cumsum(x, axis=axis)
    # Split copies; a slice is a view, and computing with views costs Paddle several times what the copy does.
    ends = paddle.split(running, [length - 1, size - length + 1], axis=axis)[1] if length > 1 else running
    if size == length:
        return ends
    starts, _ = paddle.split(running, [size - length, length], axis=axis)
    return ends - F.pad(starts, [0, 0, 1, 0] if axis == 2 else [1, 0, 0, 0])


def convert_to_local(network: NAFNet, train_size: int, ratio: float) -> NAFNet:
    """Replaces every global mean by a local one, in place; once more changes the windows. Returns `network`."""
    network.tlc_windows = local_windows(train_size, ratio, len(network.encoders) + 1)
    for level, block in network.blocks():
        block.sca[0] = LocalMean(network.tlc_windows[level])
    return network


def describe(windows: Sequence[int] | None) -> str:
    """`network.tlc_windows` for people."""
    if windows is None:
        return "TLC off: channel attention averages over the whole tile"
    return f"TLC windows, finest level first: {', '.join(f'{window}x{window}' for window in windows)}"
