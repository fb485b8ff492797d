import cv2
import numpy as np
import pytest

from data.contest.crops import gradient_measure


def write_up_measure(bgr):
    """The measure as the write-up states it, in 64-bit arithmetic throughout, on a picture as OpenCV reads it."""
    grey = cv2.cvtColor(bgr, cv2.COLOR_BGR2GRAY)
    horizontal = cv2.Sobel(grey, cv2.CV_64F, 1, 0, ksize=3)
    vertical = cv2.Sobel(grey, cv2.CV_64F, 0, 1, ksize=3)
    return np.mean(np.sqrt(horizontal**2 + vertical**2))


@pytest.mark.parametrize("shape", [(1024, 1024), (301, 517), (1, 1), (1, 9), (2, 3)])
def test_equals_the_write_up_exactly_on_random_images(shape):
    rng = np.random.default_rng(sum(shape))
    for low, high in ((0, 256), (240, 256), (0, 2)):
        rgb = rng.integers(low, high, (*shape, 3), dtype=np.uint8)
        assert gradient_measure(rgb) == write_up_measure(rgb[..., ::-1].copy())


def test_equals_the_write_up_where_gradients_are_largest():
    board = np.kron(np.indices((32, 32)).sum(axis=0) % 2, np.ones((3, 3))).astype(np.uint8) * 255
    rgb = np.repeat(board[..., None], 3, axis=2)
    assert gradient_measure(rgb) == write_up_measure(rgb)


def test_a_known_edge():
    # One vertical step of 10 grey levels: |gx| is 4 x 10 in the two columns beside it, of ten columns.
    rgb = np.full((8, 10, 3), 100, np.uint8)
    rgb[:, 5:] = 110
    assert gradient_measure(rgb) == 40 * 2 / 10
    assert gradient_measure(np.full((8, 10, 3), 100, np.uint8)) == 0


def test_the_order_of_colours_is_rgb():
    rgb = np.zeros((8, 10, 3), np.uint8)
    rgb[:, 5:, 0] = 200
    assert gradient_measure(rgb) == 4 * round(0.299 * 200) * 2 / 10
