import cv2
import numpy as np
import pytest

from data.contest.choosing import gradient_measure
from data.contest.cutting import crop_corners, shrink_mask, take

RNG = np.random.default_rng(3)


def mask_with(shape, *rectangles):
    mask = np.zeros(shape, np.uint8)
    for left, top, width, height in rectangles:
        mask[top : top + height, left : left + width] = 1
    return mask


@pytest.mark.parametrize(("shape", "blobs", "corners"), [
    # The largest blob is the centre, and not the first contour: a 13 x 122 sliver, which OpenCV lists first.
    ((3770, 2811), [(1700, 900, 500, 700), (40, 3300, 13, 122)], [(1700 + 250 - 512, 900 + 350 - 512)]),
    # Blobs share one crop where they fit, and get one each where not.
    ((2000, 1500), [(300, 400, 200, 300), (700, 900, 250, 200)], [((300 + 950) // 2 - 512, (400 + 1100) // 2 - 512)]),
    ((3770, 2811), [(0, 300, 400, 600), (2300, 3000, 500, 700)], [(1787, 2746), (0, 88)]),
    # At the borders crops are shifted inside.
    ((2000, 1500), [(0, 0, 40, 40)], [(0, 0)]),
    ((2000, 1500), [(1460, 1960, 40, 40)], [(1500 - 1024, 2000 - 1024)]),
    # The middle of nothing, and of what is larger than the crop or the picture.
    ((2000, 1500), [(0, 0, 0, 0)], [(750 - 512, 1000 - 512)]),
    ((2000, 1500), [(200, 300, 1100, 1400)], [(750 - 512, 1000 - 512)]),
    ((701, 2000), [(900, 0, 1, 1)], [(900 - 512, -162)]),
])  # fmt: skip
def test_crops_lie_around_the_occluders(shape, blobs, corners):
    assert crop_corners(mask_with(shape, *blobs), 1024) == corners


@pytest.mark.parametrize("shape", [(70, 90), (140, 60), (1, 1), (1, 200), (102, 103)])
def test_a_picture_smaller_than_the_crop_is_padded_with_its_reflection(shape):
    image = RNG.integers(0, 256, (*shape, 3), dtype=np.uint8)
    ((left, top),) = crop_corners(mask_with(shape, (0, 0, 1, 1)), 103)
    padding = [(max(-start, 0), max(103 + start - length, 0)) for start, length in ((top, shape[0]), (left, shape[1]))]
    padded = np.pad(image, (*padding, (0, 0)), mode="reflect")[max(top, 0) :, max(left, 0) :][:103, :103]
    assert np.array_equal(take(image, left, top, 103), padded)
    assert take(image[..., 0], left, top, 103).shape == (103, 103)
    assert all(abs(after - before) <= 1 for before, after in padding)


def test_a_patch_is_a_copy_of_the_pixels():
    image = RNG.integers(0, 256, (60, 80, 3), dtype=np.uint8)
    patch = take(image, 10, 20, 32)
    assert np.array_equal(patch, image[20:52, 10:42])
    patch[:] = 0
    assert image[20:52, 10:42].any()


@pytest.mark.parametrize("factor", [1, 2, 4, 8])
def test_shrinking_a_mask_keeps_every_touched_pixel(factor):
    mask = (RNG.random((37, 51)) > 0.97).astype(np.uint8)
    expected = np.zeros((-(-37 // factor), -(-51 // factor)), np.uint8)
    for row, column in np.argwhere(mask):
        expected[row // factor, column // factor] = 1
    assert np.array_equal(shrink_mask(mask, factor), expected)


@pytest.mark.parametrize("shape", [(1024, 1024), (301, 517), (1, 1), (1, 9), (2, 3)])
def test_the_gradient_equals_the_write_up_exactly_on_random_images(shape):
    for low, high in ((0, 256), (240, 256), (0, 2)):
        rgb = RNG.integers(low, high, (*shape, 3), dtype=np.uint8)
        # As the write-up states it: in 64 bits throughout, on a picture as OpenCV reads it.
        grey = cv2.cvtColor(rgb[..., ::-1].copy(), cv2.COLOR_BGR2GRAY)
        across, down = (cv2.Sobel(grey, cv2.CV_64F, *axis, ksize=3) for axis in ((1, 0), (0, 1)))
        assert gradient_measure(rgb) == np.mean(np.sqrt(across**2 + down**2))
