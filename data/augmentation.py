"""Random crops, flips and quarter turns of several aligned pictures at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def random_crop(pictures: Sequence[np.ndarray], size: int, rng: np.random.Generator) -> list[np.ndarray]:
    """The same random square of `size` pixels from every picture (height x width [x channels]).

    Raises:
        ValueError: the pictures differ in size, or are smaller than the square.
    """
    height, width = pictures[0].shape[:2]
    if any(picture.shape[:2] != (height, width) for picture in pictures):
        sizes = ", ".join(f"{picture.shape[1]}x{picture.shape[0]}" for picture in pictures)
        raise ValueError(f"pictures of different sizes: {sizes}")
    if min(height, width) < size:
        raise ValueError(f"{width}x{height} pixels, too small for a patch of {size}x{size}")
    top, left = (int(rng.integers(side - size + 1)) for side in (height, width))
    return [picture[top : top + size, left : left + size] for picture in pictures]


def random_orientation(
    pictures: Sequence[np.ndarray], rng: np.random.Generator, flips: bool, rotations: bool
) -> list[np.ndarray]:
    """Mirrors and turns all pictures alike; with both flips and rotations each of the 8 orientations is equally likely.

    The numbers are drawn whether they are used or not, so that switching one off leaves the rest of a sample alone.
    """
    mirror, upside_down = rng.random(2) < 0.5
    turns = int(rng.integers(4))
    turned = []
    for picture in pictures:
        if flips and mirror:
            picture = picture[:, ::-1]
        if flips and upside_down:
            picture = picture[::-1]
        turned.append(np.rot90(picture, turns) if rotations else picture)
    return turned
