"""How much detail a patch shows: the measure by which the write-up told print from blank paper."""

from __future__ import annotations

import cv2
import numpy as np


def gradient_measure(rgb: np.ndarray) -> float:
    """Mean Sobel gradient magnitude of a picture, in grey levels.

    The mean over all pixels of sqrt(gx^2 + gy^2), where gx and gy are the 3x3 Sobel derivatives of the grey picture
    (0..255). Blank paper gives a few, a page of print about 20 to 100. The write-up keeps patches above 10.

    The result is bit for bit that of 64-bit arithmetic: gx^2 + gy^2 is a whole number below 2^24, which 32-bit floats
    hold exactly, so that only the root and the mean need 64 bits, at a third of the time.

    Args:
        rgb: RGB uint8, height x width x 3.
    """
    grey = cv2.cvtColor(np.ascontiguousarray(rgb), cv2.COLOR_RGB2GRAY)
    horizontal = cv2.Sobel(grey, cv2.CV_32F, 1, 0, ksize=3)
    vertical = cv2.Sobel(grey, cv2.CV_32F, 0, 1, ksize=3)
    energy = cv2.add(cv2.multiply(horizontal, horizontal), cv2.multiply(vertical, vertical))
    return float(np.mean(np.sqrt(energy, dtype=np.float64)))
