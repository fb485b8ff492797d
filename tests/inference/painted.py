"""Pages with red rectangles on them, and a stand-in for a restorer that paints those over."""

import numpy as np

from inference.restorer import Restored

BOX = (200, 150, 300, 260)
Box = tuple[int, int, int, int]


def page(height: int = 300, width: int = 420, box: Box | None = BOX, kind: type = np.uint8) -> np.ndarray:
    """RGB uint8 or uint16: noisy grey paper, with a red rectangle (top, left, bottom, right) on it."""
    image = np.random.default_rng(height).integers(110, 146, (height, width, 3), dtype=np.uint8)
    if box:
        image[box[0] : box[2], box[1] : box[3]] = (230, 20, 20)
    return image.astype(kind) * kind(np.iinfo(kind).max // 255)


def paint_over(image: np.ndarray) -> Restored:
    """What is red becomes mid-grey."""
    white = np.iinfo(image.dtype).max
    mask = ((image[..., 0] > 0.6 * white) & (image[..., 1] < 0.3 * white)).astype(np.uint8)
    restored = image.copy()
    restored[mask > 0] = white // 2
    return Restored(restored, mask, int(mask.any()), {"locate": 0.25, "restore": 0.5, "compose": 0.125})
