import numpy as np
import pytest
from PIL import Image

from data.images import BadImageError
from data.masks import binarise_mask, blobs, contest_mask_image, read_mask, write_mask

MASK = np.zeros((40, 30), np.uint8)
MASK[10:25, 5:20] = 1


ENCODINGS = {
    "0/1": Image.fromarray,
    "0/255": lambda mask: Image.fromarray(mask * 255),
    "palette": contest_mask_image,
    "38/75": lambda mask: contest_mask_image(mask).convert("L"),
    "rgb": lambda mask: contest_mask_image(mask).convert("RGB"),
    "bits": lambda mask: Image.fromarray(mask * 255).convert("1"),
    "16 bit": lambda mask: Image.fromarray(mask.astype(np.uint16) * 65535),
}


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("mask", [MASK, MASK * 0, MASK * 0 + 1], ids=["some", "none", "all"])
def test_every_encoding_gives_zero_and_one(tmp_path, encoding, mask):
    ENCODINGS[encoding](mask).save(tmp_path / "mask.png")
    read = read_mask(tmp_path / "mask.png")
    assert read.dtype == np.uint8
    assert np.array_equal(read, mask)


def test_the_palette_mask_is_the_contests(tmp_path):
    """Index 0 is RGB(128,0,0), index 1 RGB(0,128,0); as grey they are 38 and 75."""
    contest_mask_image(MASK).save(tmp_path / "mask.png")
    image = Image.open(tmp_path / "mask.png")
    assert image.mode == "P"
    assert image.convert("RGB").getpixel((0, 0)) == (128, 0, 0)
    assert image.convert("RGB").getpixel((10, 15)) == (0, 128, 0)
    assert sorted(np.unique(np.asarray(image.convert("L")))) == [38, 75]


def test_a_black_and_white_mask_packed_into_a_palette_keeps_its_meaning(tmp_path):
    """Optimisers turn 0/255 masks into palettes in any order; white is the occluder, whatever its index."""
    image = Image.fromarray(1 - MASK, mode="P")
    image.putpalette((255, 255, 255, 0, 0, 0))
    image.save(tmp_path / "mask.png")
    assert np.array_equal(read_mask(tmp_path / "mask.png"), MASK)


def test_a_value_of_exactly_40_is_not_left_over():
    """The write-up set what is below 40 to 0 and what is above to 255, and 40 stayed 40."""
    assert binarise_mask(np.array([[38, 39, 40, 41, 75]], np.uint8)).tolist() == [[0, 0, 1, 1, 1]]
    assert binarise_mask(np.array([[0, 40, 127, 128, 255]], np.uint8)).tolist() == [[0, 0, 0, 1, 1]]
    assert binarise_mask(np.full((2, 2), 40, np.uint8)).tolist() == [[1, 1], [1, 1]]
    assert binarise_mask(np.zeros((0, 4), np.uint8)).shape == (0, 4)


def test_a_written_mask_is_grey_0_and_255_and_a_broken_one_is_named(tmp_path):
    path = tmp_path / "mask.png"
    write_mask(path, MASK)
    assert Image.open(path).mode == "L"
    assert np.array_equal(np.asarray(Image.open(path)), MASK * 255)
    assert np.array_equal(read_mask(path), MASK)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(BadImageError, match=r"mask\.png"):
        read_mask(path)


def test_blobs_largest_first_with_diagonal_neighbours_joined():
    mask = np.zeros((20, 20), np.uint8)
    mask[0, 0] = 1
    mask[5:10, 5:10] = 1
    mask[10, 10] = 1
    assert blobs(mask) == [(5, 5, 6, 6, 26), (0, 0, 1, 1, 1)]
    assert blobs(mask, minimum_area=2) == [(5, 5, 6, 6, 26)]
    assert blobs(mask * 0) == []
