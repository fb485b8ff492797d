import cv2
import numpy as np
import pytest

from data.contest.choosing import gradient_measure
from data.contest.cutting import Box, crop_boxes, shrink_mask, take


def mask_with(shape, *rectangles):
    mask = np.zeros(shape, np.uint8)
    for left, top, width, height in rectangles:
        mask[top : top + height, left : left + width] = 1
    return mask


def covered(mask, boxes):
    inside = np.zeros_like(mask)
    for box in boxes:
        inside[max(box.top, 0) : box.top + box.height, max(box.left, 0) : box.left + box.width] = 1
    return int((mask * inside).sum())


def test_the_largest_blob_and_not_the_first_contour_is_the_centre():
    """The real sample of FACTS: OpenCV lists a 13 x 122 sliver first, and a crop on it misses the hand."""
    hand, sliver = (1700, 900, 500, 700), (40, 3300, 13, 122)
    mask = mask_with((3770, 2811), hand, sliver)
    contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    assert cv2.boundingRect(contours[0]) == sliver
    (box,) = crop_boxes(mask, 1024)
    assert box == Box(1700 + 250 - 512, 900 + 350 - 512, 1024, 1024)
    assert covered(mask, [box]) == 500 * 700


def test_blobs_share_one_crop_where_they_fit_and_get_one_each_where_not():
    near = mask_with((2000, 1500), (300, 400, 200, 300), (700, 900, 250, 200))
    assert crop_boxes(near, 1024) == [Box((300 + 950) // 2 - 512, (400 + 1100) // 2 - 512, 1024, 1024)]
    far = mask_with((3770, 2811), (0, 300, 400, 600), (2300, 3000, 500, 700))
    assert len(crop_boxes(far, 1024)) == 2
    for mask in (near, far):
        assert covered(mask, crop_boxes(mask, 1024)) == mask.sum()


@pytest.mark.parametrize("corner", [(0, 0), (1460, 0), (0, 1960), (1460, 1960)])
def test_boxes_are_shifted_inside_at_the_borders(corner):
    mask = mask_with((2000, 1500), (*corner, 40, 40))
    (box,) = crop_boxes(mask, 1024)
    assert 0 <= box.left <= 1500 - 1024
    assert 0 <= box.top <= 2000 - 1024
    assert covered(mask, [box]) == 1600


@pytest.mark.parametrize("rectangle", [(0, 0, 0, 0), (200, 300, 1100, 1400)])
def test_the_middle_of_nothing_and_of_a_blob_larger_than_the_crop(rectangle):
    assert crop_boxes(mask_with((2000, 1500), rectangle), 256) == [Box(750 - 128, 1000 - 128, 256, 256)]


@pytest.mark.parametrize("shape", [(700, 900), (1400, 600), (1, 1), (1, 2000), (1023, 1024)])
def test_a_picture_smaller_than_the_crop_is_padded_with_its_reflection(shape):
    image = np.random.default_rng(1).integers(0, 256, (*shape, 3), dtype=np.uint8)
    (box,) = crop_boxes(mask_with(shape, (0, 0, 1, 1)), 1024)
    patch = take(image, box)
    top, left = max(-box.top, 0), max(-box.left, 0)
    bottom, right = max(1024 - top - shape[0], 0), max(1024 - left - shape[1], 0)
    expected = image[max(box.top, 0) : max(box.top, 0) + 1024, max(box.left, 0) : max(box.left, 0) + 1024]
    expected = np.pad(expected, ((top, bottom), (left, right), (0, 0)), mode="reflect")
    assert patch.shape == (1024, 1024, 3)
    assert np.array_equal(patch, expected)
    assert abs(top - bottom) <= 1


def test_take_copies_the_pixels_of_colour_and_of_mask():
    image = np.random.default_rng(2).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    patch = take(image, Box(10, 20, 32, 16))
    assert np.array_equal(patch, image[20:36, 10:42])
    assert take(image[..., 0], Box(-4, -4, 90, 70)).shape == (70, 90)
    patch[:] = 0
    assert image.any()


@pytest.mark.parametrize("factor", [1, 2, 4, 8])
def test_shrinking_a_mask_keeps_every_touched_pixel(factor):
    mask = (np.random.default_rng(3).random((37, 51)) > 0.97).astype(np.uint8)
    expected = np.zeros((-(-37 // factor), -(-51 // factor)), np.uint8)
    for row, column in np.argwhere(mask):
        expected[row // factor, column // factor] = 1
    assert np.array_equal(shrink_mask(mask, factor), expected)


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


def test_a_known_edge_and_the_order_of_colours():
    # One vertical step of 10 grey levels: |gx| is 4 x 10 in the two columns beside it, of ten columns.
    rgb = np.full((8, 10, 3), 100, np.uint8)
    assert gradient_measure(rgb) == 0
    rgb[:, 5:] = 110
    assert gradient_measure(rgb) == 40 * 2 / 10
    red = np.zeros((8, 10, 3), np.uint8)
    red[:, 5:, 0] = 200
    assert gradient_measure(red) == 4 * round(0.299 * 200) * 2 / 10
